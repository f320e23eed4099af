//! Keys that must be fetched: what a request needs, its source, and the parsed result.
//!
//! A scheme states its need ([`KeyNeed`]) but never fetches. The caller fetches, and passes the response to
//! [`KeySource::parse`].

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use rustls_pki_types::TrustAnchor;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::model::secret::Secret;
use crate::net::remote_url::RemoteUrl;
use crate::scheme::certificate::chain::SenderCertificate;
use crate::scheme::jwk::KeySet;

/// Key that a request needs before it can be verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyNeed {
    /// Location from which the key is fetched.
    pub source: KeySource,
    /// Name of the key in a set, if the request names one.
    pub kid: Option<Box<str>>,
}

/// Location of keys. Equal sources give equal keys.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum KeySource {
    /// A key set; the sender or the operator set its URL.
    Set(RemoteUrl),
    /// One key by its name, fetched with credentials.
    Asked {
        /// URL that the request for the key goes to.
        url: RemoteUrl,
        /// Name of the key, as the webhook request states it.
        kid: Box<str>,
        /// Credentials for the request of the key.
        account: KeyCredentials,
    },
    /// A certificate that a request named, on a host of the sender.
    Certificate(RemoteUrl),
    /// A certificate with its chain to a trusted CA, named in the same way.
    Chain(RemoteUrl),
}

/// Credentials for fetching keys, from a secret `client_id:secret`. Compared by their digest.
#[derive(Clone)]
pub struct KeyCredentials {
    id: Box<str>,
    secret: Arc<Secret>,
    digest: [u8; 32],
}

/// Keys that were fetched and parsed.
pub enum RemoteKeys {
    /// A set of public keys.
    Set(KeySet),
    /// The key of a certificate.
    Certificate(SenderCertificate),
}

impl KeySource {
    /// Returns the URL to fetch from.
    #[must_use]
    pub fn url(&self) -> &RemoteUrl {
        match self {
            Self::Set(url) | Self::Certificate(url) | Self::Chain(url) => url,
            Self::Asked { url, .. } => url,
        }
    }

    /// Returns a fingerprint of the source: equal sources, credentials included, have equal fingerprints.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        // The length in front separates the parts, so that different parts never give the same bytes.
        let mut add = |part: &[u8]| {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        };
        match self {
            Self::Set(url) => add(&[b"set ", url.as_str().as_bytes()].concat()),
            Self::Certificate(url) => add(&[b"certificate ", url.as_str().as_bytes()].concat()),
            Self::Chain(url) => add(&[b"chain ", url.as_str().as_bytes()].concat()),
            Self::Asked { url, kid, account } => {
                add(&[b"asked ", url.as_str().as_bytes()].concat());
                add(kid.as_bytes());
                add(&account.digest);
            }
        }
        digest.finalize().into()
    }

    /// Returns whether a request chose the source, so that untrusted clients can invent any number of them.
    #[must_use]
    pub fn is_chosen_by_request(&self) -> bool {
        !matches!(self, Self::Set(_))
    }

    /// Returns the JSON document to post; `None` if the URL alone is enough.
    #[must_use]
    pub fn question(&self) -> Option<Bytes> {
        let Self::Asked { kid, account, .. } = self else {
            return None;
        };
        let secret = std::str::from_utf8(account.secret.expose()).ok()?;
        let question = serde_json::json!({
            "client_id": account.id,
            "secret": secret,
            "key_id": kid,
        });
        Some(Bytes::from(question.to_string()))
    }

    /// Parses the response of the source; the error says what is wrong with it.
    ///
    /// # Errors
    /// Returns a text if it contains no usable key, or if a chain does not lead to a trusted CA at this time.
    pub fn parse(
        &self,
        text: &[u8],
        roots: &[TrustAnchor<'_>],
        unix_ms: i64,
    ) -> Result<RemoteKeys, &'static str> {
        match self {
            Self::Set(_) => KeySet::parse(text).map(RemoteKeys::Set),
            Self::Asked { .. } => KeySet::parse_single(text).map(RemoteKeys::Set),
            Self::Certificate(_) => SenderCertificate::parse(text).map(RemoteKeys::Certificate),
            Self::Chain(_) => {
                SenderCertificate::parse_chain(text, roots, unix_ms).map(RemoteKeys::Certificate)
            }
        }
    }
}

impl RemoteKeys {
    /// Returns whether the keys contain the one that the request needs.
    #[must_use]
    pub fn answer(&self, need: &KeyNeed) -> bool {
        match self {
            Self::Set(set) => set.holds(need.kid.as_deref()),
            Self::Certificate(_) => true,
        }
    }
}

impl KeyCredentials {
    /// Parses credentials of the form `client_id:secret`.
    #[must_use]
    pub fn parse(secret: &Secret) -> Option<Self> {
        let whole = std::str::from_utf8(secret.expose()).ok()?;
        let (id, key) = whole.split_once(':')?;
        let is_fit = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic());
        if !is_fit(id) || !is_fit(key) {
            return None;
        }
        // The copy holds the secret until its digest is computed.
        let whole = Zeroizing::new(whole.to_owned());
        Some(Self {
            id: id.into(),
            secret: Arc::new(Secret::new(key.as_bytes().to_vec())),
            digest: Sha256::digest(whole.as_bytes()).into(),
        })
    }
}

impl PartialEq for KeyCredentials {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for KeyCredentials {}

impl Hash for KeyCredentials {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl std::fmt::Debug for KeyCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
