//! `type = "http_signature"`: HTTP Message Signatures (RFC 9421), and what a route demands of one.

use http::HeaderName;

use crate::scheme::spec::{Field, KeyAlgorithm, SecretForm};

/// `type = "http_signature"`.
#[derive(Clone, Debug)]
pub struct HttpSpec {
    /// The one algorithm. The parameter `alg` of a signature chooses nothing.
    pub algorithm: HttpAlgorithm,
    /// Components that a signature has to cover.
    pub components: Vec<Component>,
    /// Parameters that a signature has to have.
    pub parameters: Vec<HttpParameter>,
    /// The label of the signature that counts; none: any label.
    pub label: Option<String>,
    /// The `tag` that a signature has to have.
    pub tag: Option<String>,
    /// Values of `keyid` that count; empty: any, or none at all.
    pub keyids: Vec<String>,
    /// How the secret's text becomes the key.
    pub secret: SecretForm,
    /// The sender's one well-known public key, where it has one.
    pub public_key: Option<String>,
}

/// The algorithms of RFC 9421 section 3.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HttpAlgorithm {
    /// HMAC with SHA-256.
    HmacSha256,
    /// Verified with a public key.
    PublicKey(KeyAlgorithm),
}

impl HttpAlgorithm {
    /// Every algorithm, under its name in the registry.
    pub const ALL: [(&'static str, Self); 6] = [
        ("hmac-sha256", Self::HmacSha256),
        ("ed25519", Self::PublicKey(KeyAlgorithm::Ed25519)),
        (
            "ecdsa-p256-sha256",
            Self::PublicKey(KeyAlgorithm::EcdsaP256Fixed),
        ),
        (
            "ecdsa-p384-sha384",
            Self::PublicKey(KeyAlgorithm::EcdsaP384Fixed),
        ),
        (
            "rsa-pss-sha512",
            Self::PublicKey(KeyAlgorithm::RsaPssSha512),
        ),
        ("rsa-v1_5-sha256", Self::PublicKey(KeyAlgorithm::RsaSha256)),
    ];

    /// Returns the name in the registry.
    #[must_use]
    pub fn name(self) -> &'static str {
        let known = Self::ALL.into_iter().find(|(_, known)| *known == self);
        known.map_or("", |(name, _)| name)
    }
}

/// A parameter of a signature (RFC 9421 section 2.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HttpParameter {
    /// Seconds since the epoch.
    Created,
    /// Seconds since the epoch.
    Expires,
    /// A text that is used once.
    Nonce,
    /// The name of the algorithm.
    Alg,
    /// The name of the key.
    KeyId,
    /// The name of the application.
    Tag,
}

impl HttpParameter {
    /// Every parameter, under its name.
    pub const ALL: [(&'static str, Self); 6] = [
        ("created", Self::Created),
        ("expires", Self::Expires),
        ("nonce", Self::Nonce),
        ("alg", Self::Alg),
        ("keyid", Self::KeyId),
        ("tag", Self::Tag),
    ];

    /// Returns the name that stands in a request.
    #[must_use]
    pub fn name(self) -> &'static str {
        let known = Self::ALL.into_iter().find(|(_, known)| *known == self);
        known.map_or("", |(name, _)| name)
    }
}

/// A component of the message (RFC 9421 section 2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Component {
    /// The identifier as it stands in the signed text: `"@query-param";name="id"`.
    pub identifier: String,
    /// The value that it names.
    pub source: ComponentSource,
}

/// A value that a component names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ComponentSource {
    /// A header, in one of four forms.
    Header(HeaderName, FieldForm),
    /// `@method`.
    Method,
    /// `@target-uri`.
    TargetUri,
    /// `@authority`.
    Authority,
    /// `@scheme`.
    Scheme,
    /// `@request-target`.
    RequestTarget,
    /// `@path`.
    Path,
    /// `@query`.
    Query,
    /// `@query-param`, by the escaped name.
    QueryParam(String),
}

/// How a header's value stands in the signed text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FieldForm {
    /// Its lines, joined by `, `.
    Plain,
    /// `;sf`: serialized again as the structured field that it is.
    Structured,
    /// `;bs`: each line as a byte sequence.
    Bytes,
    /// `;key="NAME"`: one member of a dictionary.
    Member(String),
}

/// The header that binds the body (RFC 9530).
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

impl Component {
    /// Whether it carries the digest of the body.
    #[must_use]
    pub fn binds_body(&self) -> bool {
        matches!(&self.source, ComponentSource::Header(name, _) if *name == CONTENT_DIGEST)
    }

    /// Whether a signature that covers this one covers what `wanted` names: the same component, or the same header in
    /// another form that leaves nothing of it out.
    #[must_use]
    pub fn covers(&self, wanted: &Self) -> bool {
        use ComponentSource::Header;
        match (&self.source, &wanted.source) {
            (Header(name, form), Header(wanted, FieldForm::Plain)) => {
                // One digest is enough to bind the body.
                name == wanted
                    && (!matches!(form, FieldForm::Member(_)) || *wanted == CONTENT_DIGEST)
            }
            (source, wanted) => source == wanted,
        }
    }

    /// Whether its value is a part of the route's `public_url`.
    #[must_use]
    pub fn needs_public_url(&self) -> bool {
        matches!(
            self.source,
            ComponentSource::TargetUri | ComponentSource::Authority | ComponentSource::Scheme
        )
    }

    /// Whether its value is path or query, or a part of them.
    #[must_use]
    pub fn names_target(&self) -> bool {
        matches!(
            self.source,
            ComponentSource::TargetUri
                | ComponentSource::RequestTarget
                | ComponentSource::Path
                | ComponentSource::Query
                | ComponentSource::QueryParam(_)
        )
    }

    fn signs_field(&self, field: &Field) -> bool {
        use ComponentSource as Source;
        match (&self.source, field) {
            (Source::Header(name, form), Field::Header(wanted)) => {
                name == wanted && !matches!(form, FieldForm::Member(_))
            }
            (_, Field::Json(_) | Field::Form(_)) => self.binds_body(),
            (Source::TargetUri | Source::RequestTarget | Source::Query, Field::Query(_)) => true,
            (Source::QueryParam(name), Field::Query(wanted)) => {
                *name == crate::scheme::http_signature::escape_query(wanted)
            }
            _ => false,
        }
    }
}

impl HttpSpec {
    /// Whether every signature covers the digest of the body.
    #[must_use]
    pub fn signs_body(&self) -> bool {
        self.components.iter().any(Component::binds_body)
    }

    /// Whether every signature covers a field of the request.
    pub(super) fn signs_field(&self, field: &Field) -> bool {
        self.components.iter().any(|one| one.signs_field(field))
    }

    /// Whether every signature has the parameter.
    #[must_use]
    pub fn requires(&self, parameter: HttpParameter) -> bool {
        self.parameters.contains(&parameter)
    }

    /// The headers that every verification reads.
    pub(super) fn headers(&self) -> Vec<HeaderName> {
        let mut names = vec![
            HeaderName::from_static("signature-input"),
            HeaderName::from_static("signature"),
            CONTENT_DIGEST,
        ];
        names.extend(self.components.iter().filter_map(|one| match &one.source {
            ComponentSource::Header(name, _) => Some(name.clone()),
            _ => None,
        }));
        names
    }
}
