//! Masks literal secrets in the source lines that diagnostics show.
//!
//! Every string below a key for secrets is replaced by `*` of the same width before anything is rendered. Lines that
//! are not TOML may have been parsed wrongly, so they are masked by their text instead.

use crate::document::suggest;

/// Parts of key names whose values may be secrets, also where the operator wrote one there by mistake.
const SECRET_WORDS: [&str; 5] = ["secret", "token", "passw", "_key", "sign_upstream"];

/// The key for headers that hookgate sends; any of them may be a credential of the other side.
pub(super) const HEADERS: &str = "headers";

/// Keys below a secret's table whose text says where the secret is, and is not a secret itself.
pub(super) const PLACES: [&str; 12] = [
    "env",
    "file",
    "credential",
    "name",
    "header",
    "query",
    "prefix",
    "encoding",
    "strip_prefix",
    "basic",
    "not_before",
    "until",
];

/// Returns true for a name such as `STRIPE_SECRET`, which may be shown.
pub fn looks_like_variable(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Returns true for `secret`, `token`, their misspellings, and names that contain a secret word.
pub(super) fn may_hold_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
        || suggest::nearest(&key, ["secret", "token"]).is_some()
}

/// Masks everything in a line of a broken file that could be a secret.
///
/// Table headers and plain `key = value` lines stay as they are where neither key nor value looks like a secret. Of
/// every other line only the punctuation stays.
pub(crate) fn mask_broken_line(line: &str) -> String {
    let trimmed = line.trim_start();
    let is_header = trimmed.starts_with('[') && !trimmed.contains(['"', '\'', '=']);
    // Any word of the line counts, since the parser cannot say which of them is a key.
    let has_secret_word = line
        .split(|char: char| !char.is_ascii_alphanumeric() && char != '_')
        .any(may_hold_secret);
    let is_plain_pair = trimmed.split_once('=').is_some_and(|(key, value)| {
        let is_key = |char: char| char.is_ascii_alphanumeric() || "_-. ".contains(char);
        key.chars().all(is_key) && !value.contains(['{', '=', '#', '@'])
    });
    if !has_secret_word && (is_header || is_plain_pair) {
        return line.to_owned();
    }
    let (shown, hidden) = match line.split_once('=') {
        Some((key, value)) if !key.contains(['"', '\'']) => (format!("{key}="), value),
        _ => (String::new(), line),
    };
    shown + &hidden.chars().map(mask_char).collect::<String>()
}

/// Masks one character by `*`s of the same length in bytes, so that spans still fit. Line ends and TOML punctuation
/// stay.
fn mask_char(char: char) -> String {
    match char {
        '"' | '\'' | '[' | ']' | '{' | '}' | ',' | ' ' | '\t' | '\r' => char.to_string(),
        _ => "*".repeat(char.len_utf8()),
    }
}

/// Masks a whole span, except line ends and the quotes at both ends.
pub(crate) fn mask_value(text: &str) -> String {
    let last = text.len().saturating_sub(1);
    text.char_indices()
        .map(|(at, char)| match char {
            '\n' | '\r' => char.to_string(),
            '"' | '\'' if at == 0 || at == last => char.to_string(),
            _ => "*".repeat(char.len_utf8()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_lines_keep_their_shape_and_lose_their_secrets() {
        for (line, shown) in [
            ("[routes.stripe", "[routes.stripe"),
            ("path = \"/stripe", "path = \"/stripe"),
            ("secret = \"whsec_x", "secret = \"*******"),
            ("secret = { \"ab\" ]", "secret = { \"**\" ]"),
            ("  \"hunter2ä", "  \"*********"),
            ("\"hunter2\" = 1", "\"*******\" * *"),
            ("[routes.\"hunter2\"", "[*******\"*******\""),
            ("# hunter2", "* *******"),
            ("path = \"x\" # hunter2", "path = \"*\" * *******"),
            ("url = \"http://u:hunter2@h", "url = \"******************"),
            (
                "a = { path = \"x\", b = \"y\" ",
                "a = { **** * \"*\", * * \"*\" ",
            ),
        ] {
            assert_eq!(mask_broken_line(line), shown);
            assert_eq!(mask_broken_line(line).len(), line.len());
        }
    }
}
