//! Sets of public keys as senders publish them (RFC 7517): the keys in them that can verify, by name and algorithm.
//!
//! What cannot be used is passed over, since a set may hold keys for other purposes; a set without any usable key is an
//! error. A key never serves an algorithm of another type, whatever a token says.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

use crate::scheme::jwt::token::Object;
use crate::scheme::public_key::{SignedText, TextDigest};
use crate::scheme::spec::JwtAlgorithm;

/// Keys of one set; the largest known set has 12.
const MAX_KEYS: usize = 64;

/// Public keys that can verify.
#[derive(Debug)]
pub struct KeySet(Vec<Jwk>);

#[derive(Debug)]
struct Jwk {
    kid: Option<Box<str>>,
    algorithm: JwtAlgorithm,
    key: ParsedPublicKey,
}

impl KeySet {
    /// Reads `{"keys": [...]}`; the error says what is wrong with it.
    ///
    /// # Errors
    /// Where it is no such document, or holds no key that can be used.
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let set = Object::parse(text).ok_or("is not a JSON object")?;
        let Some(Value::Array(entries)) = set.find("keys") else {
            return Err("holds no `keys`");
        };
        if entries.len() > MAX_KEYS {
            return Err("holds too many keys");
        }
        let keys: Vec<Jwk> = entries.iter().flat_map(Jwk::parse).collect();
        if keys.is_empty() {
            return Err("holds no key that can verify");
        }
        Ok(Self(keys))
    }

    /// Reads one key, as `{"key": {...}}`, which its sender has not withdrawn.
    ///
    /// # Errors
    /// Where it is no such document, or the key cannot be used.
    pub fn parse_single(text: &[u8]) -> Result<Self, &'static str> {
        let answer = Object::parse(text).ok_or("is not a JSON object")?;
        let key = answer.find("key").ok_or("holds no `key`")?;
        if key.get("expired_at").is_some_and(|at| !at.is_null()) {
            return Err("holds a key that its sender has withdrawn");
        }
        let keys = Jwk::parse(key);
        if keys.is_empty() {
            return Err("holds no key that can verify");
        }
        Ok(Self(keys))
    }

    /// Whether a key of this name is there; without a name, whether any is.
    #[must_use]
    pub fn holds(&self, kid: Option<&str>) -> bool {
        self.0.iter().any(|key| key.is_named(kid))
    }

    /// Whether a key of this name, or any where there is no name, made the signature.
    pub(super) fn verifies(
        &self,
        algorithm: JwtAlgorithm,
        kid: Option<&str>,
        text: &[u8],
        signature: &[u8],
    ) -> bool {
        let text = SignedText::new(text);
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

impl Jwk {
    /// Reads one key, once for each algorithm that it may serve: an RSA key that names no `alg` serves two. Returns nothing
    /// for a key of another purpose or type.
    fn parse(value: &Value) -> Vec<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
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
