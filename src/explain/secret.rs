//! Hypotheses about secrets: surrounding characters, decoding, another endpoint, validity period.
//!
//! This module reads secrets to try variants of them. It must never put a secret, or any part of one, into a text.

use data_encoding::{
    BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE,
};
use hookgate_verify::scheme::spec::{SchemeFamily, SchemeSpec, SecretEncoding, SecretForm};
use zeroize::Zeroizing;

use crate::config::model::SecretEntry;
use crate::explain::case::RefusalCase;
use crate::explain::cause::{CauseFinding, RefusalCause};
use crate::explain::trial::{TrialBudget, VerificationTrial, timeless};

/// Prefixes that providers show in front of their keys.
const PREFIXES: [&str; 5] = ["whsec_", "v1,whsec_", "whpk_", "sk_", "ss_"];

/// Variant of a secret to try.
struct SecretReading {
    cause: RefusalCause,
    detail: &'static str,
    bytes: Zeroizing<Vec<u8>>,
    /// True if the bytes are the key itself; false if they are a text that the scheme still decodes.
    is_key: bool,
}

/// Finds the first variant of a secret, or other route's secret, under which the request verifies.
pub(super) fn find(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    // Likely and cheap causes first: one try for all periods, then some twenty readings per secret.
    let found = outside_its_time(case, hunt);
    let found = found.or_else(|| read_otherwise(case, hunt));
    found.or_else(|| of_other_routes(case, hunt))
}

/// Checks if the request verifies with a secret outside of its validity period.
fn outside_its_time(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    let entries = &case.route.secrets;
    let now = case.base.now.unix_ms;
    if entries.iter().all(|entry| entry.is_current(now)) {
        return None;
    }
    // `base` holds all secrets without their periods, so a match here is with one that the gate skipped.
    let label = hunt.label(&case.base)?;
    let entry = entries.iter().find(|entry| entry.label == label)?;
    let is_over = entry.until_ms.is_some_and(|until| until <= now);
    let cause = match (is_over, entry.is_current(now)) {
        // The matching secret is current, so the reject has another cause.
        (_, true) => return None,
        (true, false) => RefusalCause::SecretExpired,
        (false, false) => RefusalCause::SecretNotYet,
    };
    Some(cause.proven(&label))
}

/// Tries every variant of each secret of the route.
fn read_otherwise(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    let form = case.route.scheme.secret_form();
    for entry in &case.route.secrets {
        for reading in readings(entry.secret.expose(), &form) {
            let mut trial = case.base.with_secret(&reading.bytes);
            if reading.is_key {
                // The variant replaces the decoding only; a derivation of the key belongs to the scheme and stays.
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

/// Tries the secrets of all other routes, regardless of their validity periods.
fn of_other_routes(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    let mut others = case.others();
    let found = others.find(|other| {
        let secrets = timeless(&other.secrets);
        let trial: VerificationTrial<'_> = case.base.varied(|trial| trial.secrets = secrets);
        // Routes with published keys have no secret to mix up.
        !other.scheme.has_own_keys()
            && has_other_text(other.secrets.as_slice(), case)
            && hunt.passes(&trial)
    });
    found.map(|other| RefusalCause::SecretOfOtherRoute.proven(other.name.as_str()))
}

/// Returns true if there is a secret that this route does not have; the others were already tried.
fn has_other_text(entries: &[SecretEntry], case: &RefusalCase<'_>) -> bool {
    let own = &case.route.secrets;
    entries.iter().any(|entry| {
        let text = entry.secret.expose();
        !own.iter().any(|own| own.secret.is_equal(text))
    })
}

fn set_form(spec: &mut SchemeSpec, form: SecretForm) {
    match &mut spec.family {
        SchemeFamily::Hmac(family) => family.secret = form,
        SchemeFamily::Text(family) => family.secret = form,
        SchemeFamily::Jwt(family) => family.secret = form,
        SchemeFamily::Http(family) => family.secret = form,
        SchemeFamily::Token(_) | SchemeFamily::Certificate(_) => {}
    }
}

/// Returns all variants of a secret's text, likely ones first.
fn readings(text: &[u8], form: &SecretForm) -> Vec<SecretReading> {
    let mut readings = Vec::new();
    // In the order of likelihood: a copied line end is by far the most common mistake.
    unwrapped(text, &mut readings);
    wrapped(text, &mut readings);
    as_keys(text, form, &mut readings);
    readings
}

/// Adds variants without white space or quotes that were copied into the config's secret.
fn unwrapped(text: &[u8], readings: &mut Vec<SecretReading>) {
    let mut add = |cause, bytes: &[u8]| {
        readings.push(SecretReading {
            cause,
            detail: "",
            bytes: Zeroizing::new(bytes.to_vec()),
            is_key: false,
        });
    };
    // Quotes may be inside of white space, so the trimmed text is the base for both.
    let trimmed = text.trim_ascii();
    if trimmed.len() < text.len() {
        add(RefusalCause::SecretWhitespace, trimmed);
    }
    for quote in [b"\"", b"'"] {
        let inner = trimmed.strip_prefix(quote);
        if let Some(inner) = inner.and_then(|inner| inner.strip_suffix(quote)) {
            add(RefusalCause::SecretQuoted, inner);
        }
    }
}

/// Adds variants with white space or quotes that may have been copied into the sender's secret.
fn wrapped(text: &[u8], readings: &mut Vec<SecretReading>) {
    let around: [(&'static str, &[u8], &[u8]); 5] = [
        ("a line end", b"", b"\n"),
        ("a line end", b"", b"\r\n"),
        ("a space", b"", b" "),
        ("quotes", b"\"", b"\""),
        ("quotes", b"'", b"'"),
    ];
    for (detail, before, after) in around {
        readings.push(SecretReading {
            cause: RefusalCause::SenderSecretUnclean,
            detail,
            bytes: Zeroizing::new([before, text, after].concat()),
            is_key: false,
        });
    }
}

/// Adds variants with another decoding or prefix than the scheme's.
fn as_keys(text: &[u8], form: &SecretForm, readings: &mut Vec<SecretReading>) {
    let mut add = |cause, detail, bytes: Vec<u8>| {
        readings.push(SecretReading {
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
            RefusalCause::SecretDecoded,
            "the text of the secret itself",
            text.to_vec(),
        );
        add(
            RefusalCause::SecretDecoded,
            "the text behind the prefix",
            bare.to_vec(),
        );
    // A text secret with a prefix: the sender may sign with the whole text.
    } else if bare.len() < text.len() {
        add(
            RefusalCause::SecretPrefix,
            "the secret with its prefix",
            text.to_vec(),
        );
    }
    for prefix in PREFIXES {
        if let Some(rest) = text.strip_prefix(prefix.as_bytes()) {
            add(
                RefusalCause::SecretPrefix,
                "the text behind the prefix",
                rest.to_vec(),
            );
            for key in decoded_base64(rest) {
                add(
                    RefusalCause::SecretPrefix,
                    "the base64-decoded text behind the prefix",
                    key,
                );
            }
        } else {
            let whole = [prefix.as_bytes(), text].concat();
            add(
                RefusalCause::SecretPrefix,
                "the secret with a prefix that was left out here",
                whole,
            );
        }
    }
    for key in decoded_base64(bare) {
        // A deployment tool may have encoded a base64 key once more.
        for twice in decoded_base64(&key) {
            add(
                RefusalCause::SecretNotDecoded,
                "twice base64-encoded",
                twice,
            );
        }
        add(RefusalCause::SecretNotDecoded, "base64", key);
    }
    if let Ok(key) = HEXLOWER_PERMISSIVE.decode(bare) {
        add(RefusalCause::SecretNotDecoded, "hexadecimal", key);
    }
    let detail = "the base64 text of these bytes";
    add(
        RefusalCause::SecretDecoded,
        detail,
        BASE64.encode(bare).into_bytes(),
    );
    let detail = "the hexadecimal text of these bytes";
    add(
        RefusalCause::SecretDecoded,
        detail,
        HEXLOWER.encode(bare).into_bytes(),
    );
}

/// Decodes a text with every variant of base64 that accepts it.
fn decoded_base64(text: &[u8]) -> Vec<Vec<u8>> {
    let spellings = [BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD];
    let decoded = spellings
        .iter()
        .filter_map(|spelling| spelling.decode(text).ok());
    let mut keys: Vec<Vec<u8>> = decoded.filter(|key| !key.is_empty()).collect();
    // Padded and unpadded variants often give the same key; each would cost a try.
    keys.dedup();
    keys
}
