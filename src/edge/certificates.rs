//! Server certificates: loading, choice by SNI, and replacement while connections stay open.
//!
//! A set that cannot be loaded as a whole never replaces one that works. Loading blocks on files. It happens at start,
//! on reload and in a background check, but never for a connection.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use hookgate_verify::net::host::without_root;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, SignatureScheme};
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use crate::config::model::CertificateFiles;
use crate::model::clock::ClockReading;
use crate::net::text_file;

/// The reason why a certificate cannot be used.
#[derive(Debug, Error)]
pub(crate) enum CertificateError {
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Path of the file, as in the config.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file is not PEM, or its PEM is broken.
    #[error("`{}` is not valid PEM", path.display())]
    Pem {
        /// Path of the file, as in the config.
        path: PathBuf,
        /// The error of the PEM parser.
        source: rustls::pki_types::pem::Error,
    },
    /// The file has no certificate.
    #[error("`{}` holds no certificate", path.display())]
    NoCertificate {
        /// Path of the file, as in the config.
        path: PathBuf,
    },
    /// The file has no private key.
    #[error("`{}` holds no private key", path.display())]
    NoKey {
        /// Path of the file, as in the config.
        path: PathBuf,
    },
    /// The first certificate cannot be parsed as X.509.
    #[error("the first certificate in `{}` is malformed", path.display())]
    Malformed {
        /// Path of the file, as in the config.
        path: PathBuf,
    },
    /// The key has a type that TLS cannot use here.
    #[error("the key in `{}` cannot be used", path.display())]
    Key {
        /// Path of the file, as in the config.
        path: PathBuf,
        /// The error of the TLS library.
        source: rustls::Error,
    },
    /// The key belongs to another certificate.
    #[error("the key in `{}` does not belong to the certificate in `{}`", key.display(), cert.display())]
    Mismatch {
        /// Path of the certificate's file.
        cert: PathBuf,
        /// Path of the key's file.
        key: PathBuf,
    },
    /// The last moment of the certificate has passed.
    #[error("the certificate in `{}` expired on {when}", path.display())]
    Expired {
        /// Path of the certificate's file.
        path: PathBuf,
        /// Last moment of its validity.
        when: String,
    },
}

/// The facts of a certificate that metrics and status pages show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateInfo {
    /// DNS names and addresses that the certificate covers.
    pub names: Vec<String>,
    /// Last moment of its validity, in seconds since the Unix epoch.
    pub not_after: i64,
}

impl CertificateInfo {
    /// Returns true where the certificate is expired.
    pub(crate) fn is_expired(&self, now: ClockReading) -> bool {
        self.not_after < now.unix_seconds()
    }
}

/// A certificate chain and its key, which belong together.
#[derive(Debug)]
pub(crate) struct CertificatePair {
    /// The chain and the key, as TLS signs with them.
    pub key: Arc<CertifiedKey>,
    /// Names and expiry of the first certificate.
    pub info: CertificateInfo,
    digest: [u8; 32],
}

/// Loads a chain and its key. Rejects files that do not belong together, and an expired certificate.
///
/// # Errors
/// Each defect of the two files has its own variant.
pub(crate) fn load_pair(cert: &Path, key: &Path) -> Result<CertificatePair, CertificateError> {
    let pair = read_pair(cert, key)?;
    if pair.info.is_expired(ClockReading::read()) {
        return Err(CertificateError::Expired {
            path: cert.to_owned(),
            when: date(pair.info.not_after),
        });
    }
    Ok(pair)
}

/// Loads a pair like [`load_pair`], and also accepts an expired certificate.
fn read_pair(cert: &Path, key: &Path) -> Result<CertificatePair, CertificateError> {
    let cert_pem = read(cert)?;
    let key_pem = read(key)?;
    let chain = parse_chain(cert, &cert_pem)?;
    let Some(leaf) = chain.first() else {
        return Err(CertificateError::NoCertificate {
            path: cert.to_owned(),
        });
    };
    let info = describe(leaf).ok_or_else(|| CertificateError::Malformed {
        path: cert.to_owned(),
    })?;
    let private = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|source| match source {
        rustls::pki_types::pem::Error::NoItemsFound => CertificateError::NoKey {
            path: key.to_owned(),
        },
        source => CertificateError::Pem {
            path: key.to_owned(),
            source,
        },
    })?;
    let signing =
        rustls::crypto::aws_lc_rs::sign::any_supported_type(&private).map_err(|source| {
            CertificateError::Key {
                path: key.to_owned(),
                source,
            }
        })?;
    let certified = CertifiedKey::new(chain, signing);
    certified
        .keys_match()
        .map_err(|_| CertificateError::Mismatch {
            cert: cert.to_owned(),
            key: key.to_owned(),
        })?;
    Ok(CertificatePair {
        key: Arc::new(certified),
        info,
        digest: digest_of(&cert_pem, &key_pem),
    })
}

/// Loads the authorities of client certificates.
///
/// # Errors
/// The file cannot be read, or has no certificate.
pub(crate) fn load_authorities(
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain = parse_chain(path, &read(path)?)?;
    if chain.is_empty() {
        return Err(CertificateError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(chain)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    let read = std::fs::read(path).map(Zeroizing::new);
    let mut text = read.map_err(|source| CertificateError::Read {
        path: path.to_owned(),
        source,
    })?;
    text_file::normalize(&mut text);
    Ok(text)
}

fn parse_chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| CertificateError::Pem {
            path: path.to_owned(),
            source,
        })
}

/// Hashes both files. The length comes first, so that moving bytes from one file to the other changes the digest.
fn digest_of(cert: &[u8], key: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update((cert.len() as u64).to_be_bytes());
    digest.update(cert);
    digest.update(key);
    digest.finalize().into()
}

fn describe(leaf: &CertificateDer<'_>) -> Option<CertificateInfo> {
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    let mut names = Vec::new();
    if let Ok(Some(alternatives)) = parsed.subject_alternative_name() {
        for name in &alternatives.value.general_names {
            match name {
                GeneralName::DNSName(dns) => names.push(without_root(dns).to_ascii_lowercase()),
                GeneralName::IPAddress(octets) => names.extend(address(octets)),
                _ => {}
            }
        }
    }
    // Only a certificate without alternative names falls back to its common name, which browsers ignore by now.
    if names.is_empty() {
        let common = parsed.subject().iter_common_name().next();
        names.extend(common.and_then(|name| Some(name.as_str().ok()?.to_ascii_lowercase())));
    }
    Some(CertificateInfo {
        names,
        not_after: parsed.validity().not_after.timestamp(),
    })
}

fn address(octets: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    let v6 = <[u8; 16]>::try_from(octets).ok()?;
    Some(std::net::Ipv6Addr::from(v6).to_string())
}

fn date(unix_seconds: i64) -> String {
    jiff::Timestamp::from_second(unix_seconds)
        .map_or_else(|_| unix_seconds.to_string(), |t| t.to_string())
}

/// The certificates in use, chosen by SNI and replaced as a whole.
#[derive(Debug)]
pub(super) struct CertificateStore {
    files: Vec<CertificateFiles>,
    current: ArcSwap<CertificateIndex>,
    /// Held during a reload, so that only one runs at a time.
    reloading: Mutex<()>,
}

/// The certificates for one name, in the order of the config. There are several where their keys have different types.
type CertificateCandidates = Vec<Arc<CertifiedKey>>;

/// One set of certificates, indexed by name.
#[derive(Debug)]
struct CertificateIndex {
    exact: HashMap<String, CertificateCandidates>,
    /// By the name after `*.`.
    wildcard: HashMap<String, CertificateCandidates>,
    default: CertificateCandidates,
    infos: Vec<CertificateInfo>,
    digests: Vec<[u8; 32]>,
}

impl CertificateStore {
    /// Loads all pairs, expired ones included: an expired certificate is better than no service.
    pub(super) fn load(files: &[CertificateFiles]) -> Result<Self, CertificateError> {
        let pairs = files
            .iter()
            .map(|files| read_pair(&files.cert, &files.key))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            files: files.to_vec(),
            current: ArcSwap::from_pointee(CertificateIndex::of(&pairs)),
            reloading: Mutex::new(()),
        })
    }

    /// Reads the files again. Returns true where they had changed. On any fault, the certificates in use stay.
    pub(super) fn reload(&self) -> Result<bool, CertificateError> {
        let _alone = self.reloading.lock();
        let pairs = self
            .files
            .iter()
            .map(|files| read_pair(&files.cert, &files.key))
            .collect::<Result<Vec<_>, _>>()?;
        let digests = pairs.iter().map(|pair| pair.digest);
        // Files that were written again with the same content are no change.
        if digests.eq(self.current.load().digests.iter().copied()) {
            return Ok(false);
        }
        // A reload has working certificates to keep, so it rejects expired ones, unlike the start.
        self.deny_expired_in(pairs.iter().map(|pair| &pair.info))?;
        self.current.store(Arc::new(CertificateIndex::of(&pairs)));
        Ok(true)
    }

    /// Returns an error where a certificate in use is expired.
    pub(super) fn deny_expired(&self) -> Result<(), CertificateError> {
        self.deny_expired_in(self.current.load().infos.iter())
    }

    pub(super) fn infos(&self) -> Vec<CertificateInfo> {
        self.current.load().infos.clone()
    }

    fn deny_expired_in<'a>(
        &self,
        infos: impl Iterator<Item = &'a CertificateInfo>,
    ) -> Result<(), CertificateError> {
        let now = ClockReading::read();
        for (files, info) in self.files.iter().zip(infos) {
            if info.is_expired(now) {
                return Err(CertificateError::Expired {
                    path: files.cert.clone(),
                    when: date(info.not_after),
                });
            }
        }
        Ok(())
    }
}

impl CertificateIndex {
    fn of(pairs: &[CertificatePair]) -> Self {
        let mut names = Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            default: defaults(pairs),
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
    fn find(&self, name: &str, schemes: &ClientSignatureSchemes<'_>) -> Option<Arc<CertifiedKey>> {
        let exact = self.exact.get(name);
        let wildcard = name
            .split_once('.')
            .and_then(|(_, suffix)| self.wildcard.get(suffix));
        choose(&exact.into_iter().chain(wildcard).flatten(), schemes)
    }
}

/// The signature schemes that a client accepts.
struct ClientSignatureSchemes<'a> {
    /// Schemes for the handshake. In TLS 1.3, PKCS#1 in the client's list applies to the chain only (RFC 8446, section
    /// 4.2.3).
    handshake: Cow<'a, [SignatureScheme]>,
    all: &'a [SignatureScheme],
}

impl<'a> ClientSignatureSchemes<'a> {
    fn of(hello: &'a ClientHello<'_>) -> Self {
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
fn defaults(pairs: &[CertificatePair]) -> CertificateCandidates {
    let Some(first) = pairs.first() else {
        return Vec::new();
    };
    let shares = |pair: &&CertificatePair| {
        let mut names = pair.info.names.iter();
        std::ptr::eq(*pair, first) || names.any(|name| first.info.names.contains(name))
    };
    let sharing = pairs.iter().filter(shares);
    sharing.map(|pair| Arc::clone(&pair.key)).collect()
}

/// Schemes that distinguish the types of keys.
static SCHEMES: [SignatureScheme; 9] = [
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
    SignatureScheme::ED448,
];

impl CertificatePair {
    /// Returns true where no client would ever get this certificate, since `earlier` ones cover all its names with the
    /// same type of key.
    pub(crate) fn is_shadowed_by(&self, earlier: &[Self]) -> bool {
        let signs = |pair: &Self, scheme: &SignatureScheme| {
            pair.key
                .key
                .choose_scheme(std::slice::from_ref(scheme))
                .is_some()
        };
        let is_alike = |other: &Self| {
            SCHEMES
                .iter()
                .all(|scheme| signs(self, scheme) == signs(other, scheme))
        };
        let is_covered = |name: &String| {
            let mut alike = earlier.iter().filter(|other| is_alike(other));
            alike.any(|other| other.info.names.contains(name))
        };
        // A certificate without names is still chosen as the default, so it is never shadowed.
        !self.info.names.is_empty() && self.info.names.iter().all(is_covered)
    }
}

impl ResolvesServerCert for CertificateStore {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let names = self.current.load();
        let asked = hello.server_name().map(without_root);
        let asked = asked.map(str::to_ascii_lowercase);
        let schemes = ClientSignatureSchemes::of(&hello);
        asked
            .and_then(|name| names.find(&name, &schemes))
            .or_else(|| choose(&names.default.iter(), &schemes))
    }
}

#[cfg(test)]
mod tests;
