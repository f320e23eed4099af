//! The clock, read once per request: `Now` is made in `pipeline.rs` and handed down, so that each check of one request
//! sees the same time and tests can inject it.
//!
//! The wall clock serves signed timestamps and the expiry of secrets only; limits and windows use the monotonic clock,
//! so that a step of the wall clock neither frees nor wedges anything.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clocks"
)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: i64,
    /// The monotonic clock at the same moment.
    pub mono: Instant,
}

impl Now {
    /// Reads both clocks.
    #[must_use]
    pub fn read() -> Self {
        Self {
            unix_ms: unix_ms(SystemTime::now()),
            mono: Instant::now(),
        }
    }

    /// The same monotonic moment with another wall clock, as tests need it.
    #[must_use]
    pub fn at_unix_seconds(seconds: i64) -> Self {
        Self {
            unix_ms: seconds.saturating_mul(1000),
            mono: Instant::now(),
        }
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub fn unix_seconds(&self) -> i64 {
        self.unix_ms.div_euclid(1000)
    }
}

/// A reading of the monotonic clock, for durations.
#[must_use]
pub fn instant() -> Instant {
    Instant::now()
}

/// The day of a moment, `YYYY-MM-DD` in UTC.
#[must_use]
pub fn day(unix_seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(unix_seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%F").to_string()
}

/// The first second of a day as [`day`] writes it; none where it is no day.
#[must_use]
pub fn day_start(day: &str) -> Option<i64> {
    let midnight: jiff::Timestamp = format!("{day}T00:00:00Z").parse().ok()?;
    Some(midnight.as_second())
}

fn unix_ms(time: SystemTime) -> i64 {
    let millis = |elapsed: Duration| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(elapsed) => millis(elapsed),
        Err(before) => -millis(before.duration()),
    }
}
