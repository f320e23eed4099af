//! Spots: the single values of a request that a scheme reads, found from its spec, and how to replace them.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use hookgate_verify::scheme::spec::{
    CertificateKind, FieldLocation, JwtLocation, ListSpec, SchemeFamily, SchemeLocation,
    SchemeSpec, SignatureEncoding, SignatureSpec, TemplatePart, TimestampSpec, TokenLocation,
};
use http::{HeaderName, HeaderValue, header};
use serde_json::value::RawValue;

use super::case::Case;

/// The location of a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Spot {
    Header(HeaderName),
    Query(String),
    Form(String),
    Json(Vec<String>),
    /// A value in the JSON of a form field.
    FormJson(String, Vec<String>),
}

/// The purpose of a value.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// A signature, or a list of them.
    Signature(Option<ListSpec>, SignatureEncoding),
    /// Base64 of JSON with a signature at this pointer; the rest of it is not signed.
    Envelope(Vec<String>),
    /// A value that is signed, or that is the signed time.
    Value,
    /// A time that is compared with the clock but not signed.
    UnsignedTime,
    /// A value that is signed in lower case.
    LowerValue,
    /// A list of the headers that are signed.
    HeaderList,
    /// A value that must occur exactly once.
    Required,
    Token,
    /// The URL of the key. Another URL on the sender's hosts needs another fetch, and a vector has only one.
    KeyPlace,
    /// The word `Basic` and the token in base64.
    Basic,
}

/// Returns every value that the scheme reads to verify a request.
pub(super) fn spots(spec: &SchemeSpec) -> Vec<(Spot, Role)> {
    let mut found = match &spec.family {
        SchemeFamily::Hmac(family) => {
            let signature = signature(&family.signature, family.encoding);
            [signature]
                .into_iter()
                .chain(time(spec, family.timestamp.as_ref()))
                .collect()
        }
        SchemeFamily::Text(family) => {
            let places = family.signatures.iter();
            let mut found: Vec<_> = places.map(|one| signature(one, family.encoding)).collect();
            found.extend(time(spec, family.timestamp.as_ref()));
            let others = family.other_timestamps.iter();
            found.extend(others.filter_map(|other| time(spec, Some(other))));
            let required = family.require.iter();
            found.extend(required.map(|one| (Spot::of(&one.location), Role::Required)));
            found
        }
        SchemeFamily::Token(family) => vec![token(&family.location)],
        SchemeFamily::Jwt(family) => match &family.location {
            JwtLocation::In(place, _) => vec![(Spot::of(place), Role::Token)],
            // Damaged like any body.
            JwtLocation::Body => vec![],
        },
        SchemeFamily::Certificate(family) => certificate(family.kind),
        SchemeFamily::Http(_) => ["signature", "signature-input", "content-digest"]
            .map(|name| (Spot::Header(HeaderName::from_static(name)), Role::Value))
            .into(),
    };
    for part in parts(spec) {
        found.extend(part_spot(spec, &part));
    }
    let mut seen: Vec<Spot> = Vec::new();
    found.retain(|(spot, _)| {
        let is_new = !seen.contains(spot);
        seen.push(spot.clone());
        is_new
    });
    found
}

/// Returns the parts of the signed text, including those in groups.
pub(super) fn parts(spec: &SchemeSpec) -> Vec<TemplatePart> {
    let mut found = Vec::new();
    if let Some(template) = spec.template() {
        template.visit(&mut |part| found.push(part.clone()));
    }
    found
}

fn signature(spec: &SignatureSpec, encoding: SignatureEncoding) -> (Spot, Role) {
    let role = match &spec.base64_json {
        Some(pointer) => Role::Envelope(pointer.clone()),
        None => Role::Signature(spec.list.clone(), encoding),
    };
    (Spot::of(&spec.location), role)
}

/// Returns the spot of the time; `None` for a time in the list of the signature.
fn time(spec: &SchemeSpec, time: Option<&TimestampSpec>) -> Option<(Spot, Role)> {
    let time = time.filter(|time| time.key.is_none())?;
    let field = match &time.location {
        SchemeLocation::Header(name) => FieldLocation::Header(name.clone()),
        SchemeLocation::Query(name) => FieldLocation::Query(name.clone()),
        SchemeLocation::Form(name) => FieldLocation::Form(name.clone()),
        SchemeLocation::Json(pointer) => FieldLocation::Json(pointer.clone()),
    };
    let is_signed = parts(spec).contains(&TemplatePart::Timestamp) || spec.signs_field(&field);
    let role = if is_signed {
        Role::Value
    } else {
        Role::UnsignedTime
    };
    Some((Spot::of(&time.location), role))
}

fn token(place: &TokenLocation) -> (Spot, Role) {
    match place {
        TokenLocation::Header { name, .. } => (Spot::Header(name.clone()), Role::Token),
        TokenLocation::Query(name) => (Spot::Query(name.clone()), Role::Token),
        TokenLocation::Basic => (Spot::Header(header::AUTHORIZATION), Role::Basic),
        TokenLocation::Form(name) => (Spot::Form(name.clone()), Role::Token),
        TokenLocation::Json(pointer) => (Spot::Json(pointer.clone()), Role::Token),
        TokenLocation::FormJson(name, pointer) => {
            (Spot::FormJson(name.clone(), pointer.clone()), Role::Token)
        }
    }
}

fn certificate(kind: CertificateKind) -> Vec<(Spot, Role)> {
    match kind {
        CertificateKind::Sns => {
            let fields = [
                "Message",
                "MessageId",
                "Signature",
                "SignatureVersion",
                "SigningCertURL",
                "Timestamp",
                "TopicArn",
                "Type",
            ];
            let json = |name: &str| Spot::Json(vec![name.to_owned()]);
            let role = |name: &str| match name {
                "SigningCertURL" => Role::KeyPlace,
                _ => Role::Value,
            };
            fields.map(|name| (json(name), role(name))).into()
        }
        CertificateKind::AppStore => {
            vec![(Spot::Json(vec!["signedPayload".to_owned()]), Role::Value)]
        }
        CertificateKind::PayPal => {
            let fields = [
                "paypal-transmission-id",
                "paypal-transmission-time",
                "paypal-transmission-sig",
                "paypal-auth-algo",
                "paypal-cert-url",
            ];
            let header = |name: &'static str| Spot::Header(HeaderName::from_static(name));
            let role = |name: &str| match name {
                "paypal-cert-url" => Role::KeyPlace,
                _ => Role::Value,
            };
            fields.map(|name| (header(name), role(name))).into()
        }
    }
}

fn part_spot(spec: &SchemeSpec, part: &TemplatePart) -> Option<(Spot, Role)> {
    match part {
        TemplatePart::Id => Some((Spot::Header(spec.id_header()?.clone()), Role::Value)),
        TemplatePart::Header(name) => Some((Spot::Header(name.clone()), Role::Value)),
        TemplatePart::LowerHeader(name) => Some((Spot::Header(name.clone()), Role::LowerValue)),
        TemplatePart::ListedHeaders(name) => Some((Spot::Header(name.clone()), Role::HeaderList)),
        TemplatePart::Query(name) | TemplatePart::FormOrDigest(name) => {
            Some((Spot::Query(name.clone()), Role::Value))
        }
        TemplatePart::LowerQuery(name) => Some((Spot::Query(name.clone()), Role::LowerValue)),
        TemplatePart::Form(name) => Some((Spot::Form(name.clone()), Role::Value)),
        TemplatePart::Json(pointer) => Some((Spot::Json(pointer.clone()), Role::Value)),
        // Not single values, or found elsewhere: the time by its location, the parts of a group one by one.
        TemplatePart::Literal(_)
        | TemplatePart::Body
        | TemplatePart::Timestamp
        | TemplatePart::Method
        | TemplatePart::LowerMethod
        | TemplatePart::Host
        | TemplatePart::Entry(_)
        | TemplatePart::Path
        | TemplatePart::PathQuery
        | TemplatePart::Url
        | TemplatePart::UrlNoQuery
        | TemplatePart::UrlDecoded
        | TemplatePart::Secret
        | TemplatePart::BodyDigest(..)
        | TemplatePart::BodyJsonString
        | TemplatePart::BodyOrForm(_)
        | TemplatePart::FormSorted
        | TemplatePart::UrlFormSorted
        | TemplatePart::Group(_) => None,
    }
}

impl Spot {
    pub(super) fn of(place: &SchemeLocation) -> Self {
        match place {
            SchemeLocation::Header(name) => Self::Header(name.clone()),
            SchemeLocation::Query(name) => Self::Query(name.clone()),
            SchemeLocation::Form(name) => Self::Form(name.clone()),
            SchemeLocation::Json(pointer) => Self::Json(pointer.clone()),
        }
    }

    /// Returns the unescaped value, if present.
    pub(super) fn read(&self, case: &Case) -> Option<Vec<u8>> {
        match self {
            Self::Header(name) => Some(case.headers.get(name)?.as_bytes().to_vec()),
            Self::Query(name) => pair(case.target.split_once('?')?.1, name),
            Self::Form(name) => pair(std::str::from_utf8(&case.body).ok()?, name),
            Self::Json(pointer) => json_read(&case.body, pointer),
            Self::FormJson(name, pointer) => {
                json_read(&Self::Form(name.clone()).read(case)?, pointer)
            }
        }
    }

    /// Returns the request with these values in place of the one, or `None` if there is no such request.
    pub(super) fn write(&self, case: &Case, values: &[Vec<u8>]) -> Option<Case> {
        let mut case = case.clone();
        match self {
            Self::Header(name) => {
                case.headers.remove(name);
                for value in values {
                    let value = HeaderValue::from_bytes(value).ok()?;
                    case.headers.append(name.clone(), value);
                }
            }
            Self::Query(name) => {
                let (path, query) = case.target.split_once('?').unwrap_or((&case.target, ""));
                case.target = format!("{path}?{}", with_pairs(query, name, values));
            }
            Self::Form(name) => {
                let text = String::from_utf8(case.body).ok()?;
                case.body = with_pairs(&text, name, values).into_bytes();
            }
            Self::Json(pointer) => case.body = json_write(&case.body, pointer, values)?,
            Self::FormJson(name, pointer) => {
                let outer = Self::Form(name.clone());
                let text = json_write(&outer.read(&case)?, pointer, values)?;
                return outer.write(&case, &[text]);
            }
        }
        Some(case)
    }
}

/// Returns the unescaped value of a pair `name=value`.
fn pair(text: &str, name: &str) -> Option<Vec<u8>> {
    let mut pairs = text
        .split('&')
        .map(|one| one.split_once('=').unwrap_or((one, "")));
    let (_, value) = pairs.find(|(key, _)| unescape(key) == name.as_bytes())?;
    Some(unescape(value))
}

fn with_pairs(text: &str, name: &str, values: &[Vec<u8>]) -> String {
    let written = values
        .iter()
        .map(|value| format!("{}={}", escape(name.as_bytes()), escape(value)));
    let mut pairs = Vec::new();
    let mut new = Some(written.collect::<Vec<_>>());
    for one in text.split('&').filter(|one| !one.is_empty()) {
        let key = one.split_once('=').map_or(one, |(key, _)| key);
        if unescape(key) == name.as_bytes() {
            pairs.extend(new.take().unwrap_or_default());
        } else {
            pairs.push(one.to_owned());
        }
    }
    pairs.extend(new.unwrap_or_default());
    pairs.join("&")
}

fn escape(value: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let each = value.iter().map(|byte| match is_plain(byte) {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    each.collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut value = Vec::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                let digits = std::str::from_utf8(&digits).unwrap();
                value.push(u8::from_str_radix(digits, 16).unwrap());
            }
            b'+' => value.push(b' '),
            byte => value.push(byte),
        }
    }
    value
}

/// Returns the value at a pointer of JSON in base64.
pub(super) fn in_envelope(value: &[u8], pointer: &[String]) -> Option<Vec<u8>> {
    json_read(&BASE64.decode(value).ok()?, pointer)
}

/// Returns the base64 of JSON with other values at the pointer.
pub(super) fn envelope_with(value: &[u8], pointer: &[String], values: &[Vec<u8>]) -> Vec<u8> {
    let json = BASE64.decode(value).unwrap();
    let changed = json_write(&json, pointer, values).unwrap();
    BASE64.encode(&changed).into_bytes()
}

/// Returns the value at a pointer as it is written in the document.
fn json_find<'b>(body: &'b str, pointer: &[String]) -> Option<&'b str> {
    let mut found: &'b RawValue = serde_json::from_str(body).ok()?;
    for key in pointer {
        found = if found.get().starts_with('[') {
            let items: Vec<&'b RawValue> = serde_json::from_str(found.get()).ok()?;
            items.get(key.parse::<usize>().ok()?)?
        } else {
            let members: BTreeMap<String, &'b RawValue> = serde_json::from_str(found.get()).ok()?;
            members.get(key)?
        };
    }
    Some(found.get())
}

fn json_read(body: &[u8], pointer: &[String]) -> Option<Vec<u8>> {
    let found = json_find(std::str::from_utf8(body).ok()?, pointer)?;
    let text = serde_json::from_str::<String>(found).unwrap_or_else(|_| found.to_owned());
    Some(text.into_bytes())
}

/// Returns the document with the member repeated once per value.
fn json_write(body: &[u8], pointer: &[String], values: &[Vec<u8>]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    let found = json_find(text, pointer)?;
    let start = found.as_ptr().addr() - text.as_ptr().addr();
    let end = start + found.len();
    let key = serde_json::to_string(pointer.last()?).ok()?;
    let from = text[..start].rfind(&key);
    let mut written = Vec::new();
    for value in values {
        let value = std::str::from_utf8(value).ok()?;
        let is_number = !found.starts_with('"') && serde_json::from_str::<f64>(value).is_ok();
        let value = if is_number {
            value.to_owned()
        } else {
            serde_json::to_string(value).ok()?
        };
        written.push(value);
    }
    let (from, written) = match (from, written.as_slice()) {
        (_, [one]) => (start, one.clone()),
        // An item of an array has no key to repeat.
        (None, _) => return None,
        (Some(from), []) => (from, "\"not-there\":null".to_owned()),
        (Some(from), several) => {
            let members = several.iter().map(|value| format!("{key}:{value}"));
            (from, members.collect::<Vec<_>>().join(","))
        }
    };
    Some(format!("{}{written}{}", &text[..from], &text[end..]).into_bytes())
}
