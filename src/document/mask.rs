//! Hides literal secrets: the source lines that diagnostics show must never hold one.
//!
//! Every string that stands under a key for secrets is replaced by `*` of the same width before anything is rendered.
//! Lines that are not TOML cannot be trusted to have been parsed right and are hidden by their looks instead.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::report::Report;
use crate::document::suggest;

/// What a key has in its name where its value may be a secret, rightly or by mistake.
const SECRET_WORDS: [&str; 5] = ["secret", "token", "passw", "_key", "sign_upstream"];

/// Headers for others: any of them may be what opens the other side.
const HEADERS: &str = "headers";

/// Keys below a secret's table whose text says where the secret stands, not what it is.
const PLACES: [&str; 12] = [
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

/// Marks each literal secret of the parsed text, so that the report hides it.
pub fn hide_secrets(root: &DeTable<'_>, report: &mut Report) {
    for (key, value) in root {
        hide_below(key.get_ref(), value, false, report);
    }
}

fn hide_below(key: &str, value: &Spanned<DeValue<'_>>, inherited: bool, report: &mut Report) {
    let is_secret = inherited || may_hold_secret(key) || key == HEADERS;
    match value.get_ref() {
        DeValue::Table(table) => {
            for (key, value) in table {
                let is_place = PLACES.contains(&key.get_ref().as_ref());
                hide_below(key.get_ref(), value, is_secret && !is_place, report);
            }
        }
        DeValue::Array(items) => {
            for item in items {
                hide_below(key, item, is_secret, report);
            }
        }
        // A URL may hold a password, though no URL of a config may.
        DeValue::String(text) if text.contains("://") && text.contains('@') => {
            report.mask(value.span().into());
        }
        // A secret that was pasted where the name of its variable belongs.
        DeValue::String(text) if key == "env" && !looks_like_variable(text) => {
            report.mask(value.span().into());
        }
        _ if is_secret => report.mask(value.span().into()),
        _ => {}
    }
}

/// Whether a text is a name such as `STRIPE_SECRET`, which may be shown.
#[must_use]
pub fn looks_like_variable(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// `secret` and `token`, their misspellings, and names that contain them.
fn may_hold_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
        || suggest::nearest(&key, ["secret", "token"]).is_some()
}

/// The text of a line of a broken file with everything hidden that could be a secret.
///
/// Shown as it stands: table headers and plain `key = value` lines whose key and value do not look like they hold one.
/// Of every other line only the punctuation stays.
#[must_use]
pub fn hide_broken_line(line: &str) -> String {
    let trimmed = line.trim_start();
    let is_header = trimmed.starts_with('[') && !trimmed.contains(['"', '\'', '=']);
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
    shown + &hidden.chars().map(hide_char).collect::<String>()
}

/// Replaces a character by `*`s of the same length in bytes, so that spans go on fitting; line ends and the
/// punctuation of TOML stay.
fn hide_char(char: char) -> String {
    match char {
        '"' | '\'' | '[' | ']' | '{' | '}' | ',' | ' ' | '\t' | '\r' => char.to_string(),
        _ => "*".repeat(char.len_utf8()),
    }
}

/// Hides a whole span, but for quotes at its ends and line ends.
#[must_use]
pub fn hide_value(text: &str) -> String {
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
            assert_eq!(hide_broken_line(line), shown);
            assert_eq!(hide_broken_line(line).len(), line.len());
        }
    }
}
