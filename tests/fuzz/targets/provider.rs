//! Fuzzes the whole verification of every provider, from its own vectors.
//!
//! Any edit of a signed request must be refused, unless the app still reads the signed values in it. The input names a
//! vector and edits it: `which`, then splices of the request as text. The values that the app reads are found by other
//! code than the gate's (`serde_json`, which takes the last of two members, and `form_urlencoded`).
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use hookgate::internals::{ClockReading, FieldLocation, IdentityFacts, IdentityRules, Provider, RequestHead, SignatureVerifier, SchemeFamily, SchemeLocation, SchemeSpec, Secret, SecretEntry, SignatureSpec, TemplatePart, TimestampSpec, all_providers};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    source: String,
    /// The route's `audience`, if it needs one.
    #[serde(default)]
    audience: Vec<String>,
    now: i64,
    #[serde(default)]
    secret: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    path: Option<String>,
    public_url: Option<String>,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    challenge: Option<String>,
    fetched: Option<String>,
}

/// Vector joined with its keys, and the request as text.
struct Case {
    provider: &'static Provider,
    keys: SignatureVerifier,
    now: ClockReading,
    text: Vec<u8>,
    whole: Request,
    digest: [u8; 32],
}

#[derive(Clone, PartialEq)]
struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Request {
    /// `METHOD TARGET`, headers, an empty line, the body.
    fn parse(text: &[u8]) -> Option<Self> {
        let end = text.windows(2).position(|two| two == b"\n\n")?;
        let (head, body) = (&text[..end], &text[end + 2..]);
        let mut lines = head.split(|byte| *byte == b'\n');
        let first = std::str::from_utf8(lines.next()?).ok()?;
        let (method, target) = first.split_once(' ')?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            // White space around a value is no part of it (RFC 9110, section 5.5): no listener passes it on.
            let value = line[colon + 1..].trim_ascii();
            headers.append(name, HeaderValue::from_bytes(value).ok()?);
        }
        let uri: Uri = target.parse().ok()?;
        target.starts_with('/').then_some(())?;
        Some(Self {
            method: method.parse().ok()?,
            uri,
            headers,
            body: body.to_vec(),
        })
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            uri: &self.uri,
            headers: &self.headers,
        }
    }

    fn digest(&self, keys: &SignatureVerifier, now: &ClockReading) -> Option<[u8; 32]> {
        let mut pending = keys.open(self.head(), now.unix_ms).ok()?;
        pending.update(&self.body);
        // Published keys have separate tests.
        if pending.need(&self.body).ok()?.is_some() {
            return None;
        }
        Some(pending.finish(&self.body, None).ok()?.digest)
    }

    fn header(&self, name: &HeaderName) -> Vec<&[u8]> {
        let values = self.headers.get_all(name).iter();
        values.map(HeaderValue::as_bytes).collect()
    }

    fn is_in_parts(&self) -> bool {
        let kind = self.headers.get(http::header::CONTENT_TYPE);
        kind.is_some_and(|kind| {
            kind.as_bytes()
                .to_ascii_lowercase()
                .starts_with(b"multipart/")
        })
    }

    fn query(&self, name: &str) -> Vec<String> {
        pairs(self.uri.query().unwrap_or_default().as_bytes(), name)
    }

    /// Returns the values of one entry of the lists that contain signatures.
    fn entries(&self, spec: &SchemeSpec, name: &str) -> Vec<String> {
        let mut values = Vec::new();
        for signature in signatures(spec) {
            let (SchemeLocation::Header(header), Some(list)) = (&signature.location, &signature.list)
            else {
                continue;
            };
            for value in self.header(header) {
                let text = String::from_utf8_lossy(value).into_owned();
                let entries = text
                    .split(list.separator)
                    .filter_map(|entry| entry.split_once(list.assign));
                let named = entries.filter(|(key, _)| key.trim() == name);
                values.extend(named.map(|(_, value)| value.trim().to_owned()));
            }
        }
        values
    }

    /// Returns the time that the app treats as the time of sending.
    fn timestamps(&self, spec: &SchemeSpec) -> Vec<String> {
        match timestamp(spec) {
            Some(TimestampSpec { key: Some(key), .. }) => self.entries(spec, key),
            Some(TimestampSpec {
                location: SchemeLocation::Header(name),
                ..
            }) => {
                let values = self.header(name).into_iter();
                values
                    .map(|value| String::from_utf8_lossy(value).into_owned())
                    .collect()
            }
            Some(TimestampSpec {
                location: SchemeLocation::Query(name),
                ..
            }) => self.query(name),
            _ => Vec::new(),
        }
    }

    fn json(&self, pointer: &[String]) -> Option<Value> {
        let mut value: Value = serde_json::from_slice(&self.body).ok()?;
        for key in pointer {
            value = match value {
                Value::Array(mut items) => {
                    let at: usize = key.parse().ok()?;
                    (at < items.len()).then(|| items.swap_remove(at))?
                }
                Value::Object(mut members) => members.remove(key)?,
                _ => return None,
            };
        }
        (!value.is_null() && value != "").then_some(value)
    }

    /// Returns the value that the app reads for one part of the signed text.
    fn read(&self, spec: &SchemeSpec, part: &TemplatePart) -> Read<'_> {
        match part {
            TemplatePart::Timestamp => Read::Pairs(self.timestamps(spec)),
            TemplatePart::Entry(name) => Read::Pairs(self.entries(spec, name)),
            TemplatePart::LowerHeader(name) => {
                let values = self.header(name).into_iter();
                Read::Pairs(
                    values
                        .map(|value| String::from_utf8_lossy(value).to_lowercase())
                        .collect(),
                )
            }
            TemplatePart::LowerQuery(name) => {
                let values = self.query(name).into_iter();
                Read::Pairs(values.map(|value| value.to_lowercase()).collect())
            }
            TemplatePart::Body | TemplatePart::BodyDigest(..) | TemplatePart::BodyJsonString => {
                Read::Body(&self.body)
            }
            TemplatePart::Method | TemplatePart::LowerMethod => Read::Text(self.method.to_string()),
            TemplatePart::Path | TemplatePart::UrlNoQuery => Read::Text(self.uri.path().to_owned()),
            TemplatePart::PathQuery | TemplatePart::Url => Read::Text(self.uri.to_string()),
            TemplatePart::Header(name) => Read::Header(self.header(name)),
            TemplatePart::Query(name) => Read::Pairs(self.query(name)),
            TemplatePart::Form(name) => Read::Pairs(pairs(&self.body, name)),
            TemplatePart::Json(pointer) => Read::Json(self.json(pointer)),
            // Not a single value, or covered by the digest alone.
            _ => Read::Nothing,
        }
    }
}

#[derive(PartialEq, Debug)]
enum Read<'a> {
    Nothing,
    Body(&'a [u8]),
    Text(String),
    Header(Vec<&'a [u8]>),
    Pairs(Vec<String>),
    Json(Option<Value>),
}

fn signatures(spec: &SchemeSpec) -> Vec<&SignatureSpec> {
    match &spec.family {
        SchemeFamily::Hmac(family) => vec![&family.signature],
        SchemeFamily::Text(family) => family.signatures.iter().collect(),
        SchemeFamily::Token(_)
        | SchemeFamily::Jwt(_)
        | SchemeFamily::Certificate(_)
        | SchemeFamily::Http(_) => Vec::new(),
    }
}

fn timestamp(spec: &SchemeSpec) -> Option<&TimestampSpec> {
    match &spec.family {
        SchemeFamily::Hmac(family) => family.timestamp.as_ref(),
        SchemeFamily::Text(family) => family.timestamp.as_ref(),
        SchemeFamily::Token(_)
        | SchemeFamily::Jwt(_)
        | SchemeFamily::Certificate(_)
        | SchemeFamily::Http(_) => None,
    }
}

fn pairs(text: &[u8], name: &str) -> Vec<String> {
    let all = form_urlencoded::parse(text).filter(|(key, _)| key == name);
    all.map(|(_, value)| value.into_owned())
        .filter(|value| !value.is_empty())
        .collect()
}

impl Case {
    fn new(provider: &'static Provider, vector: Vector) -> Option<Self> {
        let entry = SecretEntry::new("1", Secret::new(vector.secret.into_bytes()));
        let public_url = vector.public_url.as_deref();
        let mut scheme = provider.scheme.clone();
        if let SchemeFamily::Certificate(family) = &mut scheme.family {
            family.topics = vector.audience;
        }
        let keys = SignatureVerifier::new(
            &scheme,
            &[entry],
            public_url,
            // Here the signature decides which time is the right one.
            Duration::from_secs(1_000_000_000),
        );
        let method = vector.method.unwrap_or_else(|| "POST".to_owned());
        let target = vector.path.unwrap_or_else(|| "/webhook".to_owned());
        let mut text = format!("{method} {target}\n");
        for (name, value) in &vector.headers {
            text.push_str(&format!("{name}:{value}\n"));
        }
        text.push('\n');
        text.push_str(&vector.body?);
        let (keys, now) = (keys.ok()?, ClockReading::at_unix_seconds(vector.now));
        let whole = Request::parse(text.as_bytes())?;
        Some(Self {
            provider,
            digest: whole.digest(&keys, &now)?,
            keys,
            now,
            text: text.into_bytes(),
            whole,
        })
    }

    /// Compares the accepted request with the signed one.
    fn check(&self, taken: &Request) {
        let id = &self.provider.id;
        // Multipart forms have a separate target.
        if is_beyond(&taken.body) || taken.is_in_parts() {
            return;
        }
        let Some(template) = self.provider.scheme.template() else {
            return self.check_token(taken);
        };
        template.visit(&mut |part| {
            let spec = &self.provider.scheme;
            let (now, then) = (taken.read(spec, part), self.whole.read(spec, part));
            let body = taken.body.escape_ascii();
            assert_eq!(
                now, then,
                "{id}: taken, and {part:?} is another one: {body}"
            );
        });
        self.check_identity(taken);
    }

    /// Asserts that dedup uses the id that the app reads.
    fn check_identity(&self, taken: &Request) {
        let rules = IdentityRules::compile(IdentityFacts::of(&self.provider.scheme));
        let read = rules.read(&taken.head(), &taken.body);
        let Some(found) = read.ok().and_then(|identity| identity.event_id) else {
            return;
        };
        let fields = self.provider.scheme.event_id.iter();
        let texts: Vec<String> = fields
            .filter_map(|field| match field {
                FieldLocation::Json(pointer) => taken.json(pointer).map(|value| match value {
                    Value::String(text) => text,
                    value => value.to_string(),
                }),
                FieldLocation::Form(name) => pairs(&taken.body, name).pop(),
                FieldLocation::Query(name) => taken.query(name).pop(),
                FieldLocation::Header(name) => taken
                    .header(name)
                    .pop()
                    .map(|value| String::from_utf8_lossy(value).trim().to_owned()),
                FieldLocation::FormJson(..) | FieldLocation::Claim(_) => None,
            })
            .collect();
        let is_read = texts.iter().any(|text| *text == found.as_str());
        assert!(
            texts.is_empty() || is_read,
            "{}: the app reads other ids: {texts:?}, {:?}",
            self.provider.id,
            found.as_str()
        );
    }

    /// Asserts that the whole token is present, because a token signs nothing.
    fn check_token(&self, taken: &Request) {
        let SchemeFamily::Token(_) = &self.provider.scheme.family else {
            return;
        };
        for name in self.keys.scheme().headers() {
            let is_token = !self
                .provider
                .scheme
                .event_id
                .iter()
                .chain(&self.provider.scheme.event_type)
                .chain(&self.provider.scheme.version)
                .any(|field| *field == FieldLocation::Header(name.clone()));
            if is_token {
                let (now, then) = (taken.header(name), self.whole.header(name));
                let same = now.len() == 1 && then.len() == 1 && is_near(now[0], then[0]);
                assert!(same, "{}: taken without its token", self.provider.id);
            }
        }
    }
}

/// Returns whether well-formed JSON has a number such as `1e999`, which parsers read differently.
fn is_beyond(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_err()
        && serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

/// Compares two tokens without the name of their authentication scheme, which has no case (RFC 9110, section 11.1).
fn is_near(now: &[u8], then: &[u8]) -> bool {
    let after = |value: &[u8]| {
        let at = value.iter().position(|byte| *byte == b' ');
        value[at.map_or(0, |at| at + 1)..].to_vec()
    };
    after(now) == after(then)
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let mut cases = Vec::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/verify/providers");
    for provider in all_providers() {
        let text = std::fs::read_to_string(format!("{folder}/{}.toml", provider.id)).unwrap();
        let file: File = toml::from_str(&text).unwrap();
        let is_usable = |vector: &Vector| vector.challenge.is_none() && vector.fetched.is_none();
        for vector in file.vectors.into_iter().filter(is_usable) {
            let source = vector.source.clone();
            match Case::new(provider, vector) {
                Some(case) => cases.push(case),
                None => eprintln!("left out: {}: {source}", provider.id),
            }
        }
    }
    assert!(cases.len() > 230, "{} cases", cases.len());
    cases
});

fuzz_target!(|input: (u16, Vec<(u16, u8, Vec<u8>)>)| {
    let (which, edits) = input;
    let case = &CASES[usize::from(which) % CASES.len()];
    let mut text = case.text.clone();
    for (at, cut, put) in edits.into_iter().take(8) {
        let at = usize::from(at) % (text.len() + 1);
        let end = (at + usize::from(cut)).min(text.len());
        text.splice(at..end, put);
    }
    let Some(request) = Request::parse(&text) else {
        return;
    };
    if let Some(digest) = request.digest(&case.keys, &case.now) {
        // For other schemes the digest includes an unsigned body, since one token may come with many bodies.
        let is_signed = match &case.provider.scheme.family {
            SchemeFamily::Token(_) => false,
            SchemeFamily::Jwt(_) => case.provider.scheme.signs_body(),
            _ => true,
        };
        if is_signed || request.body == case.whole.body {
            assert_eq!(digest, case.digest, "{}: forged", case.provider.id);
        }
        case.check(&request);
    } else {
        assert!(request != case.whole, "{}: not taken", case.provider.id);
    }
});
