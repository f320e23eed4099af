//! Public key sets of senders (RFC 7517): their usable keys, by name and algorithm.
//!
//! Unusable keys are ignored, because a set may contain keys for other purposes; a set without any usable key is an
//! error. A key is never used for an algorithm of another type, whatever a token says.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

use crate::scheme::jwt::token::Object;
use crate::scheme::public_key::SignedText;
use crate::scheme::spec::JwtAlgorithm;

/// Limit of keys in one set; the largest known set has 12.
const MAX_KEYS: usize = 64;

/// Public keys of one set that can verify signatures.
#[derive(Debug)]
pub struct KeySet(Vec<Jwk>);

#[derive(Debug)]
struct Jwk {
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
        let set = Object::parse(text).ok_or("is not a JSON object")?;
        let Some(Value::Array(entries)) = set.find("keys") else {
            return Err("contains no `keys`");
        };
        if entries.len() > MAX_KEYS {
            return Err("contains too many keys");
        }
        let keys: Vec<Jwk> = entries.iter().filter_map(Jwk::parse).collect();
        if keys.is_empty() {
            return Err("contains no key for verification");
        }
        Ok(Self(keys))
    }

    /// Parses one key, as `{"key": {...}}`, unless its sender has withdrawn it.
    ///
    /// # Errors
    /// Returns a text if it is not such a document, or the key is not usable.
    pub fn parse_single(text: &[u8]) -> Result<Self, &'static str> {
        let answer = Object::parse(text).ok_or("is not a JSON object")?;
        let key = answer.find("key").ok_or("contains no `key`")?;
        // Plaid marks withdrawn keys in this way.
        if key.get("expired_at").is_some_and(|at| !at.is_null()) {
            return Err("contains a key that its sender has withdrawn");
        }
        let key = Jwk::parse(key).ok_or("contains no key for verification")?;
        Ok(Self(vec![key]))
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
            JwtAlgorithm::Rs256 | JwtAlgorithm::Es256 => Some(&digest::SHA256),
            _ => None,
        };
        let fitting = self.0.iter();
        let mut fitting = fitting.filter(|key| key.is_named(kid) && key.algorithm == algorithm);
        fitting.any(|key| text.is_signed_by(&key.key, hashed_by, signature))
    }
}

impl Jwk {
    fn parse(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        // Keys for encryption must not verify.
        if !matches!(text("use"), None | Some("sig")) || !may_verify(value) {
            return None;
        }
        let bytes = |name: &str| BASE64URL_NOPAD.decode(text(name)?.as_bytes()).ok();
        let (algorithm, key) = match (text("kty")?, text("crv")) {
            ("RSA", None) => (JwtAlgorithm::Rs256, rsa(&bytes("n")?, &bytes("e")?)?),
            ("EC", Some("P-256")) => {
                // 4 marks an uncompressed point (SEC 1 section 2.3.3).
                let point = [&[4], &*bytes("x")?, &*bytes("y")?].concat();
                let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
                (JwtAlgorithm::Es256, key.ok()?)
            }
            ("OKP", Some("Ed25519")) => {
                let key = ParsedPublicKey::new(&ED25519, bytes("x")?);
                (JwtAlgorithm::EdDsa, key.ok()?)
            }
            _ => return None,
        };
        // A key that names another algorithm is not for this one.
        if text("alg").is_some_and(|name| JwtAlgorithm::parse(name) != Some(algorithm)) {
            return None;
        }
        let kid = text("kid").map(Into::into);
        Some(Self {
            kid,
            algorithm,
            key,
        })
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

fn rsa(n: &[u8], e: &[u8]) -> Option<ParsedPublicKey> {
    let components = RsaPublicKeyComponents { n, e };
    components
        .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
        .ok()
}
