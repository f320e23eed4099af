//! One key of a text scheme, which makes or verifies signatures.

use subtle::ConstantTimeEq;

use crate::model::secret::Secret;
use crate::scheme::error::SchemeError;
use crate::scheme::mac::{DigestBytes, KeyedMac, digest};
use crate::scheme::public_key::{PublicKey, SignedText};
use crate::scheme::spec::{DigestAlgorithm, SignMethod};

/// A key of a text scheme, ready for use.
pub(super) enum TextProver {
    Hmac(Box<KeyedMac>),
    Hash(DigestAlgorithm, Secret),
    PublicKey(Box<PublicKey>),
}

impl TextProver {
    /// Prepares a key for a method.
    pub(super) fn new(method: &SignMethod, key: &Secret) -> Result<Self, SchemeError> {
        match method {
            SignMethod::Hmac(algorithm) => KeyedMac::new(*algorithm, key.expose())
                .map(Box::new)
                .map(Self::Hmac)
                .ok_or(SchemeError::SecretEmpty),
            SignMethod::Hash(algorithm) => {
                Ok(Self::Hash(*algorithm, Secret::new(key.expose().to_vec())))
            }
            SignMethod::PublicKey { algorithm, .. } => {
                let key = PublicKey::parse(*algorithm, key.expose())?;
                Ok(Self::PublicKey(Box::new(key)))
            }
        }
    }

    /// Returns the value of `{secret}` in the signed text.
    pub(super) fn text_secret(&self) -> &[u8] {
        match self {
            Self::Hash(_, secret) => secret.expose(),
            Self::Hmac(_) | Self::PublicKey(_) => &[],
        }
    }

    /// Returns the signature of a text; `None` for a public key.
    pub(super) fn prove(&self, text: &[u8]) -> Option<DigestBytes> {
        match self {
            Self::Hmac(mac) => {
                // The keyed state is cloned, so the key is processed only once per config.
                let mut mac = (**mac).clone();
                mac.update(text);
                mac.finish()
            }
            Self::Hash(algorithm, _) => digest(*algorithm, text),
            Self::PublicKey(_) => None,
        }
    }

    /// Returns whether this key made any of the signatures over the text.
    pub(super) fn verifies(&self, text: &SignedText<'_>, signatures: &[Vec<u8>]) -> bool {
        if let Self::PublicKey(key) = self {
            return key.verifies_any(text, signatures);
        }
        let Some(expected) = self.prove(text.bytes()) else {
            return false;
        };
        // Compare all signatures in constant time, without an early exit.
        let is_equal = |one: &Vec<u8>| expected.as_bytes().ct_eq(one);
        let found = signatures.iter().map(is_equal);
        found
            .fold(subtle::Choice::from(0), |any, one| any | one)
            .into()
    }
}
