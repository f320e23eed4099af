//! Fetched certificates: their key, their names, their validity, and the chain to a CA.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::scheme::public_key::PublicKey;
use crate::scheme::spec::KeyAlgorithm;

/// Limit of certificates in one file.
const MAX_CHAIN: usize = 8;

/// Key, names and validity of a certificate.
pub struct SenderCertificate {
    key: Box<[u8]>,
    names: Vec<String>,
    from_ms: i64,
    until_ms: i64,
}

impl SenderCertificate {
    /// Reads the first certificate of a PEM file, without a chain. Only the host that it was fetched from vouches for
    /// it.
    ///
    /// # Errors
    /// Returns a text that says what is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let chain = read_pem(text)?;
        Self::read(chain.first().ok_or("contains no certificate")?)
    }

    /// Reads the first certificate of a chain to one of these CAs. It is valid as long as every certificate of the
    /// chain is.
    ///
    /// # Errors
    /// Returns a text that says what is wrong with it.
    pub fn parse_chain(
        text: &[u8],
        roots: &[TrustAnchor<'_>],
        unix_ms: i64,
    ) -> Result<Self, &'static str> {
        let chain = read_pem(text)?;
        let (first, others) = chain.split_first().ok_or("contains no certificate")?;
        let leaf = EndEntityCert::try_from(first).map_err(|_| "contains no certificate")?;
        // A clock before 1970 counts as 1970, when no certificate is valid yet.
        let seconds = u64::try_from(unix_ms.div_euclid(1000)).unwrap_or(0);
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let verified = leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            roots,
            others,
            time,
            KeyUsage::server_auth(),
            None,
            None,
        );
        let path =
            verified.map_err(|_| "contains a certificate that does not chain to a trusted CA")?;
        // The validity is the intersection of all certificates in the verified path.
        let mut certificate = Self::read(first)?;
        for intermediate in path.intermediate_certificates() {
            let link = Self::read(&intermediate.der())?;
            certificate.from_ms = certificate.from_ms.max(link.from_ms);
            certificate.until_ms = certificate.until_ms.min(link.until_ms);
        }
        Ok(certificate)
    }

    /// Reads one certificate that the caller has verified.
    pub(super) fn read(der: &CertificateDer<'_>) -> Result<Self, &'static str> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| "contains a malformed certificate")?;
        // Bytes after the certificate could be read as a second one.
        if !rest.is_empty() {
            return Err("contains a malformed certificate");
        }
        let validity = certificate.validity();
        let names = certificate.subject_alternative_name();
        let names = names.map_err(|_| "contains a certificate with malformed names")?;
        let names = match names {
            None => common_names(&certificate),
            Some(extension) => {
                let names = extension.value.general_names.iter();
                let dns = names.filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                    _ => None,
                });
                dns.collect()
            }
        };
        let key = certificate.public_key().subject_public_key.data.to_vec();
        Ok(Self {
            key: key.into(),
            names,
            from_ms: validity.not_before.timestamp().saturating_mul(1000),
            until_ms: validity.not_after.timestamp().saturating_mul(1000),
        })
    }

    /// Returns the names of the certificate, in lower case.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the start of validity, in milliseconds since the epoch.
    #[must_use]
    pub fn valid_from_ms(&self) -> i64 {
        self.from_ms
    }

    /// Returns the end of validity, in milliseconds since the epoch.
    #[must_use]
    pub fn until_ms(&self) -> i64 {
        self.until_ms
    }

    /// Returns whether the certificate's key made the signature.
    pub(in crate::scheme) fn verifies(
        &self,
        algorithm: KeyAlgorithm,
        text: &[u8],
        signature: &[u8],
    ) -> bool {
        let key = PublicKey::of_bytes(algorithm, &self.key);
        key.is_ok_and(|key| key.verifies(text, signature))
    }
}

/// Returns the common names, which count only without alternative names (RFC 6125 section 6.4.4).
fn common_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject().iter_common_name();
    let texts = names.filter_map(|name| name.as_str().ok());
    texts.map(str::to_ascii_lowercase).collect()
}

fn read_pem(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text)
        // One more than the limit, to notice that there are too many.
        .take(MAX_CHAIN + 1)
        .collect();
    let chain = chain.map_err(|_| "is not PEM")?;
    if chain.len() > MAX_CHAIN {
        return Err("contains too many certificates");
    }
    Ok(chain)
}
