//! Fields of a form body: `application/x-www-form-urlencoded`, or `multipart/form-data` (see `multipart`).
//!
//! Strict, because signatures depend on it: a broken escape or text that is not UTF-8 is an error, and the number of
//! fields is bounded.

use std::borrow::Cow;

use http::{HeaderMap, header};

pub use crate::scheme::form_field::FormField;
use crate::scheme::multipart;
use crate::scheme::read_head::percent_decode;

/// Limit of fields. Twilio's largest callbacks have some fifty.
const MAX_FIELDS: usize = 1000;

/// Returns whether the headers declare a URL-encoded form.
pub fn is_form(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .map(|value| value.as_bytes());
    let kind = value.and_then(|value| value.split(|byte| *byte == b';').next());
    kind.is_some_and(|kind| {
        kind.trim_ascii()
            .eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    })
}

/// Returns whether the body begins like JSON. Then it has no form fields, whatever its headers declare: a sender that
/// posts forms and JSON to one URL has its values in only one of them.
pub fn is_like_json(body: &[u8]) -> bool {
    let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    matches!(body.iter().find(|byte| !is_space(byte)), Some(b'{' | b'['))
}

/// Reads the fields of a body in the format that its headers declare.
///
/// # Errors
/// Returns a text that says what is wrong with the body.
pub fn read<'b>(headers: &HeaderMap, body: &'b [u8]) -> Result<Vec<FormField<'b>>, &'static str> {
    if let Some(boundary) = multipart::boundary(headers)? {
        return multipart::fields(body, &boundary);
    }
    fields(body)
}

/// Parses the fields of a URL-encoded text, in order.
///
/// # Errors
/// Returns a text that says what is wrong with the body.
pub fn fields(body: &[u8]) -> Result<Vec<FormField<'_>>, &'static str> {
    let text = std::str::from_utf8(body).map_err(|_| "the form is not valid UTF-8")?;
    let mut fields = Vec::new();
    // Empty pairs, as in `a=1&&b=2`, are ignored by most form parsers.
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        if fields.len() >= MAX_FIELDS {
            return Err("the form has too many fields");
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        fields.push((unescape(name)?, unescape(value)?));
    }
    Ok(fields)
}

/// Sorts the fields by name, and fields of the same name by value.
pub(super) fn sorted<'f>(fields: &'f [FormField<'_>]) -> Vec<(&'f str, &'f str)> {
    let pairs = fields.iter().map(|(name, value)| (&**name, &**value));
    let mut sorted: Vec<(&str, &str)> = pairs.collect();
    sorted.sort_unstable();
    sorted
}

/// Returns the only value of a field; `None` if there is no such field.
///
/// # Errors
/// Returns an error if the field occurs twice.
pub fn one<'f>(fields: &'f [FormField<'_>], name: &str) -> Result<Option<&'f str>, &'static str> {
    let mut found = fields.iter().filter(|(key, _)| key == name);
    let value = found.next().map(|(_, value)| &**value);
    match found.next() {
        Some(_) => Err("occurs twice"),
        None => Ok(value),
    }
}

fn unescape(text: &str) -> Result<Cow<'_, str>, &'static str> {
    const FAULT: &str = "the form has an invalid percent escape";
    // `+` means a space, and must be replaced before the escapes, because `%2B` means `+`.
    let spaced: Cow<'_, str> = if text.contains('+') {
        Cow::Owned(text.replace('+', " "))
    } else {
        Cow::Borrowed(text)
    };
    if !spaced.contains('%') {
        return Ok(spaced);
    }
    let bytes = percent_decode(&spaced).ok_or(FAULT)?.into_owned();
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| FAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_unescaped_in_order() {
        let fields = fields(b"b=1+2&a=%C3%A9%2B&&c&a=").unwrap();
        let expected = [("b", "1 2"), ("a", "é+"), ("c", ""), ("a", "")];
        let found: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(found, expected);
        assert_eq!(one(&fields, "b"), Ok(Some("1 2")));
        assert_eq!(one(&fields, "x"), Ok(None));
        assert!(one(&fields, "a").is_err());
    }

    #[test]
    fn broken_forms_are_refused() {
        for body in [&b"a=%4"[..], b"a=%zz", b"a=%ff", b"a=\xff"] {
            assert!(fields(body).is_err(), "{body:?}");
        }
        let many = "a=1&".repeat(MAX_FIELDS + 1);
        assert!(fields(many.as_bytes()).is_err());
    }
}
