//! `type = "jwt"`: signed tokens, with the keys that may have signed them.

use std::sync::Arc;

use crate::net::remote_url::{HostPattern, RemoteUrl};
use crate::scheme::jwk::KeySet;
use crate::scheme::spec::{Algorithm, Encoding, Field, Place, SecretForm};

/// `type = "jwt"`.
#[derive(Clone, Debug)]
pub struct JwtSpec {
    /// The algorithms that are taken. A token never chooses another one.
    pub algorithms: Vec<JwtAlgorithm>,
    /// Where the token stands.
    pub place: JwtPlace,
    /// Whether the token leaves out its payload, which is the body (RFC 7515 Appendix F). It has no claims then.
    pub is_detached: bool,
    /// Where the keys come from.
    pub keys: JwtKeys,
    /// How the secret's text becomes the key.
    pub secret: SecretForm,
    /// Who may have issued it; empty: not checked.
    pub issuers: Vec<String>,
    /// For whom it must be.
    pub audience: Audience,
    /// Claims without which there is no telling how old it is.
    pub times: TokenTimes,
    /// The claim that holds a digest of the body.
    pub body_claim: Option<BodyClaim>,
    /// The claim that holds the URL that was called, or a digest of it.
    pub url_claim: Option<UrlClaim>,
    /// Claims that must have one value.
    pub claims: Vec<FixedClaim>,
    /// Claims for which the route must say the value.
    pub route_claims: Vec<String>,
}

impl JwtSpec {
    /// Whether the token covers a field of the request.
    pub(super) fn signs_field(&self, field: &Field) -> bool {
        match field {
            Field::Claim(_) => true,
            Field::Json(_) | Field::Form(_) | Field::FormJson(..) => {
                self.body_claim.is_some() || self.is_detached
            }
            Field::Query(_) => self.url_claim.is_some() || self.audience == Audience::Url,
            Field::Header(_) => false,
        }
    }
}

/// How a token is signed (RFC 7518 3.1, RFC 8037 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
    /// RSA PKCS#1 v1.5 with SHA-512.
    Rs512,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl JwtAlgorithm {
    /// Every algorithm, under the name that tokens give it.
    pub const ALL: [(&'static str, Self); 7] = [
        ("HS256", Self::Hs256),
        ("HS384", Self::Hs384),
        ("HS512", Self::Hs512),
        ("RS256", Self::Rs256),
        ("RS512", Self::Rs512),
        ("ES256", Self::Es256),
        ("EdDSA", Self::EdDsa),
    ];

    /// None where it is none of these, in particular for `none`. Names are case-sensitive.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|(known, _)| *known == name);
        known.map(|(_, algorithm)| algorithm)
    }

    /// The digest of an HMAC; none where a public key verifies.
    #[must_use]
    pub fn hmac(self) -> Option<Algorithm> {
        match self {
            Self::Hs256 => Some(Algorithm::Sha256),
            Self::Hs384 => Some(Algorithm::Sha384),
            Self::Hs512 => Some(Algorithm::Sha512),
            Self::Rs256 | Self::Rs512 | Self::Es256 | Self::EdDsa => None,
        }
    }
}

/// Where a token stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JwtPlace {
    /// In a header, a query parameter or a field of the body, behind a prefix such as `"Bearer "`.
    In(Place, String),
    /// The whole body is the token.
    Body,
}

/// Where the keys come from.
#[derive(Clone, Debug)]
pub enum JwtKeys {
    /// The route's secrets: for HMACs the key, else a public key as the sender shows it.
    Secret,
    /// A key set that the sender publishes.
    Published(Published),
    /// One key at a time, asked for by its name with the account's credentials, as Plaid has it; the secret is
    /// `client_id:secret`.
    Asked(Published),
    /// A key set of the operator's own.
    File(Arc<KeySet>),
}

/// Where keys are published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// The sender's URL, or the one that the route chose.
    pub url: Option<RemoteUrl>,
    /// The hosts on which a route may choose a URL; with none and no `url`, every one.
    pub hosts: Vec<HostPattern>,
}

/// For whom a token must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Audience {
    /// Not checked.
    Any,
    /// One of these, which the route says; empty until it has.
    Route(Vec<String>),
    /// The URL that was called.
    Url,
}

/// Claims that tell the age. `exp` and `nbf` count wherever they stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TokenTimes {
    /// `exp` has to be there.
    pub needs_exp: bool,
    /// `iat` has to be there, and near enough.
    pub needs_iat: bool,
}

/// A claim that holds a digest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DigestClaim {
    /// Its name.
    pub name: String,
    /// The digest.
    pub digest: Algorithm,
    /// How it is written; padding is optional.
    pub encoding: Encoding,
}

/// The claim that holds a digest of the body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BodyClaim {
    /// It is there.
    Always(DigestClaim),
    /// It is left out where the body is empty.
    UnlessEmpty(DigestClaim),
}

impl BodyClaim {
    /// The claim.
    #[must_use]
    pub fn digest(&self) -> &DigestClaim {
        match self {
            Self::Always(claim) | Self::UnlessEmpty(claim) => claim,
        }
    }

    /// The claim, to be changed.
    pub fn digest_mut(&mut self) -> &mut DigestClaim {
        match self {
            Self::Always(claim) | Self::UnlessEmpty(claim) => claim,
        }
    }
}

/// A claim that holds the URL that was called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UrlClaim {
    /// The URL itself.
    Plain(String),
    /// Its digest.
    Digest(DigestClaim),
}

/// A claim that must have one value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FixedClaim {
    /// Its name.
    pub name: String,
    /// The text, or the number or boolean as it is written.
    pub value: String,
}
