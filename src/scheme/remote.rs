//! Keys that have to be fetched: what a request needs, where that stands, and what was made of it.
//!
//! A scheme says what it needs ([`KeyNeed`]), never fetches it. Whoever fetches gives the text back to
//! [`KeySource::parse`].

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use rustls::RootCertStore;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::model::secret::Secret;
use crate::net::remote_url::RemoteUrl;
use crate::scheme::certificate::Certificate;
use crate::scheme::jwk::KeySet;

/// What a request needs before it can be verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyNeed {
    /// Where it stands.
    pub source: KeySource,
    /// The name of the key in a set, where the request names one.
    pub kid: Option<Box<str>>,
}

/// Where keys stand. Equal sources give equal keys.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum KeySource {
    /// A key set, which sender or operator named.
    Set(RemoteUrl),
    /// One key by its name, asked for with credentials.
    Asked {
        /// Where to ask.
        url: RemoteUrl,
        /// The name, which a request says.
        kid: Box<str>,
        /// Who asks.
        account: Account,
    },
    /// A certificate, which a request named on a host of the sender's.
    Certificate(RemoteUrl),
    /// A certificate with the chain up to a known authority, which a request named likewise.
    Chain(RemoteUrl),
}

/// Credentials for asking, from a secret such as `client_id:secret`. Compared by a digest.
#[derive(Clone)]
pub struct Account {
    id: Box<str>,
    secret: Arc<Secret>,
    digest: [u8; 32],
}

/// Keys that were fetched.
pub enum RemoteKeys {
    /// A set.
    Set(KeySet),
    /// A certificate's.
    Certificate(Certificate),
}

impl KeySource {
    /// The URL behind which it stands.
    #[must_use]
    pub fn url(&self) -> &RemoteUrl {
        match self {
            Self::Set(url) | Self::Certificate(url) | Self::Chain(url) => url,
            Self::Asked { url, .. } => url,
        }
    }

    /// Names the source: equal sources, credentials included, have equal fingerprints.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
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

    /// Whether a request chose it, so that a stranger can think up as many as he likes.
    #[must_use]
    pub fn is_chosen_by_request(&self) -> bool {
        !matches!(self, Self::Set(_))
    }

    /// The JSON document to ask with; none where the URL alone is enough.
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

    /// Makes keys of what was fetched; the error says what is wrong with it.
    ///
    /// # Errors
    /// Where it holds no usable key, or no known authority vouches for a chain at this time.
    pub fn parse(
        &self,
        text: &[u8],
        roots: &RootCertStore,
        unix_ms: i64,
    ) -> Result<RemoteKeys, &'static str> {
        match self {
            Self::Set(_) => KeySet::parse(text).map(RemoteKeys::Set),
            Self::Asked { .. } => KeySet::parse_single(text).map(RemoteKeys::Set),
            Self::Certificate(_) => Certificate::parse(text).map(RemoteKeys::Certificate),
            Self::Chain(_) => {
                Certificate::parse_chain(text, roots, unix_ms).map(RemoteKeys::Certificate)
            }
        }
    }
}

impl RemoteKeys {
    /// Whether what the request needs is among them.
    #[must_use]
    pub fn answer(&self, need: &KeyNeed) -> bool {
        match self {
            Self::Set(set) => set.holds(need.kid.as_deref()),
            Self::Certificate(_) => true,
        }
    }
}

impl Account {
    /// Reads `client_id:secret`.
    #[must_use]
    pub fn parse(secret: &Secret) -> Option<Self> {
        let whole = std::str::from_utf8(secret.expose()).ok()?;
        let (id, key) = whole.split_once(':')?;
        let is_fit = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic());
        if !is_fit(id) || !is_fit(key) {
            return None;
        }
        let whole = Zeroizing::new(whole.to_owned());
        Some(Self {
            id: id.into(),
            secret: Arc::new(Secret::new(key.as_bytes().to_vec())),
            digest: Sha256::digest(whole.as_bytes()).into(),
        })
    }
}

impl PartialEq for Account {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Account {}

impl Hash for Account {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
