//! Limits that all nodes keep together, as the store reported them last: concurrency, rate and circuit breaker.
//!
//! It is pure: callers pass in times. While a limit holds, the worker does not ask the store, whatever wakes it: other
//! nodes' work wakes it twice a second.

use std::time::{Duration, Instant};

use crate::model::clock::ClockReading;
use crate::store::take::TakeHold;

/// Pause before asking again for a permit that another node uses.
const FULL_PAUSE: Duration = Duration::from_millis(250);

/// Longest pause because of a breaker that the nodes share. Another node may close it at any time.
const BREAKER_PAUSE: Duration = Duration::from_secs(5);

/// Longest pause because of a rate, whatever the store says.
const RATE_PAUSE: Duration = Duration::from_secs(60);

/// The reason for which due deliveries of a destination are left, and until when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SharedHold {
    hold: Option<(TakeHold, Instant)>,
    is_breaker_open: bool,
}

impl SharedHold {
    /// Records the reason that the store gave with a take, at the time at which it was asked.
    pub(super) fn set(&mut self, hold: Option<TakeHold>, now: ClockReading) {
        let wait = |until_ms: i64, longest: Duration| {
            let left_ms = until_ms.saturating_sub(now.unix_ms);
            // At least a moment, so that rounding does not make a loop.
            let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0).max(1));
            left.min(longest)
        };
        let pause = hold.map(|hold| match hold {
            TakeHold::Full => FULL_PAUSE,
            TakeHold::RateUntil(until_ms) => wait(until_ms, RATE_PAUSE),
            TakeHold::BreakerUntil(until_ms) => wait(until_ms, BREAKER_PAUSE),
        });
        // It stays open here until an attempt of this node succeeds: a take that allows the probe may give no reason.
        self.is_breaker_open |= matches!(hold, Some(TakeHold::BreakerUntil(_)));
        self.hold = hold
            .zip(pause)
            .map(|(hold, pause)| (hold, now.mono + pause));
    }

    /// Returns until when the store need not be asked.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        self.hold
            .map(|(_, until)| until)
            .filter(|until| now < *until)
    }

    /// Forgets the reason, because no delivery is due.
    pub(super) fn clear(&mut self) {
        self.hold = None;
    }

    /// Lets the worker ask again if another node may have freed a permit. A rate and a breaker hold until their time.
    pub(super) fn wake(&mut self) {
        if matches!(self.hold, Some((TakeHold::Full, _))) {
            self.hold = None;
        }
    }

    /// Records a response of the destination. Returns whether the breaker that the nodes share was open before.
    pub(super) fn close_breaker(&mut self) -> bool {
        std::mem::take(&mut self.is_breaker_open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when news of other nodes ask the store in spite of a rate or an open breaker.
    #[test]
    fn news_end_only_the_wait_for_a_permit() {
        let now = ClockReading::read();
        for (hold, pause, after_wake) in [
            (TakeHold::Full, FULL_PAUSE, None),
            (
                TakeHold::RateUntil(now.unix_ms + 700),
                Duration::from_millis(700),
                Some(Duration::from_millis(700)),
            ),
            (
                TakeHold::BreakerUntil(now.unix_ms + 60_000),
                BREAKER_PAUSE,
                Some(BREAKER_PAUSE),
            ),
            (
                TakeHold::RateUntil(now.unix_ms - 5),
                Duration::from_millis(1),
                Some(Duration::from_millis(1)),
            ),
        ] {
            let mut shared = SharedHold::default();
            shared.set(Some(hold), now);
            assert_eq!(shared.until(now.mono), Some(now.mono + pause), "{hold:?}");
            assert_eq!(shared.until(now.mono + pause), None, "{hold:?}");
            shared.wake();
            let after_wake = after_wake.map(|pause| now.mono + pause);
            assert_eq!(shared.until(now.mono), after_wake, "{hold:?}");
            shared.set(None, now);
            assert_eq!(shared.until(now.mono), None);
            let was_open = matches!(hold, TakeHold::BreakerUntil(_));
            assert_eq!(shared.close_breaker(), was_open, "{hold:?}");
            assert!(!shared.close_breaker());
        }
    }
}
