//! Dedup keys: short digests that name an event for [`dedup`](super::dedup).

use std::hash::{BuildHasher, Hasher, RandomState};

use sha2::{Digest, Sha256};

/// A dedup key: the first half of a SHA-256, or of the MAC over the signed bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DedupKey(u128);

/// Hasher for keys, which are already uniformly distributed digests. The seed protects tables against keys of ids,
/// whose digests the sender can compute.
#[derive(Clone)]
pub(super) struct KeyHashes {
    seed: u64,
}

pub(super) struct KeyHash(u64);

impl KeyHashes {
    pub(super) fn new() -> Self {
        let seed = RandomState::new().hash_one(0_u64);
        Self { seed }
    }
}

impl BuildHasher for KeyHashes {
    type Hasher = KeyHash;

    fn build_hasher(&self) -> KeyHash {
        KeyHash(self.seed)
    }
}

impl Hasher for KeyHash {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u128(u128::from(*byte));
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "both halves are taken, one after the other"
    )]
    fn write_u128(&mut self, digest: u128) {
        let folded = digest as u64 ^ (digest >> 64) as u64;
        self.0 = (self.0 ^ folded).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_u64(&mut self, number: u64) {
        self.write_u128(u128::from(number));
    }

    fn finish(&self) -> u64 {
        // The upper half of the product is mixed best, and hash tables use the lower bits too.
        self.0.rotate_left(32)
    }
}

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
    pub(super) fn shard(self, shards: usize) -> usize {
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
