//! The memory of spent ids, packed: the events that the app accepted, for [`dedup`](super::dedup).
//!
//! A cache entry for each id would cost about 250 bytes, and most of the time that dedup takes. So a cache entry is a
//! shelf of buckets (`SpentSlot`), and a bucket holds a few bytes for each id with the same part of the hash. There are
//! twice as many slots as ids to remember, so that a bucket is full only after far more newer ids than were configured.
//! Time is kept twice: each id has its own expiry, and a shelf without access during a window is dropped whole.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hookgate_verify::identity::dedup_key::DedupKey;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::{Mutex, MutexGuard};

use crate::gate::key_hash::KeyHashes;
use crate::model::clock::instant;

/// Capacity of a bucket in ids.
const ROOM: u64 = 64;

/// Mean number of ids in a bucket when the configured number is remembered.
const MEAN: u64 = ROOM / 2;

/// Slots by which a bucket grows. Doubling would leave each bucket that once exceeded its mean with twice the memory.
const GROWTH: usize = 8;

/// Buckets on a shelf: so many that the cache has few entries, which stay in the processor's own cache.
const SHELF: u64 = 64;

/// The spent ids of one route.
pub(super) struct SpentIds {
    buckets: Cache<u64, Arc<SpentBucket>, KeyHashes>,
    hashes: KeyHashes,
    /// Number of buckets in total.
    slot_count: u64,
    /// Capacity of each bucket; a table of one bucket holds exactly `entries`.
    capacity: usize,
    window: Duration,
    /// Start of the seconds in which ids expire.
    began: Instant,
    counts: Arc<SpentCounts>,
}

#[derive(Default)]
struct SpentCounts {
    held: AtomicU64,
    evicted: AtomicU64,
}

struct SpentBucket {
    slots: Box<[Mutex<SpentSlot>]>,
    counts: Arc<SpentCounts>,
}

/// A bucket of ids, oldest first: all have the same window.
type SpentSlot = Vec<SpentId>;

/// The location of an id: shelf, and bucket on it.
#[derive(Clone, Copy)]
struct SlotLocation {
    bucket: u64,
    slot: usize,
}

/// One spent id, in 24 bytes.
#[derive(Clone, Copy)]
struct SpentId {
    key: [u8; 16],
    /// Expiry in seconds since the table began; then the id is free again.
    ends: u32,
    /// Status of the response to the first copy.
    status: u16,
}

impl SpentIds {
    /// Creates a table that remembers at least `entries` ids and at most twice as many, each for the window.
    pub(super) fn new(entries: u64, window: Duration, hashes: KeyHashes) -> Self {
        let pack_count = entries.div_ceil(MEAN).max(1);
        // A single bucket needs no spare room for uneven hashing, so it holds exactly the configured number.
        let room = if pack_count == 1 { entries } else { ROOM };
        Self {
            // LRU: the default policy favors frequently used entries, and would drop a new shelf of a full table.
            buckets: Cache::builder()
                .max_capacity(pack_count.div_ceil(SHELF))
                .time_to_idle(window)
                .eviction_policy(EvictionPolicy::lru())
                .build_with_hasher(hashes.clone()),
            hashes,
            slot_count: pack_count,
            capacity: usize::try_from(room.max(1)).unwrap_or(1),
            window,
            began: instant(),
            counts: Arc::default(),
        }
    }

    /// Returns the status of the first copy, if the id is spent.
    pub(super) fn get(&self, key: DedupKey, now: Instant) -> Option<u16> {
        let place = self.slot_of(key);
        let shelf = self.buckets.get(&place.bucket)?;
        let (bytes, now) = (key.to_bytes(), self.seconds(now));
        let ids = shelf.lock_slot(place)?;
        let found = ids.iter().find(|id| id.key == bytes && now < id.ends)?;
        Some(found.status)
    }

    /// Marks an id as spent from now on.
    pub(super) fn insert(&self, key: DedupKey, status: u16, now: Instant) {
        let place = self.slot_of(key);
        let shelf = self.buckets.get(&place.bucket).unwrap_or_else(|| {
            let packs = SHELF.min(self.slot_count);
            let make = || SpentBucket::new(packs, &self.counts);
            self.buckets.get_with(place.bucket, make)
        });
        let (now, bytes) = (self.seconds(now), key.to_bytes());
        let window = u32::try_from(self.window.as_secs()).unwrap_or(u32::MAX);
        let Some(mut ids) = shelf.lock_slot(place) else {
            return;
        };
        // The oldest ids are first, so that expired ones are a prefix.
        let held = ids.len();
        let over = ids.iter().take_while(|id| id.ends <= now).count();
        ids.drain(..over);
        // An id that is spent again moves to the end with a later expiry, which keeps the order.
        ids.retain(|id| id.key != bytes);
        // Full: the oldest id makes room.
        if ids.len() >= self.capacity {
            ids.remove(0);
            self.counts.evicted.fetch_add(1, Ordering::Relaxed);
        }
        if ids.len() == ids.capacity() {
            ids.reserve_exact(GROWTH);
        }
        ids.push(SpentId {
            key: bytes,
            // One second more, since the current second has already begun.
            ends: now.saturating_add(window).saturating_add(1),
            status,
        });
        let (more, less) = (
            ids.len().saturating_sub(held),
            held.saturating_sub(ids.len()),
        );
        self.counts.held.fetch_add(more as u64, Ordering::Relaxed);
        self.counts.held.fetch_sub(less as u64, Ordering::Relaxed);
    }

    /// Returns every id that is spent now.
    pub(super) fn all(&self) -> Vec<(DedupKey, u16)> {
        let now = self.seconds(instant());
        let mut all = Vec::new();
        for (_, shelf) in &self.buckets {
            for pack in &shelf.slots {
                let ids = pack.lock();
                let live = ids.iter().filter(|id| now < id.ends);
                all.extend(live.map(|id| (DedupKey::from_bytes(id.key), id.status)));
            }
        }
        all
    }

    /// Returns the number of ids held, including those that have just expired.
    pub(super) fn held(&self) -> u64 {
        self.counts.held.load(Ordering::Relaxed)
    }

    /// Returns the number of ids that were evicted before they expired, for lack of room.
    pub(super) fn evicted(&self) -> u64 {
        self.counts.evicted.load(Ordering::Relaxed)
    }

    fn slot_of(&self, key: DedupKey) -> SlotLocation {
        let pack = self.hashes.hash_one(key) % self.slot_count;
        SlotLocation {
            bucket: pack / SHELF,
            slot: usize::try_from(pack % SHELF).unwrap_or(0),
        }
    }

    fn seconds(&self, now: Instant) -> u32 {
        let since = now.saturating_duration_since(self.began);
        u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
    }
}

impl SpentBucket {
    fn new(packs: u64, counts: &Arc<SpentCounts>) -> Arc<Self> {
        Arc::new(Self {
            slots: (0..packs).map(|_| Mutex::default()).collect(),
            counts: Arc::clone(counts),
        })
    }

    fn lock_slot(&self, place: SlotLocation) -> Option<MutexGuard<'_, SpentSlot>> {
        self.slots.get(place.slot).map(Mutex::lock)
    }
}

impl Drop for SpentBucket {
    fn drop(&mut self) {
        let held: usize = self.slots.iter().map(|pack| pack.lock().len()).sum();
        self.counts.held.fetch_sub(held as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn key(number: u64) -> DedupKey {
        DedupKey::of_id(&number.to_string())
    }

    fn filled(entries: u64, ids: std::ops::Range<u64>) -> SpentIds {
        let spent = SpentIds::new(entries, MINUTE, KeyHashes::new());
        for number in ids {
            spent.insert(key(number), 200, instant());
        }
        spent
    }

    #[test]
    fn an_id_is_24_bytes() {
        assert_eq!(size_of::<SpentId>(), 24);
    }

    /// Fails when buckets have no more slots than the configured number of ids, or with the cache's default policy.
    #[test]
    fn as_many_of_the_newest_as_were_asked_for_are_remembered() {
        let spent = filled(10_000, 0..40_000);
        assert!((30_000..40_000).all(|number| spent.get(key(number), instant()) == Some(200)));
        assert!(spent.held() <= 20_032);
        assert_eq!(spent.held() + spent.evicted(), 40_000);
    }

    #[test]
    fn a_pack_takes_little_more_room_than_its_ids() {
        let spent = filled(20, 0..20);
        let place = spent.slot_of(key(0));
        let shelf = spent.buckets.get(&place.bucket).unwrap();
        let pack = shelf.lock_slot(place).unwrap();
        assert_eq!((pack.len(), pack.capacity()), (20, 24));
    }

    #[test]
    fn a_small_table_keeps_the_number_asked_for() {
        let spent = filled(3, 0..5);
        let kept: Vec<u64> = (0..5)
            .filter(|n| spent.get(key(*n), instant()).is_some())
            .collect();
        assert_eq!(kept, [2, 3, 4]);
        assert_eq!((spent.held(), spent.evicted()), (3, 2));
    }

    #[test]
    fn an_id_that_is_spent_again_counts_once_and_lasts_longest() {
        let spent = filled(3, 0..3);
        spent.insert(key(0), 202, instant());
        spent.insert(key(3), 200, instant());
        assert_eq!(spent.get(key(0), instant()), Some(202));
        assert_eq!(spent.get(key(1), instant()), None);
        assert_eq!(spent.held(), 3);
    }

    #[test]
    fn an_id_is_free_when_its_window_is_over() {
        let mut spent = filled(100, 0..2);
        spent.began = spent.began.checked_sub(MINUTE).unwrap();
        assert_eq!(spent.get(key(0), instant()), Some(200));
        spent.began = spent.began.checked_sub(Duration::from_secs(2)).unwrap();
        assert_eq!(spent.get(key(0), instant()), None);
        assert!(spent.all().is_empty());
        spent.window = Duration::ZERO;
        (0..2).for_each(|number| spent.insert(key(number), 200, instant()));
        assert_eq!(spent.held(), 2);
    }

    #[test]
    fn ids_of_a_dropped_shelf_are_no_longer_counted() {
        let counts = Arc::new(SpentCounts::default());
        let shelf = SpentBucket::new(2, &counts);
        let id = SpentId {
            key: [0; 16],
            ends: 1,
            status: 200,
        };
        let place = SlotLocation { bucket: 0, slot: 1 };
        shelf.lock_slot(place).unwrap().push(id);
        counts.held.fetch_add(1, Ordering::Relaxed);
        drop(shelf);
        assert_eq!(counts.held.load(Ordering::Relaxed), 0);
    }
}
