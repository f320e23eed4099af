//! Certificates and challenge answers that change while the gate runs, as `[tls.acme]` provides them.
//!
//! They outlive the settings of the edge: a reload replaces the settings and keeps these.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use rustls::sign::CertifiedKey;

use crate::edge::certificate_index::CertificateIndex;
use crate::edge::certificates::CertificatePair;

/// Reads the answers of other nodes into [`ManagedCertificates::set_shared`].
pub(crate) type AnswerLookup = Arc<dyn Fn() -> AnswerLookupFuture + Send + Sync>;

/// Future of a lookup.
pub(crate) type AnswerLookupFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Longest token of `http-01` that is looked up; CAs use some 43 characters.
const MAX_TOKEN: usize = 128;

/// Certificates in use and answers to pending challenges.
pub(crate) struct ManagedCertificates {
    current: ArcSwap<CertificateIndex>,
    /// Answers to challenges that this node ordered.
    own: RwLock<ChallengeAnswers>,
    /// Answers to challenges that other nodes ordered.
    shared: RwLock<ChallengeAnswers>,
    lookup: Mutex<Option<AnswerLookup>>,
}

/// Answers to pending challenges.
#[derive(Default)]
pub(crate) struct ChallengeAnswers {
    /// Certificates of `tls-alpn-01`, by name.
    pub(crate) certificates: HashMap<String, Arc<CertifiedKey>>,
    /// Key authorizations of `http-01`, by token.
    pub(crate) tokens: HashMap<String, String>,
}

impl Default for ManagedCertificates {
    fn default() -> Self {
        Self {
            current: ArcSwap::from_pointee(CertificateIndex::of(&[] as &[CertificatePair])),
            own: RwLock::default(),
            shared: RwLock::default(),
            lookup: Mutex::default(),
        }
    }
}

impl fmt::Debug for ManagedCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedCertificates")
            .finish_non_exhaustive()
    }
}

impl ManagedCertificates {
    /// Replaces the certificates in use. Open connections keep theirs.
    pub(crate) fn set(&self, pairs: &[Arc<CertificatePair>]) {
        self.current.store(Arc::new(CertificateIndex::of(pairs)));
    }

    pub(super) fn current(&self) -> Arc<CertificateIndex> {
        self.current.load_full()
    }

    /// Sets the source of answers to challenges that other nodes ordered.
    pub(crate) fn set_lookup(&self, lookup: AnswerLookup) {
        *self.lookup.lock() = Some(lookup);
    }

    /// Adds or removes answers to challenges of this node.
    pub(crate) fn change_own(&self, change: impl FnOnce(&mut ChallengeAnswers)) {
        change(&mut self.own.write());
    }

    /// Replaces the answers to challenges of other nodes.
    pub(crate) fn set_shared(&self, answers: ChallengeAnswers) {
        *self.shared.write() = answers;
    }

    /// Returns the certificate that answers `tls-alpn-01` for a name.
    pub(super) async fn find_challenge(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.find(|answers| answers.certificates.get(name).cloned())
            .await
    }

    /// Returns the key authorization that answers `http-01` for a token.
    pub(crate) async fn find_token(&self, token: &str) -> Option<String> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        // Checked first, so that odd paths cost no lookup.
        if token.is_empty() || token.len() > MAX_TOKEN || !token.bytes().all(is_token) {
            return None;
        }
        self.find(|answers| answers.tokens.get(token).cloned())
            .await
    }

    async fn find<T>(&self, read: impl Fn(&ChallengeAnswers) -> Option<T>) -> Option<T> {
        let known = || read(&self.own.read()).or_else(|| read(&self.shared.read()));
        if let Some(found) = known() {
            return Some(found);
        }
        let lookup = self.lookup.lock().clone()?;
        lookup().await;
        known()
    }
}
