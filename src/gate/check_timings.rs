//! The time that each check of one request took, as part of its verdict.
//!
//! The gate reads the time some fourteen times for each request. The system clock is too slow for that; the processor's
//! counter costs a third of it. On a processor without a reliable counter, the clock is read instead.

use std::time::Duration;

use crate::gate::check::GateCheck;
use crate::model::clock::CpuTicks;

/// The times of all checks of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct CheckTimings {
    /// Time at which the last lap ended.
    mark: CpuTicks,
    /// Duration of each check in ticks, indexed by [`GateCheck`].
    took: [u64; GateCheck::ALL.len()],
}

impl CheckTimings {
    /// Starts the first lap, with no time counted yet.
    pub(super) fn start() -> Self {
        Self {
            mark: CpuTicks::read(),
            took: [0; GateCheck::ALL.len()],
        }
    }

    /// Ends the lap and counts its time for this check.
    pub(super) fn end(&mut self, check: GateCheck) {
        let now = CpuTicks::read();
        self.add(check, now.since(self.mark));
        self.mark = now;
    }

    /// Ends the lap and counts its time for no check.
    pub(super) fn skip(&mut self) {
        self.mark = CpuTicks::read();
    }

    /// Returns the time of a check; zero if the check was not reached.
    pub(super) fn of(&self, check: GateCheck) -> Duration {
        self.of_all(check, check)
    }

    /// Returns the total time of the checks from `first` to `last`, inclusive.
    pub(super) fn of_all(&self, first: GateCheck, last: GateCheck) -> Duration {
        let range = first as usize..=last as usize;
        let laps = self.took.get(range).unwrap_or_default();
        CpuTicks::duration(laps.iter().copied().fold(0, u64::saturating_add))
    }

    fn add(&mut self, check: GateCheck, ticks: u64) {
        if let Some(took) = self.took.get_mut(check as usize) {
            *took = took.saturating_add(ticks);
        }
    }

    /// Sets the time of one check, for tests of other modules.
    #[cfg(test)]
    pub(super) fn set(&mut self, check: GateCheck, took: Duration) {
        if let Some(ticks) = self.took.get_mut(check as usize) {
            *ticks = CpuTicks::of(took);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::instant;

    /// Fails when a lap counts for another check, when skipped time counts, or when ticks are converted with the wrong
    /// rate.
    #[test]
    fn the_time_of_each_check_is_its_own() {
        let pause = Duration::from_millis(20);
        // The counter's rate is measured against the clock, with an error of about a thousandth on a busy machine.
        let least = pause - pause / 100;
        // The test measures real time, so it has to spend some.
        let wait = || {
            let began = instant();
            while began.elapsed() < pause {
                std::hint::spin_loop();
            }
        };
        let mut laps = CheckTimings::start();
        laps.end(GateCheck::Route);
        wait();
        laps.end(GateCheck::Body);
        wait();
        laps.skip();
        laps.end(GateCheck::Commit);
        let body = laps.of(GateCheck::Body);
        assert!(body >= least && body < pause * 50, "{body:?}");
        for other in [GateCheck::Route, GateCheck::Commit] {
            assert!(laps.of(other) < pause, "{other:?} {:?}", laps.of(other));
        }
        assert_eq!(laps.of(GateCheck::Dedup), Duration::ZERO);
        assert_eq!(
            laps.of_all(GateCheck::Framing, GateCheck::Dedup),
            body,
            "only the body took time between them"
        );
    }
}
