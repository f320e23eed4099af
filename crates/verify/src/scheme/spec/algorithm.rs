//! Algorithms and encodings of signatures.

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

/// Algorithm of a token's signature (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256, which tokens call `HS256`.
    Hs256,
    /// HMAC with SHA-384, which tokens call `HS384`.
    Hs384,
    /// HMAC with SHA-512, which tokens call `HS512`.
    Hs512,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
    /// RSA PKCS#1 v1.5 with SHA-512.
    Rs512,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// EdDSA with the curve Ed25519.
    EdDsa,
}

impl JwtAlgorithm {
    /// All algorithms with the names that tokens use.
    pub const ALL: [(&'static str, Self); 7] = [
        ("HS256", Self::Hs256),
        ("HS384", Self::Hs384),
        ("HS512", Self::Hs512),
        ("RS256", Self::Rs256),
        ("RS512", Self::Rs512),
        ("ES256", Self::Es256),
        ("EdDSA", Self::EdDsa),
    ];

    /// Finds an algorithm by its name, which is case-sensitive. Returns `None` for any other name, in particular for
    /// `none`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|(known, _)| *known == name);
        known.map(|(_, algorithm)| algorithm)
    }

    /// Returns the digest of an HMAC; `None` for algorithms with a public key.
    #[must_use]
    pub fn hmac(self) -> Option<DigestAlgorithm> {
        match self {
            Self::Hs256 => Some(DigestAlgorithm::Sha256),
            Self::Hs384 => Some(DigestAlgorithm::Sha384),
            Self::Hs512 => Some(DigestAlgorithm::Sha512),
            Self::Rs256 | Self::Rs512 | Self::Es256 | Self::EdDsa => None,
        }
    }
}
