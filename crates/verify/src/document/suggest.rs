//! Suggestions for misspelled words: the "did you mean" of error messages.

/// Returns the candidate nearest to `word`, where the difference is small enough for a typing mistake.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A word longer than every key is not a typing mistake. The bound also keeps the comparison cheap.
    if word.len() > 64 {
        return None;
    }
    candidates
        .into_iter()
        // Insertions, deletions, replacements, and swaps of neighbors.
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        // One mistake per three characters: with more, any word would resemble any other.
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_nothing_else() {
        let ids = ["stripe", "github", "shopify"];
        assert_eq!(nearest("strpe", ids), Some("stripe"));
        assert_eq!(nearest("gihtub", ids), Some("github"));
        assert_eq!(nearest("Shopify", ids), Some("shopify"));
        assert_eq!(nearest("paypal", ids), None);
        assert_eq!(nearest(&"x".repeat(100_000), ids), None);
    }
}
