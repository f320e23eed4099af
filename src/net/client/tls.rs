//! TLS towards hosts: whom to believe, and whom to be.

use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};

use crate::net::client::{Client, ClientError};
use crate::net::text_file;

/// Authorities and a client certificate, read from files. Two are equal where the files held the same bytes, so that
/// connections are shared only by those that would have made the same ones.
#[derive(Clone)]
pub struct OwnTls {
    digest: [u8; 32],
    config: Arc<ClientConfig>,
}

/// The chain to show, and its key.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl OwnTls {
    /// Reads the files. Without `ca` the client's own authorities count.
    ///
    /// # Errors
    /// A file that cannot be read, or does not hold what it should; a key that is none of its certificate.
    pub fn read(
        client: &Client,
        ca: Option<&Path>,
        identity: Option<(&Path, &Path)>,
    ) -> Result<Self, ClientError> {
        let mut seen = Sha256::new();
        let roots = match ca {
            None => client.roots()?,
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

    /// Believes everybody: for test tools that are told so in so many words, and for nothing else.
    ///
    /// # Errors
    /// The TLS library refuses its own settings.
    pub fn unverified() -> Result<Self, ClientError> {
        let mut config = config(RootCertStore::empty(), None)?;
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(Unverified(
                rustls::crypto::aws_lc_rs::default_provider(),
            )));
        Ok(Self {
            config: Arc::new(config),
            digest: [0; 32],
        })
    }

    /// What is made of it.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}

/// Looks at the handshake's signature alone.
#[derive(Debug)]
struct Unverified(CryptoProvider);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
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

/// HTTP/1.1 over TLS 1.2 or 1.3, verified by these authorities.
pub(super) fn config(
    roots: RootCertStore,
    identity: Option<Identity>,
) -> Result<ClientConfig, ClientError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Tls)?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(ClientError::Tls)?,
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// All certificates of a file; at least one.
fn certificates(
    path: &Path,
    seen: &mut Sha256,
) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let text = read(path, seen)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match all {
        Ok(all) if all.is_empty() => Err(broken(path, pem::Error::NoItemsFound)),
        Ok(all) => Ok(all),
        Err(source) => Err(broken(path, source)),
    }
}

fn private(path: &Path, seen: &mut Sha256) -> Result<PrivateKeyDer<'static>, ClientError> {
    let text = zeroize::Zeroizing::new(read(path, seen)?);
    PrivateKeyDer::from_pem_slice(&text).map_err(|source| broken(path, source))
}

fn read(path: &Path, seen: &mut Sha256) -> Result<Vec<u8>, ClientError> {
    let mut text = fs::read(path).map_err(|source| broken(path, pem::Error::Io(source)))?;
    text_file::normalize(&mut text);
    // The length keeps two files apart that hold the same bytes divided otherwise.
    seen.update(text.len().to_le_bytes());
    seen.update(&text);
    Ok(text)
}

fn broken(path: &Path, source: pem::Error) -> ClientError {
    ClientError::File {
        path: path.to_owned(),
        source,
    }
}
