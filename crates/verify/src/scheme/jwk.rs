//! Public key sets of senders (RFC 7517): their usable keys, by name and algorithm.
//!
//! Unusable keys are ignored, because a set may contain keys for other purposes; a set without any usable key is an
//! error. A key is never used for an algorithm of another type, whatever a token says.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

use crate::scheme::jwt::token::StrictObject;
use crate::scheme::public_key::{SignedText, TextDigest};
use crate::scheme::spec::algorithm::JwtAlgorithm;

/// Limit of keys in one set; the largest known set has 12.
const MAX_KEYS: usize = 64;

/// Public keys of one set that can verify signatures.
#[derive(Debug)]
pub struct KeySet(Vec<JwkEntry>);

#[derive(Debug)]
struct JwkEntry {
    kid: Option<Box<str>>,
    algorithm: JwtAlgorithm,
    key: ParsedPublicKey,
}

impl KeySet {
    /// Parses `{"keys": [...]}`.
    ///
    /// # Errors
    /// Returns a text if it is not such a document, or contains no usable key.
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let set = StrictObject::parse(text).ok_or("is not a JSON object")?;
        let Some(Value::Array(entries)) = set.find("keys") else {
            return Err("contains no `keys`");
        };
        if entries.len() > MAX_KEYS {
            return Err("contains too many keys");
        }
        let keys: Vec<JwkEntry> = entries.iter().flat_map(JwkEntry::parse).collect();
        if keys.is_empty() {
            return Err("contains no key for verification");
        }
        Ok(Self(keys))
    }

    /// Parses a key set, or the single key that some senders return for one key id.
    ///
    /// # Errors
    /// Returns the fault of the text as a set.
    pub fn parse_any(text: &[u8]) -> Result<Self, &'static str> {
        Self::parse(text).or_else(|fault| Self::parse_single(text).map_err(|_| fault))
    }

    /// Parses one key, as `{"key": {...}}`, unless its sender has withdrawn it.
    ///
    /// # Errors
    /// Returns a text if it is not such a document, or the key is not usable.
    pub fn parse_single(text: &[u8]) -> Result<Self, &'static str> {
        let answer = StrictObject::parse(text).ok_or("is not a JSON object")?;
        let key = answer.find("key").ok_or("contains no `key`")?;
        // Plaid marks withdrawn keys in this way.
        if key.get("expired_at").is_some_and(|at| !at.is_null()) {
            return Err("contains a key that its sender has withdrawn");
        }
        let keys = JwkEntry::parse(key);
        if keys.is_empty() {
            return Err("contains no key for verification");
        }
        Ok(Self(keys))
    }

    /// Returns whether there is a key of this name; without a name, whether there is any key.
    #[must_use]
    pub fn holds(&self, kid: Option<&str>) -> bool {
        self.0.iter().any(|key| key.is_named(kid))
    }

    /// Returns whether a key of this name, or any key if there is no name, made the signature.
    pub(super) fn verifies(
        &self,
        algorithm: JwtAlgorithm,
        kid: Option<&str>,
        text: &[u8],
        signature: &[u8],
    ) -> bool {
        let text = SignedText::new(text);
        // Several keys share one digest of the text. Ed25519 has no separate digest.
        let hashed_by = match algorithm {
            JwtAlgorithm::Rs256 | JwtAlgorithm::Es256 => Some(TextDigest::Of(&digest::SHA256)),
            JwtAlgorithm::Rs512 => Some(TextDigest::Of(&digest::SHA512)),
            _ => None,
        };
        let fitting = self.0.iter();
        let mut fitting = fitting.filter(|key| key.is_named(kid) && key.algorithm == algorithm);
        fitting.any(|key| text.is_signed_by(&key.key, hashed_by, signature))
    }
}

impl JwkEntry {
    /// Reads one key, once for each algorithm that it may serve: an RSA key that names no `alg` serves two. Returns nothing
    /// for a key of another purpose or type.
    fn parse(value: &Value) -> Vec<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        // Keys for encryption must not verify.
        if !matches!(text("use"), None | Some("sig")) || !may_verify(value) {
            return Vec::new();
        }
        let named = |name: &str| text("alg").is_none_or(|alg| alg == name);
        let algorithms = JwtAlgorithm::ALL.into_iter();
        let fitting = algorithms.filter(|(name, _)| named(name));
        let keys = fitting.filter_map(|(_, algorithm)| {
            Some(Self {
                kid: text("kid").map(Into::into),
                algorithm,
                key: public_key(value, algorithm)?,
            })
        });
        keys.collect()
    }

    fn is_named(&self, kid: Option<&str>) -> bool {
        // RFC 7515 section 4.1.4: `kid` is optional. Without it, any key of the set may have signed.
        kid.is_none() || self.kid.as_deref() == kid
    }
}

fn may_verify(value: &Value) -> bool {
    match value.get("key_ops") {
        None => true,
        Some(Value::Array(uses)) => uses.iter().any(|use_| use_.as_str() == Some("verify")),
        Some(_) => false,
    }
}

/// Returns the key where its type is that of the algorithm, so that a token cannot choose another use of it.
fn public_key(value: &Value, algorithm: JwtAlgorithm) -> Option<ParsedPublicKey> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let bytes = |name: &str| BASE64URL_NOPAD.decode(text(name)?.as_bytes()).ok();
    let rsa = |parameters: &'static RsaParameters| {
        let components = RsaPublicKeyComponents {
            n: bytes("n")?,
            e: bytes("e")?,
        };
        components.to_parsed_public_key(parameters).ok()
    };
    match (algorithm, text("kty")?, text("crv")) {
        (JwtAlgorithm::Rs256, "RSA", None) => rsa(&RSA_PKCS1_2048_8192_SHA256),
        (JwtAlgorithm::Rs512, "RSA", None) => rsa(&RSA_PKCS1_2048_8192_SHA512),
        (JwtAlgorithm::Es256, "EC", Some("P-256")) => {
            // The byte 4 marks a point with both coordinates (SEC 1 section 2.3.3), as a key set has them.
            let point = [&[4], &*bytes("x")?, &*bytes("y")?].concat();
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()
        }
        (JwtAlgorithm::EdDsa, "OKP", Some("Ed25519")) => {
            ParsedPublicKey::new(&ED25519, bytes("x")?).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair};

    use super::*;

    // Fails when an RSA key serves an algorithm that its `alg` does not name.
    #[test]
    fn an_rsa_key_serves_the_algorithm_that_it_names_or_both() {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        // PKCS#1: a sequence of the modulus, 256 bytes behind a head of 9, and the exponent 65537.
        let der = pair.public_key().as_ref().to_vec();
        let (n, e) = (&der[9..265], &der[der.len() - 3..]);
        let (n, e) = (BASE64URL_NOPAD.encode(n), BASE64URL_NOPAD.encode(e));
        let sign = |encoding| {
            let mut signature = vec![0; pair.public_modulus_len()];
            let random = SystemRandom::new();
            pair.sign(encoding, &random, b"text", &mut signature)
                .unwrap();
            signature
        };
        let (sha256, sha512) = (sign(&RSA_PKCS1_SHA256), sign(&RSA_PKCS1_SHA512));
        let (rs256, rs512) = (JwtAlgorithm::Rs256, JwtAlgorithm::Rs512);
        for (alg, serves_256, serves_512) in [
            ("", true, true),
            (r#","alg":"RS256""#, true, false),
            (r#","alg":"RS512""#, false, true),
        ] {
            let text = format!(r#"{{"keys":[{{"kty":"RSA","n":"{n}","e":"{e}"{alg}}}]}}"#);
            let set = KeySet::parse(text.as_bytes()).unwrap();
            let verifies = |algorithm, signature| set.verifies(algorithm, None, b"text", signature);
            assert_eq!(verifies(rs256, &sha256), serves_256, "{alg}");
            assert_eq!(verifies(rs512, &sha512), serves_512, "{alg}");
            assert!(!verifies(rs256, &sha512) && !verifies(rs512, &sha256));
        }
        let other = format!(r#"{{"keys":[{{"kty":"RSA","n":"{n}","e":"{e}","alg":"PS512"}}]}}"#);
        assert!(KeySet::parse(other.as_bytes()).is_err());
    }
}
