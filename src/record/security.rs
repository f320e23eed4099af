//! Withholding: a source that is refused again and again gets a few lines, then one now and then with the number of
//! those that were left out. So a flood of refusals fills neither the disk nor the operator's patience.
//!
//! The table is bounded; when it is full, the source that was silent longest goes. Its lock is taken for refusals only,
//! for well below a microsecond.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::source::SourceKey;

const SHARDS: usize = 16;

/// 16 shards of 256: 4096 sources, some 400 KiB.
const SHARD_CAPACITY: usize = 256;

/// Lines of one kind about one source: some at once, then one for each `refill`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Kind {
    /// Security events.
    Security,
    /// Other refusals: an operator who sets a route up wants to see more of them.
    Plain,
    /// URL checks without a signature, which any client can make.
    Unsigned,
}

/// How many lines at once, and after which time one more.
#[derive(Clone, Copy, Debug)]
struct Pace {
    burst: u32,
    refill: Duration,
}

/// All refusals together: what many sources at once can make, some 25 KiB a second.
const OVERALL: Pace = Pace {
    burst: 1000,
    refill: Duration::from_millis(10),
};

impl Kind {
    fn pace(self) -> Pace {
        match self {
            Self::Security | Self::Unsigned => Pace {
                burst: 5,
                refill: Duration::from_secs(10),
            },
            Self::Plain => Pace {
                burst: 50,
                refill: Duration::from_secs(1),
            },
        }
    }
}

/// Lines about one source are counted together by this.
pub(super) type Key = (SourceKey, Kind);

/// Whether a line is written.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Telling {
    /// Yes; so many were withheld since the last one.
    Tell {
        /// How many.
        withheld: u64,
    },
    /// No; it is counted.
    Withhold,
}

/// Lines that were withheld and not told yet.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Withheld {
    /// About whom.
    pub(super) key: Key,
    /// How many.
    pub(super) count: u64,
}

/// Who has how many lines left.
#[derive(Debug)]
pub(super) struct Withholder {
    shards: [Mutex<HashMap<Key, Allowance>>; SHARDS],
    overall: Mutex<Allowance>,
    total: AtomicU64,
    forgotten: AtomicU64,
}

#[derive(Debug)]
struct Allowance {
    left: u32,
    refilled: Instant,
    seen: Instant,
    withheld: u64,
}

impl Withholder {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            shards: Default::default(),
            overall: Mutex::new(Allowance::full(OVERALL, now)),
            total: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
        }
    }

    /// Counts one event against its source.
    pub(super) fn note(&self, key: Key, now: Instant) -> Telling {
        let mut shard = self.shard(key.0);
        if shard.len() >= SHARD_CAPACITY && !shard.contains_key(&key) {
            self.forget_oldest(&mut shard);
        }
        let allowance = match shard.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Allowance::full(key.1.pace(), now)),
        };
        allowance.seen = now;
        if allowance.take(key.1.pace(), now) && lock(&self.overall).take(OVERALL, now) {
            let withheld = std::mem::take(&mut allowance.withheld);
            Telling::Tell { withheld }
        } else {
            allowance.withheld = allowance.withheld.saturating_add(1);
            self.total.fetch_add(1, Ordering::Relaxed);
            Telling::Withhold
        }
    }

    /// What was withheld about sources that may have a line again; forgets sources that have been silent.
    pub(super) fn sweep(&self, now: Instant) -> Vec<Withheld> {
        let mut told = Vec::new();
        for shard in &self.shards {
            lock(shard).retain(|key, allowance| {
                let pace = key.1.pace();
                if allowance.withheld > 0
                    && allowance.take(pace, now)
                    && lock(&self.overall).take(OVERALL, now)
                {
                    let count = std::mem::take(&mut allowance.withheld);
                    told.push(Withheld { key: *key, count });
                }
                allowance.withheld > 0 || !allowance.is_full(pace, now)
            });
        }
        told
    }

    /// Everything that was withheld and not told, at the end of the process.
    pub(super) fn drain(&self) -> Vec<Withheld> {
        let mut told = Vec::new();
        for shard in &self.shards {
            for (key, allowance) in lock(shard).drain() {
                if allowance.withheld > 0 {
                    told.push(Withheld {
                        key,
                        count: allowance.withheld,
                    });
                }
            }
        }
        told
    }

    /// Lines withheld since the start.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Withheld lines of sources that fell out of the table since the last call.
    pub(super) fn take_forgotten(&self) -> u64 {
        self.forgotten.swap(0, Ordering::Relaxed)
    }

    fn shard(&self, source: SourceKey) -> MutexGuard<'_, HashMap<Key, Allowance>> {
        let index = shard_index(source);
        let shard = self.shards.get(index).unwrap_or(&self.shards[0]);
        lock(shard)
    }

    fn forget_oldest(&self, shard: &mut HashMap<Key, Allowance>) {
        let oldest = shard.iter().min_by_key(|(_, allowance)| allowance.seen);
        if let Some(key) = oldest.map(|(key, _)| *key)
            && let Some(allowance) = shard.remove(&key)
        {
            self.forgotten
                .fetch_add(allowance.withheld, Ordering::Relaxed);
        }
    }
}

impl Allowance {
    fn full(pace: Pace, now: Instant) -> Self {
        Self {
            left: pace.burst,
            refilled: now,
            seen: now,
            withheld: 0,
        }
    }

    /// Takes a line, if there is one.
    fn take(&mut self, pace: Pace, now: Instant) -> bool {
        self.refill(pace, now);
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    fn is_full(&mut self, pace: Pace, now: Instant) -> bool {
        self.refill(pace, now);
        self.left == pace.burst
    }

    fn refill(&mut self, pace: Pace, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled).as_nanos();
        let gained = passed / pace.refill.as_nanos();
        if gained == 0 {
            return;
        }
        let gained = u32::try_from(gained).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(gained).min(pace.burst);
        // What is left of a period counts for the next line, unless there is nothing to wait for.
        self.refilled = match pace.refill.checked_mul(gained) {
            Some(used) if self.left < pace.burst => self.refilled + used,
            _ => now,
        };
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics half-way; a count that is off by one would do no harm either.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Spreads neighbours over the shards.
fn shard_index(source: SourceKey) -> usize {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    usize::try_from(hasher.finish()).unwrap_or(0) % SHARDS
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::model::clock::instant;

    fn key(number: u32) -> Key {
        let ip = IpAddr::V4(Ipv4Addr::from_bits(number));
        (SourceKey::of(ip), Kind::Security)
    }

    fn fresh() -> (Withholder, Instant) {
        let now = instant();
        (Withholder::new(now), now)
    }

    #[test]
    fn many_sources_together_are_bounded_too() {
        let (withholder, start) = fresh();
        let told = |now| {
            let tellings = (0..3000).map(|number| withholder.note(key(number), now));
            tellings
                .filter(|telling| *telling != Telling::Withhold)
                .count()
        };
        assert_eq!(told(start), 1000);
        assert_eq!(told(start), 0);
        assert_eq!(told(start + Duration::from_secs(1)), 100);
    }

    #[test]
    fn a_source_gets_five_lines_then_one_each_ten_seconds_with_a_count() {
        let (withholder, start) = fresh();
        for _ in 0..5 {
            assert_eq!(
                withholder.note(key(1), start),
                Telling::Tell { withheld: 0 }
            );
        }
        for _ in 0..1000 {
            assert_eq!(withholder.note(key(1), start), Telling::Withhold);
        }
        // Another source is told of all the same.
        assert_eq!(
            withholder.note(key(2), start),
            Telling::Tell { withheld: 0 }
        );
        let later = start + Duration::from_secs(10);
        assert_eq!(
            withholder.note(key(1), later),
            Telling::Tell { withheld: 1000 }
        );
        assert_eq!(withholder.note(key(1), later), Telling::Withhold);
        assert_eq!(withholder.total(), 1001);
    }

    #[test]
    fn a_sweep_tells_what_was_withheld_once_and_forgets_the_silent() {
        let (withholder, start) = fresh();
        for _ in 0..8 {
            withholder.note(key(1), start);
        }
        assert_eq!(withholder.sweep(start), []);
        let later = start + Duration::from_secs(11);
        let told = Withheld {
            key: key(1),
            count: 3,
        };
        assert_eq!(withholder.sweep(later), [told]);
        assert_eq!(withholder.sweep(later + Duration::from_secs(60)), []);
        let held: usize = withholder
            .shards
            .iter()
            .map(|shard| lock(shard).len())
            .sum();
        assert_eq!(held, 0);
    }

    #[test]
    fn the_end_tells_everything_that_was_withheld() {
        let (withholder, start) = fresh();
        for _ in 0..7 {
            withholder.note(key(1), start);
        }
        assert_eq!(
            withholder.drain(),
            [Withheld {
                key: key(1),
                count: 2
            }]
        );
        assert_eq!(withholder.drain(), []);
    }

    #[test]
    fn the_table_is_bounded_and_counts_what_it_forgets() {
        let (withholder, start) = fresh();
        for number in 0..20_000 {
            for _ in 0..6 {
                withholder.note(key(number), start);
            }
        }
        let held: usize = withholder
            .shards
            .iter()
            .map(|shard| lock(shard).len())
            .sum();
        assert!(held <= SHARDS * SHARD_CAPACITY);
        let forgotten = withholder.take_forgotten();
        let kept: u64 = withholder
            .drain()
            .iter()
            .map(|withheld| withheld.count)
            .sum();
        assert!(forgotten > 0);
        assert_eq!(forgotten + kept, withholder.total());
    }
}
