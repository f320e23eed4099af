//! HTTP Message Signatures (RFC 9421) in words.

use std::time::Duration;

use crate::scheme::spec::{HttpAlgorithm, HttpParameter, HttpSpec};
use crate::scheme::words::phrases::{LabeledLine, age_limit, secret_form};

/// Describes the kind and the algorithm of a signature.
pub(super) fn signature(spec: &HttpSpec) -> String {
    let algorithm = spec.algorithm.name();
    format!("an HTTP Message Signature (RFC 9421) with {algorithm}")
}

/// Describes how a signature is verified, as labeled sentences.
pub(super) fn lines(spec: &HttpSpec, tolerance: Duration) -> Vec<LabeledLine> {
    let label = match &spec.label {
        Some(label) => format!(" under the label `{label}`"),
        None => String::new(),
    };
    let signature = format!(
        "{}, in the headers `signature-input` and `signature`{label}",
        signature(spec)
    );
    let mut lines = vec![("signature", signature)];
    let components: Vec<&str> = spec
        .components
        .iter()
        .map(|one| one.identifier.as_str())
        .collect();
    let covers = match components.is_empty() {
        true => "no component is required".to_owned(),
        false => format!("at least {}", components.join(", ")),
    };
    lines.push(("covers", covers));
    if spec.algorithm == HttpAlgorithm::HmacSha256 {
        lines.push(("key", secret_form(&spec.secret)));
    } else {
        lines.push(("key", "the sender's public key".to_owned()));
    }
    if let Some(tag) = &spec.tag {
        lines.push(("required", format!("`{tag}` in the parameter `tag`")));
    }
    if !spec.keyids.is_empty() {
        let keyids = spec.keyids.join("` or `");
        lines.push(("required", format!("`{keyids}` in the parameter `keyid`")));
    }
    lines.push(("time", time(spec, tolerance)));
    lines
}

fn time(spec: &HttpSpec, tolerance: Duration) -> String {
    let mut parts = Vec::new();
    if spec.requires(HttpParameter::Created) {
        parts.push(format!("the parameter `created`; {}", age_limit(tolerance)));
    }
    if spec.requires(HttpParameter::Expires) {
        parts.push("until the parameter `expires`".to_owned());
    }
    match parts.is_empty() {
        true => "no time parameter is required".to_owned(),
        false => parts.join(", and "),
    }
}
