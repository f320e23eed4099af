//! What goes wrong with secrets: copied with something around it, decoded or not, another endpoint's, out of its time.
//!
//! Reads secrets to try other readings of them. Nothing here puts one, or any part of one, into a text.

use data_encoding::{
    BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE,
};
use zeroize::Zeroizing;

use crate::config::model::SecretEntry;
use crate::explain::case::Case;
use crate::explain::cause::{Cause, Finding};
use crate::explain::trial::{Hunt, Trial, timeless};
use crate::scheme::spec::{Family, SecretEncoding, SecretForm, Spec};

/// What providers put before the keys that they show.
const PREFIXES: [&str; 5] = ["whsec_", "v1,whsec_", "whpk_", "sk_", "ss_"];

/// Another reading of a secret.
struct Reading {
    cause: Cause,
    detail: &'static str,
    bytes: Zeroizing<Vec<u8>>,
    /// Whether the bytes are the key itself; else they are a text that the scheme reads as it does.
    is_key: bool,
}

/// The first reading under which the request verifies.
pub(super) fn find(case: &Case<'_>, hunt: &mut Hunt) -> Option<Finding> {
    let found = outside_its_time(case, hunt);
    let found = found.or_else(|| read_otherwise(case, hunt));
    found.or_else(|| of_other_routes(case, hunt))
}

/// A secret of the route that does not count yet, or no more.
fn outside_its_time(case: &Case<'_>, hunt: &mut Hunt) -> Option<Finding> {
    let entries = &case.route.secrets;
    let now = case.base.now.unix_ms;
    if entries.iter().all(|entry| entry.is_current(now)) {
        return None;
    }
    let label = hunt.label(&case.base)?;
    let entry = entries.iter().find(|entry| entry.label == label)?;
    let is_over = entry.until_ms.is_some_and(|until| until <= now);
    let cause = match (is_over, entry.is_current(now)) {
        (_, true) => return None,
        (true, false) => Cause::SecretExpired,
        (false, false) => Cause::SecretNotYet,
    };
    Some(cause.proven(&label))
}

fn read_otherwise(case: &Case<'_>, hunt: &mut Hunt) -> Option<Finding> {
    let form = case.route.scheme.secret_form();
    for entry in &case.route.secrets {
        for reading in readings(entry.secret.expose(), &form) {
            let mut trial = case.base.with_secret(&reading.bytes);
            if reading.is_key {
                let derive = form.derive;
                let plain = SecretForm {
                    derive,
                    ..SecretForm::default()
                };
                set_form(trial.spec.to_mut(), plain);
            }
            if hunt.passes(&trial) {
                return Some(reading.cause.proven(reading.detail));
            }
        }
    }
    None
}

/// Of any other route, in its own time or not.
fn of_other_routes(case: &Case<'_>, hunt: &mut Hunt) -> Option<Finding> {
    let mut others = case.others();
    let found = others.find(|other| {
        let secrets = timeless(&other.secrets);
        let trial: Trial<'_> = case.base.varied(|trial| trial.secrets = secrets);
        !other.scheme.has_own_keys()
            && has_other_text(other.secrets.as_slice(), case)
            && hunt.passes(&trial)
    });
    found.map(|other| Cause::SecretOfOtherRoute.proven(other.name.as_str()))
}

/// Whether it has a secret that this route has not.
fn has_other_text(entries: &[SecretEntry], case: &Case<'_>) -> bool {
    let own = &case.route.secrets;
    entries.iter().any(|entry| {
        let text = entry.secret.expose();
        !own.iter().any(|own| own.secret.is_equal(text))
    })
}

fn set_form(spec: &mut Spec, form: SecretForm) {
    match &mut spec.family {
        Family::Hmac(family) => family.secret = form,
        Family::Text(family) => family.secret = form,
        Family::Jwt(family) => family.secret = form,
        Family::Http(family) => family.secret = form,
        Family::Token(_) | Family::Certificate(_) => {}
    }
}

/// Every other reading of a secret's text, likely ones first.
fn readings(text: &[u8], form: &SecretForm) -> Vec<Reading> {
    let mut readings = Vec::new();
    unwrapped(text, &mut readings);
    wrapped(text, &mut readings);
    as_keys(text, form, &mut readings);
    readings
}

/// Without what was copied along with it here.
fn unwrapped(text: &[u8], readings: &mut Vec<Reading>) {
    let mut add = |cause, bytes: &[u8]| {
        readings.push(Reading {
            cause,
            detail: "",
            bytes: Zeroizing::new(bytes.to_vec()),
            is_key: false,
        });
    };
    let trimmed = text.trim_ascii();
    if trimmed.len() < text.len() {
        add(Cause::SecretWhitespace, trimmed);
    }
    for quote in [b"\"", b"'"] {
        let inner = trimmed.strip_prefix(quote);
        if let Some(inner) = inner.and_then(|inner| inner.strip_suffix(quote)) {
            add(Cause::SecretQuoted, inner);
        }
    }
}

/// With what was copied along with it at the sender.
fn wrapped(text: &[u8], readings: &mut Vec<Reading>) {
    let around: [(&'static str, &[u8], &[u8]); 5] = [
        ("a line end", b"", b"\n"),
        ("a line end", b"", b"\r\n"),
        ("a space", b"", b" "),
        ("quotes", b"\"", b"\""),
        ("quotes", b"'", b"'"),
    ];
    for (detail, before, after) in around {
        readings.push(Reading {
            cause: Cause::SenderSecretUnclean,
            detail,
            bytes: Zeroizing::new([before, text, after].concat()),
            is_key: false,
        });
    }
}

/// As other keys than the scheme's reading gives.
fn as_keys(text: &[u8], form: &SecretForm, readings: &mut Vec<Reading>) {
    let mut add = |cause, detail, bytes: Vec<u8>| {
        readings.push(Reading {
            cause,
            detail,
            bytes: Zeroizing::new(bytes),
            is_key: true,
        });
    };
    let bare = text
        .strip_prefix(form.strip_prefix.as_bytes())
        .unwrap_or(text);
    if form.encoding != SecretEncoding::Utf8 {
        add(
            Cause::SecretDecoded,
            "the text of the secret itself",
            text.to_vec(),
        );
        add(
            Cause::SecretDecoded,
            "the text behind the prefix",
            bare.to_vec(),
        );
    } else if bare.len() < text.len() {
        add(
            Cause::SecretPrefix,
            "the secret with its prefix",
            text.to_vec(),
        );
    }
    for prefix in PREFIXES {
        if let Some(rest) = text.strip_prefix(prefix.as_bytes()) {
            add(
                Cause::SecretPrefix,
                "the text behind the prefix",
                rest.to_vec(),
            );
            for key in decoded_base64(rest) {
                add(
                    Cause::SecretPrefix,
                    "the base64-decoded text behind the prefix",
                    key,
                );
            }
        } else {
            let whole = [prefix.as_bytes(), text].concat();
            add(
                Cause::SecretPrefix,
                "the secret with a prefix that was left out here",
                whole,
            );
        }
    }
    for key in decoded_base64(bare) {
        for twice in decoded_base64(&key) {
            add(Cause::SecretNotDecoded, "twice base64-encoded", twice);
        }
        add(Cause::SecretNotDecoded, "base64", key);
    }
    if let Ok(key) = HEXLOWER_PERMISSIVE.decode(bare) {
        add(Cause::SecretNotDecoded, "hexadecimal", key);
    }
    let detail = "the base64 text of these bytes";
    add(
        Cause::SecretDecoded,
        detail,
        BASE64.encode(bare).into_bytes(),
    );
    let detail = "the hexadecimal text of these bytes";
    add(
        Cause::SecretDecoded,
        detail,
        HEXLOWER.encode(bare).into_bytes(),
    );
}

/// What a text stands for in any of the spellings of base64.
fn decoded_base64(text: &[u8]) -> Vec<Vec<u8>> {
    let spellings = [BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD];
    let decoded = spellings
        .iter()
        .filter_map(|spelling| spelling.decode(text).ok());
    let mut keys: Vec<Vec<u8>> = decoded.filter(|key| !key.is_empty()).collect();
    keys.dedup();
    keys
}
