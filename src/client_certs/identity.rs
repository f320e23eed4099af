//! The identity in a client certificate: its names, its subject and its fingerprint.

use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::HEXLOWER;
use hookgate_verify::model::glob::GlobPattern;
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Longest subject or name that is kept: it goes into headers and log lines.
const MAX_TEXT: usize = 256;

/// Most names of a certificate that are compared.
const MAX_NAMES: usize = 100;

/// The identity of a client, as its certificate states it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PeerIdentity {
    /// Distinguished name of the subject, as one line.
    pub subject: Box<str>,
    /// DNS names, URIs, mail addresses and IP addresses of the certificate; without any, its common name.
    pub names: Vec<String>,
    /// SHA-256 of the certificate in lower-case hexadecimal digits.
    pub fingerprint: Box<str>,
}

/// The clients that a route admits, among those whose certificate is valid.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct AllowedClients {
    /// Patterns of names; empty: every name.
    pub names: Vec<GlobPattern>,
    /// Fingerprints; empty: every certificate.
    pub fingerprints: Vec<String>,
}

impl PeerIdentity {
    /// Reads the identity from a certificate. Returns `None` if it is malformed.
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let mut names = Vec::new();
        if let Ok(Some(alternatives)) = parsed.subject_alternative_name() {
            for name in alternatives.value.general_names.iter().take(MAX_NAMES) {
                match name {
                    GeneralName::DNSName(text) => names.push(text.to_ascii_lowercase()),
                    GeneralName::URI(text) | GeneralName::RFC822Name(text) => {
                        names.push((*text).to_owned());
                    }
                    GeneralName::IPAddress(octets) => names.extend(address(octets)),
                    _ => {}
                }
            }
        }
        // A certificate with alternative names is known by them alone (RFC 9525, section 6.3).
        if names.is_empty() {
            let common = parsed.subject().iter_common_name().next();
            names.extend(common.and_then(|name| Some(name.as_str().ok()?.to_owned())));
        }
        Some(Self {
            subject: bounded(&parsed.subject().to_string()),
            names,
            fingerprint: HEXLOWER.encode(&Sha256::digest(certificate)).into(),
        })
    }
}

impl AllowedClients {
    /// Returns whether a client is admitted. Names and fingerprints must both match where both are set.
    pub(super) fn admit(&self, client: &PeerIdentity) -> bool {
        let is_named = self.names.is_empty()
            || client
                .names
                .iter()
                .any(|name| self.names.iter().any(|pattern| pattern.matches(name)));
        let is_known = self.fingerprints.is_empty()
            || self
                .fingerprints
                .iter()
                .any(|one| **one == *client.fingerprint);
        is_named && is_known
    }
}

fn address(octets: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(v4).to_string());
    }
    let v6 = <[u8; 16]>::try_from(octets).ok()?;
    Some(Ipv6Addr::from(v6).to_string())
}

fn bounded(text: &str) -> Box<str> {
    text.get(..text.floor_char_boundary(MAX_TEXT))
        .unwrap_or_default()
        .into()
}
