//! Phrases about keys and ages that several families share.

use std::time::Duration;

use crate::model::span;
use crate::scheme::spec::{SchemeSpec, SecretEncoding, SecretForm};

/// Label and text of a line.
pub(crate) type LabeledLine = (&'static str, String);

/// Describes the key of a scheme with a template.
pub(super) fn key(spec: &SchemeSpec) -> String {
    match (spec.is_public_key(), spec.known_key()) {
        (true, Some(_)) => "the provider's well-known public key, built into hookgate".to_owned(),
        (true, None) => "the provider's public key, set as `secret` of the route".to_owned(),
        (false, _) => secret_form(&spec.secret_form()),
    }
}

/// Describes how the text of a secret becomes the key.
pub(super) fn secret_form(form: &SecretForm) -> String {
    let how = match form.encoding {
        SecretEncoding::Utf8 => "the text of the secret",
        SecretEncoding::Base64 => "the secret, decoded from base64",
        SecretEncoding::Hex => "the secret, decoded from hexadecimal",
    };
    let mut text = how.to_owned();
    if !form.strip_prefix.is_empty() {
        text.push_str(&format!(", without `{}` in front", form.strip_prefix));
    }
    if let Some(algorithm) = form.derive {
        text = format!("the {} of {text}", algorithm.name());
    }
    text
}

/// Describes the age at which a signature is no longer accepted.
pub(super) fn age_limit(tolerance: Duration) -> String {
    let tolerance = span::format_as_config(tolerance);
    format!("refused when more than {tolerance} old or ahead")
}
