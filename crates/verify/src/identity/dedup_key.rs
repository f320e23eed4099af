//! Dedup keys: short digests that name an event.

use sha2::{Digest, Sha256};

/// A dedup key: the first half of a SHA-256, or of the MAC over the signed bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DedupKey(u128);

impl DedupKey {
    /// Returns the key of an event id.
    #[must_use]
    pub fn of_id(id: &str) -> Self {
        let mut hash = Sha256::new_with_prefix(b"id\0");
        hash.update(id.as_bytes());
        Self::of_digest(&hash.finalize().into())
    }

    /// Returns the key of several parts together. Each is preceded by its length, so that no two lists have one key.
    #[must_use]
    pub fn of_parts<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let mut hash = Sha256::new_with_prefix(b"parts\0");
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self::of_digest(&hash.finalize().into())
    }

    /// Returns the key of two keys together without another hash. Finding an id whose key compensates for another
    /// digest is as hard as inverting the hash.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        // Rotated, so that the order matters and two equal keys do not cancel out.
        Self(self.0 ^ other.0.rotate_left(1))
    }

    /// Returns the key of a digest that already depends on every signed byte.
    #[must_use]
    pub fn of_digest(digest: &[u8; 32]) -> Self {
        let mut half = [0; 16];
        for (to, from) in half.iter_mut().zip(digest) {
            *to = *from;
        }
        Self(u128::from_le_bytes(half))
    }

    /// Returns the index of the key's shard.
    #[must_use]
    pub fn shard(self, shards: usize) -> usize {
        usize::try_from(self.0 % shards.max(1) as u128).unwrap_or(0)
    }

    /// Returns the bytes that the store holds.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// Restores a key from [`Self::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }
}
