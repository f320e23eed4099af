//! Spec of `type = "http_signature"`: HTTP Message Signatures (RFC 9421), and their requirements.

use http::HeaderName;

use crate::scheme::spec::algorithm::KeyAlgorithm;
use crate::scheme::spec::location::FieldLocation;
use crate::scheme::spec::secret_form::SecretForm;

/// Requirements of a scheme with HTTP Message Signatures.
#[derive(Clone, Debug)]
pub struct HttpSpec {
    /// The only accepted algorithm. The parameter `alg` of a signature cannot select another one.
    pub algorithm: HttpAlgorithm,
    /// Components that a signature must cover.
    pub components: Vec<SignatureComponent>,
    /// Parameters that a signature must have.
    pub parameters: Vec<HttpParameter>,
    /// Label of the signature to verify; `None`: any label.
    pub label: Option<String>,
    /// `tag` that a signature must have; `None`: any tag.
    pub tag: Option<String>,
    /// Accepted values of `keyid`; empty: any, or no `keyid`.
    pub keyids: Vec<String>,
    /// Conversion of the secret's text into the key.
    pub secret: SecretForm,
    /// The sender's well-known public key, if it has one.
    pub public_key: Option<String>,
}

/// Signature algorithm of RFC 9421 section 3.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HttpAlgorithm {
    /// HMAC with SHA-256, registered as `hmac-sha256`.
    HmacSha256,
    /// A signature that is verified with a public key.
    PublicKey(KeyAlgorithm),
}

impl HttpAlgorithm {
    /// All algorithms with their registered names.
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

    /// Returns the registered name of the algorithm.
    #[must_use]
    pub fn name(self) -> &'static str {
        let known = Self::ALL.into_iter().find(|(_, known)| *known == self);
        known.map_or("", |(name, _)| name)
    }
}

/// A parameter of a signature (RFC 9421 section 2.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HttpParameter {
    /// Creation time, in seconds since the epoch.
    Created,
    /// Expiry time, in seconds since the epoch.
    Expires,
    /// A text that is used only once.
    Nonce,
    /// Registered name of the algorithm.
    Alg,
    /// Name of the signing key.
    KeyId,
    /// Name of the application that the signature is for.
    Tag,
}

impl HttpParameter {
    /// All parameters with their names in a request.
    pub const ALL: [(&'static str, Self); 6] = [
        ("created", Self::Created),
        ("expires", Self::Expires),
        ("nonce", Self::Nonce),
        ("alg", Self::Alg),
        ("keyid", Self::KeyId),
        ("tag", Self::Tag),
    ];

    /// Returns the name in a request.
    #[must_use]
    pub fn name(self) -> &'static str {
        let known = Self::ALL.into_iter().find(|(_, known)| *known == self);
        known.map_or("", |(name, _)| name)
    }
}

/// A component of the message (RFC 9421 section 2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignatureComponent {
    /// Identifier as in the signed text: `"@query-param";name="id"`.
    pub identifier: String,
    /// Value that the component refers to.
    pub source: ComponentSource,
}

/// Value that a component refers to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ComponentSource {
    /// A header, in one of four forms.
    Header(HeaderName, FieldForm),
    /// `@method`: the method of the request.
    Method,
    /// `@target-uri`: the whole called URL.
    TargetUri,
    /// `@authority`: host and port of the called URL.
    Authority,
    /// `@scheme`: scheme of the called URL.
    Scheme,
    /// `@request-target`: the path and the query.
    RequestTarget,
    /// `@path`: the path without the query.
    Path,
    /// `@query`: the query with its `?`.
    Query,
    /// `@query-param`: one query parameter, by its escaped name.
    QueryParam(String),
}

/// Form of a header's value in the signed text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FieldForm {
    /// The lines of the header, joined by `, `.
    Plain,
    /// `;sf`: serialized again as a structured field.
    Structured,
    /// `;bs`: each line as a byte sequence.
    Bytes,
    /// `;key="NAME"`: one member of a dictionary.
    Member(String),
}

/// The header that binds the body (RFC 9530).
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

impl SignatureComponent {
    /// Returns whether the component contains the digest of the body.
    #[must_use]
    pub fn binds_body(&self) -> bool {
        matches!(&self.source, ComponentSource::Header(name, _) if *name == CONTENT_DIGEST)
    }

    /// Returns whether a signature with this component covers the `wanted` one: the same component, or the same header
    /// in another form that omits nothing.
    #[must_use]
    pub fn covers(&self, wanted: &Self) -> bool {
        use ComponentSource::Header;
        match (&self.source, &wanted.source) {
            (Header(name, form), Header(wanted, FieldForm::Plain)) => {
                // One digest is enough to cover the body.
                name == wanted
                    && (!matches!(form, FieldForm::Member(_)) || *wanted == CONTENT_DIGEST)
            }
            (source, wanted) => source == wanted,
        }
    }

    /// Returns whether the value depends on the route's `public_url`.
    #[must_use]
    pub fn needs_public_url(&self) -> bool {
        matches!(
            self.source,
            ComponentSource::TargetUri | ComponentSource::Authority | ComponentSource::Scheme
        )
    }

    /// Returns whether the value is the path or the query, or a part of them.
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

    fn signs_field(&self, field: &FieldLocation) -> bool {
        use ComponentSource as Source;
        match (&self.source, field) {
            (Source::Header(name, form), FieldLocation::Header(wanted)) => {
                name == wanted && !matches!(form, FieldForm::Member(_))
            }
            // Values in the body are covered through its digest.
            (_, FieldLocation::Json(_) | FieldLocation::Form(_)) => self.binds_body(),
            (
                Source::TargetUri | Source::RequestTarget | Source::Query,
                FieldLocation::Query(_),
            ) => true,
            (Source::QueryParam(name), FieldLocation::Query(wanted)) => {
                *name == crate::scheme::escape::escape_query(wanted)
            }
            _ => false,
        }
    }
}

impl HttpSpec {
    /// Returns whether every signature covers the digest of the body.
    #[must_use]
    pub fn signs_body(&self) -> bool {
        self.components.iter().any(SignatureComponent::binds_body)
    }

    /// Returns whether every signature covers a field of the request.
    pub(super) fn signs_field(&self, field: &FieldLocation) -> bool {
        self.components.iter().any(|one| one.signs_field(field))
    }

    /// Returns whether every signature has the parameter.
    #[must_use]
    pub fn requires(&self, parameter: HttpParameter) -> bool {
        self.parameters.contains(&parameter)
    }

    /// Returns the headers that every verification reads.
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
