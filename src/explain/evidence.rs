//! Descriptions of the input that a check requires and of the input that it found.
//!
//! A description must never show the value of a signature or a token, only its form.

use hookgate_verify::scheme::spec::{SchemeFamily, SchemeLocation, SchemeSpec, TokenLocation};
use hookgate_verify::scheme::words;
use http::header;

use crate::config::model::{PathRule, Route};
use crate::explain::case::each_route;
use crate::explain::past_request::PastRequest;
use crate::explain::{head, time};
use crate::gate::reject::Reject;
use crate::gate::route::RouteTable;
use crate::gate::rules::RouteRules;

/// Texts for `expected` and `found` of an explanation.
pub(super) struct CheckEvidence {
    pub(super) expected: String,
    pub(super) found: String,
}

fn evidence(expected: impl Into<String>, found: impl Into<String>) -> CheckEvidence {
    CheckEvidence {
        expected: expected.into(),
        found: found.into(),
    }
}

/// Maximum number of routes, addresses or header names in one text.
const MAX_ROUTES: usize = 8;

/// Describes a request that matches no route.
pub(super) fn of_no_route(routes: &RouteTable<RouteRules>, reject: &Reject) -> CheckEvidence {
    let mut paths: Vec<String> = each_route(routes).take(MAX_ROUTES).map(address).collect();
    // A hint that the list is longer than the text.
    if each_route(routes).count() > MAX_ROUTES {
        paths.push("...".to_owned());
    }
    let found = match reject {
        Reject::NoRoute { host, path } => format!("`{host}{path}`"),
        other => other.explanation().means.to_owned(),
    };
    let expected = format!("host and path of a route: {}", paths.join(", "));
    evidence(expected, found)
}

/// Returns host and path of a route, for people.
fn address(route: &Route) -> String {
    let host = route.host.as_deref().unwrap_or("");
    match &route.path {
        PathRule::Exact(path) => format!("`{host}{path}`"),
        // The three dots mean any rest of the path.
        PathRule::Prefix(path) => format!("`{host}{}/...`", path.trim_end_matches('/')),
    }
}

/// Describes a request that a check of its route rejects.
pub(super) fn of_route(reject: &Reject, rules: &RouteRules, seen: &PastRequest) -> CheckEvidence {
    let route = &**rules.route();
    match reject {
        Reject::Method { method } => {
            let methods: Vec<&str> = route.methods.iter().map(http::Method::as_str).collect();
            evidence(methods.join(" or "), method.as_str())
        }
        Reject::ContentType { found } => evidence(
            format!("one of {}", route.content_types.join(", ")),
            or_none(found),
        ),
        Reject::Framing(fault) => evidence(
            "an unambiguous request head",
            format!("fault: {}", fault.code()),
        ),
        // The declared length is more telling: the gate stops reading at the limit.
        Reject::BodyTooLarge { limit } => {
            let declared = seen.headers.get(header::CONTENT_LENGTH);
            let declared = declared.and_then(|value| value.to_str().ok());
            let found = declared.map_or(seen.body.len().to_string(), str::to_owned);
            evidence(format!("at most {limit} bytes"), format!("{found} bytes"))
        }
        Reject::SourceNotAllowed { ip } => evidence(allowed(route), ip.to_string()),
        Reject::ClientCertMissing => evidence(certificate(route), "no client certificate"),
        Reject::ClientCertInvalid { fault } => evidence(
            certificate(route),
            format!("a client certificate that does not fit: {fault}"),
        ),
        Reject::ClientCertRevoked => evidence(certificate(route), "a revoked client certificate"),
        Reject::ClientCertNotAllowed {
            subject,
            fingerprint,
        } => evidence(
            certificate(route),
            format!("a valid one of `{subject}` with the fingerprint {fingerprint}"),
        ),
        Reject::ClientCertUnchecked { fault } => evidence(
            certificate(route),
            format!("revocation lists that cannot decide: {fault}"),
        ),
        Reject::MissingMaterial { name } => evidence(
            format!(
                "{}, in {}",
                words::signature(&route.scheme),
                named(name, &route.scheme)
            ),
            format!("no `{name}`{}", present(seen)),
        ),
        Reject::MalformedMaterial { name, fault } => evidence(
            format!(
                "{}, in {}",
                words::signature(&route.scheme),
                named(name, &route.scheme)
            ),
            format!("`{name}` {fault}{}", form(name, seen)),
        ),
        Reject::StaleTimestamp {
            age_seconds,
            tolerance,
        } => {
            let came = seen.received_ms.map(|ms| ms.div_euclid(1000));
            // The signed time follows from arrival and age; the header's value is not shown.
            let signed = came.and_then(|came| came.checked_sub(*age_seconds));
            let signed = signed.map(|signed| format!(", signed {}", time::moment(signed)));
            let way = if *age_seconds < 0 { "ahead" } else { "old" };
            evidence(
                format!(
                    "a signed time within {} of the clock here",
                    time::tolerance(*tolerance)
                ),
                format!(
                    "{} {way}{}",
                    time::format_distance(*age_seconds),
                    signed.unwrap_or_default()
                ),
            )
        }
        Reject::BadSignature => evidence(
            format!(
                "{} with {}",
                words::signature(&route.scheme),
                secrets(route)
            ),
            match seen.is_cut {
                // The kept start of a body has a length that would mislead.
                true => "another signature".to_owned(),
                false => format!(
                    "another signature, over a body of {} bytes",
                    seen.body.len()
                ),
            },
        ),
        Reject::NoCurrentSecret => evidence(
            "a secret of the route that is valid at that time",
            secrets(route),
        ),
        Reject::Filtered { by } => evidence(
            format!("an event that passes `{}` of the route", by.code()),
            "an event that does not pass",
        ),
        Reject::Identity { fault } => evidence("an unambiguous event id and type", *fault),
        Reject::Unjudged { fault } => evidence("`when` to be true or false", &**fault),
        Reject::Schema { misfits } => {
            let places: Vec<String> = misfits.iter().map(ToString::to_string).collect();
            evidence("a body that fits the route's schema", places.join("; "))
        }
        Reject::NotJson { fault } => evidence("valid JSON without ambiguities", fault.to_string()),
        Reject::KeyUnavailable { fault } | Reject::Unconfirmed { fault } => {
            evidence("a response of the sender's server", &**fault)
        }
        // The remaining rejects depend on state, or their meaning says it all.
        other => evidence("every check to pass", other.explanation().means),
    }
}

fn or_none(text: &str) -> String {
    match text.is_empty() {
        true => "no content type".to_owned(),
        false => format!("`{text}`"),
    }
}

/// Describes the client certificate that a route demands.
fn certificate(route: &Route) -> String {
    let Some(rule) = &route.client_cert else {
        return "no client certificate".to_owned();
    };
    let (ca, crl) = rule.files();
    let (names, fingerprints) = rule.allowed();
    let mut text = format!("a client certificate of an authority in `{}`", ca.display());
    if !crl.is_empty() {
        text.push_str(", not revoked");
    }
    if !names.is_empty() {
        text.push_str(&format!(", with a name like {}", names.join(" or ")));
    }
    if !fingerprints.is_empty() {
        text.push_str(", with one of the listed fingerprints");
    }
    text
}

fn allowed(route: &Route) -> String {
    let allowed = route.allow_ips.clone().unwrap_or_default();
    let mut parts: Vec<String> = allowed
        .nets
        .iter()
        .take(MAX_ROUTES)
        .map(ToString::to_string)
        .collect();
    if allowed.nets.len() > MAX_ROUTES {
        parts.push("...".to_owned());
    }
    if allowed.is_provider {
        parts.push("the ranges that the provider publishes".to_owned());
    }
    format!("an address in {}", parts.join(", "))
}

fn secrets(route: &Route) -> String {
    // Schemes with published keys have no secret on the route.
    if route.scheme.has_own_keys() {
        return "a key that the sender publishes".to_owned();
    }
    match route.secrets.len() {
        1 => "the route's secret".to_owned(),
        count => format!("one of the route's {count} secrets"),
    }
}

/// Names a location of a scheme, and adds its meaning if it is not that of the signature.
fn named(name: &str, spec: &SchemeSpec) -> String {
    let is_time = time::timestamp_location(spec).is_some_and(|place| match place {
        SchemeLocation::Header(own) => own.as_str() == name,
        SchemeLocation::Query(own) | SchemeLocation::Form(own) => own == name,
        SchemeLocation::Json(_) => false,
    });
    let is_token = matches!(
        &spec.family,
        SchemeFamily::Token(token) if matches!(token.location, TokenLocation::Basic)
    );
    match (is_time, is_token) {
        (true, _) => format!("a request with its time in `{name}`"),
        (_, true) => "`authorization` (Basic)".to_owned(),
        _ => format!("`{name}`"),
    }
}

/// Describes the form of a header's value in brackets.
fn form(name: &str, seen: &PastRequest) -> String {
    let value = seen.headers.get(name).and_then(|value| value.to_str().ok());
    value.map_or_else(String::new, |value| format!(" ({})", head::shape(value)))
}

/// Lists headers whose names suggest that they hold a signature.
fn present(seen: &PastRequest) -> String {
    let mut names: Vec<&str> = seen.headers.keys().map(http::HeaderName::as_str).collect();
    names.retain(|name| {
        ["signature", "hmac", "token", "sign"]
            .iter()
            .any(|word| name.contains(word))
    });
    // Names only: a value may be a token or a valid signature.
    names.truncate(MAX_ROUTES);
    match names.is_empty() {
        true => String::new(),
        false => format!(", but `{}`", names.join("`, `")),
    }
}
