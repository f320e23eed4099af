//! Describes schemes with signed tokens (JWT) or certificates, for `providers show`.

use std::time::Duration;

use crate::cli::providers::describe::{self, LabeledLine};
use crate::scheme::spec::{
    CertificateKind, CertificateSpec, DigestClaim, JwtAlgorithm, JwtKeys, JwtLocation, JwtSpec,
    PublishedKeys, TokenAudience, UrlClaim,
};

/// Lists the names of the algorithms that a token may use.
pub(super) fn algorithms(spec: &JwtSpec) -> String {
    let names = JwtAlgorithm::ALL.into_iter();
    let taken = names.filter(|(_, one)| spec.algorithms.contains(one));
    let taken: Vec<&str> = taken.map(|(name, _)| name).collect();
    taken.join(", ")
}

/// Describes how a token is verified, as labeled sentences.
pub(super) fn jwt(spec: &JwtSpec, tolerance: Duration) -> Vec<LabeledLine> {
    let place = match &spec.location {
        JwtLocation::Body => "the whole body".to_owned(),
        JwtLocation::In(place, prefix) if prefix.is_empty() => describe::describe_location(place),
        JwtLocation::In(place, prefix) => {
            format!("{}, after `{prefix}`", describe::describe_location(place))
        }
    };
    let kind = match spec.is_detached {
        true => "a detached token (JWS)",
        false => "a token (JWT)",
    };
    let token = format!("{kind} signed with {}, in {place}", algorithms(spec));
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
        describe::encoding(claim.encoding),
        claim.name
    )
}

fn time(spec: &JwtSpec, tolerance: Duration) -> String {
    let mut parts = Vec::new();
    if spec.times.needs_iat {
        let far = describe::duration(tolerance);
        parts.push(format!(
            "the claim `iat`; refused when more than {far} old or ahead"
        ));
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
        JwtKeys::Secret => describe::secret_form(&spec.secret),
        JwtKeys::Published(published) => format!("the key set at {}", place(published)),
        JwtKeys::Asked(published) => format!(
            "fetched by its key id at {}, with the secret `client_id:secret`; or from a file (`jwks`)",
            place(published)
        ),
        JwtKeys::File { .. } => "a key set in a file".to_owned(),
    }
}

/// Describes how a message with a certificate is verified, as labeled sentences.
pub(super) fn certificate(spec: &CertificateSpec) -> Vec<LabeledLine> {
    match spec.kind {
        // The message has a version of its own, which selects the digest.
        CertificateKind::Sns => vec![
            (
                "signature",
                "RSA-SHA256 (version 2) or RSA-SHA1 (version 1) in base64, in `/Signature` of the body"
                    .to_owned(),
            ),
            (
                "signed text",
                "names and values of the message's fields, each on a line of its own".to_owned(),
            ),
            (
                "key",
                "the certificate at `/SigningCertURL`, only on a host `sns.REGION.amazonaws.com`"
                    .to_owned(),
            ),
            ("audience", "the route's `audience`: the topics that are allowed to send".to_owned()),
        ],
        CertificateKind::AppStore => vec![
            (
                "signature",
                "a JWS with ES256, in `/signedPayload` of the body".to_owned(),
            ),
            (
                "key",
                "the certificate in the JWS, whose chain ends at Apple Root CA - G3; nothing is fetched"
                    .to_owned(),
            ),
            (
                "audience",
                "the route's `audience`: the bundle ids of your apps, with `sandbox:` before those of the sandbox"
                    .to_owned(),
            ),
        ],
        CertificateKind::PayPal => vec![
            (
                "signature",
                "RSA-SHA256 in base64, in the header `paypal-transmission-sig`".to_owned(),
            ),
            (
                "signed text",
                "the headers `paypal-transmission-id` and `paypal-transmission-time`, the webhook's id, and the \
                CRC-32 of the body"
                    .to_owned(),
            ),
            (
                "key",
                "the certificate at `paypal-cert-url`, only on PayPal's hosts; its chain is verified"
                    .to_owned(),
            ),
            ("secret", "the webhook's id".to_owned()),
        ],
    }
}

/// Lists the parts of a request that an untrusted client could change without breaking a token.
pub(super) fn token_leaves_open(spec: &JwtSpec) -> Vec<String> {
    let mut out = Vec::new();
    if spec.body_claim.is_none() && !spec.is_detached && spec.location != JwtLocation::Body {
        out.push(
            "the body: a client that sees one request can send other bodies until the token expires"
                .to_owned(),
        );
    }
    if spec.url_claim.is_none() && spec.audience != TokenAudience::Url {
        out.push("path and query".to_owned());
    }
    out.push("the method".to_owned());
    out
}

/// Lists the parts of a request that an untrusted client could change without breaking the signature.
pub(super) fn certificate_leaves_open(spec: &CertificateSpec) -> Vec<String> {
    let body = match spec.kind {
        CertificateKind::AppStore => "members of the body other than `signedPayload`",
        CertificateKind::Sns => "fields of the body that are not part of the signed text",
        CertificateKind::PayPal => {
            "the body, in practice: a CRC-32 is not a cryptographic digest, and a body with the same CRC-32 is easy \
            to make"
        }
    };
    vec![
        body.to_owned(),
        "path and query".to_owned(),
        "the method".to_owned(),
    ]
}
