//! Spec of `type = "jwt"`: signed tokens, their keys and their claims.

use std::path::PathBuf;
use std::sync::Arc;

use crate::net::remote_url::{HostPattern, RemoteUrl};
use crate::scheme::jwk::KeySet;
use crate::scheme::spec::algorithm::{DigestAlgorithm, JwtAlgorithm, SignatureEncoding};
use crate::scheme::spec::location::{FieldLocation, SchemeLocation};
use crate::scheme::spec::secret_form::SecretForm;

/// Requirements of a scheme with signed tokens.
#[derive(Clone, Debug)]
pub struct JwtSpec {
    /// Accepted algorithms. A token cannot select another one.
    pub algorithms: Vec<JwtAlgorithm>,
    /// Location of the token in a request.
    pub location: JwtLocation,
    /// True if the token leaves out its payload, which is the body (RFC 7515 Appendix F). Such a token has no claims.
    pub is_detached: bool,
    /// Source of the keys that verify tokens.
    pub keys: JwtKeys,
    /// Conversion of the secret's text into the key.
    pub secret: SecretForm,
    /// Accepted issuers; empty: not checked.
    pub issuers: Vec<String>,
    /// Audience that a token must have.
    pub audience: TokenAudience,
    /// Claims that are required to limit the age of a token.
    pub times: TokenTimes,
    /// Claim with a digest of the body.
    pub body_claim: Option<BodyClaim>,
    /// Claim with the called URL, or with a digest of it.
    pub url_claim: Option<UrlClaim>,
    /// Claims that must have a given value.
    pub claims: Vec<FixedClaim>,
    /// Claims whose value each route must set.
    pub route_claims: Vec<String>,
}

impl JwtSpec {
    /// Returns whether the token covers a field of the request.
    pub(super) fn signs_field(&self, field: &FieldLocation) -> bool {
        match field {
            FieldLocation::Claim(_) => true,
            FieldLocation::Json(_) | FieldLocation::Form(_) | FieldLocation::FormJson(..) => {
                self.body_claim.is_some() || self.is_detached
            }
            FieldLocation::Query(_) => {
                self.url_claim.is_some() || self.audience == TokenAudience::Url
            }
            FieldLocation::Header(_) => false,
        }
    }
}

/// Location of a token in a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JwtLocation {
    /// A header, a query parameter or a field of the body, after a prefix such as `"Bearer "`.
    In(SchemeLocation, String),
    /// The whole body is the token.
    Body,
}

/// Source of the keys that verify tokens.
#[derive(Clone, Debug)]
pub enum JwtKeys {
    /// The route's secrets: the keys of HMACs, or public keys in the sender's format.
    Secret,
    /// A key set that the sender publishes.
    Published(PublishedKeys),
    /// Single keys, fetched by name with the account's credentials, as Plaid requires; the secret is
    /// `client_id:secret`.
    Asked(PublishedKeys),
    /// A key set from a local file.
    File {
        /// The file that the route names.
        path: PathBuf,
        /// The keys of the file.
        set: Arc<KeySet>,
    },
}

/// Location of the keys that a sender publishes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublishedKeys {
    /// The sender's URL, or the one that the route chose.
    pub url: Option<RemoteUrl>,
    /// Hosts on which a route may choose a URL; empty and without `url`: any host.
    pub hosts: Vec<HostPattern>,
}

/// Audience that a token must have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenAudience {
    /// Any audience: it is not checked.
    Any,
    /// One of these, which the route sets; empty until then.
    Route(Vec<String>),
    /// The URL that was called.
    Url,
}

/// Claims that limit the age. `exp` and `nbf` are checked whenever they are present.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TokenTimes {
    /// Requires `exp` in each token.
    pub needs_exp: bool,
    /// Requires `iat` in each token, within the tolerance.
    pub needs_iat: bool,
}

/// A claim with a digest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DigestClaim {
    /// Name of the claim in the token.
    pub name: String,
    /// Digest algorithm of the claim value.
    pub digest: DigestAlgorithm,
    /// Encoding of the digest; padding is optional.
    pub encoding: SignatureEncoding,
}

/// Claim with a digest of the body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BodyClaim {
    /// The claim is always present.
    Always(DigestClaim),
    /// The claim is omitted if the body is empty.
    UnlessEmpty(DigestClaim),
}

impl BodyClaim {
    /// Returns the claim in either case.
    #[must_use]
    pub fn digest(&self) -> &DigestClaim {
        match self {
            Self::Always(claim) | Self::UnlessEmpty(claim) => claim,
        }
    }

    /// Returns the claim for changes.
    pub fn digest_mut(&mut self) -> &mut DigestClaim {
        match self {
            Self::Always(claim) | Self::UnlessEmpty(claim) => claim,
        }
    }
}

/// Claim with the called URL, or with a digest of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UrlClaim {
    /// The name of a claim with the URL itself.
    Plain(String),
    /// A claim with a digest of the URL.
    Digest(DigestClaim),
}

/// A claim and the value that it must have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FixedClaim {
    /// Name of the claim in the token.
    pub name: String,
    /// The required text, or number or boolean in its JSON form.
    pub value: String,
}
