//! Ids of requests.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::ids::RequestId;

/// Generates request ids. They name requests and protect nothing, so they must be unique but not unpredictable.
pub(super) struct RequestIds {
    seed: u64,
    count: AtomicU64,
}

impl RequestIds {
    /// Creates a generator. `seed` should differ between processes.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            count: AtomicU64::new(0),
        }
    }

    /// Returns an id of this time.
    pub(super) fn make(&self, unix_ms: i64) -> RequestId {
        // Both halves derive from one counter, so that ids never repeat within a process.
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let [high, low] = [
            mix(self.seed.wrapping_add(count)),
            mix(self.seed ^ count.rotate_left(32)),
        ]
        .map(u64::to_le_bytes);
        let mut random = [0; 10];
        for (to, from) in random.iter_mut().zip(high.into_iter().chain(low)) {
            *to = from;
        }
        RequestId::new(unix_ms, random)
    }
}

/// Mixes a number with the finalizer of `SplitMix64`: distinct inputs give distinct, unrelated outputs.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn request_ids_are_unique() {
        let ids = RequestIds::new(7);
        let made: HashSet<_> = (0..10_000).map(|_| ids.make(1)).collect();
        assert_eq!(made.len(), 10_000);
    }
}
