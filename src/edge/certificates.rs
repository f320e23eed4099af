//! Server certificates: chains with their keys, loaded from files or parsed from memory.
//!
//! Loading blocks on files. It happens at start, on reload and in a background check, but never for a connection.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hookgate_verify::net::host::without_root;
use rustls::SignatureScheme;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::Zeroizing;

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
    /// First moment of its validity, in seconds since the Unix epoch.
    pub not_before: i64,
    /// Last moment of its validity, in seconds since the Unix epoch.
    pub not_after: i64,
}

impl CertificateInfo {
    /// Returns true where the certificate is for this name, which must be in lower case. A wildcard covers one label.
    pub(crate) fn covers(&self, host: &str) -> bool {
        let parent = host.split_once('.').map(|(_, parent)| parent);
        let mut names = self.names.iter();
        names.any(|name| match name.strip_prefix("*.") {
            // A request for the same wildcard is covered as well.
            Some(suffix) => parent == Some(suffix),
            None => name == host,
        })
    }

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
    pub(super) digest: [u8; 32],
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
pub(super) fn read_pair(cert: &Path, key: &Path) -> Result<CertificatePair, CertificateError> {
    parse_pair((cert, &read(cert)?), (key, &read(key)?))
}

/// Parses a chain and its key, each with the path that errors name. Also accepts an expired certificate.
///
/// # Errors
/// Each defect has its own variant.
pub(crate) fn parse_pair(
    (cert, cert_pem): (&Path, &[u8]),
    (key, key_pem): (&Path, &[u8]),
) -> Result<CertificatePair, CertificateError> {
    let chain = parse_chain(cert, cert_pem)?;
    let Some(leaf) = chain.first() else {
        return Err(CertificateError::NoCertificate {
            path: cert.to_owned(),
        });
    };
    let info = describe(leaf).ok_or_else(|| CertificateError::Malformed {
        path: cert.to_owned(),
    })?;
    let private = PrivateKeyDer::from_pem_slice(key_pem).map_err(|source| match source {
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
        digest: digest_of(cert_pem, key_pem),
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
        not_before: parsed.validity().not_before.timestamp(),
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

pub(super) fn date(unix_seconds: i64) -> String {
    jiff::Timestamp::from_second(unix_seconds)
        .map_or_else(|_| unix_seconds.to_string(), |t| t.to_string())
}

/// Schemes that distinguish the types of keys.
pub(super) static SCHEMES: [SignatureScheme; 9] = [
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
    /// Identifies chain and key.
    pub(crate) fn digest(&self) -> [u8; 32] {
        self.digest
    }

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

#[cfg(test)]
mod tests;
