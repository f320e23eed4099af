//! Keys that sign forwarded requests according to Standard Webhooks
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
//!
//! `whsec_` and base64 is a symmetric key, which makes `v1` signatures (HMAC-SHA256). `whsk_` and base64 is an Ed25519
//! private key, which makes `v1a` signatures. The signed text is `{id}.{timestamp}.{body}`.

use std::fmt;

use aws_lc_rs::signature::Ed25519KeyPair;
use data_encoding::{BASE64, HEXLOWER};
use http::HeaderName;
use sha2::{Digest as _, Sha256};

use crate::model::secret::Secret;
use crate::scheme::mac::KeyedMac;
use crate::scheme::spec::DigestAlgorithm;

/// Header for the message id.
pub const ID: HeaderName = HeaderName::from_static("webhook-id");
/// Header for the time, in seconds since the epoch.
pub const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// Header for the signatures, separated by spaces.
pub const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Sizes of symmetric keys that the specification allows, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Longest event id that is used unchanged, in characters.
const MAX_ID: usize = 128;

/// Returns the id by which the app knows an event (`webhook-id`).
///
/// It is the event id itself if its end in the signed text is clear; otherwise it is derived from the event id, or from
/// the digest that identifies the signed bytes.
pub fn message_id(event_id: Option<&str>, digest: &[u8; 32]) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:".contains(&byte);
    // Half of the digest: 128 bits are enough for an id, which protects nothing.
    let short = |digest: &[u8]| HEXLOWER.encode(digest.get(..16).unwrap_or(digest));
    match event_id {
        Some(id) if id.len() <= MAX_ID && id.bytes().all(is_plain) => id.to_owned(),
        Some(id) => format!("id_{}", short(&Sha256::digest(id))),
        // Hashed again, because the app must not see a MAC under the provider's secret.
        None => format!("msg_{}", short(&Sha256::digest(digest))),
    }
}

/// A private or symmetric key for signing.
pub struct SigningKey(SigningKeyKind);

enum SigningKeyKind {
    Hmac(Box<KeyedMac>),
    Ed25519(Ed25519KeyPair),
}

/// Reason why a text is not a signing key. It never contains any of the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The text has neither of the prefixes.
    #[error("the key begins with neither `whsec_` nor `whsk_`")]
    Prefix,
    /// The key is public, so it can only verify.
    #[error(
        "`whpk_` is a public key, with which the app verifies; hookgate needs the private key to sign"
    )]
    Public,
    /// The text after the prefix is not base64.
    #[error("the text after the prefix is not valid base64")]
    Encoding,
    /// The symmetric key has a size that the specification does not allow.
    #[error("a `whsec_` key must have 24 to 64 bytes, not {0}")]
    Size(usize),
    /// The text is not an Ed25519 private key.
    #[error(
        "a `whsk_` key must be an Ed25519 private key: 32 bytes, or 64 bytes with the public key appended"
    )]
    NotEd25519,
}

impl SigningKey {
    /// Parses a key in the format of Standard Webhooks.
    ///
    /// # Errors
    /// Returns the reason why the text is not a signing key.
    pub fn parse(text: &Secret) -> Result<Self, SigningKeyError> {
        let text = text.expose();
        let decode = |text: &[u8]| {
            let decoded = BASE64.decode(text);
            decoded
                .map(Secret::new)
                .map_err(|_| SigningKeyError::Encoding)
        };
        if let Some(text) = text.strip_prefix(b"whsec_") {
            let key = decode(text)?;
            let size = key.expose().len();
            let mac = KeyedMac::new(DigestAlgorithm::Sha256, key.expose());
            // Verifiers that follow the specification reject keys of other sizes.
            let mac = mac.filter(|_| KEY_BYTES.contains(&size));
            return Ok(Self(SigningKeyKind::Hmac(Box::new(
                mac.ok_or(SigningKeyError::Size(size))?,
            ))));
        }
        if let Some(text) = text.strip_prefix(b"whsk_") {
            let key = decode(text)?;
            let pair = match key.expose().split_at_checked(32) {
                Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
                // It also checks that both halves belong together.
                Some((seed, public)) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
                None => return Err(SigningKeyError::NotEd25519),
            };
            let pair = pair.map_err(|_| SigningKeyError::NotEd25519)?;
            return Ok(Self(SigningKeyKind::Ed25519(pair)));
        }
        Err(match text.starts_with(b"whpk_") {
            true => SigningKeyError::Public,
            false => SigningKeyError::Prefix,
        })
    }

    /// Returns one signature as it appears in the header. Ed25519 needs the text in one piece, so only `v1a` copies the
    /// body.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> Option<String> {
        let pieces = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        match &self.0 {
            SigningKeyKind::Hmac(keyed) => {
                let mut mac = KeyedMac::clone(keyed);
                pieces.iter().for_each(|piece| mac.update(piece));
                let mac = mac.finish()?;
                Some(format!("v1,{}", BASE64.encode(mac.as_bytes())))
            }
            SigningKeyKind::Ed25519(pair) => {
                let signature = pair.sign(&pieces.concat());
                Some(format!("v1a,{}", BASE64.encode(signature.as_ref())))
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, KeyPair, UnparsedPublicKey};

    use super::*;

    fn key(text: &str) -> Result<SigningKey, SigningKeyError> {
        SigningKey::parse(&Secret::new(text.as_bytes().to_vec()))
    }

    /// The specification's own example, which its libraries use in their tests.
    #[test]
    fn the_known_signature_is_made() {
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = key.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(
            signature.unwrap(),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn an_ed25519_key_signs_in_both_forms() {
        let seed = [7; 32];
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let public = pair.public_key().as_ref();
        for bytes in [seed.to_vec(), [&seed, public].concat()] {
            let key = key(&format!("whsk_{}", BASE64.encode(&bytes))).unwrap();
            let signature = key.sign("evt_1", "1700000000", b"{}").unwrap();
            let signature = signature.strip_prefix("v1a,").unwrap();
            let signature = BASE64.decode(signature.as_bytes()).unwrap();
            UnparsedPublicKey::new(&ED25519, public)
                .verify(b"evt_1.1700000000.{}", &signature)
                .unwrap();
        }
        let wrong = [&seed[..], &[1; 32]].concat();
        let wrong = key(&format!("whsk_{}", BASE64.encode(&wrong)));
        assert_eq!(wrong.unwrap_err(), SigningKeyError::NotEd25519);
    }

    #[test]
    fn other_texts_are_no_keys() {
        for (text, error) in [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SigningKeyError::Prefix),
            (
                "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                SigningKeyError::Public,
            ),
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa!w",
                SigningKeyError::Encoding,
            ),
            ("whsec_MfKQ9r8GKYqr", SigningKeyError::Size(9)),
            (
                "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                SigningKeyError::NotEd25519,
            ),
        ] {
            assert_eq!(key(text).unwrap_err(), error, "{text}");
        }
    }
}
