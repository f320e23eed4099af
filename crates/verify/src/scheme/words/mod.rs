//! A signature scheme in words: what is signed, how and where, and what is not signed.
//!
//! The commands, the explanations and the reference describe schemes by this module only, so that all of them use the
//! same words.

mod certificate;
mod http_signature;
mod jwt;
mod phrases;
mod template;
mod unsigned;

use std::time::Duration;

use crate::scheme::spec::{
    CertificateKind, FieldLocation, HmacSpec, RequirementRule, SchemeFamily, SchemeRequirement,
    SchemeSpec, SignMethod, SignatureSpec, SignedTemplate, TemplatePart, TextSpec, TimestampSpec,
    TokenLocation,
};
use crate::scheme::words::phrases::LabeledLine;
pub use crate::scheme::words::unsigned::not_signed;

/// Names the family of a scheme in a few words.
pub fn family(spec: &SchemeSpec) -> String {
    match &spec.family {
        SchemeFamily::Hmac(hmac) => method(&SignMethod::Hmac(hmac.algorithm)),
        SchemeFamily::Text(text) => method(&text.method),
        SchemeFamily::Token(_) => "shared token".to_owned(),
        SchemeFamily::Jwt(jwt) => format!("JWT, {}", jwt::algorithms(jwt)),
        SchemeFamily::Certificate(family) if family.kind == CertificateKind::AppStore => {
            "JWS, ES256 with a certificate".to_owned()
        }
        SchemeFamily::Certificate(_) => "RSA with a certificate".to_owned(),
        SchemeFamily::Http(http) => format!("HTTP Message Signatures, {}", http.algorithm.name()),
    }
}

/// Describes the signature that a scheme requires, without its location.
pub fn signature(spec: &SchemeSpec) -> String {
    match &spec.family {
        SchemeFamily::Hmac(hmac) => format!("{} in {}", family(spec), hmac.encoding.name()),
        SchemeFamily::Text(text) => format!("{} in {}", family(spec), text.encoding.name()),
        SchemeFamily::Token(_) => "a shared token".to_owned(),
        SchemeFamily::Jwt(jwt) => jwt::signature(jwt),
        SchemeFamily::Certificate(family) => certificate::signature(family.kind).to_owned(),
        SchemeFamily::Http(http) => http_signature::signature(http),
    }
}

/// Names the family of a scheme, and says if the body or the whole request is not signed.
#[must_use]
pub fn summary(spec: &SchemeSpec) -> String {
    let family = family(spec);
    match &spec.family {
        SchemeFamily::Token(_) => format!("{family}, nothing is signed"),
        SchemeFamily::Jwt(_) if !spec.signs_body() => format!("{family}, without the body"),
        _ => family,
    }
}

/// Returns whether the sender signs the time.
#[must_use]
pub fn time_signed(spec: &SchemeSpec) -> &'static str {
    let is_signed = match spec.template() {
        Some(template) => template.holds(&TemplatePart::Timestamp),
        None => spec.has_signed_age(),
    };
    match (spec.is_dated(), is_signed) {
        (_, true) => "yes",
        // A timestamp beside the signed text.
        (true, false) => "no, but it is checked",
        (false, false) => "no",
    }
}

/// Returns whether the signature covers the event id.
#[must_use]
pub fn id_signed(spec: &SchemeSpec) -> &'static str {
    match (spec.event_id.is_empty(), spec.signs_event_id()) {
        (true, _) => "no id",
        (false, true) => "yes",
        (false, false) => "no",
    }
}

/// Describes how a scheme signs, as labeled sentences.
pub fn lines(spec: &SchemeSpec, tolerance: Duration) -> Vec<LabeledLine> {
    let mut lines = match &spec.family {
        SchemeFamily::Hmac(hmac) => {
            signed_lines(spec, &CommonSignatureSpec::of_hmac(hmac), tolerance)
        }
        SchemeFamily::Text(text) => {
            signed_lines(spec, &CommonSignatureSpec::of_text(text), tolerance)
        }
        SchemeFamily::Token(token) => vec![
            ("kind", format!("{}; nothing is signed", signature(spec))),
            ("token", token_location(&token.location)),
        ],
        SchemeFamily::Jwt(jwt) => jwt::lines(jwt, tolerance),
        SchemeFamily::Certificate(certificate) => certificate::lines(certificate),
        SchemeFamily::Http(http) => http_signature::lines(http, tolerance),
    };
    let fields = [
        ("event id", &spec.event_id),
        ("event type", &spec.event_type),
        ("version", &spec.version),
    ];
    for (label, fields) in fields {
        let places: Vec<_> = fields
            .iter()
            .map(|field| event_field(spec, field))
            .collect();
        match (places.is_empty(), label) {
            // Few providers have a version, so its absence is not worth a line.
            (true, "version") => {}
            (true, _) => lines.push((label, "not in the request".to_owned())),
            (false, _) => lines.push((label, places.join(", else "))),
        }
    }
    lines
}

/// Locations of a signature that are listed one by one; more than these are headers with consecutive numbers.
const MAX_PLACES: usize = 4;

/// The common parts of the signing families.
struct CommonSignatureSpec<'a> {
    signatures: &'a [SignatureSpec],
    template: &'a SignedTemplate,
    timestamp: Option<&'a TimestampSpec>,
    require: &'a [SchemeRequirement],
}

impl<'a> CommonSignatureSpec<'a> {
    fn of_hmac(hmac: &'a HmacSpec) -> Self {
        Self {
            signatures: std::slice::from_ref(&hmac.signature),
            template: &hmac.signed,
            timestamp: hmac.timestamp.as_ref(),
            require: &[],
        }
    }

    fn of_text(text: &'a TextSpec) -> Self {
        Self {
            signatures: &text.signatures,
            template: &text.signed,
            timestamp: text.timestamp.as_ref(),
            require: &text.require,
        }
    }
}

fn signed_lines(
    spec: &SchemeSpec,
    signed: &CommonSignatureSpec<'_>,
    tolerance: Duration,
) -> Vec<LabeledLine> {
    let mut places: Vec<_> = signed
        .signatures
        .iter()
        .map(describe_signature_location)
        .collect();
    // Headers with consecutive numbers: the first and the last one describe them all.
    if let [first, .., last] = places.as_slice()
        && places.len() > MAX_PLACES
    {
        places = vec![format!("{first} to {last}")];
    }
    let signature = format!("{}, in {}", signature(spec), places.join(", or in "));
    let time = signed.timestamp;
    let time = time.map_or("no timestamp".to_owned(), |time| timestamp(time, tolerance));
    let mut lines = vec![
        ("signature", signature),
        ("signed text", template::signed_text(&signed.template.parts)),
        ("time", time),
        ("key", phrases::key(spec)),
    ];
    for one in signed.require {
        let place = &one.location;
        lines.push((
            "required",
            match &one.rule {
                RequirementRule::Is(value) => format!("`{value}` in {place}"),
                RequirementRule::Without(text) => format!("no `{text}` in {place}"),
                RequirementRule::Absent => format!("nothing in {place}"),
            },
        ));
    }
    lines
}

fn describe_signature_location(signature: &SignatureSpec) -> String {
    let mut text = signature.location.to_string();
    if let Some(pointer) = &signature.base64_json {
        let pointer = pointer.join("/");
        text.push_str(&format!(", at `/{pointer}` of the JSON in its base64"));
    }
    if let Some(list) = &signature.list {
        let entry = match list.key.as_str() {
            _ if list.any_key => "the entries of any key".to_owned(),
            "" => "each entry".to_owned(),
            key => format!("the entries `{key}{}...`", list.assign),
        };
        text.push_str(&format!(", {entry} between {}", quoted(list.separator)));
        if let Some(sets) = list.sets {
            text.push_str(&format!(", in sets between {}", quoted(sets)));
        }
    }
    if !signature.prefix.is_empty() {
        text.push_str(&format!(", after `{}`", signature.prefix));
    }
    text
}

fn method(method: &SignMethod) -> String {
    match method {
        SignMethod::Hmac(digest) => format!("HMAC-{}", digest.short_name()),
        SignMethod::Hash(algorithm) => format!("{} over text and secret", algorithm.name()),
        SignMethod::PublicKey { algorithm, .. } => algorithm.name().to_owned(),
    }
}

fn timestamp(spec: &TimestampSpec, tolerance: Duration) -> String {
    let entry = spec.key.as_ref();
    // The timestamp may be one entry of a list in the same header, such as `t=...,v1=...`.
    let entry = entry.map_or(String::new(), |key| match key.as_str() {
        "" => ", first entry".to_owned(),
        key => format!(", entry `{key}`"),
    });
    let (unit, location) = (spec.unit.name(), &spec.location);
    format!(
        "{unit}, in {location}{entry}; {}",
        phrases::age_limit(tolerance)
    )
}

fn token_location(place: &TokenLocation) -> String {
    match place {
        TokenLocation::Header { name, prefix } => {
            let field = FieldLocation::Header(name.clone());
            match prefix.is_empty() {
                true => format!("in {field}, as it is"),
                false => format!("in {field}, after `{prefix}`"),
            }
        }
        TokenLocation::Query(name) => format!("in {}", FieldLocation::Query(name.clone())),
        TokenLocation::Form(name) => format!("in {}", FieldLocation::Form(name.clone())),
        TokenLocation::Json(pointer) => format!("in {}", FieldLocation::Json(pointer.clone())),
        TokenLocation::FormJson(name, pointer) => {
            let field = FieldLocation::FormJson(name.clone(), pointer.clone());
            format!("in {field}")
        }
        TokenLocation::Basic => "HTTP Basic; the secret is `user:password`".to_owned(),
    }
}

fn event_field(spec: &SchemeSpec, field: &FieldLocation) -> String {
    let is_signed = match spec.signs_field(field) {
        true => "signed",
        false => "not signed",
    };
    format!("{field} ({is_signed})")
}

fn quoted(char: char) -> String {
    match char {
        ' ' => "spaces".to_owned(),
        other => format!("`{other}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers;

    fn line(id: &str, label: &str) -> String {
        let provider = providers::find(id).unwrap();
        let lines = lines(&provider.scheme, provider.tolerance);
        let found = lines.into_iter().find(|(found, _)| *found == label);
        found.unwrap().1
    }

    #[test]
    fn schemes_in_words() {
        for (id, label, text) in [
            (
                "stripe",
                "signature",
                "HMAC-SHA256 in hexadecimal, in the header `stripe-signature`, the entries `v1=...` between `,`",
            ),
            (
                "stripe",
                "signed text",
                "the time as sent, \".\", the raw body",
            ),
            (
                "stripe",
                "time",
                "Unix seconds, in the header `stripe-signature`, entry `t`; refused when more than 5m old or ahead",
            ),
            (
                "github",
                "event id",
                "the header `x-github-delivery` (not signed)",
            ),
            (
                "svix",
                "key",
                "the secret, decoded from base64, without `whsec_` in front",
            ),
            (
                "gitlab",
                "token",
                "in the header `x-gitlab-token`, as it is",
            ),
        ] {
            assert_eq!(line(id, label), text, "{id}");
        }
        let github = providers::find("github").unwrap();
        let open = not_signed(&github.scheme);
        assert_eq!(open.first().unwrap(), "path and query");
    }
}
