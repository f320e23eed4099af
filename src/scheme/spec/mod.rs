//! The declarative form of a scheme: what a provider file or `[routes.NAME.scheme]` says, checked in its parts but not
//! yet joined with secrets. `scheme::compile` turns it into the form that verifies.

mod certificate;
mod jwt;
mod template;

pub use certificate::{CertificateKind, CertificateSpec};
pub use jwt::{
    Audience, BodyClaim, DigestClaim, FixedClaim, JwtAlgorithm, JwtKeys, JwtPlace, JwtSpec,
    Published, TokenTimes, UrlClaim,
};
pub use template::{Part, Template};

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
}

impl Spec {
    /// Whether the signature covers the body.
    #[must_use]
    pub fn signs_body(&self) -> bool {
        match &self.family {
            Family::Jwt(family) => family.body_claim.is_some() || family.place == JwtPlace::Body,
            _ => self.template().is_some_and(Template::signs_body),
        }
    }

    /// Whether the signature covers a field, so that nobody but the sender can change it.
    #[must_use]
    pub fn signs_field(&self, field: &Field) -> bool {
        match &self.family {
            Family::Jwt(family) => return family.signs_field(field),
            Family::Certificate(family) => return family.signs_field(field),
            _ => {}
        }
        let Some(template) = self.template() else {
            return false;
        };
        match field {
            Field::Json(pointer) => {
                template.signs_body() || template.holds(&Part::Json(pointer.clone()))
            }
            Field::Form(name) => template.signs_body() || template.holds(&Part::Form(name.clone())),
            Field::Query(name) => {
                template.holds(&Part::PathQuery)
                    || template.holds(&Part::Url)
                    || template.holds(&Part::Query(name.clone()))
            }
            Field::Header(name) => {
                template.holds(&Part::Header(name.clone()))
                    || template.holds(&Part::LowerHeader(name.clone()))
                    || (template.holds(&Part::Id) && self.id_header() == Some(name))
            }
            Field::Claim(_) => false,
        }
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
            _ => None,
        })
    }

    /// The headers that verification reads, and those of ids, types and versions, each once.
    #[must_use]
    pub fn headers(&self) -> Vec<http::HeaderName> {
        let mut names: Vec<http::HeaderName> = Vec::new();
        let mut add = |name: &http::HeaderName| {
            if !names.contains(name) {
                names.push(name.clone());
            }
        };
        for place in self.places() {
            if let Place::Header(name) = place {
                add(name);
            }
        }
        if let Family::Token(token) = &self.family {
            match &token.place {
                TokenPlace::Header { name, .. } => add(name),
                TokenPlace::Basic => add(&http::header::AUTHORIZATION),
                _ => {}
            }
        }
        if let Family::Certificate(family) = &self.family {
            family.kind.headers().iter().for_each(&mut add);
        }
        if let Some(template) = self.template() {
            template.visit(&mut |part| match part {
                Part::Header(name) | Part::LowerHeader(name) | Part::ListedHeaders(name) => {
                    add(name);
                }
                _ => {}
            });
        }
        let fields = self.event_id.iter().chain(&self.event_type);
        for field in fields.chain(&self.version) {
            if let Field::Header(name) = field {
                add(name);
            }
        }
        names
    }

    /// Where signatures, timestamp and required values stand.
    fn places(&self) -> Vec<&Place> {
        match &self.family {
            Family::Hmac(family) => {
                let timestamp = family.timestamp.iter().map(|one| &one.place);
                let mut places = vec![&family.signature.place];
                places.extend(timestamp);
                places
            }
            Family::Text(family) => {
                let timestamp = family.timestamp.iter().map(|one| &one.place);
                let signatures = family.signatures.iter().map(|one| &one.place);
                let required = family.require.iter().map(|one| &one.place);
                signatures.chain(timestamp).chain(required).collect()
            }
            Family::Jwt(family) => match &family.place {
                JwtPlace::In(place, _) => vec![place],
                JwtPlace::Body => Vec::new(),
            },
            Family::Token(_) | Family::Certificate(_) => Vec::new(),
        }
    }

    /// The JSON pointers that verification reads, sorted.
    #[must_use]
    pub fn pointers(&self) -> Vec<Vec<String>> {
        let mut found: Vec<Vec<String>> = Vec::new();
        for place in self.places() {
            if let Place::Json(pointer) = place {
                found.push(pointer.clone());
            }
        }
        if let Some(template) = self.template() {
            template.visit(&mut |part| {
                if let Part::Json(pointer) = part {
                    found.push(pointer.clone());
                }
            });
        }
        if let Family::Token(TokenSpec {
            place: TokenPlace::Json(pointer) | TokenPlace::FormJson(_, pointer),
        }) = &self.family
        {
            found.push(pointer.clone());
        }
        found.sort();
        found.dedup();
        found
    }

    /// The text that is signed; none where nothing is.
    #[must_use]
    pub fn template(&self) -> Option<&Template> {
        match &self.family {
            Family::Hmac(family) => Some(&family.signed),
            Family::Text(family) => Some(&family.signed),
            Family::Token(_) | Family::Jwt(_) | Family::Certificate(_) => None,
        }
    }

    /// Whether the sender signs the time, so that an old capture is told by its age.
    #[must_use]
    pub fn is_dated(&self) -> bool {
        match &self.family {
            Family::Hmac(family) => family.timestamp.is_some(),
            Family::Text(family) => family.timestamp.is_some(),
            Family::Jwt(family) => family.times.needs_iat,
            Family::Token(_) | Family::Certificate(_) => false,
        }
    }

    /// Whether an old request stops being good by itself.
    #[must_use]
    pub fn tells_age(&self) -> bool {
        let expires = matches!(&self.family, Family::Jwt(family) if family.times.needs_exp);
        expires || self.is_dated()
    }

    /// Whether there is nothing to keep secret: the keys are fetched, or stand in a file.
    #[must_use]
    pub fn has_own_keys(&self) -> bool {
        match &self.family {
            Family::Jwt(family) => {
                matches!(family.keys, JwtKeys::Published(_) | JwtKeys::File(_))
            }
            Family::Certificate(family) => family.kind == CertificateKind::Sns,
            _ => false,
        }
    }

    /// Whether a public key takes the secret's place: nothing that has to be kept.
    #[must_use]
    pub fn is_public_key(&self) -> bool {
        match &self.family {
            Family::Text(family) => matches!(family.method, SignMethod::PublicKey { .. }),
            Family::Jwt(family) => {
                let mut algorithms = family.algorithms.iter();
                matches!(family.keys, JwtKeys::Secret)
                    && algorithms.all(|algorithm| algorithm.hmac().is_none())
            }
            Family::Hmac(_) | Family::Token(_) | Family::Certificate(_) => false,
        }
    }

    /// Whether everybody may see what the route has in place of a secret: a public key, or the id of a webhook.
    #[must_use]
    pub fn is_secret_public(&self) -> bool {
        self.is_public_key() || matches!(self.family, Family::Certificate(_))
    }

    /// The sender's one well-known public key, where the scheme has it.
    #[must_use]
    pub fn known_key(&self) -> Option<&str> {
        match &self.family {
            Family::Text(TextSpec {
                method: SignMethod::PublicKey { key, .. },
                ..
            }) => key.as_deref(),
            _ => None,
        }
    }

    /// Whether who has the secret can sign as the sender does: not with public keys, and not into a body, whose bytes stay.
    #[must_use]
    pub fn can_be_signed(&self) -> bool {
        match &self.family {
            Family::Hmac(_) => true,
            Family::Token(family) => !matches!(
                family.place,
                TokenPlace::Form(_) | TokenPlace::Json(_) | TokenPlace::FormJson(..)
            ),
            Family::Text(family) => {
                let [signature] = family.signatures.as_slice() else {
                    return false;
                };
                let time = family.timestamp.as_ref();
                !matches!(family.method, SignMethod::PublicKey { .. })
                    && signature.place.is_in_head()
                    && signature.list.is_none()
                    && time.is_none_or(|time| time.key.is_none())
            }
            Family::Jwt(_) | Family::Certificate(_) => false,
        }
    }

    /// How the text of a secret becomes the key.
    #[must_use]
    pub fn secret_form(&self) -> SecretForm {
        match &self.family {
            Family::Hmac(family) => family.secret.clone(),
            Family::Text(family) => family.secret.clone(),
            Family::Jwt(family) => family.secret.clone(),
            Family::Token(_) | Family::Certificate(_) => SecretForm::default(),
        }
    }
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
    /// ECDSA over P-384 with SHA-384, the signature in ASN.1 DER.
    EcdsaP384,
    /// RSA PKCS#1 v1.5 with SHA-1: only where the sender has nothing better.
    RsaSha1,
    /// RSA PKCS#1 v1.5 with SHA-256.
    RsaSha256,
    /// The same over the SHA-256 of the text instead of the text.
    RsaSha256OfDigest,
    /// RSA PKCS#1 v1.5 with SHA-512.
    RsaSha512,
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
    /// Whether spaces around entries are passed over.
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
    /// `{ query = "id" }`: a query parameter.
    Query(String),
    /// `{ claim = "jti" }`: a claim of the signed token.
    Claim(String),
}
