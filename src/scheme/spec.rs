//! The declarative form of a scheme: what a provider file or `[routes.NAME.scheme]` says, checked in its parts but not
//! yet joined with secrets. `scheme::compile` turns it into the form that verifies.

/// How a provider signs.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The family with what it needs.
    pub family: Family,
    /// Where the event id stands; several are tried in order.
    pub event_id: Vec<Field>,
    /// Where the event type stands; several are tried in order.
    pub event_type: Vec<Field>,
}

impl Spec {
    /// Whether the signature covers the body.
    #[must_use]
    pub fn signs_body(&self) -> bool {
        match &self.family {
            Family::Hmac(family) => family.signed.parts.contains(&Part::Body),
            Family::Token(_) => false,
        }
    }

    /// Whether the signature covers a field, so that nobody but the sender can change it.
    #[must_use]
    pub fn signs_field(&self, field: &Field) -> bool {
        let (name, family) = match (field, &self.family) {
            (Field::Json(_), _) => return self.signs_body(),
            (Field::Header(_), Family::Token(_)) => return false,
            (Field::Header(name), Family::Hmac(family)) => (name, family),
        };
        family.signed.parts.iter().any(|part| match part {
            Part::Id => self.id_header() == Some(name),
            Part::Header(header) => header == name,
            _ => false,
        })
    }

    /// Whether the signature covers the event id wherever it may stand.
    #[must_use]
    pub fn signs_event_id(&self) -> bool {
        !self.event_id.is_empty() && self.event_id.iter().all(|field| self.signs_field(field))
    }

    /// The header that `{id}` stands for: the first one among the places of the event id.
    #[must_use]
    pub fn id_header(&self) -> Option<&http::HeaderName> {
        self.event_id.iter().find_map(|field| match field {
            Field::Header(name) => Some(name),
            Field::Json(_) => None,
        })
    }
}

/// The families of schemes.
#[derive(Clone, Debug)]
pub enum Family {
    /// An HMAC over a template.
    Hmac(HmacSpec),
    /// A shared token, sent as it is.
    Token(TokenSpec),
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

/// The digest under the HMAC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// SHA-1: only where the sender has nothing better.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How a signature is written in its header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// Hexadecimal, either case.
    Hex,
    /// Base64 with padding (RFC 4648 section 4).
    Base64,
    /// URL-safe base64, padding optional (RFC 4648 section 5).
    Base64Url,
}

/// Where the signature stands: `{ header = "X-Sig", prefix = "sha256=" }`, or in a list such as
/// `{ header = "Stripe-Signature", list = ",", key = "v1", assign = "=" }` or `{ header = "webhook-signature", list = " ", key = "v1", assign = "," }`.
#[derive(Clone, Debug)]
pub struct SignatureSpec {
    /// The header or query parameter.
    pub place: Place,
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
}

/// A place in the head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A header, by its lower-case name.
    Header(http::HeaderName),
    /// A query parameter.
    Query(String),
}

/// The signed text as parts: `"{timestamp}.{body}"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// In order; `Body` stands exactly once.
    pub parts: Vec<Part>,
}

/// One part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it stands.
    Literal(String),
    /// `{body}`: the raw body.
    Body,
    /// `{timestamp}`: the text of the timestamp as it was sent.
    Timestamp,
    /// `{id}`: the text of the event id, which must then stand in the head.
    Id,
    /// `{method}`: the method in capitals.
    Method,
    /// `{path}`: the path without the query, as it was sent.
    Path,
    /// `{path_query}`: the path and, where there is one, `?` and the query, as they were sent.
    PathQuery,
    /// `{url}`: the route's `public_url` origin with path and query as they were sent.
    Url,
    /// `{header:NAME}`: the value of a header, which must be there exactly once.
    Header(http::HeaderName),
}

/// Where the timestamp stands and in which unit.
#[derive(Clone, Debug)]
pub struct TimestampSpec {
    /// The header or query parameter.
    pub place: Place,
    /// For list headers: the key of the entry that holds the timestamp; it must stand there exactly once.
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
}

/// How the text of the secret becomes the key: `secret = { encoding = "base64", strip_prefix = "whsec_" }`.
#[derive(Clone, Debug, Default)]
pub struct SecretForm {
    /// The encoding of the key in the secret's text.
    pub encoding: SecretEncoding,
    /// Text before the encoded key that is not part of it; absent is fine.
    pub strip_prefix: String,
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
}

/// Where an id or a type stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// `{ header = "X-GitHub-Delivery" }`.
    Header(http::HeaderName),
    /// `{ json = "/id" }`: an RFC 6901 pointer into the body.
    Json(Vec<String>),
}
