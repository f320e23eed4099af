//! Log flood control: limits the lines about each source and counts the suppressed ones.
//!
//! A source that is rejected again and again gets a few lines, then one from time to time with the number of those that
//! were left out. A flood of rejects must fill neither the disk nor the operator's screen.
//!
//! The table is bounded; when it is full, the source that was silent longest is dropped. Its lock is taken for rejects
//! only, for well below a microsecond.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::model::source::SourceKey;

const SHARDS: usize = 16;

/// Sources per shard; 16 shards of 256 are 4096 sources, some 400 KiB.
const SHARD_CAPACITY: usize = 256;

/// Kind of a rate-limited line; each kind has its own allowance per source.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum LineKind {
    /// Security events, such as a bad signature.
    Security,
    /// Other rejects: an operator who sets up a route needs to see more of them.
    Plain,
    /// URL checks without a signature, which any client can make.
    Unsigned,
}

/// Token bucket: `burst` lines at once, then one more after each `refill`.
#[derive(Clone, Copy, Debug)]
struct LinePace {
    burst: u32,
    refill: Duration,
}

/// Limit over all sources, against floods from many addresses: some 25 KiB a second.
const OVERALL: LinePace = LinePace {
    burst: 1000,
    refill: Duration::from_millis(10),
};

impl LineKind {
    fn pace(self) -> LinePace {
        match self {
            Self::Security | Self::Unsigned => LinePace {
                burst: 5,
                refill: Duration::from_secs(10),
            },
            Self::Plain => LinePace {
                burst: 50,
                refill: Duration::from_secs(1),
            },
        }
    }
}

/// Key of an allowance: source and kind.
pub(super) type LineKey = (SourceKey, LineKind);

/// Decision about one log line.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum LineDecision {
    /// The line is within the limits and must be written.
    Tell {
        /// Number of lines suppressed since the last one that was written.
        suppressed: u64,
    },
    /// Suppress the line and count it.
    Withhold,
}

/// Count of suppressed lines that is not logged yet.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct SuppressedLines {
    /// Source and kind of the lines.
    pub(super) key: LineKey,
    /// Number of suppressed lines since the last report.
    pub(super) count: u64,
}

/// Rate limiter of log lines, with an allowance for each source.
#[derive(Debug)]
pub(super) struct LogSuppressor {
    shards: [Mutex<HashMap<LineKey, LineAllowance>>; SHARDS],
    overall: Mutex<LineAllowance>,
    total: AtomicU64,
    forgotten: AtomicU64,
}

#[derive(Debug)]
struct LineAllowance {
    remaining: u32,
    refilled: Instant,
    last_used: Instant,
    suppressed: u64,
}

impl LogSuppressor {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            shards: Default::default(),
            overall: Mutex::new(LineAllowance::full(OVERALL, now)),
            total: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
        }
    }

    /// Counts one event against its source and decides about its line.
    pub(super) fn count(&self, key: LineKey, now: Instant) -> LineDecision {
        let mut shard = self.shard(key.0);
        // Bounded before the insert: an attacker with many addresses must not grow the table.
        if shard.len() >= SHARD_CAPACITY && !shard.contains_key(&key) {
            self.forget_oldest(&mut shard);
        }
        let allowance = match shard.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(LineAllowance::full(key.1.pace(), now)),
        };
        allowance.last_used = now;
        // The source's own allowance is taken first, so that a suppressed source does not use up the overall one.
        if allowance.take(key.1.pace(), now) && self.overall.lock().take(OVERALL, now) {
            let withheld = std::mem::take(&mut allowance.suppressed);
            LineDecision::Tell {
                suppressed: withheld,
            }
        } else {
            allowance.suppressed = allowance.suppressed.saturating_add(1);
            self.total.fetch_add(1, Ordering::Relaxed);
            LineDecision::Withhold
        }
    }

    /// Returns the counts of sources that may have a line again, and drops sources that have been silent.
    pub(super) fn sweep(&self, now: Instant) -> Vec<SuppressedLines> {
        let mut suppressed = Vec::new();
        for shard in &self.shards {
            shard.lock().retain(|key, allowance| {
                let pace = key.1.pace();
                if allowance.suppressed > 0
                    && allowance.take(pace, now)
                    && self.overall.lock().take(OVERALL, now)
                {
                    let count = std::mem::take(&mut allowance.suppressed);
                    suppressed.push(SuppressedLines { key: *key, count });
                }
                // A full allowance without a count is the same as no entry.
                allowance.suppressed > 0 || !allowance.is_full(pace, now)
            });
        }
        suppressed
    }

    /// Returns all remaining counts, at the end of the process.
    pub(super) fn drain(&self) -> Vec<SuppressedLines> {
        let mut suppressed = Vec::new();
        for shard in &self.shards {
            for (key, allowance) in shard.lock().drain() {
                if allowance.suppressed > 0 {
                    suppressed.push(SuppressedLines {
                        key,
                        count: allowance.suppressed,
                    });
                }
            }
        }
        suppressed
    }

    /// Returns the number of lines suppressed since the start.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Returns and resets the count of suppressed lines of sources that were dropped from the table.
    pub(super) fn take_forgotten(&self) -> u64 {
        self.forgotten.swap(0, Ordering::Relaxed)
    }

    fn shard(&self, source: SourceKey) -> MutexGuard<'_, HashMap<LineKey, LineAllowance>> {
        let index = shard_index(source);
        let shard = self.shards.get(index).unwrap_or(&self.shards[0]);
        shard.lock()
    }

    fn forget_oldest(&self, shard: &mut HashMap<LineKey, LineAllowance>) {
        let oldest = shard
            .iter()
            .min_by_key(|(_, allowance)| allowance.last_used);
        if let Some(key) = oldest.map(|(key, _)| *key)
            && let Some(allowance) = shard.remove(&key)
        {
            self.forgotten
                .fetch_add(allowance.suppressed, Ordering::Relaxed);
        }
    }
}

impl LineAllowance {
    fn full(pace: LinePace, now: Instant) -> Self {
        Self {
            remaining: pace.burst,
            refilled: now,
            last_used: now,
            suppressed: 0,
        }
    }

    /// Takes one line from the allowance; returns false if it is empty.
    fn take(&mut self, pace: LinePace, now: Instant) -> bool {
        self.refill(pace, now);
        match self.remaining.checked_sub(1) {
            Some(left) => {
                self.remaining = left;
                true
            }
            None => false,
        }
    }

    fn is_full(&mut self, pace: LinePace, now: Instant) -> bool {
        self.refill(pace, now);
        self.remaining == pace.burst
    }

    fn refill(&mut self, pace: LinePace, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled).as_nanos();
        // Whole lines only; the remainder is kept in `refilled` below.
        let gained = passed / pace.refill.as_nanos();
        if gained == 0 {
            return;
        }
        let gained = u32::try_from(gained).unwrap_or(u32::MAX);
        self.remaining = self.remaining.saturating_add(gained).min(pace.burst);
        // The rest of a period counts toward the next line, unless the allowance is full.
        self.refilled = match pace.refill.checked_mul(gained) {
            Some(used) if self.remaining < pace.burst => self.refilled + used,
            _ => now,
        };
    }
}

/// Returns the shard of a source; hashing spreads neighboring addresses over the shards.
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

    fn key(number: u32) -> LineKey {
        let ip = IpAddr::V4(Ipv4Addr::from_bits(number));
        (SourceKey::of(ip), LineKind::Security)
    }

    fn fresh() -> (LogSuppressor, Instant) {
        let now = instant();
        (LogSuppressor::new(now), now)
    }

    #[test]
    fn many_sources_together_are_bounded_too() {
        let (withholder, start) = fresh();
        let suppressed = |now| {
            let tellings = (0..3000).map(|number| withholder.count(key(number), now));
            tellings
                .filter(|telling| *telling != LineDecision::Withhold)
                .count()
        };
        assert_eq!(suppressed(start), 1000);
        assert_eq!(suppressed(start), 0);
        assert_eq!(suppressed(start + Duration::from_secs(1)), 100);
    }

    #[test]
    fn a_source_gets_five_lines_then_one_each_ten_seconds_with_a_count() {
        let (withholder, start) = fresh();
        for _ in 0..5 {
            assert_eq!(
                withholder.count(key(1), start),
                LineDecision::Tell { suppressed: 0 }
            );
        }
        for _ in 0..1000 {
            assert_eq!(withholder.count(key(1), start), LineDecision::Withhold);
        }
        // Another source still gets its line.
        assert_eq!(
            withholder.count(key(2), start),
            LineDecision::Tell { suppressed: 0 }
        );
        let later = start + Duration::from_secs(10);
        assert_eq!(
            withholder.count(key(1), later),
            LineDecision::Tell { suppressed: 1000 }
        );
        assert_eq!(withholder.count(key(1), later), LineDecision::Withhold);
        assert_eq!(withholder.total(), 1001);
    }

    #[test]
    fn a_sweep_reports_what_was_withheld_once_and_forgets_the_silent() {
        let (withholder, start) = fresh();
        for _ in 0..8 {
            withholder.count(key(1), start);
        }
        assert_eq!(withholder.sweep(start), []);
        let later = start + Duration::from_secs(11);
        let suppressed = SuppressedLines {
            key: key(1),
            count: 3,
        };
        assert_eq!(withholder.sweep(later), [suppressed]);
        assert_eq!(withholder.sweep(later + Duration::from_secs(60)), []);
        let held: usize = withholder
            .shards
            .iter()
            .map(|shard| shard.lock().len())
            .sum();
        assert_eq!(held, 0);
    }

    #[test]
    fn the_end_reports_everything_that_was_withheld() {
        let (withholder, start) = fresh();
        for _ in 0..7 {
            withholder.count(key(1), start);
        }
        assert_eq!(
            withholder.drain(),
            [SuppressedLines {
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
                withholder.count(key(number), start);
            }
        }
        let held: usize = withholder
            .shards
            .iter()
            .map(|shard| shard.lock().len())
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
