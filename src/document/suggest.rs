//! Suggestions for misspelled words: the "did you mean" of error messages.

/// Returns the candidate nearest to `word`, where the difference is small enough for a typing mistake.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // A word longer than every key is not a typing mistake. The bound also keeps the comparison cheap.
    if word.len() > 64 {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        // One mistake per three characters: with more, any word would resemble any other.
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Counts the edits between two words: insertions, deletions, replacements and swaps of neighbors (the restricted
/// Damerau-Levenshtein distance). Keeps three rows of the table, since a swap looks back two.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before_previous: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=to.len()).collect();
    let mut last_char = None;
    for (row, from_char) in from.chars().enumerate() {
        let mut current = vec![row + 1];
        let mut last_to = None;
        for (column, &to_char) in to.iter().enumerate() {
            let at =
                |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX - 1);
            let replaced = at(&previous, column) + usize::from(from_char != to_char);
            let mut best = replaced
                .min(at(&previous, column + 1) + 1)
                .min(at(&current, column) + 1);
            if last_char == Some(to_char) && last_to == Some(from_char) && column > 0 {
                best = best.min(at(&before_previous, column - 1) + 1);
            }
            current.push(best);
            last_to = Some(to_char);
        }
        before_previous = std::mem::replace(&mut previous, current);
        last_char = Some(from_char);
    }
    previous.last().copied().unwrap_or(0)
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
