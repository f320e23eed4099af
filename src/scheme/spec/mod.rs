//! The declarative form of a scheme: what a provider file or `[routes.NAME.scheme]` says, checked in its parts but not
//! yet joined with secrets. `scheme::compile` turns it into the form that verifies.

mod certificate;
mod hidden;
mod http_signature;
mod identity;
mod jwt;
mod questions;
mod template;
mod variants;

pub use certificate::{CertificateKind, CertificateSpec};
pub use http_signature::{
    CONTENT_DIGEST, Component, ComponentSource, FieldForm, HttpAlgorithm, HttpParameter, HttpSpec,
};
pub use identity::{BatchSpec, IdentityKey, KeyPart};
pub use jwt::{
    Audience, BodyClaim, DigestClaim, FixedClaim, JwtAlgorithm, JwtKeys, JwtPlace, JwtSpec,
    Published, TokenTimes, UrlClaim,
};
pub use template::{Part, Template};
pub use variants::{GzipText, HeaderFamilies, Variants};

/// How a provider signs.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The family with what it needs.
    pub family: Family,
    /// Where the event id stands; several are tried in order.
    pub event_id: Vec<Field>,
    /// Where the event type stands; several are tried in order.
    pub event_type: Vec<Field>,
    /// Where the version of the payload stands, if it has one; several are tried in order.
    pub version: Vec<Field>,
    /// What the sender does in more than one form.
    pub variants: Variants,
}

/// The families of schemes.
#[derive(Clone, Debug)]
pub enum Family {
    /// An HMAC over a template that can be fed as the request arrives: signature and values stand in the head, the raw
    /// body stands once in the text.
    Hmac(HmacSpec),
    /// Every other signature over a template: with values out of the body, several places, digests, public keys.
    Text(TextSpec),
    /// A shared token, sent as it is.
    Token(TokenSpec),
    /// A signed token.
    Jwt(Box<JwtSpec>),
    /// A signature whose key is in a certificate that the request names.
    Certificate(CertificateSpec),
    /// An HTTP Message Signature (RFC 9421).
    Http(Box<HttpSpec>),
}

/// A signature over a text that is put together once the whole body is there.
#[derive(Clone, Debug)]
pub struct TextSpec {
    /// How the signature follows from the text.
    pub method: SignMethod,
    /// How the signature is written.
    pub encoding: Encoding,
    /// Where signatures stand; any of them may match, at least one is there.
    pub signatures: Vec<SignatureSpec>,
    /// The signed text.
    pub signed: Template,
    /// Where the timestamp stands, if the scheme has one.
    pub timestamp: Option<TimestampSpec>,
    /// How the secret's text becomes the key.
    pub secret: SecretForm,
    /// What else has to hold of the request.
    pub require: Vec<Requirement>,
    /// Other places of the timestamp, for requests that have none in the first one.
    pub other_timestamps: Vec<TimestampSpec>,
    /// Whether the URL may be signed with a port or without one, whichever form `public_url` has.
    pub either_port: bool,
}

/// How a signature follows from a text and a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SignMethod {
    /// An HMAC.
    Hmac(Algorithm),
    /// A plain digest; the key stands in the text as `{secret}`.
    Hash(Algorithm),
    /// Verified with a public key, which takes the secret's place.
    PublicKey {
        /// The signature's algorithm.
        algorithm: KeyAlgorithm,
        /// The sender's one well-known key, where it has one: then a route needs none.
        key: Option<String>,
    },
}

/// Signatures that are verified with a public key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyAlgorithm {
    /// Ed25519 (RFC 8032).
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
    /// RSA PKCS#1 v1.5 with SHA-1: only where the sender has nothing better.
    RsaSha1,
    /// RSA PKCS#1 v1.5 with SHA-256.
    RsaSha256,
    /// The same over the SHA-256 of the text instead of the text.
    RsaSha256OfDigest,
    /// RSA PKCS#1 v1.5 with SHA-512.
    RsaSha512,
    /// RSASSA-PSS with SHA-512.
    RsaPssSha512,
}

impl KeyAlgorithm {
    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::EcdsaP256 | Self::EcdsaP256Fixed => "ECDSA P-256",
            Self::EcdsaP256Sha1 => "ECDSA P-256 with SHA-1",
            Self::EcdsaP384 | Self::EcdsaP384Fixed => "ECDSA P-384",
            Self::RsaSha1 => "RSA-SHA1",
            Self::RsaSha256 => "RSA-SHA256",
            Self::RsaSha256OfDigest => "RSA-SHA256 over a SHA-256",
            Self::RsaSha512 => "RSA-SHA512",
            Self::RsaPssSha512 => "RSA-PSS-SHA512",
        }
    }
}

/// What must hold of a place: `{ header = "BOX-SIGNATURE-VERSION", value = "1" }`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requirement {
    /// The place.
    pub place: Place,
    /// What must hold.
    pub rule: Rule,
}

/// What must hold of a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rule {
    /// It is this text.
    Is(String),
    /// If it is there, it does not hold this text, which stands between the signed values: else one that ends there
    /// could be read as one that goes on.
    Without(String),
    /// Nothing stands there.
    Absent,
}

/// `type = "hmac"`.
#[derive(Clone, Debug)]
pub struct HmacSpec {
    /// The digest under the HMAC.
    pub algorithm: Algorithm,
    /// How the signature is written.
    pub encoding: Encoding,
    /// Where the signature stands.
    pub signature: SignatureSpec,
    /// The signed text.
    pub signed: Template,
    /// Where the timestamp stands, if the scheme has one.
    pub timestamp: Option<TimestampSpec>,
    /// How the secret's text becomes the key.
    pub secret: SecretForm,
}

/// A digest, under an HMAC or plain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// MD5, for HMACs alone: only where the sender has nothing better.
    Md5,
    /// SHA-1: only where the sender has nothing better.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// Keccak-256 as Ethereum has it, which is not SHA-3; for plain digests alone.
    Keccak256,
}

/// How a signature is written in its header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// Hexadecimal, either case.
    Hex,
    /// Base64 with padding (RFC 4648 section 4).
    Base64,
    /// URL-safe base64 with padding (RFC 4648 section 5).
    Base64Url,
    /// URL-safe base64 without padding.
    Base64UrlUnpadded,
}

/// Where the signature stands: `{ header = "X-Sig", prefix = "sha256=" }`, or in a list such as
/// `{ header = "Stripe-Signature", list = ",", key = "v1", assign = "=" }` or `{ header = "webhook-signature", list = " ", key = "v1", assign = "," }`.
#[derive(Clone, Debug)]
pub struct SignatureSpec {
    /// The header or query parameter.
    pub place: Place,
    /// Pointer to the signature in a JSON object, where the value is base64 of one.
    pub base64_json: Option<Vec<String>>,
    /// Text that must stand before the encoded signature.
    pub prefix: String,
    /// Set where the value holds several entries.
    pub list: Option<ListSpec>,
}

/// A value made of `key<assign>value` entries, or of bare values where `key` is empty, with `separator` between them.
#[derive(Clone, Debug)]
pub struct ListSpec {
    /// The character between entries.
    pub separator: char,
    /// The key whose entries are signatures; entries under other keys are ignored. Empty: each entry is a signature.
    pub key: String,
    /// The character between key and value.
    pub assign: char,
    /// Whether every key counts as one of signatures.
    pub any_key: bool,
    /// Whether spaces around entries, and a comma behind each, are passed over.
    pub trim: bool,
    /// Whether values stand between double quotes.
    pub is_quoted: bool,
    /// The character between sets of entries, where the value holds several sets, each with its own timestamp.
    pub sets: Option<char>,
}

/// A place in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A header, by its lower-case name.
    Header(http::HeaderName),
    /// A query parameter.
    Query(String),
    /// A field of a form body.
    Form(String),
    /// An RFC 6901 pointer into a JSON body.
    Json(Vec<String>),
}

impl TimestampSpec {
    /// Whether it has a place of its own, or is an entry that the list of this signature can hold.
    #[must_use]
    pub fn is_beside(&self, signature: &SignatureSpec) -> bool {
        let (Some(key), Some(list)) = (&self.key, &signature.list) else {
            return self.key.is_none();
        };
        let is_bare = list.key.is_empty() && !list.any_key;
        self.place == signature.place && key.is_empty() == is_bare
    }
}

impl Place {
    /// Whether it is there before the body is.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        matches!(self, Self::Header(_) | Self::Query(_))
    }
}

/// Where the timestamp stands and in which unit.
#[derive(Clone, Debug)]
pub struct TimestampSpec {
    /// The header or query parameter.
    pub place: Place,
    /// For list headers: the key of the entry that holds the timestamp; it must stand there exactly once. Empty: the first
    /// of entries without keys.
    pub key: Option<String>,
    /// Its unit.
    pub unit: TimeUnit,
}

/// The unit of a timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeUnit {
    /// Seconds since the Unix epoch.
    Seconds,
    /// Milliseconds since the Unix epoch.
    Millis,
    /// RFC 3339.
    Rfc3339,
    /// As in the header `Date`: RFC 9110 section 5.6.7, in the one form that senders write.
    HttpDate,
    /// Milliseconds where it has more than 11 digits, else seconds.
    SecondsOrMillis,
}

/// How the text of the secret becomes the key: `secret = { encoding = "base64", strip_prefix = "whsec_" }`.
#[derive(Clone, Debug, Default)]
pub struct SecretForm {
    /// The encoding of the key in the secret's text.
    pub encoding: SecretEncoding,
    /// Text before the encoded key that is not part of it; absent is fine.
    pub strip_prefix: String,
    /// The digest of the decoded text that is the key; none where the text is the key itself.
    pub derive: Option<Algorithm>,
    /// Another form that the same text may have; each that it can be read in gives a key.
    pub alternative: Option<Box<Self>>,
}

/// How the key stands in the secret's text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SecretEncoding {
    /// The bytes of the text.
    #[default]
    Utf8,
    /// Base64 with or without padding.
    Base64,
    /// Hexadecimal.
    Hex,
}

/// `type = "token"`.
#[derive(Clone, Debug)]
pub struct TokenSpec {
    /// Where the token stands.
    pub place: TokenPlace,
}

/// Where a shared token stands.
#[derive(Clone, Debug)]
pub enum TokenPlace {
    /// `{ header = "X-Gitlab-Token" }`, with an optional prefix such as `"Bearer "`.
    Header {
        /// The header.
        name: http::HeaderName,
        /// Text before the token.
        prefix: String,
    },
    /// `{ query = "token" }`.
    Query(String),
    /// `{ basic = true }`: HTTP Basic (RFC 7617); the secret is `user:password`.
    Basic,
    /// `{ form = "token" }`: a field of a form body.
    Form(String),
    /// `{ json = "/token" }`: in a JSON body.
    Json(Vec<String>),
    /// `{ form = "data", json = "/token" }`: in the JSON that a field of a form body holds.
    FormJson(String, Vec<String>),
}

impl TokenPlace {
    /// Whether it is there before the body is.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        matches!(self, Self::Header { .. } | Self::Query(_) | Self::Basic)
    }
}

/// Where an id or a type stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// `{ header = "X-GitHub-Delivery" }`.
    Header(http::HeaderName),
    /// `{ json = "/id" }`: an RFC 6901 pointer into the body.
    Json(Vec<String>),
    /// `{ form = "id" }`: a field of a form body.
    Form(String),
    /// `{ form = "payload", json = "/id" }`: in the JSON that a field of a form body holds.
    FormJson(String, Vec<String>),
    /// `{ query = "id" }`: a query parameter.
    Query(String),
    /// `{ claim = "jti" }`: a claim of the signed token.
    Claim(String),
}
