//! Spent ids, packed: what [`dedup`](super::dedup) remembers of events that the app took.
//!
//! A cache entry of its own for each id would cost some 250 bytes and most of the time that dedup takes. So an entry of
//! the cache is a shelf of packs, and a pack holds the few bytes of each id that shares a part of its hash. There are
//! twice as many places as ids to be remembered, so that a pack is full only when far more newer ids came than were asked
//! for. Time is kept twice: each id has its own end, and a shelf that nobody asked for during a window is dropped whole.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::gate::key::{Key, KeyHashes};
use crate::model::clock::instant;

/// Ids in a pack, at most.
const ROOM: u64 = 64;

/// Ids in a pack, on average, when as many are remembered as were asked for.
const MEAN: u64 = ROOM / 2;

/// A pack grows by so many places. Doubled, each pack that was once above its mean would keep twice the room for good.
const GROWTH: usize = 8;

/// Packs on a shelf, at most: so many that the cache is small, and its shelves stay in the processor's.
const SHELF: u64 = 64;

/// The spent ids of one route.
pub(super) struct Spent {
    shelves: Cache<u64, Arc<Shelf>, KeyHashes>,
    hashes: KeyHashes,
    /// How many packs there are.
    pack_count: u64,
    /// Ids in a pack, at most.
    room: usize,
    window: Duration,
    /// What the ends of ids are counted from.
    began: Instant,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    held: AtomicU64,
    evicted: AtomicU64,
}

struct Shelf {
    packs: Box<[Mutex<Pack>]>,
    counts: Arc<Counts>,
}

/// Ids, the oldest first: all of them have the same window.
type Pack = Vec<Id>;

/// Where an id stands.
#[derive(Clone, Copy)]
struct Place {
    shelf: u64,
    pack: usize,
}

/// One spent id, in 24 bytes.
#[derive(Clone, Copy)]
struct Id {
    key: [u8; 16],
    /// Seconds since the table began; the id is free again then.
    ends: u32,
    /// What its sender got.
    status: u16,
}

impl Spent {
    /// Remembers `entries` ids at least, and twice as many at most, each for the window.
    pub(super) fn new(entries: u64, window: Duration, hashes: KeyHashes) -> Self {
        let pack_count = entries.div_ceil(MEAN).max(1);
        let room = if pack_count == 1 { entries } else { ROOM };
        Self {
            // The default policy keeps what was asked for often, and would drop a new shelf of a full table.
            shelves: Cache::builder()
                .max_capacity(pack_count.div_ceil(SHELF))
                .time_to_idle(window)
                .eviction_policy(EvictionPolicy::lru())
                .build_with_hasher(hashes.clone()),
            hashes,
            pack_count,
            room: usize::try_from(room.max(1)).unwrap_or(1),
            window,
            began: instant(),
            counts: Arc::default(),
        }
    }

    /// The status that the first copy got, where the id is spent.
    pub(super) fn get(&self, key: Key, now: Instant) -> Option<u16> {
        let place = self.place_of(key);
        let shelf = self.shelves.get(&place.shelf)?;
        let (bytes, now) = (key.to_bytes(), self.seconds(now));
        let ids = shelf.pack(place)?;
        let found = ids.iter().find(|id| id.key == bytes && now < id.ends)?;
        Some(found.status)
    }

    /// The id is spent from now on.
    pub(super) fn insert(&self, key: Key, status: u16, now: Instant) {
        let place = self.place_of(key);
        let shelf = self.shelves.get(&place.shelf).unwrap_or_else(|| {
            let packs = SHELF.min(self.pack_count);
            let make = || Shelf::new(packs, &self.counts);
            self.shelves.get_with(place.shelf, make)
        });
        let (now, bytes) = (self.seconds(now), key.to_bytes());
        let window = u32::try_from(self.window.as_secs()).unwrap_or(u32::MAX);
        let Some(mut ids) = shelf.pack(place) else {
            return;
        };
        let held = ids.len();
        let over = ids.iter().take_while(|id| id.ends <= now).count();
        ids.drain(..over);
        ids.retain(|id| id.key != bytes);
        if ids.len() >= self.room {
            ids.remove(0);
            self.counts.evicted.fetch_add(1, Ordering::Relaxed);
        }
        if ids.len() == ids.capacity() {
            ids.reserve_exact(GROWTH);
        }
        ids.push(Id {
            key: bytes,
            // A second more, since the present one has begun already.
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

    /// Every id that is spent now.
    pub(super) fn all(&self) -> Vec<(Key, u16)> {
        let now = self.seconds(instant());
        let mut all = Vec::new();
        for (_, shelf) in &self.shelves {
            for pack in &shelf.packs {
                let ids = lock(pack);
                let live = ids.iter().filter(|id| now < id.ends);
                all.extend(live.map(|id| (Key::from_bytes(id.key), id.status)));
            }
        }
        all
    }

    /// Ids that are held, those among them whose window has just ended too.
    pub(super) fn held(&self) -> u64 {
        self.counts.held.load(Ordering::Relaxed)
    }

    /// Ids that were dropped before their window was over because there was no room.
    pub(super) fn evicted(&self) -> u64 {
        self.counts.evicted.load(Ordering::Relaxed)
    }

    fn place_of(&self, key: Key) -> Place {
        let pack = self.hashes.hash_one(key) % self.pack_count;
        Place {
            shelf: pack / SHELF,
            pack: usize::try_from(pack % SHELF).unwrap_or(0),
        }
    }

    fn seconds(&self, now: Instant) -> u32 {
        let since = now.saturating_duration_since(self.began);
        u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
    }
}

impl Shelf {
    fn new(packs: u64, counts: &Arc<Counts>) -> Arc<Self> {
        Arc::new(Self {
            packs: (0..packs).map(|_| Mutex::default()).collect(),
            counts: Arc::clone(counts),
        })
    }

    fn pack(&self, place: Place) -> Option<MutexGuard<'_, Pack>> {
        self.packs.get(place.pack).map(lock)
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        let held: usize = self.packs.iter().map(|pack| lock(pack).len()).sum();
        self.counts.held.fetch_sub(held as u64, Ordering::Relaxed);
    }
}

/// Each id is whole, and one that a panic lost would only be handed out again.
fn lock(pack: &Mutex<Pack>) -> MutexGuard<'_, Pack> {
    pack.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn key(number: u64) -> Key {
        Key::of_id(&number.to_string())
    }

    fn filled(entries: u64, ids: std::ops::Range<u64>) -> Spent {
        let spent = Spent::new(entries, MINUTE, KeyHashes::new());
        for number in ids {
            spent.insert(key(number), 200, instant());
        }
        spent
    }

    #[test]
    fn an_id_is_24_bytes() {
        assert_eq!(size_of::<Id>(), 24);
    }

    /// Fails where packs have no more places than ids are asked for, and with the cache's default policy.
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
        let place = spent.place_of(key(0));
        let shelf = spent.shelves.get(&place.shelf).unwrap();
        let pack = shelf.pack(place).unwrap();
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
    fn what_stood_on_a_shelf_is_not_counted_once_it_is_gone() {
        let counts = Arc::new(Counts::default());
        let shelf = Shelf::new(2, &counts);
        let id = Id {
            key: [0; 16],
            ends: 1,
            status: 200,
        };
        let place = Place { shelf: 0, pack: 1 };
        shelf.pack(place).unwrap().push(id);
        counts.held.fetch_add(1, Ordering::Relaxed);
        drop(shelf);
        assert_eq!(counts.held.load(Ordering::Relaxed), 0);
    }
}
