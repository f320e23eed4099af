//! How long each check of one request took, part of its verdict.
//!
//! Fourteen moments in each request are too many for the clock of the system; the counter of the processor costs a third
//! of it. Where the processor has no counter that can be relied on, the clock is read after all.

use std::time::Duration;

use crate::gate::verdict::Check;
use crate::model::clock::Ticks;

/// The time of each check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Laps {
    /// When the last lap ended.
    mark: Ticks,
    /// In ticks, by [`Check`].
    took: [u64; Check::ALL.len()],
}

impl Laps {
    /// The first lap begins.
    pub(super) fn start() -> Self {
        Self {
            mark: Ticks::read(),
            took: [0; Check::ALL.len()],
        }
    }

    /// The time since the last lap ended counts for this check.
    pub(super) fn end(&mut self, check: Check) {
        let now = Ticks::read();
        self.add(check, now.since(self.mark));
        self.mark = now;
    }

    /// The time since the last lap ended counts for no check.
    pub(super) fn skip(&mut self) {
        self.mark = Ticks::read();
    }

    /// The time of a check; zero where it did not come to it.
    pub(super) fn of(&self, check: Check) -> Duration {
        self.of_all(check, check)
    }

    /// The time of the checks from the first to the last one, both included.
    pub(super) fn of_all(&self, first: Check, last: Check) -> Duration {
        let range = first as usize..=last as usize;
        let laps = self.took.get(range).unwrap_or_default();
        Ticks::duration(laps.iter().copied().fold(0, u64::saturating_add))
    }

    fn add(&mut self, check: Check, ticks: u64) {
        if let Some(took) = self.took.get_mut(check as usize) {
            *took = took.saturating_add(ticks);
        }
    }

    /// With a time for one check, as tests of other rooms need it.
    #[cfg(test)]
    pub(super) fn set(&mut self, check: Check, took: Duration) {
        if let Some(ticks) = self.took.get_mut(check as usize) {
            *ticks = Ticks::of(took);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::instant;

    /// Fails when a lap counts for another check, when what is skipped counts, or when a tick is taken for another time.
    #[test]
    fn the_time_of_each_check_is_its_own() {
        let pause = Duration::from_millis(20);
        // How fast the counter counts is measured against the clock, on a busy machine to a thousandth or so.
        let least = pause - pause / 100;
        // Nothing can be waited for here but the time itself.
        let wait = || {
            let began = instant();
            while began.elapsed() < pause {
                std::hint::spin_loop();
            }
        };
        let mut laps = Laps::start();
        laps.end(Check::Route);
        wait();
        laps.end(Check::Body);
        wait();
        laps.skip();
        laps.end(Check::Commit);
        let body = laps.of(Check::Body);
        assert!(body >= least && body < pause * 50, "{body:?}");
        for other in [Check::Route, Check::Commit] {
            assert!(laps.of(other) < pause, "{other:?} {:?}", laps.of(other));
        }
        assert_eq!(laps.of(Check::Dedup), Duration::ZERO);
        assert_eq!(
            laps.of_all(Check::Framing, Check::Dedup),
            body,
            "only the body took time between them"
        );
    }
}
