//! Fills the placeholders in a payload, such as `{{hex:40}}`, so that each event is new.
//!
//! A placeholder is `{{KIND}}` or `{{KIND:LENGTH}}`. With `#NAME` behind it, all placeholders with the same text get
//! the same value. Kinds with a length: `hex`, `digits`, `lower`, `upper`, `alnum`. Kinds without: `uuid`, and `now`,
//! `now_ms`, `iso` for the time of sending.

use std::collections::BTreeMap;

const DIGITS: &[u8] = b"0123456789";
const HEX: &[u8] = b"0123456789abcdef";
const LOWER: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const ALNUM: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Fills the placeholders in a text. Text in braces that is not a placeholder stays unchanged.
pub(super) fn fill(text: &str, unix_ms: i64) -> String {
    let mut named: BTreeMap<&str, String> = BTreeMap::new();
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let Some((place, after)) = after.split_once("}}") else {
            filled.push_str("{{");
            rest = after;
            continue;
        };
        rest = after;
        let (what, name) = place.split_once('#').unwrap_or((place, ""));
        // The key is the whole placeholder, so `{{hex:8#a}}` and `{{hex:4#a}}` are two values.
        let value = named.get(place).cloned();
        match value.or_else(|| value_of(what, unix_ms)) {
            Some(value) => {
                filled.push_str(&value);
                if !name.is_empty() {
                    named.insert(place, value);
                }
            }
            None => filled.push_str(&format!("{{{{{place}}}}}")),
        }
    }
    filled.push_str(rest);
    filled
}

fn value_of(what: &str, unix_ms: i64) -> Option<String> {
    let (kind, length) = what.split_once(':').unwrap_or((what, ""));
    let alphabet = match kind {
        "uuid" => return Some(uuid()),
        "now" => return Some((unix_ms / 1000).to_string()),
        "now_ms" => return Some(unix_ms.to_string()),
        "iso" => return iso(unix_ms),
        "digits" => DIGITS,
        "hex" => HEX,
        "lower" => LOWER,
        "upper" => UPPER,
        "alnum" => ALNUM,
        _ => return None,
    };
    // A kind without its length is not a placeholder, and stays in the text.
    Some(random(alphabet, length.parse().ok()?))
}

/// Formats a time as RFC 3339 in UTC, to the second.
fn iso(unix_ms: i64) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(unix_ms).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Generates a random UUID.
pub(super) fn uuid() -> String {
    let mut bytes = [0; 16];
    fresh(&mut bytes);
    uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .to_string()
}

/// Generates random letters of an alphabet. The first is never `0`, so that digits are a valid JSON number.
pub(super) fn random(alphabet: &[u8], length: usize) -> String {
    // Bounds the memory if a payload has a typing error.
    let mut bytes = vec![0; length.min(4096)];
    fresh(&mut bytes);
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        // The remainder prefers some letters slightly. These values are ids in tests, not secrets.
        let letter = alphabet.get(usize::from(byte) % alphabet.len().max(1));
        let letter = char::from(letter.copied().unwrap_or(b'x'));
        match text.is_empty() && letter == '0' {
            true => text.push('1'),
            false => text.push(letter),
        }
    }
    text
}

/// Generates random letters and digits.
pub(super) fn alnum(length: usize) -> String {
    random(ALNUM, length)
}

/// Fills a buffer with random bytes. Without a random source it stays unchanged: ids then repeat, and the receiver
/// reports duplicates.
pub(super) fn fresh(bytes: &mut [u8]) {
    let _ = aws_lc_rs::rand::fill(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_with_a_name_have_the_same_value() {
        let text = r#"{"a":{"b":{{now}}},"c":"{{hex:8#c}}","d":"{{hex:8#c}}","e":"{{hex:8}}","f":"{{iso}}","g":"{{what}}{{"}"#;
        let filled = fill(text, 1_700_000_000_123);
        let c = filled
            .split(r#""c":""#)
            .nth(1)
            .unwrap()
            .get(..8)
            .unwrap()
            .to_owned();
        assert!(filled.contains(r#"{"b":1700000000}"#), "{filled}");
        assert!(filled.contains(&format!(r#""d":"{c}""#)), "{filled}");
        assert!(!filled.contains(&format!(r#""e":"{c}""#)), "{filled}");
        assert!(filled.contains("2023-11-14T22:13:20Z"), "{filled}");
        assert!(filled.ends_with(r#""{{what}}{{"}"#), "{filled}");
    }

    #[test]
    fn digits_are_a_number() {
        for _ in 0..200 {
            assert!(!random(DIGITS, 3).starts_with('0'));
        }
    }
}
