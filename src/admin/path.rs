//! Encoding of paths and queries for clients of the admin API.

use url::form_urlencoded;

/// Encodes text as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    // A plus is a space in queries only; in a path it would stay a plus.
    encoded.replace('+', "%20")
}

/// Appends a query to a path.
pub(crate) fn with_query<N, V>(path: &str, pairs: &[(N, V)]) -> String
where
    N: AsRef<str>,
    V: AsRef<str>,
{
    if pairs.is_empty() {
        return path.to_owned();
    }
    let pairs = pairs
        .iter()
        .map(|(name, value)| (name.as_ref(), value.as_ref()));
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs);
    format!("{path}?{}", query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_is_escaped() {
        assert_eq!(segment("a b/c+d"), "a%20b%2Fc%2Bd");
        assert_eq!(with_query("/e", &[("id", "a&b c")]), "/e?id=a%26b+c");
        let none: [(&str, &str); 0] = [];
        assert_eq!(with_query("/e", &none), "/e");
    }
}
