//! Ways of signing: compiled once when the config is loaded, then driven by the gate.
//!
//! The way of one request: [`Scheme::material`] reads and decodes what the head holds, [`Scheme::begin`] feeds the parts
//! of the signed text that stand before the body, [`Verifier::update`] takes the body as it arrives, and
//! [`Verifier::finish`] compares. [`Scheme::sign`] is the same walk from the sender's side.
//!
//! Everything here is a pure function of the request and the keys: no clock, no I/O, no logging. Whether a timestamp is
//! fresh and which secrets are current is for the gate to say.

pub mod parse;
pub mod spec;

mod body;
pub mod boundary;
pub mod certificate;
pub mod form;
pub mod gzip;
mod hmac;
mod http_signature;
pub mod jwk;
pub mod jwt;
mod key;
pub mod locate;
mod mac;
pub mod material;
mod multipart;
pub mod pick;
mod public_key;
pub mod public_url;
pub mod remote;
mod sign;
pub mod standard;
mod template;
mod text;
mod token;

use http::{HeaderMap, HeaderName, Method, Uri};

use crate::model::secret::Secret;
use crate::scheme::certificate::{CertificateScheme, CertificateVerifier};
use crate::scheme::hmac::{HmacScheme, HmacVerifier};
use crate::scheme::http_signature::{HttpScheme, HttpVerifier};
use crate::scheme::jwt::{JwtScheme, JwtVerifier};
pub use crate::scheme::material::{Material, MaterialFault, SignedTime};
use crate::scheme::remote::{KeyNeed, RemoteKeys};
pub use crate::scheme::sign::{SignError, Stamp, ToSign, with_query};
use crate::scheme::spec::{Family, SecretForm, Spec};
use crate::scheme::text::{TextScheme, TextVerifier};
use crate::scheme::token::{TokenScheme, TokenVerifier};

/// Secrets that one route may have at the same time; a rotation needs two.
pub const MAX_SECRETS: usize = 16;

/// The head of a request, as far as a scheme reads it.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target as it was sent.
    pub uri: &'a Uri,
    /// The headers as they were sent.
    pub headers: &'a HeaderMap,
}

/// A scheme joined with the secrets of one route.
pub enum Scheme {
    /// An HMAC over a template.
    Hmac(HmacScheme),
    /// A signature over a text of the whole request.
    Text(Box<TextScheme>),
    /// A shared token.
    Token(TokenScheme),
    /// A signed token.
    Jwt(Box<JwtScheme>),
    /// A signature whose key is in a certificate that the request names.
    Certificate(Box<CertificateScheme>),
    /// An HTTP Message Signature.
    Http(Box<HttpScheme>),
}

/// Which of a scheme's secrets count, by their position.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SecretSet(u16);

/// A signature that is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Match {
    /// The position of the secret that made it.
    pub secret_index: usize,
    /// Names the signed bytes: the MAC under that secret, cut or zero-padded to 32 bytes; for a token, which signs
    /// nothing, the SHA-256 of the body. Equal bytes under an equal secret have equal digests.
    pub digest: [u8; 32],
    /// The signed time, where only the whole request shows it.
    pub signed_time: Option<SignedTime>,
    /// When the token or the certificate counts, where there is one.
    pub validity: Option<Validity>,
}

/// From when to when something counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    /// What it is.
    pub name: &'static str,
    /// Milliseconds since the epoch; none: from ever.
    pub from_ms: Option<i64>,
    /// None: for ever.
    pub until_ms: Option<i64>,
}

/// A verification under way.
pub struct Verifier<'a>(Running<'a>);

#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack of one request; a box would cost each of them an allocation"
)]
enum Running<'a> {
    Hmac(HmacVerifier<'a>),
    Text(TextVerifier<'a>),
    Token(TokenVerifier<'a>),
    Jwt(JwtVerifier<'a>),
    Certificate(CertificateVerifier<'a>),
    Http(HttpVerifier),
}

/// Why a scheme and its secrets do not go together. Never holds a secret.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemeError {
    /// The text of a secret is not base64.
    #[error("the secret is not base64, as this scheme's secrets are")]
    SecretNotBase64,
    /// The text of a secret is no public key of the scheme's algorithm.
    #[error(
        "the secret is no public key of this scheme's algorithm: PEM, base64 or hexadecimal, as the sender shows it"
    )]
    NotPublicKey,
    /// A streamed template with parts that only the whole body shows.
    #[error("the signed text cannot be fed as the request arrives")]
    NotStreamable,
    /// No place for the signature.
    #[error("the scheme does not say where the signature stands")]
    NoSignaturePlace,
    /// `{secret}` outside a plain digest, or a plain digest without it.
    #[error("`{{secret}}` stands in the text of a plain digest, and in no other")]
    SecretPart,
    /// A key where the timestamp has several places.
    #[error("of several places for the timestamp none can be an entry of a list")]
    ListAmongTimestamps,
    /// A list where several places hold signatures.
    #[error("of several places for the signature none can hold a list")]
    ListAmongPlaces,
    /// The text of a secret is not hexadecimal.
    #[error("the secret is not hexadecimal, as this scheme's secrets are")]
    SecretNotHex,
    /// A secret, once decoded, holds no bytes.
    #[error("the secret is empty")]
    SecretEmpty,
    /// A Basic secret without a colon.
    #[error("the secret of a Basic scheme is `user:password`")]
    SecretNotBasic,
    /// No secret, or more than [`MAX_SECRETS`].
    #[error("a scheme takes 1 to {MAX_SECRETS} secrets, not {found}")]
    SecretCount {
        /// How many there are.
        found: usize,
    },
    /// `{url}` without `public_url`.
    #[error("the signed text holds the URL, so the route needs `public_url`")]
    NeedsPublicUrl,
    /// The signed text holds no `{body}`, or several.
    #[error("the signed text holds `{{body}}` {found} times instead of once")]
    BodyParts {
        /// How often it stands there.
        found: usize,
    },
    /// `{timestamp}` where the scheme has no timestamp.
    #[error("the signed text holds the timestamp, but the scheme does not say where that stands")]
    NoTimestamp,
    /// `{id}` where the scheme has no event id in a header.
    #[error("the signed text holds the id, but no `event_id` of the scheme is a header")]
    NoIdHeader,
    /// A timestamp key without a list to look it up in.
    #[error("the timestamp has a key, but the signature is not a list in the same place")]
    NoTimestampList,
    /// `{entry:NAME}` without a list to look it up in.
    #[error("the signed text holds an entry beside the signature, but the signature is not a list")]
    NoEntryList,
    /// HMACs beside public keys, or with a key set.
    #[error(
        "`algorithms` mixes HMACs with public keys, so that a public key could pass for a secret"
    )]
    MixedAlgorithms,
    /// The route does not say for whom its tokens or messages are.
    #[error("this sender signs for everybody alike, so the route needs `audience`")]
    NeedsAudience,
    /// The route does not say the value of a claim.
    #[error("this sender signs for everybody alike, so the route needs the claim `{name}`")]
    NeedsClaim {
        /// The claim.
        name: String,
    },
    /// The route does not say where the keys are.
    #[error("this sender has a key set for each account, so the route needs `jwks`")]
    NeedsJwks,
    /// Credentials without a colon.
    #[error("the secret is `client_id:secret`, with which the sender's keys are asked for")]
    SecretNotAccount,
    /// The signature stands in the query, which is itself signed.
    #[error("the signature stands in the query, which the signed text holds")]
    SignatureSignsItself,
}

impl SecretSet {
    /// No secret.
    #[must_use]
    pub fn empty() -> Self {
        Self(0)
    }

    /// The first `count` secrets.
    #[must_use]
    pub fn all(count: usize) -> Self {
        (0..count).fold(Self::empty(), Self::with)
    }

    /// With one more; a position beyond [`MAX_SECRETS`] changes nothing.
    #[must_use]
    pub fn with(self, index: usize) -> Self {
        let bit = u32::try_from(index).ok().and_then(|i| 1u16.checked_shl(i));
        Self(self.0 | bit.unwrap_or(0))
    }

    /// Whether this secret counts.
    #[must_use]
    pub fn contains(self, index: usize) -> bool {
        let bit = u32::try_from(index).ok().and_then(|i| 1u16.checked_shl(i));
        self.0 & bit.unwrap_or(0) != 0
    }

    /// Whether none counts.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Scheme {
    /// Joins a spec with the texts of the secrets, in the order in which [`SecretSet`] counts them.
    ///
    /// # Errors
    /// Where the spec contradicts itself, or a secret is not one that it can use.
    pub fn compile(
        spec: &Spec,
        secrets: &[&Secret],
        public_url: Option<&str>,
    ) -> Result<Self, SchemeError> {
        if !(1..=MAX_SECRETS).contains(&secrets.len()) {
            return Err(SchemeError::SecretCount {
                found: secrets.len(),
            });
        }
        match &spec.family {
            Family::Hmac(family) => {
                HmacScheme::compile(spec, family, secrets, public_url).map(Self::Hmac)
            }
            Family::Text(family) => TextScheme::compile(spec, family, secrets, public_url)
                .map(Box::new)
                .map(Self::Text),
            Family::Token(family) => TokenScheme::compile(spec, family, secrets).map(Self::Token),
            Family::Jwt(family) => JwtScheme::compile(spec, family, secrets, public_url)
                .map(Box::new)
                .map(Self::Jwt),
            Family::Certificate(family) => CertificateScheme::compile(spec, family, secrets)
                .map(Box::new)
                .map(Self::Certificate),
            Family::Http(family) => HttpScheme::compile(spec, family, secrets, public_url)
                .map(Box::new)
                .map(Self::Http),
        }
    }

    /// What contradicts itself in a spec, whatever its secrets are.
    ///
    /// # Errors
    /// As for [`Scheme::compile`].
    pub fn check(spec: &Spec, public_url: Option<&str>) -> Result<(), SchemeError> {
        match &spec.family {
            Family::Hmac(family) => hmac::check(spec, family, public_url).map(|_| ()),
            Family::Text(family) => text::check(spec, family, public_url),
            Family::Token(_) => Ok(()),
            Family::Jwt(family) => jwt::check(family, public_url),
            Family::Certificate(family) => certificate::check(family),
            Family::Http(family) => http_signature::check(family, public_url),
        }
    }

    /// The key that stands in a secret's text; config checks each secret with it when it is loaded.
    ///
    /// # Errors
    /// Where the text is not in the form, or holds no bytes.
    pub fn decode_key(form: &SecretForm, secret: &Secret) -> Result<Secret, SchemeError> {
        key::decode(form, secret)
    }

    /// What the head holds for this scheme: present, exactly once, well-formed and decoded, but not yet verified.
    ///
    /// # Errors
    /// Names the header or parameter that is missing or malformed.
    pub fn material<'h>(&self, head: &Head<'h>) -> Result<Material<'h>, MaterialFault> {
        match self {
            Self::Hmac(scheme) => scheme.material(head),
            Self::Text(scheme) => scheme.material(head),
            Self::Token(scheme) => scheme.material(head),
            Self::Jwt(scheme) => scheme.material(head),
            Self::Certificate(scheme) => scheme.material(head),
            Self::Http(scheme) => scheme.material(head),
        }
    }

    /// Starts to verify, with each secret in `current`.
    #[must_use]
    pub fn begin<'a>(
        &'a self,
        material: Material<'a>,
        head: Head<'a>,
        current: SecretSet,
    ) -> Verifier<'a> {
        Verifier(match self {
            Self::Hmac(scheme) => Running::Hmac(scheme.begin(material, head, current)),
            Self::Text(scheme) => Running::Text(scheme.begin(head, current)),
            Self::Token(scheme) => Running::Token(scheme.begin(&material, head, current)),
            Self::Jwt(scheme) => Running::Jwt(scheme.begin(material, head, current)),
            Self::Certificate(scheme) => Running::Certificate(scheme.begin(head, current)),
            Self::Http(scheme) => Running::Http(scheme.begin(material, current)),
        })
    }

    /// The headers that the scheme reads, ids and types included: they are to reach the app whatever `Connection` names.
    #[must_use]
    pub fn headers(&self) -> &[HeaderName] {
        match self {
            Self::Hmac(scheme) => scheme.headers(),
            Self::Text(scheme) => scheme.headers(),
            Self::Token(scheme) => scheme.headers(),
            Self::Jwt(scheme) => scheme.headers(),
            Self::Certificate(scheme) => scheme.headers(),
            Self::Http(scheme) => scheme.headers(),
        }
    }

    /// How many secrets it has.
    #[must_use]
    pub fn secret_count(&self) -> usize {
        match self {
            Self::Hmac(scheme) => scheme.secret_count(),
            Self::Text(scheme) => scheme.secret_count(),
            Self::Token(scheme) => scheme.secret_count(),
            Self::Jwt(scheme) => scheme.secret_count(),
            Self::Certificate(scheme) => scheme.secret_count(),
            Self::Http(scheme) => scheme.secret_count(),
        }
    }

    /// What a sender adds to a request that it signs with one of the secrets.
    ///
    /// # Errors
    /// Where there is no such secret, or a value that the scheme signs is not given.
    pub fn sign(&self, secret_index: usize, to_sign: &ToSign<'_>) -> Result<Stamp, SignError> {
        match self {
            Self::Hmac(scheme) => scheme.sign(secret_index, to_sign),
            Self::Text(scheme) => scheme.sign(secret_index, to_sign),
            Self::Token(scheme) => scheme.sign(secret_index, to_sign),
            Self::Http(scheme) => scheme.sign(secret_index, to_sign),
            // Their senders hold keys that the gate has not.
            Self::Jwt(_) | Self::Certificate(_) => Err(SignError::NoWay),
        }
    }
}

impl Verifier<'_> {
    /// Whether no body can make this request right: a token that is none of the current ones.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        match &self.0 {
            Running::Hmac(_) | Running::Text(_) | Running::Certificate(_) => false,
            Running::Token(verifier) => verifier.is_hopeless(),
            Running::Jwt(verifier) => verifier.is_hopeless(),
            Running::Http(verifier) => verifier.is_hopeless(),
        }
    }

    /// Takes the next piece of the body.
    pub fn update(&mut self, chunk: &[u8]) {
        match &mut self.0 {
            Running::Hmac(verifier) => verifier.update(chunk),
            // They read the whole body in the end.
            Running::Text(_) | Running::Jwt(_) | Running::Certificate(_) => {}
            Running::Token(verifier) => verifier.update(chunk),
            Running::Http(verifier) => verifier.update(chunk),
        }
    }

    /// What has to be fetched before `finish`, if anything; `body` is all that `update` was given.
    ///
    /// # Errors
    /// Where the request does not say it, or names a place where no key of the sender's can be.
    pub fn need(&mut self, body: &[u8]) -> Result<Option<KeyNeed>, MaterialFault> {
        match &mut self.0 {
            Running::Hmac(_) | Running::Text(_) | Running::Token(_) | Running::Http(_) => Ok(None),
            Running::Jwt(verifier) => verifier.need(body),
            Running::Certificate(verifier) => verifier.need(body),
        }
    }

    /// Compares; none where no current secret gives any of the signatures. `body` is all that `update` was given, `keys`
    /// what `need` asked for.
    ///
    /// # Errors
    /// Where a value that only the body shows is missing or malformed.
    pub fn finish(
        self,
        body: &[u8],
        keys: Option<&RemoteKeys>,
    ) -> Result<Option<Match>, MaterialFault> {
        match self.0 {
            Running::Hmac(verifier) => Ok(verifier.finish()),
            Running::Text(verifier) => verifier.finish(body),
            Running::Token(verifier) => verifier.finish(body),
            Running::Jwt(verifier) => verifier.finish(body, keys),
            Running::Certificate(verifier) => verifier.finish(body, keys),
            Running::Http(verifier) => verifier.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
