//! Outgoing TLS settings of one destination.

use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest as _, Sha256};

use crate::net::client::error::ClientError;
use crate::net::client::tls::{InsecureVerifier, certificates, config, private};

/// Trust anchors and a client certificate, read from files.
///
/// Two values are equal where their files had the same bytes, so that only routes with the same TLS settings share
/// connections.
#[derive(Clone)]
pub(crate) struct OwnTls {
    digest: [u8; 32],
    config: Arc<ClientConfig>,
}

impl OwnTls {
    /// Reads the files. Without `ca`, `system_roots` apply.
    ///
    /// # Errors
    /// A file cannot be read or lacks the expected content, or the key does not belong to the certificate.
    pub(crate) fn read(
        system_roots: impl FnOnce() -> Result<RootCertStore, ClientError>,
        ca: Option<&Path>,
        identity: Option<(&Path, &Path)>,
    ) -> Result<Self, ClientError> {
        // Hashes the files in a fixed order, so that equal files give equal settings.
        let mut seen = Sha256::new();
        let roots = match ca {
            None => system_roots()?,
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path, &mut seen)? {
                    roots.add(certificate).map_err(ClientError::Tls)?;
                }
                roots
            }
        };
        let identity = match identity {
            None => None,
            Some((chain, key)) => Some((certificates(chain, &mut seen)?, private(key, &mut seen)?)),
        };
        Ok(Self {
            config: Arc::new(config(roots, identity)?),
            digest: seen.finalize().into(),
        })
    }

    /// Accepts every server certificate. Only for test tools that request it explicitly.
    pub(crate) fn unverified() -> Result<Self, ClientError> {
        let mut config = config(RootCertStore::empty(), None)?;
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(InsecureVerifier(
                rustls::crypto::aws_lc_rs::default_provider(),
            )));
        Ok(Self {
            config: Arc::new(config),
            digest: [0; 32],
        })
    }

    /// Returns the TLS configuration for connections.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}

impl PartialEq for OwnTls {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for OwnTls {}

impl Hash for OwnTls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl std::fmt::Debug for OwnTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnTls")
    }
}
