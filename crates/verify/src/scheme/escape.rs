//! Percent-encoding of query components.

/// Escapes a text as RFC 9421 section 2.2.8 requires: like a form, but with `%20` for a space.
pub(in crate::scheme) fn escape_query(text: &str) -> String {
    let escaped: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    escaped.replace('+', "%20")
}
