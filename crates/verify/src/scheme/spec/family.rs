//! A scheme as a whole, and the families whose spec is a signed text.

use crate::scheme::spec::algorithm::{DigestAlgorithm, KeyAlgorithm, SignatureEncoding};
use crate::scheme::spec::certificate::CertificateSpec;
use crate::scheme::spec::http_signature::HttpSpec;
use crate::scheme::spec::jwt::JwtSpec;
use crate::scheme::spec::location::{FieldLocation, SchemeLocation};
use crate::scheme::spec::secret_form::SecretForm;
use crate::scheme::spec::signature::{SignatureSpec, TimestampSpec};
use crate::scheme::spec::template::SignedTemplate;
use crate::scheme::spec::token::TokenSpec;
use crate::scheme::spec::variants::SchemeVariants;

/// Signature scheme of one provider.
#[derive(Clone, Debug)]
pub struct SchemeSpec {
    /// Family of the scheme, with the parameters of that family.
    pub family: SchemeFamily,
    /// Locations of the event id, tried in order.
    pub event_id: Vec<FieldLocation>,
    /// Locations of the event type, tried in order.
    pub event_type: Vec<FieldLocation>,
    /// Locations of the payload version, tried in order; empty if events have no version.
    pub version: Vec<FieldLocation>,
    /// Variants among which the sender chooses.
    pub variants: SchemeVariants,
}

/// Family of a scheme, by its way to verify.
#[derive(Clone, Debug)]
pub enum SchemeFamily {
    /// An HMAC over a template that is fed while the body arrives: signature and values are in the head, and the text
    /// contains the raw body once.
    Hmac(HmacSpec),
    /// Any other signature over a template: with values from the body, several locations, digests, or public keys.
    Text(TextSpec),
    /// A shared token, sent unchanged.
    Token(TokenSpec),
    /// A signed token (JWT) with claims.
    Jwt(Box<JwtSpec>),
    /// A signature with a key in a certificate that the request names or carries.
    Certificate(CertificateSpec),
    /// An HTTP Message Signature (RFC 9421).
    Http(Box<HttpSpec>),
}

/// Spec of a signature over a text that is composed when the whole body has arrived.
#[derive(Clone, Debug)]
pub struct TextSpec {
    /// Method that makes the signature from the text.
    pub method: SignMethod,
    /// Encoding of the signature in the request.
    pub encoding: SignatureEncoding,
    /// Locations of signatures; at least one. Any of them may match.
    pub signatures: Vec<SignatureSpec>,
    /// Template of the signed text.
    pub signed: SignedTemplate,
    /// Location of the timestamp, if the scheme has one.
    pub timestamp: Option<TimestampSpec>,
    /// Conversion of the secret's text into the key.
    pub secret: SecretForm,
    /// Rules for other values of the request.
    pub require: Vec<SchemeRequirement>,
    /// Other locations of the timestamp, for requests without one at the first location.
    pub other_timestamps: Vec<TimestampSpec>,
    /// Tries the URL both with and without a port, whichever form `public_url` has.
    pub either_port: bool,
}

/// Method that makes a signature from a text and a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SignMethod {
    /// An HMAC with this digest.
    Hmac(DigestAlgorithm),
    /// A plain digest; the key is in the text as `{secret}`.
    Hash(DigestAlgorithm),
    /// A signature that is verified with a public key, which takes the place of the secret.
    PublicKey {
        /// Algorithm that made the signature.
        algorithm: KeyAlgorithm,
        /// The sender's well-known public key, if it has one: then a route needs no secret.
        key: Option<String>,
    },
}

/// Rule for one value of the request: `{ header = "BOX-SIGNATURE-VERSION", value = "1" }`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SchemeRequirement {
    /// Location of the value to check.
    pub location: SchemeLocation,
    /// Condition that the value must fulfill.
    pub rule: RequirementRule,
}

/// Condition for a value of the request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RequirementRule {
    /// The value is exactly this text.
    Is(String),
    /// If present, the value does not contain this text, which separates the signed values. Otherwise the signed text
    /// would have a second reading.
    Without(String),
    /// The value is not present.
    Absent,
}

/// Spec of `type = "hmac"`, verified while the body arrives.
#[derive(Clone, Debug)]
pub struct HmacSpec {
    /// Digest inside of the HMAC.
    pub algorithm: DigestAlgorithm,
    /// Encoding of the signature in the request.
    pub encoding: SignatureEncoding,
    /// Location of the signature in the head.
    pub signature: SignatureSpec,
    /// Template of the signed text.
    pub signed: SignedTemplate,
    /// Location of the timestamp, if the scheme has one.
    pub timestamp: Option<TimestampSpec>,
    /// Conversion of the secret's text into the key.
    pub secret: SecretForm,
}
