//! Secret bytes: wiped on drop, compared in constant time, and without `Debug`, `Display`, `Clone` or `PartialEq`, so
//! that they cannot get into a log line by accident.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// What a provider gives to verify with. Only `config` makes one from outside text.
///
/// ```compile_fail,E0369
/// use hookgate::model::secret::Secret;
/// let kept = Secret::new(b"kept".to_vec());
/// let _ = kept == Secret::new(b"shown".to_vec());
/// ```
///
/// ```compile_fail,E0277
/// use hookgate::model::secret::Secret;
/// println!("{:?}", Secret::new(b"kept".to_vec()));
/// ```
///
/// ```compile_fail,E0277
/// use hookgate::model::secret::Secret;
/// println!("{}", Secret::new(b"kept".to_vec()));
/// ```
///
/// ```compile_fail,E0599
/// use hookgate::model::secret::Secret;
/// let _ = Secret::new(b"kept".to_vec()).clone();
/// ```
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over the bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves: every use can be found by this name.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Compares in time that depends on the lengths only.
    #[must_use]
    pub fn is_equal(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }

    /// Whether another one has the same bytes.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.is_equal(&other.0)
    }
}

/// The digest of a token that is kept or shown: of one length whatever the token is, never given out, and compared in
/// constant time only.
///
/// ```compile_fail,E0369
/// use hookgate::model::secret::TokenDigest;
/// let kept = TokenDigest::of(b"kept");
/// let _ = kept == TokenDigest::of(b"shown");
/// ```
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Of these bytes.
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Whether both are of the same token.
    #[must_use]
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
