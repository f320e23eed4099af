//! The store's clock, which decides due times, the age of a round and the expiry of claims.
//!
//! These times outlive the process, and the wall clock may be set at any moment. So this clock continues by elapsed
//! time: always within one process, and across a restart as long as the machine did not boot, because the kernel counts
//! elapsed time since the boot. After a boot it takes over the wall clock, but never a time before what the store has
//! seen.
//!
//! Times for people (received, created, ended) are of the wall clock. [`StoreClock::skew_ms`] converts between the two.

use rusqlite::{Connection, params};

use crate::model::clock::{self, ClockReading};

/// After a boot, a wall clock that is behind by at most this is considered correct.
const TOLERANCE_MS: i64 = 5_000;

/// A smaller difference to the wall clock is treated as zero.
const NO_SKEW_MS: i64 = 1_000;

/// Deliveries that one transaction changes at the start.
pub(super) const AT_ONCE: i64 = 1_000;

/// Shortest time between two writes of the clock, which are part of groups that are written anyway.
pub(super) const PERIOD_MS: i64 = 1_000;

/// The machine's count of elapsed time, and the boot that it belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct BootTime {
    /// Id of the boot; empty if the kernel does not provide one.
    pub(super) id: String,
    pub(super) elapsed_ms: i64,
}

/// The clock as it was last saved in the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SavedClock {
    pub(super) clock_ms: i64,
    pub(super) boot: BootTime,
}

/// A clock that only elapsed time moves.
#[derive(Debug)]
pub(super) struct StoreClock {
    from: SavedClock,
}

/// How reliable the clock is after a start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ClockTrust {
    /// Time continued, as far as the store can see.
    Sound,
    /// The machine booted, and the wall clock is behind by this many milliseconds: the length of the stop is unknown.
    Behind(i64),
}

impl BootTime {
    pub(super) fn read() -> Self {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        Self {
            id: id.unwrap_or_default().trim().to_owned(),
            elapsed_ms: clock::since_boot_ms(),
        }
    }
}

impl SavedClock {
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT clock_ms, boot_ms, boot_id FROM total";
        conn.query_row(sql, [], |row| {
            Ok(Self {
                clock_ms: row.get(0)?,
                boot: BootTime {
                    elapsed_ms: row.get(1)?,
                    id: row.get(2)?,
                },
            })
        })
    }

    pub(super) fn write(&self, conn: &Connection) -> rusqlite::Result<()> {
        let sql = "UPDATE total SET clock_ms = ?1, boot_ms = ?2, boot_id = ?3";
        let values = params![self.clock_ms, self.boot.elapsed_ms, self.boot.id];
        conn.prepare_cached(sql)?.execute(values).map(drop)
    }
}

impl Default for StoreClock {
    /// Starts at the time of the wall clock, until the file provides a saved clock.
    fn default() -> Self {
        let clock_ms = ClockReading::read().unix_ms;
        let boot = BootTime::read();
        let from = SavedClock { clock_ms, boot };
        Self { from }
    }
}

impl StoreClock {
    /// Continues from the saved clock.
    pub(super) fn resume(saved: &SavedClock, wall_ms: i64, boot: BootTime) -> (Self, ClockTrust) {
        let stopped_ms = boot.elapsed_ms.saturating_sub(saved.boot.elapsed_ms);
        // An unnamed boot proves nothing. A smaller count of elapsed time is from another boot.
        let is_same_boot = !boot.id.is_empty() && boot.id == saved.boot.id && stopped_ms >= 0;
        let behind_ms = saved.clock_ms.saturating_sub(wall_ms);
        let (clock_ms, trust) = match is_same_boot {
            true => (saved.clock_ms.saturating_add(stopped_ms), ClockTrust::Sound),
            false if behind_ms > TOLERANCE_MS => (saved.clock_ms, ClockTrust::Behind(behind_ms)),
            // The clock never goes back, so that what was due stays due.
            false => (wall_ms.max(saved.clock_ms), ClockTrust::Sound),
        };
        let from = SavedClock { clock_ms, boot };
        (Self { from }, trust)
    }

    pub(super) fn now_ms(&self) -> i64 {
        let elapsed_ms = clock::since_boot_ms().saturating_sub(self.from.boot.elapsed_ms);
        self.from.clock_ms.saturating_add(elapsed_ms.max(0))
    }

    /// Returns the time of this clock in place of the wall clock.
    pub(super) fn now(&self) -> ClockReading {
        ClockReading {
            unix_ms: self.now_ms(),
            mono: clock::instant(),
        }
    }

    /// Returns how far this clock is ahead of the wall clock. Adding it to a wall clock time gives a time of this
    /// clock.
    pub(super) fn skew_ms(&self) -> i64 {
        let skew_ms = self.now_ms().saturating_sub(ClockReading::read().unix_ms);
        match skew_ms.abs() < NO_SKEW_MS {
            true => 0,
            false => skew_ms,
        }
    }

    /// Returns the clock in the form that is saved.
    pub(super) fn save(&self) -> SavedClock {
        let elapsed_ms = clock::since_boot_ms();
        let more = elapsed_ms.saturating_sub(self.from.boot.elapsed_ms);
        SavedClock {
            clock_ms: self.from.clock_ms.saturating_add(more.max(0)),
            boot: BootTime {
                id: self.from.boot.id.clone(),
                elapsed_ms,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(id: &str, elapsed_ms: i64) -> BootTime {
        let id = id.to_owned();
        BootTime { id, elapsed_ms }
    }

    fn resume(saved: (i64, BootTime), wall_ms: i64, now: BootTime) -> (i64, ClockTrust) {
        let (clock_ms, boot) = saved;
        let saved = SavedClock { clock_ms, boot };
        let (clock, trust) = StoreClock::resume(&saved, wall_ms, now);
        (clock.from.clock_ms, trust)
    }

    // Fails when the wall clock counts although the machine did not boot.
    #[test]
    fn a_restart_goes_on_by_elapsed_time_wherever_the_wall_clock_was_set_to() {
        for wall_ms in [0, 1_000_000, 9_000_000, i64::MAX] {
            let resumed = resume((1_000_000, boot("a", 50_000)), wall_ms, boot("a", 57_000));
            assert_eq!(resumed, (1_007_000, ClockTrust::Sound));
        }
    }

    // Fails when the clock goes back, or when elapsed time of another boot is used.
    #[test]
    fn after_a_boot_the_wall_clock_counts_unless_it_is_behind() {
        let saved = || (1_000_000, boot("a", 50_000));
        assert_eq!(
            resume(saved(), 1_600_000, boot("b", 60_000)),
            (1_600_000, ClockTrust::Sound)
        );
        assert_eq!(
            resume(saved(), 998_000, boot("b", 60_000)),
            (1_000_000, ClockTrust::Sound)
        );
        let behind = (1_000_000, ClockTrust::Behind(900_000));
        for now in [boot("b", 60_000), boot("a", 10), boot("", 60_000)] {
            assert_eq!(resume(saved(), 100_000, now), behind);
        }
        let unnamed = (1_000_000, boot("", 50_000));
        assert_eq!(resume(unnamed, 100_000, boot("", 60_000)), behind);
    }
}
