//! The pace of a destination: rate limit, slow start after a long silence, and detection of clock steps.
//!
//! It is pure: callers pass in times. One task drives each of these types, so no state is shared.

use std::time::{Duration, Instant};

use hookgate_verify::model::rate::RateLimit;

use crate::model::clock::ClockReading;

/// A token bucket of attempts. Unlike a limiter that is asked once per request, it reports how many attempts may start
/// before any delivery is taken from the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptBucket {
    rate: RateLimit,
    level: f64,
    updated_at: Instant,
}

impl AttemptBucket {
    /// Returns a bucket that holds its whole burst.
    pub(super) fn new(rate: RateLimit, now: Instant) -> Self {
        Self {
            rate,
            level: f64::from(rate.burst.get()),
            updated_at: now,
        }
    }

    pub(super) fn rate(&self) -> RateLimit {
        self.rate
    }

    /// Returns how many attempts may start now.
    pub(super) fn available(&mut self, now: Instant) -> usize {
        let elapsed = now.saturating_duration_since(self.updated_at);
        self.updated_at = self.updated_at.max(now);
        let filled = self.level + elapsed.as_secs_f64() / self.one().as_secs_f64();
        self.level = filled.min(f64::from(self.rate.burst.get()));
        whole(self.level)
    }

    /// Removes one token for each started attempt.
    pub(super) fn take(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.level -= f64::from(count);
    }

    /// Returns the time until the next attempt may start.
    pub(super) fn wait(&self) -> Duration {
        let missing = (1.0 - self.level).max(0.0);
        let wait = Duration::try_from_secs_f64(self.one().as_secs_f64() * missing);
        // An overflow would be longer than any uptime, so an hour is as good. The extra time keeps rounding on the safe
        // side.
        wait.unwrap_or(Duration::from_secs(3600)) + Duration::from_micros(100)
    }

    fn one(&self) -> Duration {
        (self.rate.period / self.rate.count.get()).max(Duration::from_nanos(1))
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float saturates, and a negative level counts as zero"
)]
fn whole(level: f64) -> usize {
    // A value just below a whole number is whole, but for rounding.
    (level + 1e-9).max(0.0) as usize
}

/// A slow start: one attempt at first, and one more for each that ended, up to the full concurrency. So a long queue,
/// after a stop of the destination or of the gate, does not overrun the destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct SlowStart(Option<usize>);

impl SlowStart {
    pub(super) fn begin(&mut self) {
        self.0 = Some(1);
    }

    /// Allows one more attempt, because one has ended.
    pub(super) fn grow(&mut self, concurrency: usize) {
        self.0 = self
            .0
            .map(|limit| limit.saturating_add(1))
            .filter(|limit| *limit < concurrency);
    }

    pub(super) fn limit(self, concurrency: usize) -> usize {
        self.0.map_or(concurrency, |limit| limit.min(concurrency))
    }
}

/// Detects a store clock that advanced while the monotonic clock did not, because the machine slept.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockWatch(ClockReading);

/// Smallest difference that counts as a step, since the two clocks are not read at the same moment.
const STEP: Duration = Duration::from_secs(2);

impl ClockWatch {
    pub(super) fn new(now: ClockReading) -> Self {
        Self(now)
    }

    /// Returns true if a step happened since the last call.
    pub(super) fn has_stepped(&mut self, now: ClockReading) -> bool {
        let before = std::mem::replace(&mut self.0, now);
        let mono = now.mono.saturating_duration_since(before.mono).as_millis();
        let wall = i128::from(now.unix_ms) - i128::from(before.unix_ms);
        let mono = i128::try_from(mono).unwrap_or(i128::MAX);
        wall.saturating_sub(mono).unsigned_abs() > STEP.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;

    fn rate(count: u32, seconds: u64, burst: u32) -> RateLimit {
        RateLimit {
            count: NonZeroU32::new(count).unwrap(),
            period: Duration::from_secs(seconds),
            burst: NonZeroU32::new(burst).unwrap(),
        }
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let now = ClockReading::read().mono;
        let mut bucket = AttemptBucket::new(rate(2, 1, 5), now);
        assert_eq!(bucket.available(now), 5);
        bucket.take(5);
        assert_eq!(bucket.available(now), 0);
        let next = now + bucket.wait();
        assert_eq!(bucket.available(next), 1);
        assert_eq!(bucket.available(next + Duration::from_secs(60)), 5);
    }

    #[test]
    fn a_slow_start_opens_up_with_each_attempt() {
        let mut ramp = SlowStart::default();
        assert_eq!(ramp.limit(8), 8);
        ramp.begin();
        assert_eq!(ramp.limit(8), 1);
        ramp.grow(8);
        assert_eq!(ramp.limit(8), 2);
        for _ in 0..8 {
            ramp.grow(8);
        }
        assert_eq!(ramp.limit(8), 8);
        assert_eq!(ramp, SlowStart::default());
        ramp.begin();
        assert_eq!(ramp.limit(1), 1);
        ramp.grow(1);
        assert_eq!(ramp, SlowStart::default());
    }

    #[test]
    fn a_machine_that_slept_is_noticed() {
        let start = ClockReading::read();
        let at = |mono_s: u64, wall_s: i64| ClockReading {
            unix_ms: start.unix_ms + wall_s * 1000,
            mono: start.mono + Duration::from_secs(mono_s),
        };
        let mut watch = ClockWatch::new(start);
        assert!(!watch.has_stepped(at(100, 100)));
        assert!(!watch.has_stepped(at(200, 201)));
        assert!(watch.has_stepped(at(300, 501)));
        assert!(!watch.has_stepped(at(400, 601)));
        assert!(watch.has_stepped(at(401, -90_000)));
    }

    proptest! {
        // A bucket gives at most its burst and what the rate allows in the time.
        #[test]
        fn a_bucket_never_gives_more_than_its_rate(
            count in 1u32..50,
            burst in 1u32..20,
            steps in proptest::collection::vec((0u64..5_000, 0usize..40), 1..100),
        ) {
            let start = ClockReading::read().mono;
            let mut bucket = AttemptBucket::new(rate(count, 1, burst), start);
            let (mut now, mut taken) = (start, 0usize);
            for (millis, wanted) in steps {
                now += Duration::from_millis(millis);
                let some = bucket.available(now).min(wanted);
                bucket.take(some);
                taken += some;
                let most = f64::from(burst) + (now - start).as_secs_f64() * f64::from(count);
                prop_assert!(taken as f64 <= most + 0.001);
            }
        }
    }
}
