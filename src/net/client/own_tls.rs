//! Outgoing TLS settings of one app: trust anchors, a client certificate, and the name to verify.
//!
//! They are read from files, which may be renewed while the gate runs. New connections use the renewed files, and idle
//! connections that were opened with the old ones are closed.

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest as _, Sha256};

use crate::model::error::chain;
use crate::net::client::error::ClientError;
use crate::net::client::tls::{InsecureVerifier, certificates, config, parse_key, read};

/// The files of an app's TLS settings, and the name that its certificate must have.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct TlsFiles {
    /// PEM file of the CAs that the server certificate must chain to; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// PEM files of the client certificate chain and its key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Name to send and to verify, if it is not the host of the URL.
    pub server_name: Option<ServerName<'static>>,
}

/// Trust anchors and a client certificate, read from files. Cheap to clone.
#[derive(Clone)]
pub(crate) struct OwnTls(Arc<OwnTlsState>);

/// The settings in use, and the files from which they are renewed.
pub(super) struct OwnTlsState {
    files: TlsFiles,
    current: ArcSwap<LoadedTls>,
    /// Grows with each renewal, so that connections with older settings can be found.
    generation: AtomicU64,
    /// Digest of the files that failed last, so that the same failure is reported once.
    failed: Mutex<Option<[u8; 32]>>,
}

/// The settings that one version of the files gives.
struct LoadedTls {
    digest: [u8; 32],
    config: Arc<ClientConfig>,
}

/// The bytes of the files, with their digest.
struct TlsBytes {
    ca: Option<Vec<u8>>,
    client: Option<(Vec<u8>, zeroize::Zeroizing<Vec<u8>>)>,
    digest: [u8; 32],
}

impl OwnTls {
    /// Reads the files once. Without `ca`, `system_roots` apply.
    ///
    /// # Errors
    /// A file cannot be read or lacks the expected content, or the key does not belong to the certificate.
    pub(crate) fn read(
        system_roots: impl FnOnce() -> Result<RootCertStore, ClientError>,
        ca: Option<&Path>,
        identity: Option<(&Path, &Path)>,
    ) -> Result<Self, ClientError> {
        let files = TlsFiles {
            ca: ca.map(Path::to_owned),
            client: identity.map(|(chain, key)| (chain.to_owned(), key.to_owned())),
            server_name: None,
        };
        Self::load(system_roots, files)
    }

    /// Reads the files as [`Self::read`], for connections that follow renewed files.
    pub(super) fn load(
        system_roots: impl FnOnce() -> Result<RootCertStore, ClientError>,
        files: TlsFiles,
    ) -> Result<Self, ClientError> {
        let bytes = TlsBytes::read(&files)?;
        let loaded = LoadedTls {
            config: Arc::new(bytes.config(&files, system_roots)?),
            digest: bytes.digest,
        };
        Ok(Self::of(files, loaded))
    }

    /// Accepts every server certificate. Only for test tools that request it explicitly.
    pub(crate) fn unverified() -> Result<Self, ClientError> {
        let mut config = config(RootCertStore::empty(), None)?;
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(InsecureVerifier(
                rustls::crypto::aws_lc_rs::default_provider(),
            )));
        let loaded = LoadedTls {
            config: Arc::new(config),
            // These settings have no files, so no renewal ever compares this digest.
            digest: [0; 32],
        };
        Ok(Self::of(TlsFiles::default(), loaded))
    }

    fn of(files: TlsFiles, loaded: LoadedTls) -> Self {
        Self(Arc::new(OwnTlsState {
            files,
            current: ArcSwap::from_pointee(loaded),
            generation: AtomicU64::new(0),
            failed: Mutex::new(None),
        }))
    }

    /// Returns the TLS configuration for a connection that is opened now.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0.current.load().config)
    }

    /// Returns the files of these settings.
    pub(super) fn files(&self) -> &TlsFiles {
        &self.0.files
    }

    /// Returns a number that changes with each renewal.
    pub(super) fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// Reads the files again. Returns true where they have changed, and are in use now. An error keeps the old ones.
    pub(super) fn renew(
        &self,
        system_roots: impl FnOnce() -> Result<RootCertStore, ClientError>,
    ) -> Result<bool, ClientError> {
        let bytes = TlsBytes::read(&self.0.files)?;
        // Compared first: building the configuration may read the system's roots, and files seldom change.
        if bytes.digest == self.0.current.load().digest {
            return Ok(false);
        }
        let config = Arc::new(bytes.config(&self.0.files, system_roots)?);
        self.0.current.store(Arc::new(LoadedTls {
            config,
            digest: bytes.digest,
        }));
        // After the swap: a connection that reads the new number must have read the new settings.
        self.0.generation.fetch_add(1, Ordering::Release);
        Ok(true)
    }

    /// Returns true where this failure of a renewal was not reported yet.
    pub(super) fn is_news(&self, error: &ClientError) -> bool {
        let digest: [u8; 32] = Sha256::digest(chain(error)).into();
        self.0.failed.lock().replace(digest) != Some(digest)
    }

    pub(super) fn downgrade(&self) -> std::sync::Weak<OwnTlsState> {
        Arc::downgrade(&self.0)
    }

    pub(super) fn upgrade(state: &std::sync::Weak<OwnTlsState>) -> Option<Self> {
        state.upgrade().map(Self)
    }
}

impl TlsBytes {
    fn read(files: &TlsFiles) -> Result<Self, ClientError> {
        // Hashes the files in a fixed order, so that equal files give equal digests.
        let mut seen = Sha256::new();
        let ca = files.ca.as_deref();
        let ca = ca.map(|path| read(path, &mut seen)).transpose()?;
        let client = match &files.client {
            None => None,
            Some((chain, key)) => Some((
                read(chain, &mut seen)?,
                zeroize::Zeroizing::new(read(key, &mut seen)?),
            )),
        };
        Ok(Self {
            ca,
            client,
            digest: seen.finalize().into(),
        })
    }

    fn config(
        &self,
        files: &TlsFiles,
        system_roots: impl FnOnce() -> Result<RootCertStore, ClientError>,
    ) -> Result<ClientConfig, ClientError> {
        // The own CAs replace those of the system: no public certificate may speak for an app with a private CA.
        let roots = match (&self.ca, &files.ca) {
            (Some(bytes), Some(path)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path, bytes)? {
                    roots.add(certificate).map_err(ClientError::Tls)?;
                }
                roots
            }
            _ => system_roots()?,
        };
        let identity = match (&self.client, &files.client) {
            (Some((chain, key)), Some((chain_path, key_path))) => {
                Some((certificates(chain_path, chain)?, parse_key(key_path, key)?))
            }
            _ => None,
        };
        config(roots, identity)
    }
}

impl PartialEq for OwnTls {
    fn eq(&self, other: &Self) -> bool {
        // The client hands out the same settings for the same files, so that only routes with these share connections.
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OwnTls {}

impl Hash for OwnTls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // By the pointer as well, since equal values must have equal hashes.
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl std::fmt::Debug for OwnTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnTls")
    }
}
