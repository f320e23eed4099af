//! The memory of spent ids, packed: the events that the app accepted, for [`dedup`](super::dedup).
//!
//! A cache entry for each id would cost about 250 bytes, and most of the time that dedup takes. So ids with the same part
//! of the hash share a slot (`SpentSlot`), which holds a few bytes for each, and a bucket holds 64 slots. There are twice
//! as many places as ids to remember, so that a slot is full only after far more newer ids than were configured. Time is
//! kept twice: each id has its own expiry, and a bucket whose last id has expired is dropped whole.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hookgate_verify::identity::dedup_key::DedupKey;
use parking_lot::{Mutex, MutexGuard};

use crate::gate::key_hash::KeyHashes;
use crate::model::clock::instant;

/// Capacity of a slot in ids.
const ROOM: u64 = 64;

/// Mean number of ids in a slot when the configured number is remembered.
const MEAN: u64 = ROOM / 2;

/// Places by which a slot grows. Doubling would leave each slot that once exceeded its mean with twice the memory.
const GROWTH: usize = 8;

/// Slots of a bucket: so many that a part has few buckets, which stay in the processor's own cache.
const SLOTS: u64 = 64;

/// Number of parts, each with a lock of its own: enough that worker threads seldom contend.
const PARTS: usize = 16;

/// The spent ids of one route.
pub(super) struct SpentIds {
    parts: [Mutex<SpentPart>; PARTS],
    hashes: KeyHashes,
    /// Number of slots in total.
    slot_count: u64,
    /// Capacity of each slot; a table of one slot holds exactly `entries`.
    capacity: usize,
    /// Window in seconds.
    window: u32,
    /// Start of the seconds in which ids expire.
    began: Instant,
    held: AtomicU64,
    evicted: AtomicU64,
}

/// The buckets of one part. They exist from their first id on, so that an unused table takes no memory.
struct SpentPart {
    buckets: HashMap<u64, SpentBucket, KeyHashes>,
    /// Second at which expired buckets are dropped next.
    sweep_at: u32,
}

struct SpentBucket {
    slots: Box<[SpentSlot]>,
    /// Expiry of the newest id.
    ends: u32,
}

/// A slot of ids, oldest first: all have the same window.
type SpentSlot = Vec<SpentId>;

/// The location of an id: bucket, and slot in it.
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
        let slot_count = entries.div_ceil(MEAN).max(1);
        // A single slot needs no spare room for uneven hashing, so it holds exactly the configured number.
        let room = if slot_count == 1 { entries } else { ROOM };
        let part = |_| {
            Mutex::new(SpentPart {
                buckets: HashMap::with_hasher(hashes.clone()),
                sweep_at: 0,
            })
        };
        Self {
            parts: std::array::from_fn(part),
            slot_count,
            capacity: usize::try_from(room.max(1)).unwrap_or(1),
            window: u32::try_from(window.as_secs()).unwrap_or(u32::MAX),
            began: instant(),
            held: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            hashes,
        }
    }

    /// Returns the status of the first copy, if the id is spent.
    pub(super) fn get(&self, key: DedupKey, now: Instant) -> Option<u16> {
        let place = self.slot_of(key);
        let (bytes, now) = (key.to_bytes(), self.seconds(now));
        let part = self.part(place);
        let ids = part.buckets.get(&place.bucket)?.slots.get(place.slot)?;
        let found = ids.iter().find(|id| id.key == bytes && now < id.ends)?;
        Some(found.status)
    }

    /// Marks an id as spent from now on.
    pub(super) fn insert(&self, key: DedupKey, status: u16, now: Instant) {
        let place = self.slot_of(key);
        let (now, bytes) = (self.seconds(now), key.to_bytes());
        // One second more, since the current second has already begun.
        let ends = now.saturating_add(self.window).saturating_add(1);
        let mut part = self.part(place);
        self.sweep(&mut part, now);
        let slots = SLOTS.min(self.slot_count);
        let bucket = part.buckets.entry(place.bucket);
        let bucket = bucket.or_insert_with(|| SpentBucket::new(slots));
        bucket.ends = bucket.ends.max(ends);
        let Some(ids) = bucket.slots.get_mut(place.slot) else {
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
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        if ids.len() == ids.capacity() {
            ids.reserve_exact(GROWTH);
        }
        ids.push(SpentId {
            key: bytes,
            ends,
            status,
        });
        let (more, less) = (
            ids.len().saturating_sub(held),
            held.saturating_sub(ids.len()),
        );
        self.held.fetch_add(more as u64, Ordering::Relaxed);
        self.held.fetch_sub(less as u64, Ordering::Relaxed);
    }

    /// Returns every id that is spent now.
    pub(super) fn all(&self) -> Vec<(DedupKey, u16)> {
        let now = self.seconds(instant());
        let mut all = Vec::new();
        for part in &self.parts {
            let part = part.lock();
            let ids = part.buckets.values().flat_map(SpentBucket::ids);
            let live = ids.filter(|id| now < id.ends);
            all.extend(live.map(|id| (DedupKey::from_bytes(id.key), id.status)));
        }
        all
    }

    /// Returns the number of ids held, including those that have expired and were not dropped yet.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Returns the number of ids that were evicted before they expired, for lack of room.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Drops the buckets whose last id has expired, a few times in each window: the memory of a burst does not stay.
    fn sweep(&self, part: &mut SpentPart, now: u32) {
        if now < part.sweep_at {
            return;
        }
        part.sweep_at = now.saturating_add((self.window / 16).max(1));
        part.buckets.retain(|_, bucket| {
            let is_live = now < bucket.ends;
            if !is_live {
                let dropped = bucket.ids().count();
                self.held.fetch_sub(dropped as u64, Ordering::Relaxed);
            }
            is_live
        });
    }

    fn slot_of(&self, key: DedupKey) -> SlotLocation {
        let slot = self.hashes.hash_one(key) % self.slot_count;
        SlotLocation {
            bucket: slot / SLOTS,
            slot: usize::try_from(slot % SLOTS).unwrap_or(0),
        }
    }

    fn seconds(&self, now: Instant) -> u32 {
        let since = now.saturating_duration_since(self.began);
        u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the remainder by PARTS is below PARTS"
    )]
    fn part(&self, place: SlotLocation) -> MutexGuard<'_, SpentPart> {
        let part = usize::try_from(place.bucket % PARTS as u64).unwrap_or(0);
        self.parts[part].lock()
    }
}

impl SpentBucket {
    fn new(slots: u64) -> Self {
        Self {
            slots: (0..slots).map(|_| SpentSlot::new()).collect(),
            ends: 0,
        }
    }

    fn ids(&self) -> impl Iterator<Item = &SpentId> {
        self.slots.iter().flatten()
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

    /// Fails when slots have no more places than the configured number of ids.
    #[test]
    fn as_many_of_the_newest_as_were_asked_for_are_remembered() {
        let spent = filled(10_000, 0..40_000);
        assert!((30_000..40_000).all(|number| spent.get(key(number), instant()) == Some(200)));
        assert!(spent.held() <= 20_032);
        assert_eq!(spent.held() + spent.evicted(), 40_000);
    }

    #[test]
    fn a_slot_takes_little_more_room_than_its_ids() {
        let spent = filled(20, 0..20);
        let place = spent.slot_of(key(0));
        let part = spent.part(place);
        let slot = &part.buckets[&place.bucket].slots[place.slot];
        assert_eq!((slot.len(), slot.capacity()), (20, 24));
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
        spent.window = 0;
        (0..2).for_each(|number| spent.insert(key(number), 200, instant()));
        assert_eq!(spent.held(), 2);
    }

    /// Fails when an expired bucket stays, is still counted, or is dropped with an id that is not expired.
    #[test]
    fn an_expired_bucket_is_dropped() {
        let mut spent = filled(10_000, 0..10_000);
        let buckets = |spent: &SpentIds| -> usize {
            let parts = spent.parts.iter();
            parts.map(|part| part.lock().buckets.len()).sum()
        };
        assert_eq!(buckets(&spent), 5);
        spent.began = spent.began.checked_sub(MINUTE / 2).unwrap();
        spent.insert(key(0), 200, instant());
        spent.began = spent.began.checked_sub(MINUTE / 2).unwrap();
        (10_000..10_200).for_each(|number| spent.insert(key(number), 200, instant()));
        assert_eq!(spent.get(key(0), instant()), Some(200));
        spent.began = spent.began.checked_sub(MINUTE * 2).unwrap();
        spent.parts.iter().for_each(|part| {
            spent.sweep(&mut part.lock(), spent.seconds(instant()));
        });
        assert_eq!((buckets(&spent), spent.held()), (0, 0));
    }
}
