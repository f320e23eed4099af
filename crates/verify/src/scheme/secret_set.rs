//! The set of a route's secrets that count for one request.

/// Limit of secrets that one route may have at the same time; a rotation needs two.
pub const MAX_SECRETS: usize = 16;

/// Set of the secrets that are current, by their position.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SecretSet(u16);

impl SecretSet {
    /// Returns the set without any secret.
    #[must_use]
    pub fn empty() -> Self {
        Self(0)
    }

    /// Returns the set of the first `count` secrets.
    #[must_use]
    pub fn all(count: usize) -> Self {
        (0..count).fold(Self::empty(), Self::with)
    }

    /// Adds one more secret; a position beyond [`MAX_SECRETS`] changes nothing.
    #[must_use]
    pub fn with(self, index: usize) -> Self {
        let bit = u32::try_from(index).ok().and_then(|i| 1u16.checked_shl(i));
        Self(self.0 | bit.unwrap_or(0))
    }

    /// Returns whether this secret is in the set.
    #[must_use]
    pub fn contains(self, index: usize) -> bool {
        let bit = u32::try_from(index).ok().and_then(|i| 1u16.checked_shl(i));
        self.0 & bit.unwrap_or(0) != 0
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}
