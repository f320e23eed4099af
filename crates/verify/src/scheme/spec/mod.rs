//! Declarative form of a scheme, as in a provider file or in `[routes.NAME.scheme]`.
//!
//! The parts are validated, but not yet joined with secrets. `Scheme::compile` makes the form that verifies.

pub(in crate::scheme) mod algorithm;
pub(in crate::scheme) mod certificate;
mod family;
mod header_families;
mod http_signature;
mod identity;
mod jwt;
pub(in crate::scheme) mod location;
mod names;
mod properties;
mod redact;
mod secret_form;
mod signature;
mod template;
mod token;
mod variants;

pub use algorithm::{DigestAlgorithm, JwtAlgorithm, KeyAlgorithm, SignatureEncoding};
pub use certificate::{CertificateKind, CertificateSpec};
pub use family::{
    HmacSpec, RequirementRule, SchemeFamily, SchemeRequirement, SchemeSpec, SignMethod, TextSpec,
};
pub use header_families::HeaderFamilies;
pub use http_signature::{
    CONTENT_DIGEST, ComponentSource, FieldForm, HttpAlgorithm, HttpParameter, HttpSpec,
    SignatureComponent,
};
pub use identity::{BatchSpec, IdentityKey, KeyPart};
pub use jwt::{
    BodyClaim, DigestClaim, FixedClaim, JwtKeys, JwtLocation, JwtSpec, PublishedKeys,
    TokenAudience, TokenTimes, UrlClaim,
};
pub use location::{FieldLocation, SchemeLocation};
pub use properties::{KNOWN_KEY, PUBLISHED_KEY};
pub use secret_form::{SecretEncoding, SecretForm};
pub use signature::{ListSpec, SignatureSpec, TimeUnit, TimestampSpec};
pub use template::{SignedTemplate, TemplatePart};
pub use token::{TokenLocation, TokenSpec};
pub use variants::{GzipText, SchemeVariants};
