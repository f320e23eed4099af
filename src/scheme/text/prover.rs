//! One key of a text scheme: proves a text, or verifies its signatures.

use subtle::ConstantTimeEq;

use crate::model::secret::Secret;
use crate::scheme::SchemeError;
use crate::scheme::mac::{Digest, Mac, digest};
use crate::scheme::public_key::{PublicKey, SignedText};
use crate::scheme::spec::{Algorithm, SignMethod};

/// One key.
pub(super) enum Prover {
    Hmac(Box<Mac>),
    Hash(Algorithm, Secret),
    PublicKey(Box<PublicKey>),
}

impl Prover {
    /// Takes the key.
    pub(super) fn new(method: &SignMethod, key: &Secret) -> Result<Self, SchemeError> {
        match method {
            SignMethod::Hmac(algorithm) => Mac::new(*algorithm, key.expose())
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

    /// What `{secret}` stands for.
    pub(super) fn text_secret(&self) -> &[u8] {
        match self {
            Self::Hash(_, secret) => secret.expose(),
            Self::Hmac(_) | Self::PublicKey(_) => &[],
        }
    }

    /// The signature of a text; none for a public key.
    pub(super) fn prove(&self, text: &[u8]) -> Option<Digest> {
        match self {
            Self::Hmac(mac) => {
                let mut mac = (**mac).clone();
                mac.update(text);
                mac.finish()
            }
            Self::Hash(algorithm, _) => digest(*algorithm, text),
            Self::PublicKey(_) => None,
        }
    }

    /// Whether any of the signatures is this key's over the text.
    pub(super) fn verifies(&self, text: &SignedText<'_>, signatures: &[Vec<u8>]) -> bool {
        if let Self::PublicKey(key) = self {
            return key.verifies_any(text, signatures);
        }
        let Some(expected) = self.prove(text.bytes()) else {
            return false;
        };
        let is_equal = |one: &Vec<u8>| expected.as_bytes().ct_eq(one);
        let found = signatures.iter().map(is_equal);
        found
            .fold(subtle::Choice::from(0), |any, one| any | one)
            .into()
    }
}
