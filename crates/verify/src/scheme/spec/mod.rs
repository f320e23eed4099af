//! Declarative form of a scheme, as in a provider file or in `[routes.NAME.scheme]`.
//!
//! The parts are validated, but not yet joined with secrets. `Scheme::compile` makes the form that verifies.

mod certificate;
mod http_signature;
mod identity;
mod jwt;
mod names;
mod properties;
mod redact;
mod template;
mod variants;

pub use certificate::{CertificateKind, CertificateSpec};
pub use http_signature::{
    CONTENT_DIGEST, ComponentSource, FieldForm, HttpAlgorithm, HttpParameter, HttpSpec,
    SignatureComponent,
};
pub use identity::BatchSpec;
pub use identity::{IdentityKey, KeyPart};
pub use jwt::{
    BodyClaim, DigestClaim, JwtAlgorithm, JwtKeys, JwtLocation, JwtSpec, TokenAudience, UrlClaim,
};
pub use jwt::{FixedClaim, PublishedKeys, TokenTimes};
pub use template::{SignedTemplate, TemplatePart};
pub use variants::{GzipText, HeaderFamilies, SchemeVariants};

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

/// Algorithm of a signature that is verified with a public key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyAlgorithm {
    /// EdDSA over Curve25519 (RFC 8032).
    Ed25519,
    /// ECDSA over P-256 with SHA-256, the signature in ASN.1 DER.
    EcdsaP256,
    /// The same with the signature as `r` and `s`, 32 bytes each.
    EcdsaP256Fixed,
    /// ECDSA over P-256 with SHA-1, the signature in ASN.1 DER: only where the sender has nothing better.
    EcdsaP256Sha1,
    /// ECDSA over P-384 with SHA-384, the signature in ASN.1 DER.
    EcdsaP384,
    /// The same with the signature as `r` and `s`, 48 bytes each.
    EcdsaP384Fixed,
    /// RSA PKCS#1 v1.5 with SHA-1; only for senders that support nothing better.
    RsaSha1,
    /// RSA PKCS#1 v1.5 with SHA-256.
    RsaSha256,
    /// The same over the SHA-256 of the text instead of the text.
    RsaSha256OfDigest,
    /// RSA PKCS#1 v1.5 with SHA-512.
    RsaSha512,
    /// RSASSA-PSS with SHA-512 (RFC 8017).
    RsaPssSha512,
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

/// A digest algorithm, in an HMAC or plain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DigestAlgorithm {
    /// MD5, only in HMACs and for senders that support nothing better.
    Md5,
    /// SHA-1, only for senders that support nothing better.
    Sha1,
    /// SHA-256 of the SHA-2 family.
    Sha256,
    /// SHA-384 of the SHA-2 family.
    Sha384,
    /// SHA-512 of the SHA-2 family.
    Sha512,
    /// Keccak-256 as in Ethereum, which differs from SHA-3; only for plain digests.
    Keccak256,
}

/// Encoding of a signature in its header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignatureEncoding {
    /// Hexadecimal digits of either case.
    Hex,
    /// Base64 with padding (RFC 4648 section 4).
    Base64,
    /// URL-safe base64 with padding (RFC 4648 section 5).
    Base64Url,
    /// URL-safe base64 without padding characters.
    Base64UrlUnpadded,
}

/// Location and format of the signature: `{ header = "X-Sig", prefix = "sha256=" }`, or in a list such as
/// `{ header = "Stripe-Signature", list = ",", key = "v1", assign = "=" }` or
/// `{ header = "webhook-signature", list = " ", key = "v1", assign = "," }`.
#[derive(Clone, Debug)]
pub struct SignatureSpec {
    /// Location of the value, such as a header.
    pub location: SchemeLocation,
    /// Pointer to the signature in a JSON object, if the value is base64 of one.
    pub base64_json: Option<Vec<String>>,
    /// Text that is required in front of the encoded signature.
    pub prefix: String,
    /// Format of the list, if the value has several entries.
    pub list: Option<ListSpec>,
}

/// Format of a list: `key<assign>value` entries, or bare values if `key` is empty, with `separator` between them.
#[derive(Clone, Debug)]
pub struct ListSpec {
    /// Character between entries of the list.
    pub separator: char,
    /// Key of the entries that are signatures; other entries are ignored. Empty: each entry is a signature.
    pub key: String,
    /// Character between key and value.
    pub assign: char,
    /// Accepts signatures under any key.
    pub any_key: bool,
    /// Ignores spaces around entries, and a comma after each of them.
    pub trim: bool,
    /// Requires double quotes around values.
    pub is_quoted: bool,
    /// Character between sets of entries, if the value has several sets, each with its own timestamp.
    pub sets: Option<char>,
}

/// Location of a value in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemeLocation {
    /// A header, by its lower-case name.
    Header(http::HeaderName),
    /// A query parameter, by its name.
    Query(String),
    /// A field of a form body.
    Form(String),
    /// An RFC 6901 pointer into a JSON body.
    Json(Vec<String>),
}

impl TimestampSpec {
    /// Returns whether the timestamp has a location of its own, or is an entry that this signature's list can contain.
    #[must_use]
    pub fn is_beside(&self, signature: &SignatureSpec) -> bool {
        let (Some(key), Some(list)) = (&self.key, &signature.list) else {
            return self.key.is_none();
        };
        let is_bare = list.key.is_empty() && !list.any_key;
        self.location == signature.location && key.is_empty() == is_bare
    }
}

impl SchemeLocation {
    /// Returns whether the value is available before the body.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        matches!(self, Self::Header(_) | Self::Query(_))
    }
}

/// Location and unit of the timestamp.
#[derive(Clone, Debug)]
pub struct TimestampSpec {
    /// Location of the value, such as a header.
    pub location: SchemeLocation,
    /// For lists, the key of the entry with the timestamp, which must occur exactly once. Empty: the first of entries
    /// without keys.
    pub key: Option<String>,
    /// Unit or format of the timestamp.
    pub unit: TimeUnit,
}

/// Unit or format of a timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeUnit {
    /// Seconds since the Unix epoch.
    Seconds,
    /// Milliseconds since the Unix epoch.
    Millis,
    /// Text in the format of RFC 3339.
    Rfc3339,
    /// Text as in the header `Date` (RFC 9110 section 5.6.7), only in its current format.
    HttpDate,
    /// Milliseconds if it has more than 11 digits, else seconds.
    SecondsOrMillis,
}

/// Conversion of the secret's text into the key: `secret = { encoding = "base64", strip_prefix = "whsec_" }`.
#[derive(Clone, Debug, Default)]
pub struct SecretForm {
    /// Encoding of the key in the secret's text.
    pub encoding: SecretEncoding,
    /// Prefix to remove from the text; it may be absent.
    pub strip_prefix: String,
    /// Digest to apply to the decoded text, which gives the key; `None`: the text itself is the key.
    pub derive: Option<DigestAlgorithm>,
    /// Another form of the same text; each form that fits gives a key.
    pub alternative: Option<Box<Self>>,
}

/// Encoding of the key in the secret's text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SecretEncoding {
    /// The bytes of the text itself.
    #[default]
    Utf8,
    /// Base64 with or without padding.
    Base64,
    /// Hexadecimal digits of either case.
    Hex,
}

/// Spec of `type = "token"`: a shared token.
#[derive(Clone, Debug)]
pub struct TokenSpec {
    /// Location of the token in a request.
    pub location: TokenLocation,
}

/// Location of a shared token.
#[derive(Clone, Debug)]
pub enum TokenLocation {
    /// `{ header = "X-Gitlab-Token" }`, with an optional prefix such as `"Bearer "`.
    Header {
        /// Name of the header with the token.
        name: http::HeaderName,
        /// Text in front of the token.
        prefix: String,
    },
    /// A query parameter: `{ query = "token" }`.
    Query(String),
    /// HTTP Basic (RFC 7617): `{ basic = true }`; the secret is `user:password`.
    Basic,
    /// A field of a form body: `{ form = "token" }`.
    Form(String),
    /// A value of a JSON body: `{ json = "/token" }`.
    Json(Vec<String>),
    /// A value of the JSON in a form field: `{ form = "data", json = "/token" }`.
    FormJson(String, Vec<String>),
}

impl TokenLocation {
    /// Returns whether the token is available before the body.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        matches!(self, Self::Header { .. } | Self::Query(_) | Self::Basic)
    }
}

/// Location of an id or a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldLocation {
    /// A header: `{ header = "X-GitHub-Delivery" }`.
    Header(http::HeaderName),
    /// An RFC 6901 pointer into the body: `{ json = "/id" }`.
    Json(Vec<String>),
    /// A field of a form body: `{ form = "id" }`.
    Form(String),
    /// A value of the JSON in a form field: `{ form = "payload", json = "/id" }`.
    FormJson(String, Vec<String>),
    /// A query parameter: `{ query = "id" }`.
    Query(String),
    /// A claim of the signed token: `{ claim = "jti" }`.
    Claim(String),
}
