//! The hasher of the tables of dedup keys.

use std::hash::{BuildHasher, Hasher, RandomState};

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
