//! Outgoing TLS: trust anchors and client identity.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};

use crate::net::client::error::ClientError;
use crate::net::text_file;

/// A certificate chain to present, and its key.
type ClientIdentity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A verifier that accepts every certificate and checks the handshake's signature only.
#[derive(Debug)]
pub(super) struct InsecureVerifier(pub(super) CryptoProvider);

impl ServerCertVerifier for InsecureVerifier {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // Neither chain nor name is checked, which only test tools may request.
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // The signature is still checked, so that a server without the private key of its certificate fails.
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

/// Builds a configuration for HTTP/1.1 over TLS 1.2 or 1.3 with these roots.
pub(super) fn config(
    roots: RootCertStore,
    identity: Option<ClientIdentity>,
) -> Result<ClientConfig, ClientError> {
    // Named explicitly, since another crate could set the default of the process first.
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
    // Upstreams get HTTP/1.1 only, so a server must not select HTTP/2.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Parses all certificates of a file; at least one.
pub(super) fn certificates(
    path: &Path,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match all {
        Ok(all) if all.is_empty() => Err(broken(path, pem::Error::NoItemsFound)),
        Ok(all) => Ok(all),
        Err(source) => Err(broken(path, source)),
    }
}

/// Parses the private key of a file.
pub(super) fn parse_key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, ClientError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|source| broken(path, source))
}

/// Reads a file, and adds its bytes to the digest.
pub(super) fn read(path: &Path, seen: &mut Sha256) -> Result<Vec<u8>, ClientError> {
    let mut text = fs::read(path).map_err(|source| broken(path, pem::Error::Io(source)))?;
    text_file::normalize(&mut text);
    // The length separates files: otherwise two files with the same bytes, divided differently, would be equal.
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
