//! Secret bytes: wiped on drop, compared in constant time, and without `Debug`, `Display`, `Clone` or `PartialEq`, so
//! that they cannot get into a log line by accident.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What a provider gives to verify with. Only `config` makes one from outside text.
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
}
