//! Warnings about secrets that contain quotes, escapes or names left by a tool.
//!
//! Never an error, since a provider may issue any text. No message contains a part of the secret.

use hookgate_verify::document::table::ValueFault;

/// Straight quotes, and the typographic ones that word processors make of them.
const QUOTES: [&str; 11] = [
    "\"", "'", "`", "\u{201c}", "\u{201d}", "\u{201e}", "\u{2018}", "\u{2019}", "\u{201a}",
    "\u{ab}", "\u{bb}",
];

/// Returns a warning if the text of a secret looks wrong.
pub(super) fn oddity(bytes: &[u8]) -> Option<ValueFault> {
    let text = std::str::from_utf8(bytes).ok()?;
    let shown = "unless the provider shows the secret like this";
    let fault =
        |message: &str, help: &str| Some(ValueFault::new(message, format!("{help}, {shown}")));
    if QUOTES.iter().any(|quote| text.starts_with(quote))
        || QUOTES.iter().any(|quote| text.ends_with(quote))
    {
        return fault(
            "the secret begins or ends with a quote, which counts as part of the secret",
            "remove the quotes, as `docker --env-file` and credentials keep them",
        );
    }
    if ["\\n", "\\r", "\\t"]
        .iter()
        .any(|escape| text.ends_with(escape))
    {
        return fault(
            "the secret ends with a backslash and a letter, which hookgate does not convert to a line break",
            "remove both characters",
        );
    }
    // A line break at the end is an error of its own; this one is inside the text.
    if text.contains(['\n', '\r']) {
        return fault(
            "the secret has several lines",
            "keep only the line with the secret",
        );
    }
    if text.starts_with(is_invisible) || text.ends_with(is_invisible) {
        return fault(
            "the secret begins or ends with an invisible character",
            "copy it again",
        );
    }
    if is_assignment(text) {
        return fault(
            "the secret looks like a `NAME=VALUE` line of an environment file",
            "keep only the part after the `=`",
        );
    }
    // Both ends must match: a genuine secret may begin or end with such a character.
    let is_between = |begin: &str, end: &str| text.starts_with(begin) && text.ends_with(end);
    let is_reference = [
        ("${", "}"),
        ("$(", ")"),
        ("{{", "}}"),
        ("<", ">"),
        ("%{", "}"),
    ];
    if is_reference
        .iter()
        .any(|(begin, end)| is_between(begin, end))
    {
        return fault(
            "the secret looks like a placeholder that was not replaced with its value",
            "replace it with the value",
        );
    }
    None
}

/// Returns whether a character has no width, or is white space beyond ASCII.
fn is_invisible(c: char) -> bool {
    let has_no_width = matches!(
        c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}'
    );
    has_no_width || c.is_control() || (!c.is_ascii() && c.is_whitespace())
}

/// Returns whether the text is a variable name in capitals, `=` and a value. Base64 may end with `=` but has small
/// letters.
fn is_assignment(text: &str) -> bool {
    let text = text.strip_prefix("export ").unwrap_or(text);
    text.split_once('=').is_some_and(|(name, value)| {
        let is_name_byte =
            |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        name.contains('_')
            && name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
            && name.bytes().all(is_name_byte)
            // In base64 such as `AAAA_BBBB==` only padding follows the first `=`.
            && !value.trim_matches('=').is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails for each line if the check for it is removed.
    #[test]
    fn what_tools_leave_in_a_secret_is_seen() {
        for text in [
            "\"f3b8c1d09e7a4b52\"",
            "'f3b8c1d09e7a4b52'",
            "\"f3b8c1d09e7a4b52",
            "f3b8c1d09e7a4b52'",
            "\u{201c}f3b8c1d09e7a4b52\u{201d}",
            "f3b8c1d09e7a4b52\\n",
            "f3b8c1d09e7a4b52\nother",
            "f3b8c1d09e7a4b52\u{a0}",
            "\u{200b}f3b8c1d09e7a4b52",
            "STRIPE_SECRET=whsec_f3b8c1d09e7a4b52",
            "export GITHUB_SECRET=f3b8c1d09e7a4b52",
            "${STRIPE_SECRET}",
            "<your secret>",
            "{{ secret }}",
        ] {
            assert!(oddity(text.as_bytes()).is_some(), "{text}");
        }
        for text in [
            "f3b8c1d09e7a4b52",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "it's a \"pass\" phrase",
            "AAAA_BBBB==",
            "QUJD=",
            "a=b",
            "user:pass",
        ] {
            assert!(oddity(text.as_bytes()).is_none(), "{text}");
        }
    }
}
