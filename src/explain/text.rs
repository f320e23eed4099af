//! Hypotheses about the signed text: the sender signs another template than the scheme's.

use hookgate_verify::scheme::spec::{SchemeFamily, SchemeSpec, SignedTemplate, TemplatePart};

use crate::explain::case::RefusalCase;
use crate::explain::cause::{CauseFinding, RefusalCause};
use crate::explain::trial::TrialBudget;

/// Finds the first other template under which the request verifies.
pub(super) fn find(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
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
            return Some(RefusalCause::SignedText.proven(&words));
        }
    }
    None
}

fn set_text(spec: &mut SchemeSpec, parts: Vec<TemplatePart>) {
    match &mut spec.family {
        SchemeFamily::Hmac(family) => family.signed = SignedTemplate { parts },
        SchemeFamily::Text(family) => family.signed = SignedTemplate { parts },
        SchemeFamily::Token(_)
        | SchemeFamily::Jwt(_)
        | SchemeFamily::Certificate(_)
        | SchemeFamily::Http(_) => {}
    }
}

/// Returns common templates, as far as the scheme and the route provide their parts.
fn variants(spec: &SchemeSpec, has_url: bool) -> Vec<(Vec<TemplatePart>, String)> {
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
fn parts(text: &str) -> Vec<TemplatePart> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        // The templates are constants above, so braces always match.
        let (name, behind) = after.split_once('}').unwrap_or((after, ""));
        if !before.is_empty() {
            parts.push(TemplatePart::Literal(before.to_owned()));
        }
        parts.push(match name {
            "timestamp" => TemplatePart::Timestamp,
            "id" => TemplatePart::Id,
            "method" => TemplatePart::Method,
            "path" => TemplatePart::Path,
            "path_query" => TemplatePart::PathQuery,
            "url" => TemplatePart::Url,
            _ => TemplatePart::Body,
        });
        rest = behind;
    }
    if !rest.is_empty() {
        parts.push(TemplatePart::Literal(rest.to_owned()));
    }
    parts
}
