//! Answers to challenges: published before the CA is asked to check, and withdrawn after that.
//!
//! With a shared store they are rows, so that any node answers whichever node the CA reaches.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use instant_acme::ChallengeType;
use parking_lot::Mutex;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};

use crate::acme::account::local;
use crate::acme::failure::{FailureKind, OrderFailure};
use crate::acme::records::{ChallengeRecord, RecordKind};
use crate::acme::storage::RecordStorage;
use crate::config::model::ChallengeKind;
use crate::edge::managed::{AnswerLookup, ChallengeAnswers, ManagedCertificates};
use crate::model::clock;
use crate::model::error::chain;

/// Shortest pause between two reads of the pending challenges. Untrusted clients can cause these reads, so all of them
/// together cost no more than this.
const LOOKUP_PAUSE: Duration = Duration::from_millis(250);

/// Returns the type of a challenge in ACME.
pub(super) fn type_of(kind: ChallengeKind) -> ChallengeType {
    match kind {
        ChallengeKind::TlsAlpn => ChallengeType::TlsAlpn01,
        ChallengeKind::Http => ChallengeType::Http01,
        ChallengeKind::DnsPersist => ChallengeType::Unknown(kind.word().to_owned()),
    }
}

/// Publishes the answer to a challenge, on this node and for all others.
pub(super) async fn publish(
    record: &ChallengeRecord,
    edge: &ManagedCertificates,
    storage: &RecordStorage,
) -> Result<(), OrderFailure> {
    let prepared = PreparedAnswer::of(record)?;
    edge.change_own(|answers| prepared.add_to(answers, record));
    if storage.is_shared() {
        let written = storage.put(RecordKind::Challenge, &record.name, record);
        written.await.map_err(local)?;
    }
    Ok(())
}

/// Withdraws the answers for a name.
pub(super) async fn withdraw(
    name: &str,
    token: Option<&str>,
    edge: &ManagedCertificates,
    storage: &RecordStorage,
) {
    edge.change_own(|answers| {
        answers.certificates.remove(name);
        if let Some(token) = token {
            answers.tokens.remove(token);
        }
    });
    if storage.is_shared() {
        // A row that stays is harmless, since its token is of no use any more. The next order replaces it.
        let _ = storage.remove(RecordKind::Challenge, name).await;
    }
}

/// Returns the function by which the edge reads challenges that other nodes ordered.
pub(super) fn lookup(edge: &Arc<ManagedCertificates>, storage: &RecordStorage) -> AnswerLookup {
    let (edge, storage) = (Arc::downgrade(edge), storage.clone());
    let last = Arc::new(tokio::sync::Mutex::new(None::<Instant>));
    let known = Arc::new(Mutex::new(HashMap::new()));
    Arc::new(move || {
        let (edge, storage) = (edge.clone(), storage.clone());
        let (last, known) = (Arc::clone(&last), Arc::clone(&known));
        Box::pin(async move {
            // One reads at a time, and the others take its result.
            let asked = clock::instant();
            let mut last = last.lock().await;
            if last.is_some_and(|read| read >= asked) {
                return;
            }
            if let Some(read) = *last {
                tokio::time::sleep_until((read + LOOKUP_PAUSE).into()).await;
            }
            match storage.read_challenges().await {
                Ok(records) => {
                    let answers = answers_of(records, &mut known.lock());
                    if let Some(edge) = edge.upgrade() {
                        edge.set_shared(answers);
                    }
                }
                Err(error) => tracing::debug!(
                    error = chain(&error),
                    "pending challenges of other nodes were not read"
                ),
            }
            *last = Some(clock::instant());
        })
    })
}

/// Prepares the answers of other nodes. Those that are known already are not prepared again, since each costs a key.
fn answers_of(
    records: Vec<ChallengeRecord>,
    known: &mut HashMap<String, (ChallengeRecord, PreparedAnswer)>,
) -> ChallengeAnswers {
    known.retain(|name, (record, _)| {
        let mut records = records.iter();
        records.any(|other| other.name == *name && other == record)
    });
    let mut answers = ChallengeAnswers::default();
    for record in records {
        if !known.contains_key(&record.name) {
            let Ok(prepared) = PreparedAnswer::of(&record) else {
                continue;
            };
            known.insert(record.name.clone(), (record.clone(), prepared));
        }
        if let Some((_, prepared)) = known.get(&record.name) {
            prepared.add_to(&mut answers, &record);
        }
    }
    answers
}

/// An answer in the form in which the edge gives it.
enum PreparedAnswer {
    Certificate(Arc<CertifiedKey>),
    Token,
}

impl PreparedAnswer {
    fn of(record: &ChallengeRecord) -> Result<Self, OrderFailure> {
        if record.challenge != ChallengeKind::TlsAlpn.word() {
            return Ok(Self::Token);
        }
        let key = challenge_certificate(&record.name, &record.key_authorization);
        let key = key.ok_or_else(|| {
            let text = "cannot create the certificate of the challenge";
            OrderFailure::new(FailureKind::Local, text)
        })?;
        Ok(Self::Certificate(Arc::new(key)))
    }

    fn add_to(&self, answers: &mut ChallengeAnswers, record: &ChallengeRecord) {
        match self {
            Self::Certificate(key) => {
                let name = record.name.clone();
                answers.certificates.insert(name, Arc::clone(key));
            }
            Self::Token => {
                let (token, proof) = (record.token.clone(), record.key_authorization.clone());
                answers.tokens.insert(token, proof);
            }
        }
    }
}

/// Creates the self-signed certificate of `tls-alpn-01`, with the digest of the proof (RFC 8737, section 3).
fn challenge_certificate(name: &str, key_authorization: &str) -> Option<CertifiedKey> {
    let key = KeyPair::generate().ok()?;
    let mut params = CertificateParams::new(vec![name.to_owned()]).ok()?;
    let digest = Sha256::digest(key_authorization);
    params
        .custom_extensions
        .push(CustomExtension::new_acme_identifier(&digest));
    let certificate = params.self_signed(&key).ok()?;
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private).ok()?;
    Some(CertifiedKey::new(vec![certificate.der().clone()], signing))
}
