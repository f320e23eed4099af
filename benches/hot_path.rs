//! The work of the gate that each request pays for: signature material, the MAC over the body, id and type.
#![expect(
    clippy::expect_used,
    reason = "a benchmark of something broken has to stop"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hookgate::config::model::SecretEntry;
use hookgate::document::Span;
use hookgate::gate::identity::IdentityRules;
use hookgate::gate::signature::Keys;
use hookgate::model::clock::Now;
use hookgate::model::secret::Secret;
use hookgate::providers;
use hookgate::scheme::spec::Spec;
use hookgate::scheme::{Head, ToSign};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

const UNIX_SECONDS: i64 = 1_700_000_000;

/// What hyper hands over at once: bodies arrive in pieces of about this size.
const CHUNK: usize = 8 * 1024;

/// One signed request of a provider.
struct Signed {
    keys: Keys,
    rules: IdentityRules,
    uri: Uri,
    headers: HeaderMap,
    body: Vec<u8>,
    now: Now,
}

fn entry(label: &str) -> SecretEntry {
    SecretEntry {
        label: label.into(),
        secret: Secret::new(format!("whsec_0123456789abcdef{label}").into_bytes()),
        not_before_ms: None,
        until_ms: None,
        span: Span::default(),
    }
}

impl Signed {
    /// Signed with the last of so many secrets.
    fn new(provider: &str, size: usize, secrets: usize) -> Self {
        let provider = providers::find(provider).expect("the provider is compiled in");
        let spec: &Spec = &provider.scheme;
        let entries: Vec<SecretEntry> = (1..=secrets).map(|n| entry(&n.to_string())).collect();
        let keys = Keys::new(spec, &entries, None, Duration::from_secs(300));
        let keys = keys.expect("the provider's scheme takes any text as its secret");
        let body = body(size);
        let (uri, mut headers) = (Uri::from_static("/webhook"), HeaderMap::new());
        for (name, value) in [
            ("content-type", "application/json"),
            ("user-agent", "GitHub-Hookshot/044aadd"),
            ("x-github-event", "push"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let head = Head {
            method: &Method::POST,
            uri: &uri,
            headers: &headers,
        };
        let to_sign = ToSign {
            head,
            unix_ms: UNIX_SECONDS * 1000,
            id: Some("72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            body: &body,
        };
        let stamp = keys.scheme().sign(secrets - 1, &to_sign).expect("it signs");
        let made: Vec<(HeaderName, HeaderValue)> = stamp
            .headers
            .into_iter()
            .map(|(name, value)| (name, value.parse().expect("signatures are ASCII")))
            .collect();
        headers.extend(made);
        Self {
            rules: IdentityRules::compile(spec),
            keys,
            uri,
            headers,
            body,
            now: Now::at_unix_seconds(UNIX_SECONDS),
        }
    }

    fn head(&self) -> Head<'_> {
        Head {
            method: &Method::POST,
            uri: &self.uri,
            headers: &self.headers,
        }
    }

    fn verify(&self) -> [u8; 32] {
        let mut pending = self
            .keys
            .open(self.head(), &self.now)
            .expect("the head is right");
        for chunk in self.body.chunks(CHUNK) {
            pending.update(chunk);
        }
        pending
            .finish(&self.body, None)
            .expect("the signature is right")
            .digest
    }
}

/// A JSON event of about this size, with id and type in front of the data, as Stripe sends them.
fn body(size: usize) -> Vec<u8> {
    let mut text = String::from(
        r#"{"id":"evt_1PqTzL2eZvKYlo2C","object":"event","type":"invoice.paid","data":["#,
    );
    while text.len() + 64 < size {
        text.push_str(r#"{"object":"line_item","amount":1999,"currency":"eur"},"#);
    }
    text.push_str(r#"{"object":"end"}]}"#);
    text.into_bytes()
}

fn verification(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("verify");
    for provider in ["github", "stripe"] {
        for size in [1024, 8 * 1024, 100 * 1024] {
            let signed = Signed::new(provider, size, 1);
            group.throughput(Throughput::Bytes(signed.body.len() as u64));
            group.bench_function(BenchmarkId::new(provider, size), |bencher| {
                bencher.iter(|| black_box(signed.verify()));
            });
        }
    }
    let signed = Signed::new("stripe", 1024, 2);
    group.bench_function("stripe_two_secrets/1024", |bencher| {
        bencher.iter(|| black_box(signed.verify()));
    });
    group.finish();
}

fn material(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("material");
    for provider in ["github", "stripe", "shopify"] {
        let signed = Signed::new(provider, 64, 1);
        group.bench_function(provider, |bencher| {
            bencher.iter(|| black_box(signed.keys.scheme().material(&signed.head())).is_ok());
        });
    }
    group.finish();
}

fn identity(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("identity");
    for (provider, size) in [("github", 1024), ("stripe", 1024), ("stripe", 8 * 1024)] {
        let signed = Signed::new(provider, size, 1);
        group.throughput(Throughput::Bytes(signed.body.len() as u64));
        group.bench_function(BenchmarkId::new(provider, size), |bencher| {
            bencher
                .iter(|| black_box(signed.rules.read(&signed.head(), &signed.body, true)).is_ok());
        });
    }
    group.finish();
}

criterion_group!(hot_path, verification, material, identity);
criterion_main!(hot_path);
