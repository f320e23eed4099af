//! Describes HTTP Message Signatures (RFC 9421), for `providers show`.

use std::time::Duration;

use crate::cli::providers::describe::{self, LabeledLine};
use crate::scheme::spec::{
    ComponentSource, HttpAlgorithm, HttpParameter, HttpSpec, SignatureComponent,
};

/// Describes how a signature is verified, as labeled sentences.
pub(super) fn lines(spec: &HttpSpec, tolerance: Duration) -> Vec<LabeledLine> {
    let label = match &spec.label {
        Some(label) => format!(" under the label `{label}`"),
        None => String::new(),
    };
    let signature = format!(
        "an HTTP Message Signature (RFC 9421) with {}, in the headers `signature-input` and `signature`{label}",
        spec.algorithm.name()
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
        lines.push(("key", describe::secret_form(&spec.secret)));
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
        let far = describe::duration(tolerance);
        parts.push(format!(
            "the parameter `created`; refused when more than {far} old or ahead"
        ));
    }
    if spec.requires(HttpParameter::Expires) {
        parts.push("until the parameter `expires`".to_owned());
    }
    match parts.is_empty() {
        true => "no time parameter is required".to_owned(),
        false => parts.join(", and "),
    }
}

/// Lists the parts of a request that an untrusted client could change without breaking the signature.
pub(super) fn leaves_open(spec: &HttpSpec) -> Vec<String> {
    use ComponentSource as Source;
    let covers = |wanted: &[Source]| {
        let mut components = spec.components.iter();
        components.any(|one| wanted.contains(&one.source))
    };
    let mut out = Vec::new();
    if !spec.components.iter().any(SignatureComponent::binds_body) {
        out.push("the body".to_owned());
    }
    // `@target-uri` and `@request-target` contain path and query (RFC 9421, sections 2.2.2 and 2.2.5).
    let is_whole = covers(&[Source::TargetUri, Source::RequestTarget]);
    match (
        is_whole || covers(&[Source::Path]),
        is_whole || covers(&[Source::Query]),
    ) {
        (true, true) => {}
        (true, false) => out.push("the query".to_owned()),
        (false, true) => out.push("the path".to_owned()),
        (false, false) => out.push("path and query".to_owned()),
    }
    if !covers(&[Source::Method]) {
        out.push("the method".to_owned());
    }
    out
}
