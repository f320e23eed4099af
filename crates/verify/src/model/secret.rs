//! Secret bytes that cannot be logged by accident.
//!
//! A secret is wiped on drop and compared in constant time. It has no `Debug`, `Display`, `Clone` or `PartialEq`, so
//! that a log line, a copy or a comparison that leaks time does not compile.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// A key or token to verify or sign with.
///
/// ```
/// use hookgate_verify::Secret;
/// let kept = Secret::new(b"kept".to_vec());
/// assert!(kept.is_equal(b"kept"));
/// ```
///
/// Code that shows, copies or compares it by accident does not compile:
///
/// ```compile_fail,E0369
/// use hookgate_verify::Secret;
/// let kept = Secret::new(b"kept".to_vec());
/// let _ = kept == Secret::new(b"shown".to_vec());
/// ```
///
/// ```compile_fail,E0277
/// use hookgate_verify::Secret;
/// println!("{:?}", Secret::new(b"kept".to_vec()));
/// ```
///
/// ```compile_fail,E0277
/// use hookgate_verify::Secret;
/// println!("{}", Secret::new(b"kept".to_vec()));
/// ```
///
/// ```compile_fail,E0599
/// use hookgate_verify::Secret;
/// let _ = Secret::new(b"kept".to_vec()).clone();
/// ```
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes ownership of the bytes, which are wiped on drop.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the bytes. Search for this name to find every use of a secret.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Compares with other bytes in a time that depends on the lengths only.
    #[must_use]
    pub fn is_equal(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }

    /// Returns true where both secrets have the same bytes, in constant time.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.is_equal(&other.0)
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes().to_vec())
    }
}

/// The SHA-256 digest of a token, for comparison in constant time.
///
/// All digests have the same length, so a comparison does not reveal the length of the token. A digest is never
/// printed.
///
/// ```compile_fail,E0369
/// use hookgate_verify::model::secret::TokenDigest;
/// let kept = TokenDigest::of(b"kept");
/// let _ = kept == TokenDigest::of(b"shown");
/// ```
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Hashes a token.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Compares two digests in constant time.
    pub fn is_same(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Mutation: compare the lengths only, or as many bytes as both have.
    #[test]
    fn only_the_same_bytes_are_equal() {
        let secret = Secret::new(b"kept".to_vec());
        assert!(secret.is_equal(b"kept"));
        assert!(secret.is_same(&Secret::new(b"kept".to_vec())));
        for other in [b"kepT".as_slice(), b"Kept", b"kep", b"kept ", b""] {
            assert!(!secret.is_equal(other), "{other:?}");
            assert!(!secret.is_same(&Secret::new(other.to_vec())), "{other:?}");
            let same = TokenDigest::of(b"kept").is_same(&TokenDigest::of(other));
            assert!(!bool::from(same), "{other:?}");
        }
        assert!(bool::from(
            TokenDigest::of(b"kept").is_same(&TokenDigest::of(b"kept"))
        ));
    }
}
