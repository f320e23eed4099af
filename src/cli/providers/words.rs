//! Describes a scheme in words: the signed parts, their locations, and the parts that are not signed.

use std::time::Duration;

use crate::cli::providers::{http_signature, keyed};
use crate::scheme::boundary;
use crate::scheme::spec::{
    Algorithm, CertificateKind, Encoding, Family, Field, HmacSpec, Part, Place, Requirement, Rule,
    SecretEncoding, SecretForm, SignMethod, SignatureSpec, Spec, Template, TextSpec, TimeUnit,
    TimestampSpec, TokenPlace,
};

/// Label and text of a line.
pub(super) type Line = (&'static str, String);

/// Names the family of a scheme in a few words.
pub(super) fn family(spec: &Spec) -> String {
    match &spec.family {
        Family::Hmac(hmac) => format!("HMAC-{}", algorithm(hmac.algorithm)),
        Family::Text(text) => method(&text.method),
        Family::Token(_) => "shared token".to_owned(),
        Family::Jwt(jwt) => format!("JWT, {}", keyed::algorithms(jwt)),
        Family::Certificate(family) if family.kind == CertificateKind::AppStore => {
            "JWS with a certificate".to_owned()
        }
        Family::Certificate(_) => "RSA with a certificate".to_owned(),
        Family::Http(http) => format!("HTTP Message Signatures, {}", http.algorithm.name()),
    }
}

/// Describes how a scheme signs, as labeled sentences.
pub(super) fn describe(spec: &Spec, tolerance: Duration) -> Vec<Line> {
    let mut lines = match &spec.family {
        Family::Hmac(hmac) => signed_lines(spec, &Signed::of_hmac(hmac), tolerance),
        Family::Text(text) => signed_lines(spec, &Signed::of_text(text), tolerance),
        Family::Token(token) => vec![
            ("kind", "a shared token; nothing is signed".to_owned()),
            ("token", token_place(&token.place)),
        ],
        Family::Jwt(jwt) => keyed::jwt(jwt, tolerance),
        Family::Certificate(certificate) => keyed::certificate(certificate),
        Family::Http(http) => http_signature::lines(http, tolerance),
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
pub(super) fn not_signed(spec: &Spec) -> Vec<String> {
    let mut out = match (&spec.family, spec.template()) {
        (Family::Jwt(jwt), _) => keyed::token_leaves_open(jwt),
        (Family::Certificate(certificate), _) => keyed::certificate_leaves_open(certificate),
        (Family::Http(http), _) => http_signature::leaves_open(http),
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
    if !spec.tells_age() {
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

fn template_leaves_open(template: &Template) -> Vec<String> {
    let mut out = Vec::new();
    if !template.signs_body() {
        out.push("the body, except the fields above".to_owned());
    }
    let holds = |wanted: &[Part]| template.any(&|part| wanted.contains(part));
    // The URL counts as signed only if the query is part of it.
    if holds(&[Part::Path, Part::UrlNoQuery]) {
        out.push("the query".to_owned());
    } else if !holds(&[
        Part::PathQuery,
        Part::Url,
        Part::UrlDecoded,
        Part::UrlFormSorted,
    ]) {
        out.push("path and query".to_owned());
    }
    if !holds(&[Part::Method, Part::LowerMethod]) {
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
struct Signed<'a> {
    signatures: &'a [SignatureSpec],
    encoding: Encoding,
    template: &'a Template,
    timestamp: Option<&'a TimestampSpec>,
    require: &'a [Requirement],
}

impl<'a> Signed<'a> {
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

fn signed_lines(spec: &Spec, signed: &Signed<'_>, tolerance: Duration) -> Vec<Line> {
    let mut places: Vec<_> = signed.signatures.iter().map(signature_place).collect();
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
        let place = place(&one.place);
        lines.push((
            "required",
            match &one.rule {
                Rule::Is(value) => format!("`{value}` in {place}"),
                Rule::Without(text) => format!("no `{text}` in {place}"),
                Rule::Absent => format!("nothing in {place}"),
            },
        ));
    }
    lines
}

fn signature_place(signature: &SignatureSpec) -> String {
    let mut text = place(&signature.place);
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

fn key(spec: &Spec) -> String {
    match (spec.is_public_key(), spec.known_key()) {
        (true, Some(_)) => "the provider's well-known public key, built into hookgate".to_owned(),
        (true, None) => "the provider's public key, set as `secret` of the route".to_owned(),
        (false, _) => secret_form(&spec.secret_form()),
    }
}

fn method(method: &SignMethod) -> String {
    match method {
        SignMethod::Hmac(digest) => format!("HMAC-{}", algorithm(*digest)),
        SignMethod::Hash(algorithm) => format!("{} over text and secret", digest(*algorithm)),
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
        place(&spec.place),
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
        text = format!("the {} of {text}", digest(algorithm));
    }
    text
}

/// Formats the template as a list: `timestamp, ".", body`.
fn template(parts: &[Part]) -> String {
    let parts: Vec<String> = parts.iter().map(part).collect();
    parts.join(", ")
}

fn part(part: &Part) -> String {
    match part {
        Part::Literal(text) => literal(text),
        Part::Body => "the raw body".to_owned(),
        Part::Timestamp => "the time as sent".to_owned(),
        Part::Id => "the event id".to_owned(),
        Part::Method => "the method".to_owned(),
        Part::LowerMethod => "the method in lower case".to_owned(),
        Part::Host => "the host of `public_url`".to_owned(),
        Part::Entry(name) => format!("the entry `{name}` beside the signature"),
        Part::Path => "the path".to_owned(),
        Part::PathQuery => "path and query".to_owned(),
        Part::Url => "the URL (`public_url`, then path and query as sent)".to_owned(),
        Part::UrlNoQuery => "the URL without its query (`public_url`, then the path)".to_owned(),
        Part::UrlDecoded => "the URL with some characters unescaped".to_owned(),
        Part::Header(name) => format!("the header `{name}`"),
        Part::LowerHeader(name) => format!("the header `{name}` in lower case"),
        Part::Query(name) => format!("the query parameter `{name}`"),
        Part::LowerQuery(name) => format!("the query parameter `{name}` in lower case"),
        Part::Form(name) => format!("the form field `{name}`"),
        Part::Json(pointer) => format!("`/{}` of the body", pointer.join("/")),
        Part::Secret => "the secret".to_owned(),
        Part::BodyDigest(algorithm, form) => format!(
            "the {} of the body in {}",
            digest(*algorithm),
            encoding(*form)
        ),
        Part::BodyOrForm(name) => format!("the raw body (of a form, its only field `{name}`)"),
        Part::BodyJsonString => "the body as a JSON string".to_owned(),
        Part::FormSorted => "the fields of the form, sorted by name".to_owned(),
        Part::UrlFormSorted => {
            "the URL with its query sorted by name, and the fields of the form sorted by name"
                .to_owned()
        }
        Part::FormOrDigest(name) => format!(
            "the fields of a form, sorted by name (for other bodies, `{name}` in the query is the SHA-256)"
        ),
        Part::ListedHeaders(name) => format!("the headers that `{name}` lists"),
        Part::Group(parts) => format!("if present: {}", template(parts)),
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

/// Returns the name of a digest on its own, such as `SHA-256`.
pub(super) fn digest(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Md5 => "MD5",
        Algorithm::Sha1 => "SHA-1",
        Algorithm::Sha256 => "SHA-256",
        Algorithm::Sha384 => "SHA-384",
        Algorithm::Sha512 => "SHA-512",
        Algorithm::Keccak256 => "Keccak-256",
    }
}

/// Returns the name of a digest as part of a longer name, such as `HMAC-SHA256`.
pub(super) fn algorithm(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Md5 => "MD5",
        Algorithm::Sha1 => "SHA1",
        Algorithm::Sha256 => "SHA256",
        Algorithm::Sha384 => "SHA384",
        Algorithm::Sha512 => "SHA512",
        Algorithm::Keccak256 => "Keccak-256",
    }
}

pub(super) fn encoding(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Hex => "hexadecimal",
        Encoding::Base64 => "base64",
        Encoding::Base64Url => "URL-safe base64",
        Encoding::Base64UrlUnpadded => "URL-safe base64 without padding",
    }
}

pub(super) fn place(place: &Place) -> String {
    match place {
        Place::Header(name) => format!("the header `{name}`"),
        Place::Query(name) => format!("the query parameter `{name}`"),
        Place::Form(name) => format!("the form field `{name}`"),
        Place::Json(pointer) => format!("`/{}` of the body", pointer.join("/")),
    }
}

fn token_place(place: &TokenPlace) -> String {
    match place {
        TokenPlace::Header { name, prefix } if prefix.is_empty() => {
            format!("in the header `{name}`, as it is")
        }
        TokenPlace::Header { name, prefix } => {
            format!("in the header `{name}`, after `{prefix}`")
        }
        TokenPlace::Query(name) => format!("in the query parameter `{name}`"),
        TokenPlace::Form(name) => format!("in the form field `{name}`"),
        TokenPlace::Json(pointer) => format!("in the body, at `/{}`", pointer.join("/")),
        TokenPlace::FormJson(name, pointer) => {
            format!(
                "in the JSON of the form field `{name}`, at `/{}`",
                pointer.join("/")
            )
        }
        TokenPlace::Basic => "HTTP Basic; the secret is `user:password`".to_owned(),
    }
}

fn event_field(spec: &Spec, field: &Field) -> String {
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
