//! Handshakes that ask for a client certificate: which hosts need one, and what is checked.
//!
//! The handshake checks only that the client has the key of the certificate that it shows. Its chain is checked by the
//! route, for each request. So a sender that shows some certificate to every server still reaches the routes of the same
//! host without `client_cert`, and a resumed session passes no check that a new one would not.

use std::fmt;
use std::sync::Arc;

use hookgate_verify::net::host::without_root;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::config::model::Route;

/// Hosts whose clients are asked for a certificate.
pub(super) struct CertificateHosts {
    /// True if a route without a host needs one: it may be reached under every name.
    is_any: bool,
    names: Vec<String>,
}

/// Asks for a certificate, and leaves its chain to the routes.
pub(super) struct RequestedCertificate {
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl CertificateHosts {
    /// Collects the hosts of the routes that demand a certificate. Returns `None` if there are no such routes.
    pub(super) fn of(routes: &[Route]) -> Option<Self> {
        let demanding = || routes.iter().filter(|route| route.client_cert.is_some());
        demanding().next()?;
        Some(Self {
            is_any: demanding().any(|route| route.host.is_none()),
            names: demanding().filter_map(|route| route.host.clone()).collect(),
        })
    }

    /// Returns whether a client that asks for this server name is asked for a certificate.
    ///
    /// A client without a name is asked too: it may be one of an old TLS library, and reach any route.
    pub(super) fn ask(&self, server_name: Option<&str>) -> bool {
        let Some(name) = server_name else { return true };
        let name = without_root(name);
        self.is_any
            || self
                .names
                .iter()
                .any(|host| host.eq_ignore_ascii_case(name))
    }
}

impl RequestedCertificate {
    /// Creates the verifier with the authorities of all routes as hints.
    pub(super) fn new(routes: &[Route], algorithms: WebPkiSupportedAlgorithms) -> Arc<Self> {
        let mut hints: Vec<DistinguishedName> = Vec::new();
        for rule in routes.iter().filter_map(|route| route.client_cert.as_ref()) {
            for hint in rule.hints() {
                if !hints.iter().any(|known| known.as_ref() == hint.as_ref()) {
                    hints.push(hint);
                }
            }
        }
        Arc::new(Self { hints, algorithms })
    }
}

impl fmt::Debug for RequestedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestedCertificate")
    }
}

impl ClientCertVerifier for RequestedCertificate {
    fn client_auth_mandatory(&self) -> bool {
        // The route is not known yet, and others of the same host may need no certificate.
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Nothing trusts the certificate because of this: `ClientCertRule::verify` does the check.
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
