//! Tests of every provider file's identity: different events are forwarded, and a retry is a duplicate.
//!
//! A retry must reach the app once if the file names a dedup key. A new file is covered without a line here.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookgate_verify::identity::{IdentityFacts, IdentityRules, KeyText};
use hookgate_verify::providers::identity::RetrySigning;
use hookgate_verify::providers::{self, Provider};
use hookgate_verify::scheme::locate;
use hookgate_verify::scheme::spec::{FieldLocation, KeyPart, SchemeFamily, SchemeLocation};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{Vector, path, post};
use crate::config::model::{PathRule, ReplayRule, Route};
use crate::config::{self, usual_dedup};
use crate::gate::dedup::{ClaimLimits, ClaimResult, ClaimTable};
use crate::gate::event::EventParts;
use crate::gate::key_rule::KeyRule;
use crate::model::source::RequestSource;
use crate::net::event_headers::EventMarks;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    vectors: Vec<Vector>,
    #[serde(default)]
    samples: Vec<Sample>,
}

/// A genuine event without its signature.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    source: String,
    #[serde(default = "post")]
    method: String,
    #[serde(default = "path")]
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: String,
}

/// The dedup of one route, for tests.
struct Bench {
    identity: IdentityRules,
    key: KeyRule,
    claims: Arc<ClaimTable>,
    is_dated: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    New,
    Replay,
    Duplicate,
}

impl Bench {
    fn new(provider: &Arc<Provider>, rule: PathRule) -> Self {
        let route = route(provider, rule);
        Self {
            identity: IdentityRules::compile(IdentityFacts {
                spec: &route.scheme,
                key: route.dedup.as_ref().map(|dedup| &dedup.key),
                tenant: &[],
                batch: None,
                headers: &[],
            }),
            key: KeyRule::compile(&route).unwrap(),
            claims: ClaimTable::new(ClaimLimits {
                window: Duration::from_secs(60),
                entries: 1000,
                lease: Duration::from_secs(60),
            }),
            is_dated: provider.scheme.is_dated(),
        }
    }

    /// Claims a request as if its signature were right. `attempt` is the difference between two signatures of a sender
    /// that signs the time.
    fn send(&self, sample: &Sample, attempt: u8) -> Seen {
        let request = request(sample);
        let identity = self.identity.read(&request.head(), &request.body).unwrap();
        let mut digest = Sha256::new();
        digest.update([if self.is_dated { attempt } else { 0 }]);
        digest.update(&sample.path);
        digest.update(&request.body);
        let keys = self
            .key
            .keys(&identity.key, &request, &digest.finalize().into());
        let Some(keys) = keys.unwrap() else {
            return Seen::New;
        };
        match self.claims.try_claim(keys) {
            ClaimResult::Claimed(claim) => {
                let is_replay = claim.is_replay();
                claim.spend(StatusCode::OK);
                if is_replay { Seen::Replay } else { Seen::New }
            }
            ClaimResult::Spent(_) => Seen::Duplicate,
            ClaimResult::InFlight(_) => panic!("nothing is in flight"),
        }
    }

    fn has_key(&self, sample: &Sample) -> bool {
        let request = request(sample);
        let identity = self.identity.read(&request.head(), &request.body).unwrap();
        identity.key != KeyText::Absent
    }
}

fn route(provider: &Arc<Provider>, rule: PathRule) -> Route {
    let text = "[routes.a]\npath = \"/a\"\nprovider = \"github\"\nsecret = \"f3b8c1d09e7a4b52\"\nupstream = \"http://127.0.0.1:1/\"\n";
    let Ok(loaded) = config::load_text("hookgate.toml", text.to_owned()) else {
        panic!("the minimal config loads");
    };
    let mut route = loaded.config.routes.into_iter().next().unwrap();
    route.scheme = provider.scheme.clone();
    route.dedup = Some(usual_dedup(provider));
    route.provider = Some(Arc::clone(provider));
    route.path = rule;
    route
}

fn request(sample: &Sample) -> EventParts {
    let mut headers = HeaderMap::new();
    for (name, value) in &sample.headers {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    EventParts {
        method: sample.method.parse().unwrap(),
        uri: sample.path.parse().unwrap(),
        headers,
        body: Bytes::from(sample.body.clone()),
        plain: None,
        own_names: None,
        source: RequestSource {
            ip: [192, 0, 2, 1].into(),
            peer: ([192, 0, 2, 1], 4711).into(),
            is_tls: true,
        },
        event_id: None,
        event_type: None,
        digest: [0; 32],
        marks: EventMarks::default(),
    }
}

/// Runs `check` over every provider with its samples, and with samples made of its vectors.
fn each(mut check: impl FnMut(&Arc<Provider>, &[Sample], &[Sample])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/verify/providers");
    for provider in providers::all() {
        let file = folder.join(format!("{}.toml", provider.id));
        let text = std::fs::read_to_string(&file).unwrap();
        let file: File = toml::from_str(&text).unwrap();
        let vectors = file
            .vectors
            .iter()
            .filter(|vector| vector.challenge.is_none());
        let of_vectors: Vec<Sample> = vectors.filter_map(of_vector).collect();
        check(provider, &file.samples, &of_vectors);
    }
}

fn of_vector(vector: &Vector) -> Option<Sample> {
    Some(Sample {
        source: vector.source.clone(),
        method: vector.method.clone(),
        path: vector.path.clone(),
        headers: vector.headers.clone(),
        body: vector.body.clone()?,
    })
}

fn exact() -> PathRule {
    PathRule::Exact("/webhook".to_owned())
}

/// Fails when the key of a file is shared by two different events of its sender: an object's id, the first element of a
/// batch, equal bodies.
#[test]
fn different_genuine_samples_are_all_forwarded() {
    let mut lost = Vec::new();
    each(|provider, samples, _| {
        let bench = Bench::new(provider, exact());
        for (index, sample) in samples.iter().enumerate() {
            // Each sample is a separate event, so a sender that signs the time has signed each at another time.
            let attempt = u8::try_from(index).unwrap();
            if bench.send(sample, attempt) == Seen::Duplicate {
                lost.push(format!(
                    "{}: sample {}: {}",
                    provider.id,
                    index + 1,
                    sample.source
                ));
            }
        }
    });
    assert!(lost.is_empty(), "lost:\n{}", lost.join("\n"));
}

/// Returns the event of a retry that is signed at another time, where the time is in the body.
fn sent_later(provider: &Provider, sample: &Sample) -> Sample {
    let mut later = sample.clone();
    let SchemeFamily::Text(family) = &provider.scheme.family else {
        return later;
    };
    if let Some(SchemeLocation::Json(pointer)) =
        family.timestamp.as_ref().map(|time| &time.location)
        && let Some(time) = locate::find_value(sample.body.as_bytes(), pointer)
    {
        later.body.replace_range(time, "1700000600000");
    }
    later
}

/// Fails when bodies decide although the event has no key, and when a key does not match in a retry: because of the time in
/// its body, without `KeyRule::time`.
#[test]
fn a_retry_reaches_the_app_once_where_the_key_allows_it() {
    each(|provider, samples, of_vectors| {
        for sample in samples.iter().chain(of_vectors) {
            let bench = Bench::new(provider, exact());
            assert_eq!(bench.send(sample, 0), Seen::New, "{}", provider.id);
            let is_resigned = provider.identity.retries_resign.value == RetrySigning::Yes;
            let again = match is_resigned {
                true => bench.send(&sent_later(provider, sample), 1),
                false => bench.send(sample, 0),
            };
            // Different signed bytes are a different key.
            let mut parts = provider.identity.key.value.parts.iter();
            let has_bytes = parts.any(|part| *part == KeyPart::SignedBytes);
            let is_changed = is_resigned && has_bytes && bench.is_dated;
            let expected = bench.has_key(sample) && !is_changed;
            assert_eq!(
                again == Seen::Duplicate,
                expected,
                "{}: {}",
                provider.id,
                sample.source
            );
        }
    });
}

/// Fails when an event is dropped as a duplicate of one with another id, or of one with an equal body.
#[test]
fn an_event_of_another_key_is_forwarded() {
    let mut count = 0;
    each(|provider, samples, of_vectors| {
        for sample in samples.iter().chain(of_vectors) {
            let bench = Bench::new(provider, exact());
            if !bench.has_key(sample) {
                continue;
            }
            for part in &provider.identity.key.value.parts {
                let Some(other) = changed(sample, part) else {
                    continue;
                };
                let bench = Bench::new(provider, exact());
                bench.send(sample, 0);
                assert_ne!(bench.send(&other, 0), Seen::Duplicate, "{}", provider.id);
                count += 1;
            }
        }
    });
    assert!(count > 50, "only {count} keys could be changed");
}

/// Returns the sample with another value in the header that a part of the key reads.
fn changed(sample: &Sample, part: &KeyPart) -> Option<Sample> {
    let KeyPart::Fields(fields) = part else {
        return None;
    };
    let mut other = sample.clone();
    for field in fields {
        let FieldLocation::Header(wanted) = field else {
            continue;
        };
        let mut headers = other.headers.iter_mut();
        let (_, value) = headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted.as_str()))?;
        value.push('0');
        return Some(other);
    }
    None
}

/// Fails when an id that is unique only within one bot, shop or source counts across the paths below a prefix.
#[test]
fn below_a_prefix_the_path_belongs_to_the_key() {
    each(|provider, samples, of_vectors| {
        for sample in samples.iter().chain(of_vectors) {
            let bench = Bench::new(provider, PathRule::Prefix("/".to_owned()));
            let other = Sample {
                path: format!("/other{}", sample.path),
                ..sample.clone()
            };
            bench.send(sample, 0);
            assert_ne!(bench.send(&other, 0), Seen::Duplicate, "{}", provider.id);
        }
    });
}

/// Fails when a captured request under a guessed id makes the genuine event of that id a duplicate.
#[test]
fn an_unsigned_key_counts_only_with_the_body() {
    let github = providers::find("github").unwrap();
    assert_eq!(usual_dedup(&github).replay, ReplayRule::Flag);
    let bench = Bench::new(&github, exact());
    let sample = |id: &str, body: &str| Sample {
        source: String::new(),
        method: Method::POST.to_string(),
        path: "/webhook".to_owned(),
        headers: BTreeMap::from([("X-GitHub-Delivery".to_owned(), id.to_owned())]),
        body: body.to_owned(),
    };
    assert_eq!(bench.send(&sample("d-1", "{}"), 0), Seen::New);
    // A replay of the first event under the id of a later event.
    assert_eq!(bench.send(&sample("d-2", "{}"), 0), Seen::Replay);
    assert_eq!(bench.send(&sample("d-2", r#"{"a":1}"#), 0), Seen::New);
    assert_eq!(bench.send(&sample("d-1", "{}"), 0), Seen::Duplicate);
}
