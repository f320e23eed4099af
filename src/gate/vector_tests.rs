//! Runs the vectors of every provider file: each is taken as it stands, and refused after each kind of damage. A new file
//! is covered by being there.

mod case;
mod damage;
mod elsewhere;
mod keys;
mod spot;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde::Deserialize;

use crate::config::model::SecretEntry;
use crate::document::Span;
use crate::gate::challenge;
use crate::gate::identity::IdentityRules;
use crate::gate::reject::Reject;
use crate::gate::signature::{Keys, Signed};
use crate::model::clock::Now;
use crate::model::ids::EventId;
use crate::model::secret::Secret;
use crate::net::answer::AnswerBody;
use crate::providers::{self, Provider};
use crate::scheme::Head;
use crate::scheme::spec::{Family, Part, Place, TokenPlace};

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    vectors: Vec<Vector>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    source: String,
    /// Seconds since the epoch.
    now: i64,
    secret: String,
    #[serde(default = "post")]
    method: String,
    #[serde(default = "path")]
    path: String,
    public_url: Option<String>,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    body_base64: Option<String>,
    event_id: Option<String>,
    event_type: Option<String>,
    /// The text that goes back where the vector is a URL check.
    challenge: Option<String>,
}

fn post() -> String {
    "POST".to_owned()
}

fn path() -> String {
    "/webhook".to_owned()
}

/// A vector that may be damaged.
struct Request<'v> {
    provider: &'v Provider,
    vector: &'v Vector,
    secret: String,
    now: Now,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl<'v> Request<'v> {
    fn new(provider: &'v Provider, vector: &'v Vector) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in &vector.headers {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let body = match (&vector.body, &vector.body_base64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(text)) => BASE64.decode(text.as_bytes()).unwrap(),
            _ => panic!("one of `body` and `body_base64`: {}", vector.source),
        };
        Self {
            provider,
            vector,
            secret: vector.secret.clone(),
            now: Now::at_unix_seconds(vector.now),
            headers,
            body,
        }
    }

    fn method(&self) -> Method {
        self.vector.method.parse().unwrap()
    }

    fn uri(&self) -> Uri {
        self.vector.path.parse().unwrap()
    }

    fn head<'r>(&'r self, uri: &'r Uri, method: &'r Method) -> Head<'r> {
        Head {
            method,
            uri,
            headers: &self.headers,
        }
    }

    fn check(&self) -> Result<Signed, Reject> {
        self.check_or_unfit().unwrap()
    }

    /// None where the scheme cannot use the secret at all.
    fn check_or_unfit(&self) -> Option<Result<Signed, Reject>> {
        let entry = SecretEntry {
            label: "1".into(),
            secret: Secret::new(self.secret.clone().into_bytes()),
            not_before_ms: None,
            until_ms: None,
            span: Span::default(),
        };
        let public_url = self.vector.public_url.as_deref();
        let (spec, tolerance) = (&self.provider.scheme, self.provider.tolerance);
        let keys = Keys::new(spec, &[entry], public_url, tolerance).ok()?;
        let (uri, method) = (self.uri(), self.method());
        let mut pending = match keys.open(self.head(&uri, &method), &self.now) {
            Ok(pending) => pending,
            Err(reject) => return Some(Err(reject)),
        };
        for chunk in self.body.chunks(5) {
            pending.update(chunk);
        }
        Some(pending.finish(&self.body))
    }

    fn at_offset(mut self, offset: Duration, is_future: bool) -> Self {
        let offset = i64::try_from(offset.as_millis()).unwrap();
        self.now.unix_ms += if is_future { -offset } else { offset };
        self
    }
}

/// The header that holds the signature or token.
fn signature_header(provider: &Provider) -> Option<HeaderName> {
    let place = match &provider.scheme.family {
        Family::Hmac(family) => &family.signature.place,
        Family::Text(family) if family.signatures.len() == 1 => &family.signatures[0].place,
        Family::Text(_) => return None,
        Family::Token(family) => match &family.place {
            TokenPlace::Header { name, .. } => return Some(name.clone()),
            TokenPlace::Basic => return Some(http::header::AUTHORIZATION),
            _ => return None,
        },
    };
    match place {
        Place::Header(name) => Some(name.clone()),
        _ => None,
    }
}

/// The header with the signature, where nothing in it may be left out: no second signature, and no entry of another
/// version, whose content does not count.
fn only_signature(provider: &Provider, vector: &Vector) -> Option<(HeaderName, HeaderValue)> {
    let header = signature_header(provider)?;
    let value = Request::new(provider, vector).headers[&header].clone();
    let (list, timestamp) = match &provider.scheme.family {
        Family::Hmac(family) => (&family.signature.list, &family.timestamp),
        Family::Text(family) => (&family.signatures[0].list, &family.timestamp),
        Family::Token(_) => (&None, &None),
    };
    if let Some(list) = list {
        let is_timed = timestamp.as_ref().is_some_and(|spec| spec.key.is_some());
        let entries = value.to_str().unwrap().split(list.separator).count();
        return (entries == 1 + usize::from(is_timed)).then_some((header, value));
    }
    Some((header, value))
}

/// Every header without which there is nothing to verify.
fn needed_headers(provider: &Provider) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    names.extend(signature_header(provider).map(|name| name.to_string()));
    if let Family::Hmac(family) = &provider.scheme.family {
        if let Some(Place::Header(name)) = family.timestamp.as_ref().map(|spec| &spec.place) {
            names.insert(name.to_string());
        }
        for part in &family.signed.parts {
            match part {
                Part::Header(name) => names.insert(name.to_string()),
                Part::Id => names.insert(provider.scheme.id_header().unwrap().to_string()),
                _ => false,
            };
        }
    }
    names
}

/// Runs `check` over every vector of every provider.
fn each(check: impl Fn(&Provider, &Vector)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/providers");
    for provider in providers::all() {
        let file = folder.join(format!("{}.toml", provider.id));
        let text = std::fs::read_to_string(&file).unwrap();
        let file: File = toml::from_str(&text).unwrap();
        assert!(!file.vectors.is_empty(), "{} has no vectors", provider.id);
        for vector in &file.vectors {
            check(provider, vector);
        }
    }
}

fn name(provider: &Provider, vector: &Vector) -> String {
    format!("{}: {}", provider.id, vector.source)
}

#[test]
fn the_providers_of_this_release_are_there() {
    let ids: Vec<&str> = providers::all().iter().map(|one| one.id.as_str()).collect();
    for id in [
        "github",
        "github_sha1",
        "gitlab",
        "shopify",
        "slack",
        "standard_webhooks",
        "stripe",
        "svix",
        "x_webhook",
    ] {
        assert!(ids.contains(&id), "{id}");
    }
}

#[test]
fn every_vector_is_taken() {
    each(|provider, vector| {
        let signed = Request::new(provider, vector).check();
        let signed = signed.unwrap_or_else(|err| panic!("{}: {err:?}", name(provider, vector)));
        assert_eq!(&*signed.label, "1");
    });
}

#[test]
fn every_vector_has_the_id_and_type_that_it_says() {
    each(|provider, vector| {
        let request = Request::new(provider, vector);
        let rules = IdentityRules::compile(&provider.scheme);
        let identity = rules
            .read(
                &request.head(&request.uri(), &request.method()),
                &request.body,
                true,
            )
            .unwrap_or_else(|err| panic!("{}: {err:?}", name(provider, vector)));
        let id = identity.event_id.as_ref().map(EventId::as_str);
        assert_eq!(id, vector.event_id.as_deref(), "{}", name(provider, vector));
        let kind = identity.event_type.as_deref();
        assert_eq!(
            kind,
            vector.event_type.as_deref(),
            "{}",
            name(provider, vector)
        );
    });
}

#[test]
fn a_challenge_is_answered_where_the_vector_is_one() {
    each(|provider, vector| {
        let request = Request::new(provider, vector);
        let answer = provider
            .challenge
            .and_then(|kind| challenge::answer(kind, &request.method(), &request.body));
        let text = answer.map(|answer| match answer.into_body() {
            AnswerBody::Whole(Some(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
            _ => panic!("the answer is our own text"),
        });
        assert_eq!(text, vector.challenge, "{}", name(provider, vector));
    });
}

#[test]
fn another_body_is_refused_where_the_body_is_signed() {
    each(|provider, vector| {
        if !provider.scheme.signs_body() {
            return;
        }
        for position in 0..Request::new(provider, vector).body.len() {
            let mut request = Request::new(provider, vector);
            request.body[position] ^= 1;
            refused(&request);
        }
        let mut request = Request::new(provider, vector);
        request.body.push(b'\n');
        refused(&request);
        request.body.clear();
        refused(&request);
    });
}

/// A scheme that reads the body may find its own fault before the signature's.
fn refused(request: &Request<'_>) {
    let verdict = request.check();
    let is_text = matches!(&request.provider.scheme.family, Family::Text(_));
    match verdict {
        Err(Reject::BadSignature) => {}
        Err(
            Reject::MissingMaterial { .. }
            | Reject::MalformedMaterial { .. }
            | Reject::StaleTimestamp { .. },
        ) if is_text => {}
        other => panic!("{}: {other:?}", name(request.provider, request.vector)),
    }
}

#[test]
fn another_secret_is_refused() {
    each(|provider, vector| {
        let mut request = Request::new(provider, vector);
        let middle = request.secret.len() / 2;
        let other = if request.secret.as_bytes()[middle] == b'a' {
            "b"
        } else {
            "a"
        };
        request.secret.replace_range(middle..=middle, other);
        let Some(verdict) = request.check_or_unfit() else {
            return;
        };
        assert_eq!(
            verdict.err(),
            Some(Reject::BadSignature),
            "{}",
            name(provider, vector)
        );
    });
}

#[test]
fn a_cut_signature_is_refused() {
    each(|provider, vector| {
        let Some((header, whole)) = only_signature(provider, vector) else {
            return;
        };
        for end in 0..whole.len() {
            let mut request = Request::new(provider, vector);
            let cut = HeaderValue::from_bytes(&whole.as_bytes()[..end]).unwrap();
            request.headers.insert(header.clone(), cut);
            assert!(
                request.check().is_err(),
                "{} cut to {end}",
                name(provider, vector)
            );
        }
    });
}

#[test]
fn a_foreign_character_is_refused() {
    each(|provider, vector| {
        let Some((header, whole)) = only_signature(provider, vector) else {
            return;
        };
        for position in 0..=whole.len() {
            for foreign in [&b"!"[..], b" ", b"\t", b",", b"=", b"\"", b"\xc3\xa9", b"0"] {
                let mut bytes = whole.as_bytes().to_vec();
                bytes.splice(position..position, foreign.iter().copied());
                let mut request = Request::new(provider, vector);
                request
                    .headers
                    .insert(header.clone(), HeaderValue::from_bytes(&bytes).unwrap());
                assert!(
                    request.check().is_err(),
                    "{} with {foreign:?} at {position}",
                    name(provider, vector)
                );
            }
        }
    });
}

#[test]
fn a_doubled_or_missing_header_is_refused() {
    each(|provider, vector| {
        for header in needed_headers(provider) {
            let mut request = Request::new(provider, vector);
            let value = request.headers[header.as_str()].clone();
            let header: HeaderName = header.parse().unwrap();
            request.headers.append(header.clone(), value);
            let verdict = request.check();
            assert!(
                matches!(&verdict, Err(Reject::MalformedMaterial { name, .. }) if **name == *header.as_str()),
                "{} with two {header}: {verdict:?}",
                name(provider, vector)
            );
            request.headers.remove(&header);
            let missing = Reject::MissingMaterial {
                name: header.as_str().into(),
            };
            assert_eq!(
                request.check().err(),
                Some(missing),
                "{}",
                name(provider, vector)
            );
        }
    });
}

#[test]
fn a_stale_or_future_timestamp_is_refused() {
    each(|provider, vector| {
        if !provider.scheme.is_dated() {
            return;
        }
        // Vectors lie anywhere within the tolerance, so twice of it is outside for certain.
        let far = provider.tolerance * 2 + Duration::from_secs(1);
        for is_future in [false, true] {
            let verdict = Request::new(provider, vector)
                .at_offset(far, is_future)
                .check();
            assert!(
                matches!(verdict, Err(Reject::StaleTimestamp { .. })),
                "{}: {verdict:?}",
                name(provider, vector)
            );
        }
    });
}

#[test]
fn a_changed_timestamp_or_id_is_refused_where_it_is_signed() {
    each(|provider, vector| {
        let Family::Hmac(family) = &provider.scheme.family else {
            return;
        };
        let parts = &family.signed.parts;
        let mut signed = Vec::new();
        if parts.contains(&Part::Id) {
            signed.push(provider.scheme.id_header().unwrap().clone());
        }
        if let (true, Some(Place::Header(name))) = (
            parts.contains(&Part::Timestamp),
            family.timestamp.as_ref().map(|spec| &spec.place),
        ) {
            signed.push(name.clone());
        }
        for header in signed {
            let mut request = Request::new(provider, vector);
            let mut value = request.headers[&header].as_bytes().to_vec();
            // In a list the timestamp is an entry among others; its last digit stands before the next separator.
            let key = family
                .timestamp
                .as_ref()
                .and_then(|spec| spec.key.as_deref());
            let end = match (key, &family.signature.list) {
                (Some(key), Some(list)) => {
                    let text = std::str::from_utf8(&value).unwrap();
                    let begin = text.find(&format!("{key}{}", list.assign)).unwrap();
                    text[begin..].find(list.separator).map(|len| begin + len)
                }
                _ => None,
            };
            // A neighbouring digit, so that the timestamp stays within the tolerance.
            let last = end.unwrap_or(value.len()) - 1;
            value[last] ^= 1;
            request
                .headers
                .insert(header, HeaderValue::from_bytes(&value).unwrap());
            let verdict = request.check();
            assert_eq!(
                verdict.err(),
                Some(Reject::BadSignature),
                "{}",
                name(provider, vector)
            );
        }
    });
}
