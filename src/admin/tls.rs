//! TLS of the admin listener: one certificate, reloaded when its files change.
//!
//! A connection carries one request, so the server stores no sessions and sends no tickets to resume them.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, ServerConnection};
use rustls::sign::SingleCertAndKey;
use tokio_rustls::TlsAcceptor;

use crate::config::model::CertificateFiles;
use crate::edge::certificates::{self, CertificateError, CertificateInfo, CertificatePair};

/// TLS state of the admin listener: the files and the certificate in use.
pub(crate) struct AdminTls {
    files: CertificateFiles,
    current: ArcSwap<ActiveCertificate>,
}

struct ActiveCertificate {
    pair: CertificatePair,
    config: Arc<ServerConfig>,
}

impl fmt::Debug for AdminTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminTls").finish_non_exhaustive()
    }
}

impl AdminTls {
    /// Loads certificate and key from their files. Blocks the thread.
    ///
    /// # Errors
    /// A file cannot be read or used, or the certificate has expired.
    pub(crate) fn load(files: CertificateFiles) -> Result<Self, CertificateError> {
        let current = ArcSwap::from_pointee(ActiveCertificate::load(&files)?);
        Ok(Self { files, current })
    }

    /// Reloads the files and returns whether the certificate changed. Blocks the thread.
    ///
    /// On any error the certificate in use stays.
    pub(crate) fn renew(&self) -> Result<bool, CertificateError> {
        let next = ActiveCertificate::load(&self.files)?;
        // Files may change without a new certificate, for instance when a tool copies them again.
        if next.pair.key.cert == self.current.load().pair.key.cert {
            return Ok(false);
        }
        self.current.store(Arc::new(next));
        Ok(true)
    }

    /// Returns names and expiry of the certificate in use.
    pub(crate) fn info(&self) -> CertificateInfo {
        self.current.load().pair.info.clone()
    }

    /// Returns whether the certificate covers this name, which must be in lower case. A wildcard covers one label.
    pub(super) fn covers(&self, host: &str) -> bool {
        let parent = host.split_once('.').map(|(_, parent)| parent);
        let current = self.current.load();
        let mut names = current.pair.info.names.iter();
        names.any(|name| match name.strip_prefix("*.") {
            Some(suffix) => parent == Some(suffix),
            None => name == host,
        })
    }

    /// Returns an acceptor for the next connection, with the certificate in use.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.load().config))
    }
}

impl ActiveCertificate {
    fn load(files: &CertificateFiles) -> Result<Self, CertificateError> {
        let pair = certificates::load_pair(&files.cert, &files.key)?;
        let unfit = |source| CertificateError::Key {
            path: files.key.clone(),
            source,
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(unfit)?;
        let resolver = Arc::new(SingleCertAndKey::from(Arc::clone(&pair.key)));
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // No early data: a replayed request must not repeat a change.
        config.max_early_data_size = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let config = Arc::new(config);
        // Report a config that cannot begin a handshake at load time, not at the first connection.
        ServerConnection::new(Arc::clone(&config)).map_err(unfit)?;
        Ok(Self { pair, config })
    }
}
