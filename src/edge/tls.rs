//! The TLS part of the settings: versions, ALPN, client certificates, resumption.
//!
//! The crypto provider is always passed explicitly, so that the default of another crate cannot change it. 0-RTT stays
//! off, since early data can be replayed.
//!
//! Resumption uses stateless tickets, whose keys live as long as these settings. After a reload, every client must do a
//! full handshake, and no untrusted client can fill a table of sessions.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::config::model::{Route, TlsSection, TlsVersion};
use crate::edge::certificate_store::CertificateStore;
use crate::edge::certificates;
use crate::edge::client_auth::RequestedCertificate;
use crate::edge::error::EdgeError;

static BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
static ONLY_13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// The clients that are asked for a certificate and may continue without one.
#[derive(Clone, Copy)]
pub(super) enum RequestedFrom<'a> {
    /// No client.
    NoClient,
    /// Clients of hosts with such routes, among these.
    Clients(&'a [Route]),
}

/// Builds the TLS configuration for handshakes. Each has its own ticket keys, so that a session that began without a
/// request for a certificate cannot be resumed where one is asked for.
pub(super) fn server_config(
    tls: &TlsSection,
    certificates: Arc<CertificateStore>,
    requested: RequestedFrom<'_>,
) -> Result<ServerConfig, EdgeError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = match tls.min_version {
        TlsVersion::Tls12 => BOTH,
        TlsVersion::Tls13 => ONLY_13,
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|source| EdgeError::Tls { source })?;
    let builder = match (&tls.client_ca, requested) {
        (None, RequestedFrom::NoClient) => builder.with_no_client_auth(),
        (None, RequestedFrom::Clients(routes)) => {
            let algorithms = provider.signature_verification_algorithms;
            builder.with_client_cert_verifier(RequestedCertificate::new(routes, algorithms))
        }
        // A certificate of these authorities is mandatory for every client, whatever a route adds.
        (Some((path, _)), _) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates::load_authorities(path)? {
                roots
                    .add(authority)
                    .map_err(|source| EdgeError::Tls { source })?;
            }
            builder.with_client_cert_verifier(client_verifier(roots, provider)?)
        }
    };
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.max_early_data_size = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|source| EdgeError::Tls { source })?;
    // One ticket is enough for one resumed connection, and each ticket costs time and bytes in every handshake.
    config.send_tls13_tickets = 1;
    Ok(config)
}

fn client_verifier(
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, EdgeError> {
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|source| EdgeError::ClientCa { source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::testing::write_pair;

    // Mutation: any other `max_early_data_size`. A ticket that allows early data says so in its extension, and clients
    // send none unasked.
    #[test]
    fn early_data_is_off() {
        let folder = tempfile::tempdir().unwrap();
        let tls = TlsSection {
            certificates: vec![write_pair(folder.path(), "a", &["localhost"], 30)],
            client_ca: None,
            min_version: TlsVersion::Tls12,
            acme: None,
        };
        let certificates = CertificateStore::load(&tls.certificates, Arc::default()).unwrap();
        let config = server_config(&tls, Arc::new(certificates), RequestedFrom::NoClient).unwrap();
        assert_eq!(config.max_early_data_size, 0);
    }
}
