//! Hypotheses about the signed text: the sender signs another template than the scheme's.

use crate::explain::case::Case;
use crate::explain::cause::{Cause, Finding};
use crate::explain::trial::Hunt;
use crate::scheme::spec::{Family, Part, Spec, Template};

/// Finds the first other template under which the request verifies.
pub(super) fn find(case: &Case<'_>, hunt: &mut Hunt) -> Option<Finding> {
    let own = case.route.scheme.template()?.parts.clone();
    for (parts, words) in variants(&case.route.scheme, case.base.public_url.is_some()) {
        // The gate itself has already verified this text.
        if parts == own {
            continue;
        }
        let trial = case
            .base
            .varied(|trial| set_text(trial.spec.to_mut(), parts));
        if hunt.passes(&trial) {
            return Some(Cause::SignedText.proven(&words));
        }
    }
    None
}

fn set_text(spec: &mut Spec, parts: Vec<Part>) {
    match &mut spec.family {
        Family::Hmac(family) => family.signed = Template { parts },
        Family::Text(family) => family.signed = Template { parts },
        Family::Token(_) | Family::Jwt(_) | Family::Certificate(_) | Family::Http(_) => {}
    }
}

/// Returns common templates, as far as the scheme and the route provide their parts.
fn variants(spec: &Spec, has_url: bool) -> Vec<(Vec<Part>, String)> {
    let is_dated = spec.is_dated();
    let has_id = spec.id_header().is_some();
    let templates = [
        "{body}",
        "{timestamp}.{body}",
        "{timestamp}{body}",
        "{timestamp}:{body}",
        "{timestamp}|{body}",
        "{timestamp},{body}",
        "{timestamp}-{body}",
        "{timestamp} {body}",
        "{timestamp}\n{body}",
        "{body}{timestamp}",
        "{body}.{timestamp}",
        "{body}:{timestamp}",
        "{body}|{timestamp}",
        "v0:{timestamp}:{body}",
        "v1:{timestamp}:{body}",
        "{id}.{timestamp}.{body}",
        "{id}{timestamp}{body}",
        "{timestamp}.{id}.{body}",
        "{id}.{body}",
        "{id}{body}",
        "{method}{path_query}{body}",
        "{method}{path_query}{body}{timestamp}",
        "{method}{path_query}{timestamp}{body}",
        "{timestamp}{method}{path_query}{body}",
        "{path_query}{body}",
        "{path}{body}",
        "{url}{body}",
        "{method}{url}{body}",
        "{method}{url}{body}{timestamp}",
    ];
    // A template with a part that the scheme does not have cannot be verified.
    let fits = |text: &&str| {
        (is_dated || !text.contains("{timestamp}"))
            && (has_id || !text.contains("{id}"))
            && (has_url || !text.contains("{url}"))
    };
    let fitting = templates.into_iter().filter(fits);
    fitting
        .map(|text| (parts(text), format!("`{}`", text.replace('\n', "\\n"))))
        .collect()
}

/// Parses one of the templates above.
fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        // The templates are constants above, so braces always match.
        let (name, behind) = after.split_once('}').unwrap_or((after, ""));
        if !before.is_empty() {
            parts.push(Part::Literal(before.to_owned()));
        }
        parts.push(match name {
            "timestamp" => Part::Timestamp,
            "id" => Part::Id,
            "method" => Part::Method,
            "path" => Part::Path,
            "path_query" => Part::PathQuery,
            "url" => Part::Url,
            _ => Part::Body,
        });
        rest = behind;
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.to_owned()));
    }
    parts
}
