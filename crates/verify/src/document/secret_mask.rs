//! Finds the literal secrets of a parsed config, for masking in reports.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::mask::{HEADERS, PLACES, looks_like_variable, may_hold_secret};
use crate::document::report::DiagnosticReport;

/// Marks each literal secret of the parsed text for masking in the report.
pub(crate) fn mask_secrets(root: &DeTable<'_>, report: &mut DiagnosticReport) {
    for (key, value) in root {
        mask_table(key.get_ref(), value, false, report);
        if key.get_ref() == "alerts" {
            mask_chat_urls(value, report);
        }
    }
}

/// Marks the URLs of alert receivers. The URL of a chat webhook is all that a post to the chat needs.
fn mask_chat_urls(receivers: &Spanned<DeValue<'_>>, report: &mut DiagnosticReport) {
    let DeValue::Table(receivers) = receivers.get_ref() else {
        return;
    };
    for receiver in receivers.values() {
        let url = match receiver.get_ref() {
            DeValue::Table(receiver) => receiver.get("url"),
            _ => None,
        };
        // A table says where the URL is, which helps the operator.
        if let Some(url) = url.filter(|url| matches!(url.get_ref(), DeValue::String(_))) {
            report.mask(url.span().into());
        }
    }
}

pub(crate) fn mask_table(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    inherited: bool,
    report: &mut DiagnosticReport,
) {
    let is_secret = inherited || may_hold_secret(key) || key == HEADERS;
    match value.get_ref() {
        DeValue::Table(table) => {
            for (key, value) in table {
                // A key such as `env` below a secret holds the secret's location, which helps the operator.
                let is_place = PLACES.contains(&key.get_ref().as_ref());
                mask_table(key.get_ref(), value, is_secret && !is_place, report);
            }
        }
        DeValue::Array(items) => {
            for item in items {
                mask_table(key, item, is_secret, report);
            }
        }
        // A URL may contain a password. The config rejects such URLs, but the rejection shows the line.
        DeValue::String(text)
            if text.contains("://") && text.contains('@') && !is_plain_database(text) =>
        {
            report.mask(value.span().into());
        }
        // An operator may have pasted the secret where the name of its variable belongs.
        DeValue::String(text) if key == "env" && !looks_like_variable(text) => {
            report.mask(value.span().into());
        }
        _ if is_secret => report.mask(value.span().into()),
        _ => {}
    }
}

/// Returns true for the URL of a database with a user and no password, which may be shown.
fn is_plain_database(text: &str) -> bool {
    let rest = text
        .strip_prefix("postgres://")
        .or_else(|| text.strip_prefix("postgresql://"));
    rest.is_some_and(|rest| {
        // Everything up to the last `@` counts, since a password may hold any character.
        let user = rest.rsplit_once('@').map_or("", |(user, _)| user);
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        user.bytes().all(is_name) && !rest.to_ascii_lowercase().contains("pass")
    })
}
