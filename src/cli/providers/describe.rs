//! Describes a scheme in words: the signed parts, their locations, and the parts that are not signed.

use std::time::Duration;

use crate::cli::providers::{describe_jwt, http_signature};
use crate::scheme::boundary;
use crate::scheme::spec::{
    CertificateKind, DigestAlgorithm, FieldLocation, HmacSpec, RequirementRule, SchemeFamily,
    SchemeLocation, SchemeRequirement, SchemeSpec, SecretEncoding, SecretForm, SignMethod,
    SignatureEncoding, SignatureSpec, SignedTemplate, TemplatePart, TextSpec, TimeUnit,
    TimestampSpec, TokenLocation,
};

/// Label and text of a line.
pub(super) type LabeledLine = (&'static str, String);

/// Names the family of a scheme in a few words.
pub(super) fn family(spec: &SchemeSpec) -> String {
    match &spec.family {
        SchemeFamily::Hmac(hmac) => format!("HMAC-{}", algorithm(hmac.algorithm)),
        SchemeFamily::Text(text) => method(&text.method),
        SchemeFamily::Token(_) => "shared token".to_owned(),
        SchemeFamily::Jwt(jwt) => format!("JWT, {}", describe_jwt::algorithms(jwt)),
        SchemeFamily::Certificate(family) if family.kind == CertificateKind::AppStore => {
            "JWS with a certificate".to_owned()
        }
        SchemeFamily::Certificate(_) => "RSA with a certificate".to_owned(),
        SchemeFamily::Http(http) => format!("HTTP Message Signatures, {}", http.algorithm.name()),
    }
}

/// Describes how a scheme signs, as labeled sentences.
pub(super) fn describe(spec: &SchemeSpec, tolerance: Duration) -> Vec<LabeledLine> {
    let mut lines = match &spec.family {
        SchemeFamily::Hmac(hmac) => {
            signed_lines(spec, &CommonSignatureSpec::of_hmac(hmac), tolerance)
        }
        SchemeFamily::Text(text) => {
            signed_lines(spec, &CommonSignatureSpec::of_text(text), tolerance)
        }
        SchemeFamily::Token(token) => vec![
            ("kind", "a shared token; nothing is signed".to_owned()),
            ("token", describe_token_location(&token.location)),
        ],
        SchemeFamily::Jwt(jwt) => describe_jwt::jwt(jwt, tolerance),
        SchemeFamily::Certificate(certificate) => describe_jwt::certificate(certificate),
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

/// Lists the parts of a request that an untrusted client could change without breaking the signature.
pub(super) fn not_signed(spec: &SchemeSpec) -> Vec<String> {
    let mut out = match (&spec.family, spec.template()) {
        (SchemeFamily::Jwt(jwt), _) => describe_jwt::token_leaves_open(jwt),
        (SchemeFamily::Certificate(certificate), _) => {
            describe_jwt::certificate_leaves_open(certificate)
        }
        (SchemeFamily::Http(http), _) => http_signature::leaves_open(http),
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
        out.extend(loose.map(|field| format!("the {label} ({})", field)));
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

/// Formats a duration as in a config: in the largest unit that divides it.
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let fit = units.iter().find(|(size, _)| seconds.is_multiple_of(*size));
    fit.map_or_else(String::new, |(size, unit)| {
        format!("{}{unit}", seconds / size)
    })
}

/// Locations of a signature that are listed one by one; more than these are headers with consecutive numbers.
const MAX_PLACES: usize = 4;

/// The common parts of the signing families.
struct CommonSignatureSpec<'a> {
    signatures: &'a [SignatureSpec],
    encoding: SignatureEncoding,
    template: &'a SignedTemplate,
    timestamp: Option<&'a TimestampSpec>,
    require: &'a [SchemeRequirement],
}

impl<'a> CommonSignatureSpec<'a> {
    fn of_hmac(hmac: &'a HmacSpec) -> Self {
        Self {
            signatures: std::slice::from_ref(&hmac.signature),
            encoding: hmac.encoding,
            template: &hmac.signed,
            timestamp: hmac.timestamp.as_ref(),
            require: &[],
        }
    }

    fn of_text(text: &'a TextSpec) -> Self {
        Self {
            signatures: &text.signatures,
            encoding: text.encoding,
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
    let signature = format!(
        "{} in {}, in {}",
        family(spec),
        encoding(signed.encoding),
        places.join(", or in ")
    );
    let time = signed.timestamp;
    let time = time.map_or("no timestamp".to_owned(), |time| timestamp(time, tolerance));
    let mut lines = vec![
        ("signature", signature),
        ("signed text", template(&signed.template.parts)),
        ("time", time),
        ("key", key(spec)),
    ];
    for one in signed.require {
        let place = describe_location(&one.location);
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
    let mut text = describe_location(&signature.location);
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

fn key(spec: &SchemeSpec) -> String {
    match (spec.is_public_key(), spec.known_key()) {
        (true, Some(_)) => "the provider's well-known public key, built into hookgate".to_owned(),
        (true, None) => "the provider's public key, set as `secret` of the route".to_owned(),
        (false, _) => secret_form(&spec.secret_form()),
    }
}

fn method(method: &SignMethod) -> String {
    match method {
        SignMethod::Hmac(digest) => format!("HMAC-{}", algorithm(*digest)),
        SignMethod::Hash(algorithm) => format!("{} over text and secret", algorithm.name()),
        SignMethod::PublicKey { algorithm, .. } => algorithm.name().to_owned(),
    }
}

fn timestamp(spec: &TimestampSpec, tolerance: Duration) -> String {
    let unit = match spec.unit {
        TimeUnit::Seconds => "Unix seconds",
        TimeUnit::Millis => "Unix milliseconds",
        TimeUnit::Rfc3339 => "RFC 3339",
        TimeUnit::HttpDate => "an HTTP date",
        TimeUnit::SecondsOrMillis => "Unix seconds or milliseconds",
    };
    let entry = spec.key.as_ref();
    // The timestamp may be one entry of a list in the same header, such as `t=...,v1=...`.
    let entry = entry.map_or(String::new(), |key| match key.as_str() {
        "" => ", first entry".to_owned(),
        key => format!(", entry `{key}`"),
    });
    format!(
        "{unit}, in {}{entry}; refused when more than {} old or ahead",
        describe_location(&spec.location),
        duration(tolerance)
    )
}

pub(super) fn secret_form(form: &SecretForm) -> String {
    let how = match form.encoding {
        SecretEncoding::Utf8 => "the text of the secret",
        SecretEncoding::Base64 => "the secret, decoded from base64",
        SecretEncoding::Hex => "the secret, decoded from hexadecimal",
    };
    let mut text = how.to_owned();
    if !form.strip_prefix.is_empty() {
        text.push_str(&format!(", without `{}` in front", form.strip_prefix));
    }
    if let Some(algorithm) = form.derive {
        text = format!("the {} of {text}", algorithm.name());
    }
    text
}

/// Formats the template as a list: `timestamp, ".", body`.
fn template(parts: &[TemplatePart]) -> String {
    let parts: Vec<String> = parts.iter().map(part).collect();
    parts.join(", ")
}

fn part(part: &TemplatePart) -> String {
    match part {
        TemplatePart::Literal(text) => literal(text),
        TemplatePart::Body => "the raw body".to_owned(),
        TemplatePart::Timestamp => "the time as sent".to_owned(),
        TemplatePart::Id => "the event id".to_owned(),
        TemplatePart::Method => "the method".to_owned(),
        TemplatePart::LowerMethod => "the method in lower case".to_owned(),
        TemplatePart::Host => "the host of `public_url`".to_owned(),
        TemplatePart::Entry(name) => format!("the entry `{name}` beside the signature"),
        TemplatePart::Path => "the path".to_owned(),
        TemplatePart::PathQuery => "path and query".to_owned(),
        TemplatePart::Url => "the URL (`public_url`, then path and query as sent)".to_owned(),
        TemplatePart::UrlNoQuery => {
            "the URL without its query (`public_url`, then the path)".to_owned()
        }
        TemplatePart::UrlDecoded => "the URL with some characters unescaped".to_owned(),
        TemplatePart::Header(name) => format!("the header `{name}`"),
        TemplatePart::LowerHeader(name) => format!("the header `{name}` in lower case"),
        TemplatePart::Query(name) => format!("the query parameter `{name}`"),
        TemplatePart::LowerQuery(name) => format!("the query parameter `{name}` in lower case"),
        TemplatePart::Form(name) => format!("the form field `{name}`"),
        TemplatePart::Json(pointer) => format!("`/{}` of the body", pointer.join("/")),
        TemplatePart::Secret => "the secret".to_owned(),
        TemplatePart::BodyDigest(algorithm, form) => format!(
            "the {} of the body in {}",
            algorithm.name(),
            encoding(*form)
        ),
        TemplatePart::BodyOrForm(name) => {
            format!("the raw body (of a form, its only field `{name}`)")
        }
        TemplatePart::BodyJsonString => "the body as a JSON string".to_owned(),
        TemplatePart::FormSorted => "the fields of the form, sorted by name".to_owned(),
        TemplatePart::UrlFormSorted => {
            "the URL with its query sorted by name, and the fields of the form sorted by name"
                .to_owned()
        }
        TemplatePart::FormOrDigest(name) => format!(
            "the fields of a form, sorted by name (for other bodies, `{name}` in the query is the SHA-256)"
        ),
        TemplatePart::ListedHeaders(name) => format!("the headers that `{name}` lists"),
        TemplatePart::Group(parts) => format!("if present: {}", template(parts)),
    }
}

/// Quotes a literal text with the kind of quotes that it does not contain.
fn literal(text: &str) -> String {
    if text.contains('"') && !text.contains('\'') && !text.contains(char::is_control) {
        format!("'{text}'")
    } else {
        format!("{text:?}")
    }
}

/// Returns the name of a digest as part of a longer name, such as `HMAC-SHA256`.
pub(super) fn algorithm(algorithm: DigestAlgorithm) -> &'static str {
    match algorithm {
        DigestAlgorithm::Md5 => "MD5",
        DigestAlgorithm::Sha1 => "SHA1",
        DigestAlgorithm::Sha256 => "SHA256",
        DigestAlgorithm::Sha384 => "SHA384",
        DigestAlgorithm::Sha512 => "SHA512",
        DigestAlgorithm::Keccak256 => "Keccak-256",
    }
}

pub(super) fn encoding(encoding: SignatureEncoding) -> &'static str {
    match encoding {
        SignatureEncoding::Hex => "hexadecimal",
        SignatureEncoding::Base64 => "base64",
        SignatureEncoding::Base64Url => "URL-safe base64",
        SignatureEncoding::Base64UrlUnpadded => "URL-safe base64 without padding",
    }
}

pub(super) fn describe_location(place: &SchemeLocation) -> String {
    match place {
        SchemeLocation::Header(name) => format!("the header `{name}`"),
        SchemeLocation::Query(name) => format!("the query parameter `{name}`"),
        SchemeLocation::Form(name) => format!("the form field `{name}`"),
        SchemeLocation::Json(pointer) => format!("`/{}` of the body", pointer.join("/")),
    }
}

fn describe_token_location(place: &TokenLocation) -> String {
    match place {
        TokenLocation::Header { name, prefix } if prefix.is_empty() => {
            format!("in the header `{name}`, as it is")
        }
        TokenLocation::Header { name, prefix } => {
            format!("in the header `{name}`, after `{prefix}`")
        }
        TokenLocation::Query(name) => format!("in the query parameter `{name}`"),
        TokenLocation::Form(name) => format!("in the form field `{name}`"),
        TokenLocation::Json(pointer) => format!("in the body, at `/{}`", pointer.join("/")),
        TokenLocation::FormJson(name, pointer) => {
            format!(
                "in the JSON of the form field `{name}`, at `/{}`",
                pointer.join("/")
            )
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

    fn told(id: &str, label: &str) -> String {
        let provider = providers::find(id).unwrap();
        let lines = describe(&provider.scheme, provider.tolerance);
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
            assert_eq!(told(id, label), text, "{id}");
        }
        let github = providers::find("github").unwrap();
        let open = not_signed(&github.scheme);
        assert_eq!(open.first().unwrap(), "path and query");
    }

    #[test]
    fn durations() {
        for (seconds, text) in [(5, "5s"), (300, "5m"), (90, "90s"), (86400 * 3, "3d")] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }
}
