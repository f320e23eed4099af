//! The database's clock as this node sees it, which decides due times and the expiry of claims for all nodes.

use std::time::Instant;

use parking_lot::RwLock;

use crate::model::clock::{ClockReading, millis};

/// A smaller difference to the wall clock is treated as zero, so that times in lists agree with logs.
const NO_SKEW_MS: i64 = 1_000;

/// The database's clock: measured with each beat, and continued by elapsed time between two beats.
#[derive(Default)]
pub(super) struct DatabaseClock {
    measured: RwLock<Option<ClockMeasurement>>,
}

#[derive(Clone, Copy)]
struct ClockMeasurement {
    database_ms: i64,
    at: Instant,
}

impl DatabaseClock {
    /// Takes over a time of the database. The measurement lies between the question and the answer.
    pub(super) fn set(&self, database_ms: i64, asked: Instant, answered: Instant) {
        // The database read its clock at some time of the round trip, so the middle is wrong by half of it at most.
        let at = asked + answered.saturating_duration_since(asked) / 2;
        *self.measured.write() = Some(ClockMeasurement { database_ms, at });
    }

    /// Returns the time of the database, or of the wall clock while it was never measured.
    pub(super) fn now(&self) -> ClockReading {
        let wall = ClockReading::read();
        ClockReading {
            unix_ms: wall.unix_ms.saturating_add(self.skew_at(wall)),
            mono: wall.mono,
        }
    }

    /// Returns how far the database's clock is ahead of the wall clock, in milliseconds.
    pub(super) fn skew_ms(&self) -> i64 {
        self.skew_at(ClockReading::read())
    }

    /// Returns the difference without the tolerance for small ones.
    pub(super) fn exact_skew_ms(&self) -> i64 {
        self.difference(ClockReading::read())
    }

    fn skew_at(&self, wall: ClockReading) -> i64 {
        match self.difference(wall) {
            small if small.abs() < NO_SKEW_MS => 0,
            skew => skew,
        }
    }

    fn difference(&self, wall: ClockReading) -> i64 {
        let Some(measured) = *self.measured.read() else {
            return 0;
        };
        // By the monotonic clock, so that a step of the wall clock does not move due times.
        let elapsed = wall.mono.saturating_duration_since(measured.at);
        let elapsed_ms = millis(elapsed);
        let database_ms = measured.database_ms.saturating_add(elapsed_ms);
        database_ms.saturating_sub(wall.unix_ms)
    }
}
