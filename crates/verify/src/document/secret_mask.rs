//! Finds the literal secrets of a parsed config, for masking in reports.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::mask::{
    HEADERS, PLACES, is_login_key, looks_like_variable, may_hold_secret, may_hold_url,
};
use crate::document::report::DiagnosticReport;
use crate::document::suggest;
use crate::net::redact;

/// The section of receivers of alerts. The URL of a chat webhook is all that a post to the chat needs.
const ALERTS: &str = "alerts";

/// Sections whose keys are names that the operator chose.
const NAMED: [&str; 3] = ["routes", "destinations", "upstreams"];

/// Properties that a value inherits from the keys above it.
#[derive(Clone, Copy, Default)]
struct MaskContext {
    /// The value belongs to a key for secrets.
    is_secret: bool,
    /// The value belongs to a receiver of alerts.
    is_alert: bool,
    /// The keys here are names that the operator chose.
    has_own_names: bool,
}

/// Marks each literal secret of the parsed text for masking in the report.
pub(crate) fn mask_secrets(root: &DeTable<'_>, report: &mut DiagnosticReport) {
    mask_table(root, MaskContext::default(), report);
}

fn mask_table(table: &DeTable<'_>, context: MaskContext, report: &mut DiagnosticReport) {
    for (key, value) in table {
        let name: &str = key.get_ref();
        // A URL in the place of a key: the operator has swapped the two.
        if name.contains("://") {
            report.mask(key.span().into());
            report.hide_text(name);
        }
        // A key such as `env` below a secret holds the secret's location, which helps the operator.
        let is_place = PLACES.contains(&name);
        let inherited = MaskContext {
            is_secret: context.is_secret && !is_place,
            // At any depth, since the line may be below the wrong header. But a route may have this name, too.
            is_alert: context.is_alert
                || (!context.has_own_names && suggest::nearest(name, [ALERTS]).is_some()),
            has_own_names: false,
        };
        mask_entry(name, value, inherited, report);
    }
}

fn mask_entry(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    inherited: MaskContext,
    report: &mut DiagnosticReport,
) {
    // A scheme has `header = "NAME"`, so only a table counts as a misspelling of `headers`.
    let is_headers = key == HEADERS
        || (value.get_ref().is_table() && suggest::nearest(key, [HEADERS]).is_some());
    let context = MaskContext {
        is_secret: inherited.is_secret
            || is_headers
            || may_hold_secret(key)
            || (inherited.is_alert && may_hold_url(key)),
        has_own_names: NAMED.contains(&key),
        ..inherited
    };
    match value.get_ref() {
        DeValue::Table(table) => mask_table(table, context, report),
        DeValue::Array(items) => {
            for item in items {
                mask_entry(key, item, context, report);
            }
        }
        DeValue::String(text) => {
            let is_misplaced = has_password(text)
                || has_secret_parameter(text)
                || (context.is_alert && text.contains("://"))
                || (is_login_key(key) && text.contains(':'))
                // An operator may have pasted the secret where the name of its variable belongs.
                || (key == "env" && !looks_like_variable(text));
            if is_misplaced {
                report.hide_text(text);
            }
            if is_misplaced || context.is_secret {
                report.mask(value.span().into());
            }
        }
        _ if context.is_secret => report.mask(value.span().into()),
        _ => {}
    }
}

/// Returns true for a text such as `user:password@host`, with or without a scheme. The config rejects such a text, but
/// the rejection shows the line.
fn has_password(text: &str) -> bool {
    let Some((before, _)) = text.rsplit_once('@') else {
        return false;
    };
    let word = before.rsplit(char::is_whitespace).next();
    let mut parts = word.unwrap_or_default().split(':').skip(1);
    // Paths such as `unix:/run/app@1.sock`, and the abstract socket `unix:@app`, have no password.
    let is_login = parts.any(|part| !part.is_empty() && !part.starts_with('/'));
    (text.contains("://") || is_login) && !is_plain_database(text)
}

/// Returns true for a URL, or a list of settings as libpq reads it, with a parameter for a secret.
fn has_secret_parameter(text: &str) -> bool {
    let mut pairs = text
        .split(['?', '&', ';', ' '])
        .filter_map(|pair| pair.split_once('='));
    pairs.any(|(name, _)| {
        let name = name.to_ascii_lowercase();
        name.starts_with("passw") || (text.contains("://") && redact::is_secret(&name))
    })
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
