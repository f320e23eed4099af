//! Certificates indexed by name, and the choice of one for a client.

use std::borrow::{Borrow, Cow};
use std::collections::HashMap;
use std::sync::Arc;

use hookgate_verify::net::host::without_root;
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, SignatureScheme};

use crate::edge::certificates::{CertificateInfo, CertificatePair};

/// The certificates for one name, in the order of the config. There are several where their keys have different types.
type CertificateCandidates = Vec<Arc<CertifiedKey>>;

/// One set of certificates, indexed by name.
#[derive(Debug)]
pub(super) struct CertificateIndex {
    exact: HashMap<String, CertificateCandidates>,
    /// By the name after `*.`.
    wildcard: HashMap<String, CertificateCandidates>,
    default: CertificateCandidates,
    pub(super) infos: Vec<CertificateInfo>,
    pub(super) digests: Vec<[u8; 32]>,
}

impl CertificateIndex {
    /// Indexes pairs by their names, in their order.
    pub(super) fn of(pairs: &[impl Borrow<CertificatePair>]) -> Self {
        let pairs: Vec<&CertificatePair> = pairs.iter().map(Borrow::borrow).collect();
        let mut names = Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            default: defaults(&pairs),
            infos: pairs.iter().map(|pair| pair.info.clone()).collect(),
            digests: pairs.iter().map(|pair| pair.digest).collect(),
        };
        for pair in pairs {
            for name in &pair.info.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(suffix) => (&mut names.wildcard, suffix),
                    None => (&mut names.exact, name.as_str()),
                };
                // The order of the config is kept, since the first fitting certificate wins.
                let candidates = map.entry(name.to_owned()).or_default();
                candidates.push(Arc::clone(&pair.key));
            }
        }
        names
    }

    /// Returns the first certificate for a name whose key makes signatures that the client accepts.
    ///
    /// An exact name comes before a wildcard, which covers exactly one label (RFC 9525, section 6.3). Where the client
    /// accepts no key, the first certificate is returned all the same.
    pub(super) fn find(
        &self,
        name: &str,
        schemes: &ClientSignatureSchemes<'_>,
    ) -> Option<Arc<CertifiedKey>> {
        let exact = self.exact.get(name);
        let wildcard = name
            .split_once('.')
            .and_then(|(_, suffix)| self.wildcard.get(suffix));
        choose(&exact.into_iter().chain(wildcard).flatten(), schemes)
    }

    /// Returns the certificate for clients that send no name, or a name without a certificate.
    pub(super) fn find_default(
        &self,
        schemes: &ClientSignatureSchemes<'_>,
    ) -> Option<Arc<CertifiedKey>> {
        choose(&self.default.iter(), schemes)
    }
}

/// Returns the name that a client asks for, in lower case and without the root dot.
pub(super) fn requested_name(hello: &ClientHello<'_>) -> Option<String> {
    let asked = hello.server_name().map(without_root);
    asked.map(str::to_ascii_lowercase)
}

/// The signature schemes that a client accepts.
pub(super) struct ClientSignatureSchemes<'a> {
    /// Schemes for the handshake. In TLS 1.3, PKCS#1 in the client's list applies to the chain only (RFC 8446, section
    /// 4.2.3).
    pub(super) handshake: Cow<'a, [SignatureScheme]>,
    pub(super) all: &'a [SignatureScheme],
}

impl<'a> ClientSignatureSchemes<'a> {
    pub(super) fn of(hello: &'a ClientHello<'_>) -> Self {
        let all = hello.signature_schemes();
        // A client that lists cipher suites of TLS 1.3 gets TLS 1.3, since no setting turns it off.
        let is_13 = |suite: &CipherSuite| (0x1301..=0x1305).contains(&u16::from(*suite));
        let handshake = match hello.cipher_suites().iter().any(is_13) {
            true => all
                .iter()
                .copied()
                .filter(|scheme| !is_pkcs1(*scheme))
                .collect(),
            false => Cow::Borrowed(all),
        };
        Self { handshake, all }
    }
}

fn is_pkcs1(scheme: SignatureScheme) -> bool {
    matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA1
            | SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
    )
}

/// Returns the first key that fits, or else the first key.
fn choose<'k>(
    candidates: &(impl Iterator<Item = &'k Arc<CertifiedKey>> + Clone),
    schemes: &ClientSignatureSchemes<'_>,
) -> Option<Arc<CertifiedKey>> {
    let fitting = |schemes: &[SignatureScheme]| {
        let mut all = candidates.clone();
        all.find(|key| key.key.choose_scheme(schemes).is_some())
    };
    // The handshake comes first, then any other use of a signature. The first certificate is the last resort.
    fitting(&schemes.handshake)
        .or_else(|| fitting(schemes.all))
        .or_else(|| candidates.clone().next())
        .map(Arc::clone)
}

/// Returns the certificates for clients that send no name, or a name without a certificate: the first one, and those
/// that share a name with it.
fn defaults(pairs: &[&CertificatePair]) -> CertificateCandidates {
    let Some(first) = pairs.first() else {
        return Vec::new();
    };
    let shares = |pair: &&&CertificatePair| {
        let mut names = pair.info.names.iter();
        std::ptr::eq(**pair, *first) || names.any(|name| first.info.names.contains(name))
    };
    let sharing = pairs.iter().filter(shares);
    sharing.map(|pair| Arc::clone(&pair.key)).collect()
}
