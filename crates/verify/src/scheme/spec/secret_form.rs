//! Conversion of a secret's text into the key.

use crate::scheme::spec::algorithm::DigestAlgorithm;

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
