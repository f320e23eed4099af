//! Hypotheses about signed URLs: the sender's URL differs from the one that the route verifies.
//!
//! Reasons are another `public_url`, or a proxy in front that rewrites host, port or path.

use std::borrow::Cow;

use hookgate_verify::scheme::public_url;
use hookgate_verify::scheme::spec::{
    SchemeFamily, SchemeSpec, SignatureComponent, TemplatePart, TokenAudience,
};
use http::{HeaderMap, Uri};

use crate::explain::case::RefusalCase;
use crate::explain::cause::{CauseFinding, RefusalCause};
use crate::explain::trial::TrialBudget;

/// Maximum number of origins that are tried.
const MAX_ORIGINS: usize = 64;

/// Maximum number of base paths that are tried.
const MAX_BASES: usize = 16;

/// Headers in which proxies pass on the original host.
const HOST_HEADERS: [&str; 4] = ["host", "x-forwarded-host", "x-original-host", "x-host"];

/// Headers in which proxies pass on the original target.
const TARGET_HEADERS: [&str; 5] = [
    "x-original-uri",
    "x-forwarded-uri",
    "x-original-url",
    "x-rewrite-url",
    "x-forwarded-path",
];

/// Finds the first URL under which the request verifies.
pub(super) fn find(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    let signed = what_is_signed(&case.route.scheme)?;
    let targets = targets(case);
    // If only path and query are signed, other origins change nothing.
    let origins = match signed.origin {
        true => origins(case),
        false => Vec::new(),
    };
    for origin in &origins {
        let trial = case.base.varied(|trial| {
            trial.public_url = Some(Cow::Owned(origin.clone()));
        });
        if hunt.passes(&trial) {
            return Some(RefusalCause::PublicUrl.proven(origin));
        }
    }
    // Before targets: a missing base path is fixed in the config, a rewritten target only in the proxy.
    if let Some(url) = with_base(case, &targets, signed.origin, hunt) {
        return Some(RefusalCause::PublicUrl.proven(&url));
    }
    for target in &targets {
        let trial = case
            .base
            .varied(|trial| trial.uri = Cow::Owned(target.clone()));
        if hunt.passes(&trial) {
            return Some(RefusalCause::UrlChanged.proven(target.path()));
        }
        for origin in &origins {
            let trial = trial.varied(|trial| {
                trial.public_url = Some(Cow::Owned(origin.clone()));
            });
            if hunt.passes(&trial) {
                return Some(
                    RefusalCause::UrlChanged.proven(&format!("{origin}{}", target.path())),
                );
            }
        }
    }
    None
}

/// Returns the route's `public_url` with the base path under which the sender calls and which a proxy in front takes
/// away: headers of the proxy, or another route, show it.
fn with_base(
    case: &RefusalCase<'_>,
    targets: &[Uri],
    signs_origin: bool,
    hunt: &mut TrialBudget,
) -> Option<String> {
    let own = case.base.public_url.as_deref().unwrap_or_default();
    let (scheme, host, port, base) = public_url::split(own);
    // A signed origin is needed in front of the base path.
    if own.is_empty() && signs_origin {
        return None;
    }
    let came = case.base.uri.path_and_query()?.as_str();
    let mut bases: Vec<String> = targets
        .iter()
        .filter_map(|target| target.path_and_query()?.as_str().strip_suffix(came))
        .map(str::to_owned)
        .collect();
    let others = case
        .others()
        .filter_map(|other| other.public_url.as_deref());
    bases.extend(others.map(|url| public_url::split(url).3.to_owned()));
    // The route's own base path may be the mistake.
    bases.push(String::new());
    bases.truncate(MAX_BASES);
    let bases = bases.iter().filter(|other| other.as_str() != base);
    let origin = match own.is_empty() {
        true => {
            let host = list_values(&case.base.headers, "host").into_iter().next();
            format!("https://{}", host.unwrap_or_default())
        }
        false => format!("{scheme}{host}{port}"),
    };
    for other in bases {
        let url = format!("{origin}{}", other.trim_end_matches('/'));
        let trial = case.base.varied(|trial| {
            trial.public_url = Some(Cow::Owned(url.clone()));
        });
        if hunt.passes(&trial) {
            return Some(url);
        }
    }
    None
}

/// Parts of the URL that are signed.
struct SignedUrlParts {
    origin: bool,
}

/// Returns the parts of the URL that a scheme signs; `None` if it signs no part.
fn what_is_signed(spec: &SchemeSpec) -> Option<SignedUrlParts> {
    if let SchemeFamily::Jwt(family) = &spec.family {
        let signs = family.url_claim.is_some() || family.audience == TokenAudience::Url;
        return signs.then_some(SignedUrlParts { origin: true });
    }
    if let SchemeFamily::Http(family) = &spec.family {
        let signs_origin = family
            .components
            .iter()
            .any(SignatureComponent::needs_public_url);
        let signs_target = family
            .components
            .iter()
            .any(SignatureComponent::names_target);
        return (signs_origin || signs_target).then_some(SignedUrlParts {
            origin: signs_origin,
        });
    }
    let template = spec.template()?;
    let origin = template.any(&|part| {
        matches!(
            part,
            TemplatePart::Url
                | TemplatePart::UrlNoQuery
                | TemplatePart::UrlDecoded
                | TemplatePart::UrlFormSorted
                | TemplatePart::Host
        )
    });
    let target = template.any(&|part| {
        matches!(
            part,
            TemplatePart::Path
                | TemplatePart::PathQuery
                | TemplatePart::Query(_)
                | TemplatePart::LowerQuery(_)
                | TemplatePart::FormOrDigest(_)
        )
    });
    (origin || target).then_some(SignedUrlParts { origin })
}

/// Returns origins that the sender may have called, likely ones first, with the route's own base path.
fn origins(case: &RefusalCase<'_>) -> Vec<String> {
    let authority_of = |url: &str| {
        let (_, host, port, _) = public_url::split(url);
        format!("{host}{port}")
    };
    let own = case.base.public_url.as_deref().unwrap_or_default();
    let base = public_url::split(own).3;
    // The configured host first: mostly only scheme or port differ.
    let mut hosts = vec![authority_of(own)];
    let named = HOST_HEADERS
        .iter()
        .flat_map(|name| list_values(&case.base.headers, name));
    hosts.extend(named);
    hosts.extend(
        case.base
            .uri
            .authority()
            .map(|authority| authority.as_str().to_owned()),
    );
    let others = case
        .others()
        .filter_map(|other| other.public_url.as_deref());
    hosts.extend(others.map(authority_of));
    let port = list_values(&case.base.headers, "x-forwarded-port")
        .into_iter()
        .next();
    let mut origins: Vec<String> = Vec::new();
    for host in hosts {
        let bare = without_port(&host);
        // Sites often respond with and without `www.`, and the sender may call the other one.
        let www = match bare.strip_prefix("www.") {
            Some(rest) => rest.to_owned(),
            None => format!("www.{bare}"),
        };
        let mut forms = vec![host.clone(), bare.to_owned(), host.to_ascii_lowercase()];
        forms.extend([":443", ":80", ":8443", ":8080"].map(|port| format!("{bare}{port}")));
        forms.extend(port.iter().map(|port| format!("{bare}:{port}")));
        forms.push(www);
        for form in forms {
            for scheme in ["https", "http"] {
                let origin = format!("{scheme}://{form}{base}");
                // Header values are a client's text: only valid origins are tried.
                if origin != own && is_origin(&origin) && !origins.contains(&origin) {
                    origins.push(origin);
                }
            }
        }
    }
    origins.truncate(MAX_ORIGINS);
    origins
}

/// Returns true if the text is a URL with a host and without credentials.
fn is_origin(text: &str) -> bool {
    let parsed = text.parse::<Uri>();
    parsed.is_ok_and(|uri| {
        uri.authority()
            .is_some_and(|own| !own.as_str().contains('@'))
    })
}

/// Returns the values of a list header, four per header at most.
fn list_values(headers: &HeaderMap, name: &str) -> Vec<String> {
    let lines = headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let words = lines.flat_map(|line| line.split(','));
    words
        .map(|word| word.trim().to_owned())
        .filter(|word| !word.is_empty())
        .take(4)
        .collect()
}

pub(super) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // Only digits are a port: the last part of an IPv6 address in brackets ends with `]`.
        Some((bare, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => bare,
        _ => host,
    }
}

/// Returns targets that the sender may have called instead of the one that arrived.
fn targets(case: &RefusalCase<'_>) -> Vec<Uri> {
    let (path, query) = (case.base.uri.path(), case.base.uri.query());
    let tail = query.map(|query| format!("?{query}")).unwrap_or_default();
    // Without the query, which some proxies drop.
    let mut texts = vec![path.to_owned()];
    texts.push(match path.strip_suffix('/') {
        Some(bare) => format!("{bare}{tail}"),
        None => format!("{path}/{tail}"),
    });
    for name in TARGET_HEADERS {
        for value in list_values(&case.base.headers, name) {
            let after = value
                .split_once("://")
                .and_then(|(_, rest)| Some(rest.split_once('/')?.1));
            texts.push(after.map_or(value.clone(), |rest| format!("/{rest}")));
        }
    }
    for prefix in list_values(&case.base.headers, "x-forwarded-prefix") {
        texts.push(format!("{}{path}{tail}", prefix.trim_end_matches('/')));
    }
    // Some proxies and frameworks normalize the case of paths.
    texts.push(format!("{}{tail}", path.to_ascii_lowercase()));
    if let Some(rest) = path.get(1..).and_then(|rest| rest.find('/')) {
        // A proxy in front may have added a prefix before the sender's path.
        texts.extend(path.get(rest + 1..).map(|rest| format!("{rest}{tail}")));
    }
    if let Some(query) = query {
        // Proxies that parse the query may encode spaces differently, or drop its content.
        texts.push(format!("{path}?{}", query.replace("%20", "+")));
        texts.push(format!("{path}?{}", query.replace('+', "%20")));
        texts.push(format!("{path}?"));
    }
    let targets = texts.iter().filter_map(|text| text.parse::<Uri>().ok());
    targets.filter(|target| *target != *case.base.uri).collect()
}
