//! The clock, read once per request: `Now` is made in `pipeline.rs` and handed down, so that each check of one request
//! sees the same time and tests can inject it.
//!
//! The wall clock serves signed timestamps and the expiry of secrets only; limits and windows use the monotonic clock,
//! so that a step of the wall clock neither frees nor wedges anything.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clocks"
)]

use std::sync::LazyLock;
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

/// Milliseconds since the machine was booted, times in which it slept included. No setting of the wall clock moves it.
#[must_use]
pub fn since_boot_ms() -> i64 {
    let elapsed = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let millis = elapsed.tv_sec.saturating_mul(1000);
    millis.saturating_add(elapsed.tv_nsec / 1_000_000)
}

/// A reading of the processor's counter, for many short durations of one request.
#[derive(Clone, Copy, Debug)]
pub struct Ticks(u64);

static COUNTER: LazyLock<quanta::Clock> = LazyLock::new(quanta::Clock::new);

impl Ticks {
    /// Reads the counter. The first call in a process compares it with the clock, which takes some milliseconds.
    #[must_use]
    pub fn read() -> Self {
        Self(COUNTER.raw())
    }

    /// Ticks since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// How long so many ticks are.
    #[must_use]
    pub fn duration(ticks: u64) -> Duration {
        Duration::from_nanos(COUNTER.delta_as_nanos(0, ticks))
    }

    /// How many ticks a time is, or a little more.
    #[cfg(test)]
    #[must_use]
    pub fn of(time: Duration) -> u64 {
        let nanos = u64::try_from(time.as_nanos()).unwrap();
        let per_million = COUNTER.delta_as_nanos(0, 1_000_000).max(1);
        (nanos * 1_000_000).div_ceil(per_million) + 1
    }
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
