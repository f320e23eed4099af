//! Keys of a token scheme: the route's own keys, or the source of the sender's keys.

use std::sync::Arc;

use crate::model::secret::Secret;
use crate::net::remote_url::RemoteUrl;
use crate::scheme::error::SchemeError;
use crate::scheme::jwk::KeySet;
use crate::scheme::jwt::token::ParsedJwt;
use crate::scheme::key;
use crate::scheme::mac::{DigestBytes, KeyedMac};
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::public_key::PublicKey;
use crate::scheme::remote_keys::{KeyCredentials, KeyNeed, KeySource};
use crate::scheme::secret_set::SecretSet;
use crate::scheme::spec::{JwtAlgorithm, JwtKeys, JwtSpec, KeyAlgorithm};

/// Keys of a token scheme, or their source.
pub(super) enum JwtKeyring {
    /// One entry per secret: its keys, one for each algorithm that it fits.
    Local(Vec<Vec<(JwtAlgorithm, LocalKey)>>),
    /// A key set from a local file.
    File(Arc<KeySet>),
    /// A key set that is fetched from this URL.
    Published(RemoteUrl),
    /// Single keys that are fetched with the first current account.
    Asked(RemoteUrl, Vec<KeyCredentials>),
}

/// A key made from a secret of the route.
pub(super) enum LocalKey {
    Hmac(Box<KeyedMac>),
    Public(PublicKey),
}

impl JwtKeyring {
    /// Prepares the keys, or checks that their source is known.
    pub(super) fn new(spec: &JwtSpec, secrets: &[&Secret]) -> Result<Self, SchemeError> {
        Ok(match &spec.keys {
            JwtKeys::File { set, .. } => Self::File(Arc::clone(set)),
            JwtKeys::Published(published) => {
                Self::Published(published.url.clone().ok_or(SchemeError::NeedsJwks)?)
            }
            JwtKeys::Asked(published) => {
                let url = published.url.clone().ok_or(SchemeError::NeedsJwks)?;
                let accounts = secrets.iter().map(|secret| KeyCredentials::parse(secret));
                let accounts: Option<Vec<_>> = accounts.collect();
                Self::Asked(url, accounts.ok_or(SchemeError::SecretNotAccount)?)
            }
            JwtKeys::Secret => {
                let keys = secrets.iter().map(|secret| local(spec, secret));
                Self::Local(keys.collect::<Result<_, _>>()?)
            }
        })
    }

    /// Returns the number of secrets; keys that are not secrets count as one.
    pub(super) fn secret_count(&self) -> usize {
        match self {
            Self::Local(keys) => keys.len(),
            Self::Asked(_, accounts) => accounts.len(),
            Self::File(_) | Self::Published(_) => 1,
        }
    }

    /// Returns whether nothing has to be fetched.
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Local(_) | Self::File(_))
    }

    /// Returns the key to fetch for a token with this key name.
    pub(super) fn need(
        &self,
        kid: Option<&str>,
        current: SecretSet,
    ) -> Result<KeyNeed, MaterialFault> {
        let missing = || MaterialFault::missing("`kid` in the token's header");
        match self {
            Self::Asked(url, accounts) => {
                let mut accounts = accounts.iter().enumerate();
                let account = accounts.find(|(index, _)| current.contains(*index));
                let (Some((_, account)), Some(kid)) = (account, kid) else {
                    return Err(missing());
                };
                let source = KeySource::Asked {
                    url: url.clone(),
                    kid: kid.into(),
                    account: account.clone(),
                };
                // The requested name identifies the key, whatever name the key itself has.
                Ok(KeyNeed { source, kid: None })
            }
            Self::Published(url) => Ok(KeyNeed {
                source: KeySource::Set(url.clone()),
                kid: kid.map(Into::into),
            }),
            Self::Local(_) | Self::File(_) => Err(missing()),
        }
    }

    /// Returns the position of the current secret that signed a token.
    pub(super) fn find(&self, token: &ParsedJwt, current: SecretSet) -> Option<usize> {
        match self {
            Self::Local(secrets) => {
                let mut current = secrets
                    .iter()
                    .enumerate()
                    .filter(|(index, _)| current.contains(*index));
                let made = |keys: &[(JwtAlgorithm, LocalKey)]| {
                    let mut fitting = keys
                        .iter()
                        .filter(|(algorithm, _)| *algorithm == token.algorithm);
                    fitting.any(|(_, key)| key.verifies(token))
                };
                let (index, _) = current.find(|(_, keys)| made(keys))?;
                Some(index)
            }
            Self::File(set) => {
                let (text, signature) = (token.signed(), token.signature());
                let kid = token.kid.as_deref();
                set.verifies(token.algorithm, kid, text, signature)
                    .then_some(0)
            }
            Self::Published(_) | Self::Asked(..) => None,
        }
    }
}

impl LocalKey {
    fn verifies(&self, token: &ParsedJwt) -> bool {
        match self {
            Self::Public(key) => key.verifies(token.signed(), token.signature()),
            Self::Hmac(mac) => {
                let mut mac = KeyedMac::clone(mac);
                mac.update(token.signed());
                let (Some(made), Some(shown)) = (mac.finish(), DigestBytes::new(token.signature()))
                else {
                    return false;
                };
                made.ct_eq(&shown).into()
            }
        }
    }
}

/// Makes the keys of a secret: one HMAC per algorithm, or the public key for each algorithm that it fits.
fn local(spec: &JwtSpec, secret: &Secret) -> Result<Vec<(JwtAlgorithm, LocalKey)>, SchemeError> {
    // Decode once, because one secret may fit several algorithms.
    let decoded = key::decode(&spec.secret, secret)?;
    let text = decoded.expose();
    let mut keys = Vec::new();
    for algorithm in spec.algorithms.iter().copied() {
        let public = match algorithm {
            JwtAlgorithm::Rs256 => Some(KeyAlgorithm::RsaSha256),
            JwtAlgorithm::Rs512 => Some(KeyAlgorithm::RsaSha512),
            JwtAlgorithm::Es256 => Some(KeyAlgorithm::EcdsaP256Fixed),
            JwtAlgorithm::EdDsa => Some(KeyAlgorithm::Ed25519),
            JwtAlgorithm::Hs256 | JwtAlgorithm::Hs384 | JwtAlgorithm::Hs512 => None,
        };
        let key = match (algorithm.hmac(), public) {
            (Some(digest), _) => KeyedMac::new(digest, text)
                .map(Box::new)
                .map(LocalKey::Hmac),
            // A key of another type is not an error: of several algorithms, one public key fits only some.
            (None, Some(public)) => PublicKey::parse(public, text).ok().map(LocalKey::Public),
            (None, None) => None,
        };
        keys.extend(key.map(|key| (algorithm, key)));
    }
    if keys.is_empty() {
        return Err(SchemeError::NotPublicKey);
    }
    Ok(keys)
}
