//! The parts of a request that a signature does not cover, in words.

use crate::scheme::boundary;
use crate::scheme::spec::{
    CertificateKind, CertificateSpec, ComponentSource, HttpSpec, JwtLocation, JwtSpec,
    SchemeFamily, SchemeSpec, SignatureComponent, SignedTemplate, TemplatePart, TokenAudience,
};

/// Lists the parts of a request that an untrusted client could change without breaking the signature.
pub fn not_signed(spec: &SchemeSpec) -> Vec<String> {
    let mut out = match (&spec.family, spec.template()) {
        (SchemeFamily::Jwt(jwt), _) => jwt_leaves_open(jwt),
        (SchemeFamily::Certificate(certificate), _) => certificate_leaves_open(certificate),
        (SchemeFamily::Http(http), _) => http_leaves_open(http),
        (_, Some(template)) => template_leaves_open(template),
        (_, None) => {
            // A token without a signature: one observed request is enough.
            return vec!["everything: a client that sees one request can make others".to_owned()];
        }
    };
    if boundary::is_extendable(spec) {
        out.push(
            "the end of the text: a plain digest with the secret in front can be extended, so bodies that are neither \
             complete JSON nor plain text are rejected"
                .to_owned(),
        );
    }
    if !spec.has_signed_age() {
        out.push(
            "the time: an old request stays valid, and only dedup stops its replay".to_owned(),
        );
    }
    for (label, fields) in [
        ("event id", &spec.event_id),
        ("event type", &spec.event_type),
    ] {
        let loose = fields.iter().filter(|field| !spec.signs_field(field));
        out.extend(loose.map(|field| format!("the {label} ({field})")));
    }
    out
}

fn template_leaves_open(template: &SignedTemplate) -> Vec<String> {
    let mut out = Vec::new();
    if !template.signs_body() {
        out.push("the body, except the fields above".to_owned());
    }
    let holds = |wanted: &[TemplatePart]| template.any(&|part| wanted.contains(part));
    // The URL counts as signed only if the query is part of it.
    if holds(&[TemplatePart::Path, TemplatePart::UrlNoQuery]) {
        out.push("the query".to_owned());
    } else if !holds(&[
        TemplatePart::PathQuery,
        TemplatePart::Url,
        TemplatePart::UrlDecoded,
        TemplatePart::UrlFormSorted,
    ]) {
        out.push("path and query".to_owned());
    }
    if !holds(&[TemplatePart::Method, TemplatePart::LowerMethod]) {
        out.push("the method".to_owned());
    }
    out
}

fn jwt_leaves_open(spec: &JwtSpec) -> Vec<String> {
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

fn certificate_leaves_open(spec: &CertificateSpec) -> Vec<String> {
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

fn http_leaves_open(spec: &HttpSpec) -> Vec<String> {
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
