//! Schemes with signed tokens (JWT) in words.

use std::time::Duration;

use crate::scheme::spec::{
    DigestClaim, JwtAlgorithm, JwtKeys, JwtLocation, JwtSpec, PublishedKeys, TokenAudience,
    UrlClaim,
};
use crate::scheme::words::phrases::{LabeledLine, age_limit, secret_form};

/// Lists the names of the algorithms that a token may use.
pub(super) fn algorithms(spec: &JwtSpec) -> String {
    let names = JwtAlgorithm::ALL.into_iter();
    let taken = names.filter(|(_, one)| spec.algorithms.contains(one));
    let taken: Vec<&str> = taken.map(|(name, _)| name).collect();
    taken.join(", ")
}

/// Describes the kind of a token and the algorithms of its signature.
pub(super) fn signature(spec: &JwtSpec) -> String {
    let kind = match spec.is_detached {
        true => "a detached token (JWS)",
        false => "a token (JWT)",
    };
    format!("{kind} signed with {}", algorithms(spec))
}

/// Describes how a token is verified, as labeled sentences.
pub(super) fn lines(spec: &JwtSpec, tolerance: Duration) -> Vec<LabeledLine> {
    let location = match &spec.location {
        JwtLocation::Body => "the whole body".to_owned(),
        JwtLocation::In(location, prefix) if prefix.is_empty() => location.to_string(),
        JwtLocation::In(location, prefix) => format!("{location}, after `{prefix}`"),
    };
    let token = format!("{}, in {location}", signature(spec));
    let mut lines = vec![("signature", token), ("key", keys(spec))];
    if !spec.issuers.is_empty() {
        lines.push(("issuer", format!("`{}`", spec.issuers.join("` or `"))));
    }
    match &spec.audience {
        TokenAudience::Any => {}
        TokenAudience::Route(_) => lines.push(("audience", "the route's `audience`".to_owned())),
        TokenAudience::Url => lines.push(("audience", "the URL of the request".to_owned())),
    }
    let covers = spec.body_claim.as_ref();
    let covers = match covers {
        Some(claim) => digest(claim.digest(), "the body"),
        None if spec.is_detached => "the body, as its payload".to_owned(),
        None => "nothing".to_owned(),
    };
    // A token that is the whole body covers it by definition.
    if spec.location != JwtLocation::Body {
        lines.push(("covers", covers));
    }
    match &spec.url_claim {
        None => {}
        Some(UrlClaim::Digest(claim)) => lines.push(("covers", digest(claim, "the URL"))),
        Some(UrlClaim::Plain(name)) => {
            lines.push(("covers", format!("the URL, in the claim `{name}`")));
        }
    }
    for claim in &spec.claims {
        lines.push((
            "required",
            format!("`{}` in the claim `{}`", claim.value, claim.name),
        ));
    }
    for name in &spec.route_claims {
        let text = format!("the route's value in the claim `{name}`");
        lines.push(("required", text));
    }
    lines.push(("time", time(spec, tolerance)));
    lines
}

fn digest(claim: &DigestClaim, what: &str) -> String {
    format!(
        "the {} of {what} in {}, in the claim `{}`",
        claim.digest.name(),
        claim.encoding.name(),
        claim.name
    )
}

fn time(spec: &JwtSpec, tolerance: Duration) -> String {
    let mut parts = Vec::new();
    if spec.times.needs_iat {
        parts.push(format!("the claim `iat`; {}", age_limit(tolerance)));
    }
    if spec.times.needs_exp {
        parts.push("until the claim `exp`".to_owned());
    }
    if parts.is_empty() {
        return "no time claim is required".to_owned();
    }
    parts.join(", and ")
}

fn keys(spec: &JwtSpec) -> String {
    let place = |published: &PublishedKeys| match &published.url {
        Some(url) => format!("`{url}`"),
        None if published.hosts.is_empty() => "the route's `jwks`".to_owned(),
        None => {
            let hosts: Vec<_> = published.hosts.iter().map(ToString::to_string).collect();
            format!("the route's `jwks` on `{}`", hosts.join("` or `"))
        }
    };
    match &spec.keys {
        JwtKeys::Secret => secret_form(&spec.secret),
        JwtKeys::Published(published) => format!("the key set at {}", place(published)),
        JwtKeys::Asked(published) => format!(
            "fetched by its key id at {}, with the secret `client_id:secret`; or from a file (`jwks`)",
            place(published)
        ),
        JwtKeys::File { .. } => "a key set in a file".to_owned(),
    }
}
