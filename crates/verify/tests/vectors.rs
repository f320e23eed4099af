//! Every vector of the catalogue through the public interface: taken unchanged, and refused after damage.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets something unexpected shall panic"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use hookgate_verify::{
    BuildError, VerifiedEvent, Verifier, VerifierBuilder, VerifyError, provider_ids,
};
use http::Request;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    source: String,
    now: u64,
    #[serde(default)]
    secret: String,
    method: Option<String>,
    path: Option<String>,
    public_url: Option<String>,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    body_base64: Option<String>,
    #[serde(default)]
    audience: Vec<String>,
    #[serde(default)]
    claims: BTreeMap<String, String>,
    fetched: Option<String>,
    root: Option<String>,
    event_id: Option<String>,
    event_type: Option<String>,
    #[serde(rename = "challenge")]
    _challenge: Option<String>,
}

impl Vector {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.now)
    }

    fn builder(
        &self,
        id: &str,
        secret: &str,
        audience: &[String],
    ) -> Result<VerifierBuilder, BuildError> {
        let mut builder = Verifier::provider(id)?;
        if !secret.is_empty() {
            builder = builder.secret(secret);
        }
        if let Some(url) = &self.public_url {
            builder = builder.public_url(url);
        }
        for customer in audience {
            builder = builder.audience(customer);
        }
        for (name, value) in &self.claims {
            builder = builder.claim(name, value)?;
        }
        Ok(builder)
    }

    fn verifier(&self, id: &str, audience: &[String]) -> Result<Verifier, BuildError> {
        let built = self.builder(id, &self.secret, audience)?.build();
        match (built, &self.fetched) {
            // The sender has one key set for each account, which the vector holds. Its secret is for fetching it.
            (
                Err(BuildError::Missing {
                    setting: "key_set_url",
                }),
                Some(fetched),
            ) => {
                let builder = self.builder(id, "", audience)?;
                builder.key_set(fetched.as_bytes())?.build()
            }
            (built, _) => built,
        }
    }

    fn request(&self) -> Request<Vec<u8>> {
        let mut request = Request::builder()
            .method(self.method.as_deref().unwrap_or("POST"))
            .uri(self.path.as_deref().unwrap_or("/webhook"));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let body = match (&self.body, &self.body_base64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(text)) => BASE64.decode(text.as_bytes()).unwrap(),
            _ => panic!("{} has no body", self.source),
        };
        request.body(body).unwrap()
    }

    /// Verifies a request whose body arrives in pieces, with the key that the vector holds.
    fn verify(
        &self,
        verifier: &Verifier,
        request: Request<Vec<u8>>,
        now: SystemTime,
    ) -> Result<VerifiedEvent, VerifyError> {
        let (parts, body) = request.into_parts();
        let head = verifier.head(&parts)?;
        let mut verification = verifier.begin(&head, now)?;
        for chunk in body.chunks(7) {
            verification.update(chunk);
        }
        let wanted = verification.key_request(&body)?;
        let key = wanted.map(|wanted| {
            let fetched = self.fetched.as_ref().expect("the vector has a key");
            wanted
                .read(fetched.as_bytes(), &self.roots(), self.now())
                .unwrap()
        });
        verification.finish(&body, key.as_ref())
    }

    fn roots(&self) -> Vec<TrustAnchor<'static>> {
        let pem = self.root.as_deref().unwrap_or_default();
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
        let anchors = certificates.map(|one| {
            let one = one.unwrap();
            webpki::anchor_from_trusted_cert(&one).unwrap().to_owned()
        });
        anchors.collect()
    }
}

/// Calls `check` with each sender and each of its vectors, but for those of the senders that sign for all customers with
/// one key where the vector names no customer.
fn each(check: impl Fn(&str, &Vector, &Verifier)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("providers");
    let (mut checked, mut shared) = (0, Vec::new());
    for id in provider_ids() {
        let text = std::fs::read_to_string(folder.join(format!("{id}.toml"))).unwrap();
        let file: File = toml::from_str(&text).unwrap();
        for vector in &file.vectors {
            match vector.verifier(id, &vector.audience) {
                Ok(verifier) => {
                    check(id, vector, &verifier);
                    checked += 1;
                }
                Err(BuildError::NeedsAudience) => shared.push(id),
                Err(error) => panic!("{id}: {error}"),
            }
        }
    }
    shared.dedup();
    assert!(checked > 300, "only {checked} vectors were found");
    assert!(shared.len() < 30, "{shared:?}");
}

// Fails if the public interface wires a header name, a key, a customer or a piece of the body in another way than the
// gate does.
#[test]
fn every_vector_is_the_event_that_it_says() {
    each(|id, vector, verifier| {
        let event = vector
            .verify(verifier, vector.request(), vector.now())
            .unwrap_or_else(|error| panic!("{id}: {}: {error}", vector.source));
        assert_eq!(event.event_id, vector.event_id, "{id}: {}", vector.source);
        assert_eq!(
            event.event_type, vector.event_type,
            "{id}: {}",
            vector.source
        );
    });
}

// Fails if `verify` and the streaming interface judge differently.
#[test]
fn a_whole_request_is_judged_like_one_in_pieces() {
    each(|id, vector, verifier| {
        let whole = verifier.verify(&vector.request(), vector.now());
        let streamed = vector.verify(verifier, vector.request(), vector.now());
        match whole {
            Err(VerifyError::KeyNeeded { url }) => {
                assert!(
                    vector.fetched.is_some() && url.starts_with("https://"),
                    "{id}"
                );
            }
            other => assert_eq!(other, streamed, "{id}: {}", vector.source),
        }
    });
}

// Fails if another secret, or an age that the scheme limits, is not checked.
#[test]
fn another_secret_and_a_later_time_are_refused() {
    each(|id, vector, verifier| {
        let year = Duration::from_secs(365 * 24 * 3600);
        if verifier.limits_age() {
            let late = vector.verify(verifier, vector.request(), vector.now() + year);
            assert!(late.is_err(), "{id}: {}", vector.source);
        }
    });
}

// Fails if a sender that signs for all its customers with one key can be used without naming one, or if the event of
// another customer passes.
#[test]
fn the_event_of_another_customer_is_refused() {
    let (folder, mut found) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("providers"), 0);
    for id in provider_ids() {
        let text = std::fs::read_to_string(folder.join(format!("{id}.toml"))).unwrap();
        let file: File = toml::from_str(&text).unwrap();
        for vector in file.vectors {
            if !matches!(vector.verifier(id, &[]), Err(BuildError::NeedsAudience)) {
                continue;
            }
            found += 1;
            let Ok(verifier) = vector.verifier(id, &["another".to_owned()]) else {
                continue;
            };
            let refused = vector.verify(&verifier, vector.request(), vector.now());
            assert!(refused.is_err(), "{id}: {}", vector.source);
            if vector.audience.is_empty() {
                assert_eq!(
                    refused,
                    Err(VerifyError::WrongTenant),
                    "{id}: {}",
                    vector.source
                );
            }
        }
    }
    assert!(found > 10, "{found}");
}
