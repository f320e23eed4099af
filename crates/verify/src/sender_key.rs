//! Keys that a sender publishes: what to fetch, and how to read the response. The crate itself opens no connection.

use std::time::SystemTime;

use bytes::Bytes;
use rustls_pki_types::TrustAnchor;

use crate::model::unix_time::unix_ms;
use crate::scheme::remote_keys::{KeyNeed, RemoteKeys};

/// A key that has to be fetched before a request can be verified.
///
/// Fetch it with a deadline and a limit of bytes, follow no redirects, and keep it for as long as the sender's pages say:
/// an untrusted client decides how often it is asked for.
pub struct KeyRequest {
    need: KeyNeed,
}

/// A key of the sender, as fetched for a [`KeyRequest`].
pub struct SenderKey {
    keys: RemoteKeys,
}

/// Reason why the response to a [`KeyRequest`] is of no use.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the sender's key {fault}")]
pub struct KeyError {
    fault: &'static str,
}

impl KeyRequest {
    pub(crate) fn new(need: KeyNeed) -> Self {
        Self { need }
    }

    /// Returns the `https` URL of the key. Its host is the sender's, or the one that the builder set.
    #[must_use]
    pub fn url(&self) -> &str {
        self.need.source.url().as_str()
    }

    /// Returns the JSON document to post to the URL; `None` if a GET is enough. It contains a secret.
    #[must_use]
    pub fn question(&self) -> Option<Bytes> {
        self.need.source.question()
    }

    /// Reads the body of the response. `roots` are the certificate authorities that a certificate has to lead to, where
    /// the sender publishes a certificate with its chain.
    ///
    /// # Errors
    /// Returns an error if the response holds no such key.
    pub fn read(
        &self,
        response: &[u8],
        roots: &[TrustAnchor<'_>],
        now: SystemTime,
    ) -> Result<SenderKey, KeyError> {
        let keys = self.need.source.parse(response, roots, unix_ms(now));
        let keys = keys.map_err(|fault| KeyError { fault })?;
        match keys.answer(&self.need) {
            true => Ok(SenderKey { keys }),
            false => Err(KeyError {
                fault: "is not the one that the request names",
            }),
        }
    }
}

impl SenderKey {
    pub(crate) fn keys(&self) -> &RemoteKeys {
        &self.keys
    }
}
