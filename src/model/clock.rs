//! Readings of the wall clock and the monotonic clock.
//!
//! `pipeline.rs` reads both clocks once per request into a `ClockReading` and passes it down. All checks of one request
//! therefore see the same time, and tests can inject one.
//!
//! The wall clock decides only about signed timestamps and the expiry of secrets. Limits and windows use the monotonic
//! clock, so that a step of the wall clock neither frees nor blocks anything.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clocks"
)]

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks, taken at the same moment.
#[derive(Clone, Copy, Debug)]
pub struct ClockReading {
    /// Wall clock, in milliseconds since the Unix epoch.
    pub unix_ms: i64,
    /// The monotonic clock at the same moment.
    pub mono: Instant,
}

impl ClockReading {
    /// Reads both clocks, one directly after the other.
    #[must_use]
    pub fn read() -> Self {
        Self {
            unix_ms: unix_ms(SystemTime::now()),
            mono: Instant::now(),
        }
    }

    /// Returns the given wall clock time with the current monotonic time, for tests.
    #[must_use]
    pub fn at_unix_seconds(seconds: i64) -> Self {
        Self {
            unix_ms: seconds.saturating_mul(1000),
            mono: Instant::now(),
        }
    }

    /// Returns the wall clock in whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub fn unix_seconds(&self) -> i64 {
        self.unix_ms.div_euclid(1000)
    }
}

/// Reads the monotonic clock, to measure a duration.
#[must_use]
pub fn instant() -> Instant {
    Instant::now()
}

/// Converts a duration to whole milliseconds, rounded down. A duration of more than `i64::MAX` milliseconds becomes
/// `i64::MAX`, so that a huge value of the configuration counts as endless instead of as negative.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Returns the milliseconds since the machine booted, including time asleep. No change of the wall clock moves it.
pub(crate) fn since_boot_ms() -> i64 {
    let elapsed = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let millis = elapsed.tv_sec.saturating_mul(1000);
    millis.saturating_add(elapsed.tv_nsec / 1_000_000)
}

/// A reading of the processor's counter: cheap enough to time many short parts of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuTicks(u64);

static COUNTER: LazyLock<quanta::Clock> = LazyLock::new(quanta::Clock::new);

impl CpuTicks {
    /// Reads the counter. The first call in a process calibrates it against the clock, which takes some milliseconds.
    pub(crate) fn read() -> Self {
        Self(COUNTER.raw())
    }

    /// Returns the ticks since an earlier reading; 0 where the counter went backward.
    pub(crate) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Converts ticks to a duration.
    pub(crate) fn duration(ticks: u64) -> Duration {
        Duration::from_nanos(COUNTER.delta_as_nanos(0, ticks))
    }

    /// Converts a duration to ticks, rounded up.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn of(time: Duration) -> u64 {
        let nanos = u64::try_from(time.as_nanos()).unwrap();
        let per_million = COUNTER.delta_as_nanos(0, 1_000_000).max(1);
        (nanos * 1_000_000).div_ceil(per_million) + 1
    }
}

/// Formats the day of a moment as `YYYY-MM-DD` in UTC.
pub(crate) fn day(unix_seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(unix_seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%F").to_string()
}

/// Returns the first second of a day in the format of [`day`], or `None` where the text is not a day.
pub(crate) fn day_start(day: &str) -> Option<i64> {
    let midnight: jiff::Timestamp = format!("{day}T00:00:00Z").parse().ok()?;
    Some(midnight.as_second())
}

fn unix_ms(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        // A clock set before 1970 gives a negative number instead of an error: signed timestamps then fail their check.
        Ok(elapsed) => millis(elapsed),
        Err(before) => -millis(before.duration()),
    }
}
