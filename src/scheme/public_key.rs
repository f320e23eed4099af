//! Public keys as senders show them: PEM, in lines or in one, base64 of the DER, or for Ed25519 the bare 32 bytes in hex or either base64.

use std::cell::OnceCell;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA512, VerificationAlgorithm,
};
use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER_PERMISSIVE};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::scheme::SchemeError;
use crate::scheme::spec::KeyAlgorithm;

/// Standard Webhooks' prefix of an Ed25519 public key.
const STANDARD_PREFIX: &str = "whpk_";

/// A public key, ready to verify with.
pub(super) struct PublicKey {
    key: ParsedPublicKey,
    /// Whether the sender signs the SHA-256 of the text.
    is_over_digest: bool,
    /// Digest that the signature is made over; `None` where the algorithm reads the text itself.
    hashed_by: Option<TextDigest>,
}

/// The digest of a text that a signature is made over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TextDigest {
    /// The digest as it is.
    Of(&'static digest::Algorithm),
    /// SHA-1 behind twelve zero bytes, for ECDSA over P-256.
    ///
    /// aws-lc-rs has no ECDSA with SHA-1. ECDSA reads a digest that is not longer than the curve's order as a number
    /// (FIPS 186-5 section 6.4.2), so zeros in front change nothing, and the result has the length of a SHA-256.
    PaddedSha1,
}

impl TextDigest {
    /// Hashes the text.
    fn of(self, text: &[u8]) -> Option<digest::Digest> {
        match self {
            Self::Of(algorithm) => Some(digest::digest(algorithm, text)),
            Self::PaddedSha1 => {
                let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text);
                let padded = [&[0; 12], sha1.as_ref()].concat();
                digest::Digest::import_less_safe(&padded, &digest::SHA256).ok()
            }
        }
    }
}

/// A text whose signatures are tried, with its digest.
///
/// Several keys and several signatures share one digest: hashing a body of 1 MiB for each pair of them would cost a
/// hundred times as much as the signatures do.
pub(super) struct SignedText<'t> {
    text: &'t [u8],
    digest: OnceCell<(TextDigest, Option<digest::Digest>)>,
}

impl<'t> SignedText<'t> {
    /// Nothing is hashed yet.
    pub(super) fn new(text: &'t [u8]) -> Self {
        Self {
            text,
            digest: OnceCell::new(),
        }
    }

    /// The text.
    pub(super) fn bytes(&self) -> &'t [u8] {
        self.text
    }

    /// Whether the signature is this key's over the text.
    pub(super) fn is_signed_by(
        &self,
        key: &ParsedPublicKey,
        hashed_by: Option<TextDigest>,
        signature: &[u8],
    ) -> bool {
        let Some(kind) = hashed_by else {
            return key.verify_sig(self.text, signature).is_ok();
        };
        let is_signed = |digest: &Option<digest::Digest>| {
            let digest = digest.as_ref();
            digest.is_some_and(|digest| key.verify_digest_sig(digest, signature).is_ok())
        };
        let (held, digest) = self.digest.get_or_init(|| (kind, kind.of(self.text)));
        match *held == kind {
            true => is_signed(digest),
            // Keys of one scheme share their digest; this is for those that would not.
            false => is_signed(&kind.of(self.text)),
        }
    }
}

impl PublicKey {
    /// Reads the text.
    ///
    /// # Errors
    /// [`SchemeError::NotPublicKey`], or where the key is one of another algorithm.
    pub(super) fn parse(algorithm: KeyAlgorithm, text: &[u8]) -> Result<Self, SchemeError> {
        let bytes = key_bytes(algorithm, text).ok_or(SchemeError::NotPublicKey)?;
        Self::of_bytes(algorithm, &bytes)
    }

    /// Takes the bare key: the RSA key of PKCS#1, the curve point, or the Ed25519 key.
    ///
    /// # Errors
    /// As for [`PublicKey::parse`].
    pub(super) fn of_bytes(algorithm: KeyAlgorithm, bytes: &[u8]) -> Result<Self, SchemeError> {
        let key = ParsedPublicKey::new(verifier(algorithm), bytes)
            .map_err(|_| SchemeError::NotPublicKey)?;
        Ok(Self {
            key,
            is_over_digest: algorithm == KeyAlgorithm::RsaSha256OfDigest,
            hashed_by: hashed_by(algorithm),
        })
    }

    /// Whether the signature is this key's over the text.
    #[must_use]
    pub(super) fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        self.verifies_any(&SignedText::new(text), &[signature])
    }

    /// Whether any of the signatures is this key's over the text.
    #[must_use]
    pub(super) fn verifies_any<S: AsRef<[u8]>>(
        &self,
        text: &SignedText<'_>,
        signatures: &[S],
    ) -> bool {
        let is_signed = |text: &SignedText<'_>| {
            let mut signatures = signatures.iter().map(AsRef::as_ref);
            signatures.any(|signature| text.is_signed_by(&self.key, self.hashed_by, signature))
        };
        if self.is_over_digest {
            let digest = digest::digest(&digest::SHA256, text.text);
            return is_signed(&SignedText::new(digest.as_ref()));
        }
        is_signed(text)
    }
}

/// The digest that an algorithm signs; none for Ed25519, which hashes the text together with the key.
fn hashed_by(algorithm: KeyAlgorithm) -> Option<TextDigest> {
    let algorithm = match algorithm {
        KeyAlgorithm::Ed25519 => return None,
        KeyAlgorithm::EcdsaP256Sha1 => return Some(TextDigest::PaddedSha1),
        KeyAlgorithm::EcdsaP256
        | KeyAlgorithm::EcdsaP256Fixed
        | KeyAlgorithm::RsaSha256
        | KeyAlgorithm::RsaSha256OfDigest => &digest::SHA256,
        KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP384Fixed => &digest::SHA384,
        KeyAlgorithm::RsaSha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        KeyAlgorithm::RsaSha512 | KeyAlgorithm::RsaPssSha512 => &digest::SHA512,
    };
    Some(TextDigest::Of(algorithm))
}

fn verifier(algorithm: KeyAlgorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        KeyAlgorithm::Ed25519 => &ED25519,
        KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP256Sha1 => &ECDSA_P256_SHA256_ASN1,
        KeyAlgorithm::EcdsaP256Fixed => &ECDSA_P256_SHA256_FIXED,
        KeyAlgorithm::EcdsaP384 => &ECDSA_P384_SHA384_ASN1,
        KeyAlgorithm::EcdsaP384Fixed => &ECDSA_P384_SHA384_FIXED,
        KeyAlgorithm::RsaSha1 => &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        KeyAlgorithm::RsaSha256 | KeyAlgorithm::RsaSha256OfDigest => &RSA_PKCS1_2048_8192_SHA256,
        KeyAlgorithm::RsaSha512 => &RSA_PKCS1_2048_8192_SHA512,
        KeyAlgorithm::RsaPssSha512 => &RSA_PSS_2048_8192_SHA512,
    }
}

/// What the algorithm takes: the bare Ed25519 key, the curve point, or the RSA key of PKCS#1.
fn key_bytes(algorithm: KeyAlgorithm, text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?.trim();
    if text.starts_with("-----BEGIN") {
        return from_pem(text);
    }
    let text = text.strip_prefix(STANDARD_PREFIX).unwrap_or(text);
    if algorithm == KeyAlgorithm::Ed25519 && text.len() == 64 {
        return HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
    }
    let der = decode_base64(text)?;
    if algorithm == KeyAlgorithm::Ed25519 && der.len() == 32 {
        return Some(der);
    }
    from_spki(&der)
}

fn from_pem(text: &str) -> Option<Vec<u8>> {
    if !text.contains('\n') {
        return from_spki(&decode_base64(one_line(text)?)?);
    }
    let (pem, _) = Pem::read(std::io::Cursor::new(text)).ok()?;
    match pem.label.as_str() {
        "PUBLIC KEY" => from_spki(&pem.contents),
        "RSA PUBLIC KEY" => Some(pem.contents),
        "CERTIFICATE" => {
            let (_, certificate) = X509Certificate::from_der(&pem.contents).ok()?;
            Some(certificate.public_key().subject_public_key.data.to_vec())
        }
        _ => None,
    }
}

/// Returns the base64 of a public key in PEM without line breaks, as the APIs of some senders return it.
fn one_line(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("-----BEGIN PUBLIC KEY-----")?;
    inner.strip_suffix("-----END PUBLIC KEY-----")
}

/// The key inside a SubjectPublicKeyInfo (RFC 5280 4.1.2.7).
fn from_spki(der: &[u8]) -> Option<Vec<u8>> {
    let (rest, spki) = SubjectPublicKeyInfo::from_der(der).ok()?;
    rest.is_empty()
        .then(|| spki.subject_public_key.data.to_vec())
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let compact: String = text.split_ascii_whitespace().collect();
    // The `x` of a key in a key set (RFC 8037) has the URL-safe alphabet.
    let compact = compact.replace('-', "+").replace('_', "/");
    let encoding = if compact.len().is_multiple_of(4) {
        BASE64
    } else {
        BASE64_NOPAD
    };
    encoding.decode(compact.as_bytes()).ok()
}
