//! The work of the gate that each request pays for: signature material, the MAC over the body, id and type.
#![expect(
    clippy::expect_used,
    reason = "a benchmark of something broken has to stop"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hookgate::internals::{
    ClaimLimits, ClaimResult, ClaimTable, ClockReading, DedupKey, DedupKeys as EventKeys,
    IdentityFacts, IdentityKey, IdentityRules, RemoteKeys, RequestHead, SchemeSpec, Secret,
    SecretEntry, SignatureVerifier, ToSign, find_provider,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

const UNIX_SECONDS: i64 = 1_700_000_000;

/// What hyper hands over at once: bodies arrive in pieces of about this size.
const CHUNK: usize = 8 * 1024;

/// One signed request of a provider.
struct Signed {
    keys: SignatureVerifier,
    rules: IdentityRules,
    uri: Uri,
    headers: HeaderMap,
    body: Vec<u8>,
    now: ClockReading,
    /// What the sender publishes, where the scheme needs it.
    fetched: Option<RemoteKeys>,
}

fn entry(label: &str) -> SecretEntry {
    let secret = format!("whsec_0123456789abcdef{label:0>4}");
    SecretEntry::new(label, Secret::new(secret.into_bytes()))
}

impl Signed {
    /// Signed with the last of so many secrets.
    fn new(provider: &str, size: usize, secrets: usize) -> Self {
        let provider = find_provider(provider).expect("the provider is compiled in");
        let spec: &SchemeSpec = &provider.scheme;
        let entries: Vec<SecretEntry> = (1..=secrets).map(|n| entry(&n.to_string())).collect();
        let keys = SignatureVerifier::new(spec, &entries, None, Duration::from_secs(300));
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
        let head = RequestHead {
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
            rules: identity_rules(spec),
            keys,
            uri,
            headers,
            body,
            now: ClockReading::at_unix_seconds(UNIX_SECONDS),
            fetched: None,
        }
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &Method::POST,
            uri: &self.uri,
            headers: &self.headers,
        }
    }

    fn verify(&self) -> [u8; 32] {
        let mut pending = self
            .keys
            .open(self.head(), self.now.unix_ms)
            .expect("the head is right");
        for chunk in self.body.chunks(CHUNK) {
            pending.update(chunk);
        }
        if self.fetched.is_some() {
            black_box(pending.need(&self.body).expect("the body is right"));
        }
        pending
            .finish(&self.body, self.fetched.as_ref())
            .expect("the signature is right")
            .digest
    }
}

/// One request of 1 KiB for each family, signed as its sender would.
mod families {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
        RsaKeyPair,
    };
    use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
    use hookgate::internals::{SchemeFamily, SourceText, TomlDocument, parse_spec};
    use serde::Deserialize;
    use sha2::{Digest, Sha256};

    use super::*;

    const URL: &str = "https://hooks.example.com";
    const TIME: &str = "1700000000";

    fn spec(text: &str) -> SchemeSpec {
        let source = SourceText::new("bench.toml", text.to_owned());
        let document = TomlDocument::parse(&source);
        parse_spec(&mut document.root()).expect("the scheme is right")
    }

    fn signed(text: &str, secret: &str, headers: &[(&'static str, String)]) -> Signed {
        let spec = spec(text);
        let entry = SecretEntry {
            secret: Secret::new(secret.as_bytes().to_vec()),
            ..entry("1")
        };
        let keys = SignatureVerifier::new(&spec, &[entry], Some(URL), Duration::from_secs(300));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("it is ASCII"));
        }
        Signed {
            rules: identity_rules(&spec),
            keys: keys.expect("they go together"),
            uri: Uri::from_static("/webhook"),
            headers: map,
            body: body(1024),
            now: ClockReading::at_unix_seconds(UNIX_SECONDS),
            fetched: None,
        }
    }

    /// Signed by the scheme itself.
    fn by_itself(text: &str) -> Signed {
        let mut signed = signed(text, "fake-secret-0123456789abcdef", &[]);
        let to_sign = ToSign {
            head: signed.head(),
            unix_ms: UNIX_SECONDS * 1000,
            id: None,
            body: &signed.body,
        };
        let stamp = signed.keys.scheme().sign(0, &to_sign).expect("it signs");
        for (name, value) in stamp.headers {
            signed
                .headers
                .insert(name, value.parse().expect("it is ASCII"));
        }
        signed
    }

    fn by_key(kind: &str, secret: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> Signed {
        let text = format!(
            "{kind}\nencoding = \"base64\"\nsignature = {{ header = \"x-signature\" }}\nsigned = \"{{timestamp}}{{body}}\"\ntimestamp = {{ header = \"x-timestamp\", unit = \"s\" }}"
        );
        let signature = sign(&[TIME.as_bytes(), &body(1024)].concat());
        let headers = [
            ("x-signature", BASE64.encode(&signature)),
            ("x-timestamp", TIME.to_owned()),
        ];
        signed(&text, secret, &headers)
    }

    fn basic() -> Signed {
        let secret = "user:fake-secret-0123456789abcdef";
        let value = format!("Basic {}", BASE64.encode(secret.as_bytes()));
        let text = "type = \"token\"\ntoken = { basic = true }";
        signed(text, secret, &[("authorization", value)])
    }

    fn jwt() -> Signed {
        let text = "type = \"jwt\"\nalgorithms = [\"HS256\"]\ntoken = { header = \"authorization\" }\nkeys = \"secret\"\naudience = \"none\"\ntolerance_claim = \"exp\"\nbody_claim = { name = \"sha256\", digest = \"sha256\", encoding = \"hex\" }";
        let secret = "fake-secret-0123456789abcdef";
        let digest = HEXLOWER.encode(&Sha256::digest(body(1024)));
        let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let claims = format!(r#"{{"exp":1700000100,"sha256":"{digest}"}}"#);
        let text_signed = format!("{}.{}", part(r#"{"alg":"HS256"}"#), part(&claims));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
        let mac = aws_lc_rs::hmac::sign(&key, text_signed.as_bytes());
        let token = format!("{text_signed}.{}", BASE64URL_NOPAD.encode(mac.as_ref()));
        signed(text, secret, &[("authorization", token)])
    }

    /// A vector of a provider file.
    #[derive(Deserialize)]
    struct Vector {
        audience: Vec<String>,
        fetched: String,
        body: String,
    }

    /// An SNS message, whose key is in a certificate that SNS publishes.
    fn certificate() -> Signed {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/crates/verify/providers/sns.toml"
        );
        let text = std::fs::read_to_string(path).expect("the file is there");
        let mut file: toml::Table = toml::from_str(&text).expect("the file is right");
        let vectors = file.remove("vectors").expect("it has vectors");
        let vectors: Vec<Vector> = vectors.try_into().expect("they are right");
        let is_newest = |vector: &Vector| vector.body.contains("\"SignatureVersion\": \"2\"");
        let vector = vectors.into_iter().find(is_newest).expect("SHA-256");
        let mut spec = find_provider("sns").expect("it is there").scheme.clone();
        if let SchemeFamily::Certificate(family) = &mut spec.family {
            family.topics = vector.audience;
        }
        let keys = SignatureVerifier::new(&spec, &[entry("1")], None, Duration::from_secs(300));
        let mut signed = Signed {
            rules: identity_rules(&spec),
            keys: keys.expect("they go together"),
            uri: Uri::from_static("/webhook"),
            headers: HeaderMap::new(),
            body: vector.body.into_bytes(),
            now: ClockReading::at_unix_seconds(UNIX_SECONDS),
            fetched: None,
        };
        let mut pending = signed
            .keys
            .open(signed.head(), signed.now.unix_ms)
            .expect("it opens");
        pending.update(&signed.body);
        let need = pending.need(&signed.body).expect("the body is right");
        let source = need.expect("it needs a certificate").source;
        let keys = source.parse(vector.fetched.as_bytes(), &[], UNIX_SECONDS * 1000);
        signed.fetched = Some(keys.expect("the certificate is right"));
        signed
    }

    /// Each family by name.
    pub(super) fn all() -> Vec<(&'static str, Signed)> {
        let random = SystemRandom::new();
        let ed25519 = Ed25519KeyPair::generate().expect("a key");
        let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let der = |der: &[u8]| BASE64.encode(der);
        let ecdsa_key = ecdsa.public_key().as_der().expect("a key");
        let rsa_key = rsa.public_key().as_der().expect("a key");
        let head = "type = \"hmac\"\nalgorithm = \"sha256\"\nencoding = \"hex\"\nsignature = { header = \"x-signature\" }\n";
        vec![
            ("hmac", by_itself(&format!("{head}signed = \"{{body}}\""))),
            (
                "hmac_url",
                by_itself(&format!("{head}signed = \"{{url}}{{body}}\"")),
            ),
            (
                "hmac_json_values",
                by_itself(&format!(
                    "{head}signed = \"{{json:/id}}{{json:/type}}\"\nbody_unsigned = true"
                )),
            ),
            (
                "hash",
                by_itself(&head.replace("hmac", "hash").replace(
                    "signature = {",
                    "signed = \"{body}{secret}\"\nsignature = {",
                )),
            ),
            (
                "token",
                by_itself("type = \"token\"\ntoken = { header = \"x-token\" }"),
            ),
            ("basic", basic()),
            ("jwt_hs256", jwt()),
            ("certificate", certificate()),
            (
                "ed25519",
                by_key(
                    "type = \"ed25519\"",
                    &HEXLOWER.encode(ed25519.public_key().as_ref()),
                    |text| ed25519.sign(text).as_ref().to_vec(),
                ),
            ),
            (
                "ecdsa_p256",
                by_key(
                    "type = \"ecdsa\"\nalgorithm = \"p256_sha256\"",
                    &der(ecdsa_key.as_ref()),
                    |text| {
                        ecdsa
                            .sign(&random, text)
                            .expect("it signs")
                            .as_ref()
                            .to_vec()
                    },
                ),
            ),
            (
                "rsa_2048",
                by_key(
                    "type = \"rsa\"\nalgorithm = \"sha256\"",
                    &der(rsa_key.as_ref()),
                    |text| {
                        let mut signature = vec![0; rsa.public_modulus_len()];
                        rsa.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature)
                            .expect("it signs");
                        signature
                    },
                ),
            ),
        ]
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
    for provider in ["github", "stripe", "standard_webhooks"] {
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

/// What each family costs for 1 KiB, from the head to the comparison; `-- verify` runs these, too.
fn families(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("verify_family");
    for (name, signed) in families::all() {
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(signed.verify()));
        });
    }
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

/// The rules of a route that deduplicates by the event id.
fn identity_rules(spec: &SchemeSpec) -> IdentityRules {
    let key = IdentityKey::of_fields(&spec.event_id);
    IdentityRules::compile(IdentityFacts {
        key: Some(&key),
        ..IdentityFacts::of(spec)
    })
}

fn identity(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("identity");
    for (provider, size) in [("github", 1024), ("stripe", 1024), ("stripe", 8 * 1024)] {
        let signed = Signed::new(provider, size, 1);
        group.throughput(Throughput::Bytes(signed.body.len() as u64));
        group.bench_function(BenchmarkId::new(provider, size), |bencher| {
            bencher.iter(|| black_box(signed.rules.read(&signed.head(), &signed.body)).is_ok());
        });
    }
    group.finish();
}

/// A new event by its id and its bytes: claimed, and spent. The table is full from the start, as after some days.
fn dedup(criterion: &mut Criterion) {
    let claims = ClaimTable::new(ClaimLimits {
        window: Duration::from_secs(7 * 86_400),
        entries: 200_000,
        lease: Duration::from_secs(60),
    });
    let mut number = 0_u64;
    let mut event = || {
        number += 1;
        let mut digest = [0; 32];
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (at % 8 * 8)).to_le_bytes()[0];
        }
        let keys = EventKeys {
            id: Some(DedupKey::of_id(&number.to_string())),
            body: None,
            watched: Some(DedupKey::of_digest(&digest)),
        };
        let ClaimResult::Claimed(claim) = claims.try_claim(keys) else {
            return;
        };
        claim.spend(StatusCode::OK);
    };
    (0..400_000).for_each(|_| event());
    criterion.bench_function("dedup", |bencher| bencher.iter(&mut event));
}

criterion_group!(hot_path, verification, families, material, identity, dedup);
criterion_main!(hot_path);
