//! Masks literal secrets in the source lines that diagnostics show.
//!
//! Every string below a key for secrets is replaced by `*` of the same width before anything is rendered. Lines that
//! are not TOML may have been parsed wrongly, so they are masked by their text instead.

use crate::document::suggest;

/// Parts of key names whose values may be secrets, also where the operator wrote one there by mistake.
const SECRET_WORDS: [&str; 5] = ["secret", "token", "passw", "_key", "sign_upstream"];

/// Names of keys for secrets, in whose misspellings the words above need not be.
const SECRET_NAMES: [&str; 4] = ["secret", "token", "password", "hmac_key"];

/// Names that other programs have for such keys.
const FOREIGN_NAMES: [&str; 4] = ["pass", "pwd", "passphrase", "apikey"];

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

/// Returns true for names that contain a secret word, and for misspellings of `secret`, `token` and their like, also as
/// a part of a name (`client_secert`).
pub(super) fn may_hold_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let is_misspelled = |word: &str| suggest::nearest(word, SECRET_NAMES).is_some();
    SECRET_WORDS.iter().any(|word| key.contains(word))
        || FOREIGN_NAMES.contains(&key.as_str())
        || is_misspelled(&key)
        || key.split(['_', '-']).any(is_misspelled)
}

/// Returns true for keys of URLs, such as `url`, `ulr` and `webhook_url`. In `[alerts.NAME]` such a URL is a secret.
pub(super) fn may_hold_url(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    // `crl` is a key of its own, and no misspelling of `url`.
    let near = suggest::nearest(&key, ["url", "webhook", "crl"]);
    key.contains("url") || matches!(near, Some("url" | "webhook"))
}

/// Returns true for keys of login names. A value such as `user:password` holds more than the name.
pub(super) fn is_login_key(key: &str) -> bool {
    matches!(key, "user" | "username")
}

/// Masks everything in a line of a broken file that could be a secret.
///
/// Table headers and plain `key = value` lines stay as they are where neither key nor value looks like a secret. Of a
/// URL in such a line the path is masked, since nothing says whether the line belongs to a chat webhook. Of every other
/// line only the punctuation stays.
pub(crate) fn mask_broken_line(line: &str) -> String {
    let trimmed = line.trim_start();
    // A slash is in no key, but in every URL.
    let is_header = trimmed.starts_with('[') && !trimmed.contains(['"', '\'', '=', '/']);
    // Any word of the line counts, since the parser cannot say which of them is a key.
    let has_secret_word = line
        .split(|char: char| !char.is_ascii_alphanumeric() && char != '_')
        .any(may_hold_secret);
    let plain_pair = line.split_once('=').filter(|(key, value)| {
        let is_key = |char: char| char.is_ascii_alphanumeric() || "_-. ".contains(char);
        key.trim_start().chars().all(is_key) && !value.contains(['{', '=', '#', '@'])
    });
    if !has_secret_word && is_header {
        return line.to_owned();
    }
    if let Some((key, value)) = plain_pair.filter(|_| !has_secret_word) {
        let name = key.rsplit('.').next().unwrap_or_default().trim();
        let parts = value.split_at_checked(public_length(name, value));
        let (shown, hidden) = parts.unwrap_or(("", value));
        return format!("{key}={shown}") + &mask_all(hidden);
    }
    let (shown, hidden) = match line.split_once('=') {
        Some((key, value)) if !key.contains(['"', '\'']) => (format!("{key}="), value),
        _ => (String::new(), line),
    };
    shown + &mask_all(hidden)
}

/// Returns how many bytes of the value of a plain `key = value` line may be shown.
fn public_length(name: &str, value: &str) -> usize {
    let is_hidden = may_hold_secret(name)
        || (is_login_key(name) && value.contains(':'))
        || (may_hold_url(name) && !value.contains("://"));
    if is_hidden {
        return 0;
    }
    let Some((scheme, rest)) = value.split_once("://") else {
        return value.len();
    };
    let mut parts = rest.split(['/', '?', '"', '\'']);
    let authority = parts.next().unwrap_or_default();
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    // A password has an `@` behind it, unless that is what is wrong with the line.
    match authority.split_once(':') {
        Some((_, rest)) if !is_port(rest) => 0,
        _ => scheme.len() + "://".len() + authority.len(),
    }
}

/// Masks a whole text except its punctuation.
pub(crate) fn mask_all(text: &str) -> String {
    text.chars().map(mask_char).collect()
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
                "url = \"https://chat.example/hunter2",
                "url = \"https://chat.example********",
            ),
            (
                "alerts.ops.ulr = chat.example/hunter2",
                "alerts.ops.ulr = ********************",
            ),
            ("up = \"http://h?hunter2", "up = \"http://h********"),
            (
                "up = \"http://h:8080/hunter2",
                "up = \"http://h:8080********",
            ),
            ("up = \"http://u:hunter2", "up = \"****************"),
            ("user = \"u:hunter2", "user = \"*********"),
            ("hmac-ky = \"hunter2", "hmac-ky = \"*******"),
            ("[http://h/hunter2", "[****************"),
            // A part of the line was masked before.
            (
                "[*************.example/hunter2]",
                "[*****************************]",
            ),
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
