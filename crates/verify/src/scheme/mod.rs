//! Signature schemes: compiled once when the config is loaded, then used by the gate for each request.
//!
//! The order for one request: [`Scheme::material`] reads and decodes the head, [`Scheme::begin`] feeds the parts of the
//! signed text before the body, [`SchemeVerifier::update`] takes the body as it arrives, and [`SchemeVerifier::finish`] compares.
//! [`Scheme::sign`] does the same for the sender.
//!
//! Everything here is a pure function of the request and the keys: no clock, no I/O, no logging. The gate decides
//! whether a timestamp is fresh and which secrets are current.

mod error;
mod escape;
mod form_field;
pub mod head;
mod material_fault;
pub mod parse;
mod read_head;
mod secret_set;
mod sent_timestamp;
mod signature_format;
mod signature_match;
pub mod spec;

pub mod boundary;
pub mod certificate;
pub mod form;
pub mod gzip;
mod hmac;
mod http_signature;
pub mod json_values;
pub mod jwk;
pub mod jwt;
mod key;
pub mod locate;
mod mac;
pub mod material;
mod multipart;
mod public_key;
pub mod public_url;
pub mod remote_keys;
mod sign;
pub mod standard_webhooks;
mod template;
mod text;
mod token;
mod whole_request;
pub mod words;

use http::HeaderName;

use crate::model::secret::Secret;
use crate::scheme::certificate::{CertificateScheme, CertificateVerifier};
pub use crate::scheme::error::SchemeError;
pub use crate::scheme::head::RequestHead;
use crate::scheme::hmac::{HmacScheme, HmacVerifier};
use crate::scheme::http_signature::{HttpScheme, HttpVerifier};
use crate::scheme::jwt::{JwtScheme, JwtVerifier};
pub(crate) use crate::scheme::material::SignatureMaterial;
pub use crate::scheme::material_fault::MaterialFault;
use crate::scheme::remote_keys::{KeyNeed, RemoteKeys};
pub use crate::scheme::secret_set::{MAX_SECRETS, SecretSet};
pub use crate::scheme::sent_timestamp::SignedTime;
pub use crate::scheme::sign::ToSign;
pub use crate::scheme::sign::{SignError, SignatureParts, with_query};
pub use crate::scheme::signature_match::{SignatureMatch, ValidityWindow};
use crate::scheme::spec::{SchemeFamily, SchemeSpec, SecretForm};
use crate::scheme::text::{TextScheme, TextVerifier};
use crate::scheme::token::{TokenScheme, TokenVerifier};

/// A compiled scheme with the secrets of one route.
pub enum Scheme {
    /// An HMAC over a template, fed while the body arrives.
    Hmac(HmacScheme),
    /// A signature over a text from the whole request.
    Text(Box<TextScheme>),
    /// A shared token, which signs nothing.
    Token(TokenScheme),
    /// A signed token (JWT) with claims.
    Jwt(Box<JwtScheme>),
    /// A signature with a key in a certificate that the request names or carries.
    Certificate(Box<CertificateScheme>),
    /// An HTTP Message Signature (RFC 9421).
    Http(Box<HttpScheme>),
}

/// A verification in progress, from the head to the end of the body.
pub struct SchemeVerifier<'a>(RunningVerifier<'a>);

#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack of one request; a box would cost each of them an allocation"
)]
enum RunningVerifier<'a> {
    Hmac(HmacVerifier<'a>),
    Text(TextVerifier<'a>),
    Token(TokenVerifier<'a>),
    Jwt(JwtVerifier<'a>),
    Certificate(CertificateVerifier<'a>),
    Http(HttpVerifier),
}

impl Scheme {
    /// Compiles a spec with the secrets, in the order of their positions in a [`SecretSet`].
    ///
    /// # Errors
    /// Returns an error if the spec contradicts itself, or if it cannot use a secret.
    pub fn compile(
        spec: &SchemeSpec,
        secrets: &[&Secret],
        public_url: Option<&str>,
    ) -> Result<Self, SchemeError> {
        // A `SecretSet` has one bit per secret.
        if !(1..=MAX_SECRETS).contains(&secrets.len()) {
            return Err(SchemeError::SecretCount {
                found: secrets.len(),
            });
        }
        match &spec.family {
            SchemeFamily::Hmac(family) => {
                HmacScheme::compile(spec, family, secrets, public_url).map(Self::Hmac)
            }
            SchemeFamily::Text(family) => TextScheme::compile(spec, family, secrets, public_url)
                .map(Box::new)
                .map(Self::Text),
            SchemeFamily::Token(family) => {
                TokenScheme::compile(spec, family, secrets).map(Self::Token)
            }
            SchemeFamily::Jwt(family) => JwtScheme::compile(spec, family, secrets, public_url)
                .map(Box::new)
                .map(Self::Jwt),
            SchemeFamily::Certificate(family) => CertificateScheme::compile(spec, family, secrets)
                .map(Box::new)
                .map(Self::Certificate),
            SchemeFamily::Http(family) => HttpScheme::compile(spec, family, secrets, public_url)
                .map(Box::new)
                .map(Self::Http),
        }
    }

    /// Reports contradictions in a spec that do not depend on its secrets.
    ///
    /// # Errors
    /// Returns the same errors as [`Scheme::compile`].
    pub fn check(spec: &SchemeSpec, public_url: Option<&str>) -> Result<(), SchemeError> {
        match &spec.family {
            SchemeFamily::Hmac(family) => hmac::check(spec, family, public_url).map(|_| ()),
            SchemeFamily::Text(family) => text::check(spec, family, public_url),
            SchemeFamily::Token(_) => Ok(()),
            SchemeFamily::Jwt(family) => jwt::check(family, public_url),
            SchemeFamily::Certificate(family) => certificate::check(family),
            SchemeFamily::Http(family) => http_signature::check(family, public_url),
        }
    }

    /// Decodes the key in the text of a secret. Config checks each secret with it at load time.
    ///
    /// # Errors
    /// Returns an error if the text does not have this form, or is empty after decoding.
    pub fn decode_key(form: &SecretForm, secret: &Secret) -> Result<Secret, SchemeError> {
        key::decode(form, secret)
    }

    /// Reads the head's values for this scheme: present exactly once, well-formed and decoded, but not yet verified.
    ///
    /// # Errors
    /// Names the header or parameter that is missing or malformed.
    pub fn material<'h>(
        &self,
        head: &RequestHead<'h>,
    ) -> Result<SignatureMaterial<'h>, MaterialFault> {
        match self {
            Self::Hmac(scheme) => scheme.material(head),
            Self::Text(scheme) => scheme.material(head),
            Self::Token(scheme) => scheme.material(head),
            Self::Jwt(scheme) => scheme.material(head),
            Self::Certificate(scheme) => scheme.material(head),
            Self::Http(scheme) => scheme.material(head),
        }
    }

    /// Begins to verify with each secret in `current`.
    #[must_use]
    pub fn begin<'a>(
        &'a self,
        material: SignatureMaterial<'a>,
        head: RequestHead<'a>,
        current: SecretSet,
    ) -> SchemeVerifier<'a> {
        SchemeVerifier(match self {
            Self::Hmac(scheme) => RunningVerifier::Hmac(scheme.begin(material, head, current)),
            Self::Text(scheme) => RunningVerifier::Text(scheme.begin(head, current)),
            Self::Token(scheme) => RunningVerifier::Token(scheme.begin(&material, head, current)),
            Self::Jwt(scheme) => RunningVerifier::Jwt(scheme.begin(material, head, current)),
            Self::Certificate(scheme) => RunningVerifier::Certificate(scheme.begin(head, current)),
            Self::Http(scheme) => RunningVerifier::Http(scheme.begin(material, current)),
        })
    }

    /// Returns the headers that the scheme reads, ids and types included. They must reach the app even if `Connection`
    /// names them.
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

    /// Returns the number of secrets; keys that are not secrets count as one.
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

    /// Returns the headers and parameters that a sender adds to a request that it signs with one of the secrets.
    ///
    /// # Errors
    /// Returns an error if there is no such secret, or if a value that the scheme signs is missing.
    pub fn sign(
        &self,
        secret_index: usize,
        to_sign: &ToSign<'_>,
    ) -> Result<SignatureParts, SignError> {
        match self {
            Self::Hmac(scheme) => scheme.sign(secret_index, to_sign),
            Self::Text(scheme) => scheme.sign(secret_index, to_sign),
            Self::Token(scheme) => scheme.sign(secret_index, to_sign),
            Self::Http(scheme) => scheme.sign(secret_index, to_sign),
            // Only the senders have the private keys of these schemes.
            Self::Jwt(_) | Self::Certificate(_) => Err(SignError::NoWay),
        }
    }
}

impl SchemeVerifier<'_> {
    /// Returns whether no body can make this request valid, for example because its token is not a current one.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        match &self.0 {
            // These can be judged only with the whole body.
            RunningVerifier::Hmac(_)
            | RunningVerifier::Text(_)
            | RunningVerifier::Certificate(_) => false,
            RunningVerifier::Token(verifier) => verifier.is_hopeless(),
            RunningVerifier::Jwt(verifier) => verifier.is_hopeless(),
            RunningVerifier::Http(verifier) => verifier.is_hopeless(),
        }
    }

    /// Feeds the next piece of the body.
    pub fn update(&mut self, chunk: &[u8]) {
        match &mut self.0 {
            RunningVerifier::Hmac(verifier) => verifier.update(chunk),
            // These families read the whole body in `finish`.
            RunningVerifier::Text(_)
            | RunningVerifier::Jwt(_)
            | RunningVerifier::Certificate(_) => {}
            RunningVerifier::Token(verifier) => verifier.update(chunk),
            RunningVerifier::Http(verifier) => verifier.update(chunk),
        }
    }

    /// Returns the key to fetch before `finish`, if any; `body` is everything that `update` was given.
    ///
    /// # Errors
    /// Returns an error if the request does not name the key, or names a location where no key of the sender can be.
    pub fn need(&mut self, body: &[u8]) -> Result<Option<KeyNeed>, MaterialFault> {
        match &mut self.0 {
            RunningVerifier::Hmac(_)
            | RunningVerifier::Text(_)
            | RunningVerifier::Token(_)
            | RunningVerifier::Http(_) => Ok(None),
            RunningVerifier::Jwt(verifier) => verifier.need(body),
            RunningVerifier::Certificate(verifier) => verifier.need(body),
        }
    }

    /// Compares the signatures; returns `None` if no current secret made any of them. `body` is everything that
    /// `update` was given, and `keys` the result for `need`.
    ///
    /// # Errors
    /// Returns an error if a value that only the body shows is missing or malformed.
    pub fn finish(
        self,
        body: &[u8],
        keys: Option<&RemoteKeys>,
    ) -> Result<Option<SignatureMatch>, MaterialFault> {
        match self.0 {
            RunningVerifier::Hmac(verifier) => Ok(verifier.finish()),
            RunningVerifier::Text(verifier) => verifier.finish(body),
            RunningVerifier::Token(verifier) => verifier.finish(body),
            RunningVerifier::Jwt(verifier) => verifier.finish(body, keys),
            RunningVerifier::Certificate(verifier) => verifier.finish(body, keys),
            RunningVerifier::Http(verifier) => verifier.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
