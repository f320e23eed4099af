//! Names of the parts of a scheme: algorithms, encodings, units of time and locations.

use std::borrow::Cow;
use std::fmt;

use crate::scheme::spec::algorithm::{DigestAlgorithm, KeyAlgorithm, SignatureEncoding};
use crate::scheme::spec::location::{FieldLocation, SchemeLocation};
use crate::scheme::spec::signature::TimeUnit;

impl SchemeLocation {
    /// Returns the name of the header, parameter or field.
    pub(in crate::scheme) fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Header(name) => name.as_str().into(),
            Self::Query(name) | Self::Form(name) => name.as_str().into(),
            Self::Json(pointer) => format!("/{}", pointer.join("/")).into(),
        }
    }
}

impl KeyAlgorithm {
    /// Returns the usual name of the algorithm.
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

impl DigestAlgorithm {
    /// Returns the name for people, such as `SHA-256`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
            Self::Keccak256 => "Keccak-256",
        }
    }

    /// Returns the name as a part of a longer one, such as `SHA256` in `HMAC-SHA256`.
    pub(crate) fn short_name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
            Self::Keccak256 => "Keccak-256",
        }
    }
}

impl SignatureEncoding {
    /// Returns the name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hex => "hexadecimal",
            Self::Base64 => "base64",
            Self::Base64Url => "URL-safe base64",
            Self::Base64UrlUnpadded => "URL-safe base64 without padding",
        }
    }

    /// Returns the fault of a signature that has another encoding.
    pub(in crate::scheme) fn fault(self) -> &'static str {
        match self {
            Self::Hex => "is not hexadecimal",
            Self::Base64 => "is not base64",
            Self::Base64Url | Self::Base64UrlUnpadded => "is not URL-safe base64",
        }
    }
}

impl TimeUnit {
    /// Returns the name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seconds => "Unix seconds",
            Self::Millis => "Unix milliseconds",
            Self::Rfc3339 => "RFC 3339 text",
            Self::HttpDate => "an HTTP date",
            Self::SecondsOrMillis => "Unix seconds or milliseconds",
        }
    }
}

impl fmt::Display for SchemeLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A value of the scheme and a field of an event have the same places.
        let field = match self.clone() {
            Self::Header(name) => FieldLocation::Header(name),
            Self::Query(name) => FieldLocation::Query(name),
            Self::Form(name) => FieldLocation::Form(name),
            Self::Json(pointer) => FieldLocation::Json(pointer),
        };
        field.fmt(f)
    }
}

impl fmt::Display for FieldLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "the header `{name}`"),
            Self::Query(name) => write!(f, "the query parameter `{name}`"),
            Self::Claim(name) => write!(f, "the claim `{name}`"),
            Self::Form(name) => write!(f, "the form field `{name}`"),
            Self::FormJson(name, pointer) => {
                let path = pointer.join("/");
                write!(f, "`/{path}` of the JSON in the form field `{name}`")
            }
            Self::Json(pointer) => write!(f, "`/{}` of the body", pointer.join("/")),
        }
    }
}
