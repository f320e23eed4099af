//! The circuit breaker of a destination: it pauses attempts after repeated failures, then probes with one.
//!
//! It is pure: callers pass in the time and the random number. It counts signs that the destination is away (no
//! connection, no response, 5xx), not its verdicts on events (4xx). While the breaker is open nothing is taken from the
//! store, so deliveries use up no attempts.

use std::time::{Duration, Instant};

/// Evidence of an attempt about its destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HealthSignal {
    /// The destination responds, with any status below 500.
    Alive,
    /// The destination does not respond, or responds with a server error.
    Away,
    /// The attempt ended before it reached the destination.
    Nothing,
}

/// Attempts that the breaker allows now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BreakerAllowance {
    /// Attempts without limit by the breaker.
    All,
    /// One attempt, to probe whether the destination is back.
    One,
    /// No attempt before this time.
    NoneUntil(Instant),
    /// No attempt until the running probe has ended.
    None,
}

/// State of a breaker, as metrics and the console show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BreakerState {
    /// Attempts are made as usual.
    Closed,
    /// No attempt is made until a pause ends.
    Open,
    /// One attempt probes the destination.
    HalfOpen,
}

/// The circuit breaker of one destination.
#[derive(Debug)]
pub(crate) struct CircuitBreaker {
    /// Failures in a row that open the breaker; `None` if it never opens.
    threshold: Option<u32>,
    failures: u32,
    /// How often the breaker opened since the last response.
    openings: u32,
    state: BreakerPhase,
}

#[derive(Clone, Copy, Debug)]
enum BreakerPhase {
    Closed,
    Open { until: Instant },
    HalfOpen { is_probing: bool },
}

/// The first pause. Each further pause without a response in between is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause, so that a recovered destination is noticed within about five minutes.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Largest random extension of a pause, as a part of it, so that destinations that failed together do not return
/// together.
const JITTER: f64 = 0.25;

impl BreakerState {
    /// Returns the word for this state in logs, the API and the console.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }

    /// Returns the number for this state in metrics.
    pub(crate) fn code(self) -> u64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

impl CircuitBreaker {
    /// Returns a closed breaker that has counted no failure.
    pub(crate) fn new(threshold: Option<u32>) -> Self {
        Self {
            threshold,
            failures: 0,
            openings: 0,
            state: BreakerPhase::Closed,
        }
    }

    /// Sets another threshold. Without a threshold the breaker closes.
    pub(crate) fn set_threshold(&mut self, threshold: Option<u32>) {
        self.threshold = threshold;
        if threshold.is_none() {
            self.close();
        }
    }

    /// Returns which attempts are allowed now.
    pub(crate) fn allowed(&self, now: Instant) -> BreakerAllowance {
        match self.state {
            BreakerPhase::Closed => BreakerAllowance::All,
            BreakerPhase::Open { until } if now < until => BreakerAllowance::NoneUntil(until),
            BreakerPhase::Open { .. } | BreakerPhase::HalfOpen { is_probing: false } => {
                BreakerAllowance::One
            }
            BreakerPhase::HalfOpen { is_probing: true } => BreakerAllowance::None,
        }
    }

    /// Records the start of an attempt that `allowed` permitted.
    pub(crate) fn begin(&mut self) {
        match self.state {
            BreakerPhase::Closed => {}
            BreakerPhase::Open { .. } | BreakerPhase::HalfOpen { .. } => {
                self.state = BreakerPhase::HalfOpen { is_probing: true };
            }
        }
    }

    /// Records the end of an attempt. `chance` is a random number from 0.0 up to 1.0.
    pub(crate) fn end(&mut self, signal: HealthSignal, now: Instant, chance: f64) {
        match (signal, self.state) {
            // A response always closes the breaker, even one to an attempt from before it opened.
            (HealthSignal::Alive, _) => self.close(),
            (HealthSignal::Away, BreakerPhase::Closed) => {
                self.failures = self.failures.saturating_add(1);
                if self.threshold.is_some_and(|limit| self.failures >= limit) {
                    self.open(now, chance);
                }
            }
            (HealthSignal::Away, BreakerPhase::HalfOpen { .. }) => self.open(now, chance),
            // An attempt from before the breaker opened proves nothing about the present.
            (HealthSignal::Away | HealthSignal::Nothing, BreakerPhase::Open { .. })
            | (HealthSignal::Nothing, BreakerPhase::Closed) => {}
            // The probe never reached the destination, so allow another one.
            (HealthSignal::Nothing, BreakerPhase::HalfOpen { .. }) => {
                self.state = BreakerPhase::HalfOpen { is_probing: false };
            }
        }
    }

    /// Returns the state for metrics and the console.
    pub(crate) fn state(&self) -> BreakerState {
        match self.state {
            BreakerPhase::Closed => BreakerState::Closed,
            BreakerPhase::Open { .. } => BreakerState::Open,
            BreakerPhase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn close(&mut self) {
        self.failures = 0;
        self.openings = 0;
        self.state = BreakerPhase::Closed;
    }

    fn open(&mut self, now: Instant, chance: f64) {
        let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.openings));
        let pause = doubled.min(LONGEST_PAUSE);
        let longer = pause.mul_f64(1.0 + JITTER * chance.clamp(0.0, 1.0));
        self.openings = self.openings.saturating_add(1);
        // If the clock cannot represent the end of the pause, the pause would never end. Then there is no pause.
        let until = now.checked_add(longer).unwrap_or(now);
        self.state = BreakerPhase::Open { until };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::clock;

    fn opened(threshold: u32, now: Instant) -> CircuitBreaker {
        let mut breaker = CircuitBreaker::new(Some(threshold));
        for _ in 0..threshold {
            assert_eq!(breaker.allowed(now), BreakerAllowance::All);
            breaker.begin();
            breaker.end(HealthSignal::Away, now, 0.0);
        }
        breaker
    }

    // Fails when failures count together although a response came between them.
    #[test]
    fn so_many_failures_in_a_row_open_it() {
        let now = clock::instant();
        let mut breaker = CircuitBreaker::new(Some(3));
        for signal in [
            HealthSignal::Away,
            HealthSignal::Away,
            HealthSignal::Alive,
            HealthSignal::Away,
            HealthSignal::Nothing,
            HealthSignal::Away,
        ] {
            breaker.end(signal, now, 0.0);
            assert_eq!(breaker.state(), BreakerState::Closed);
        }
        breaker.end(HealthSignal::Away, now, 0.0);
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(
            breaker.allowed(now),
            BreakerAllowance::NoneUntil(now + FIRST_PAUSE)
        );
    }

    // Mutation: `allowed` says `One` for `is_probing: true`.
    #[test]
    fn one_attempt_shows_whether_it_is_back() {
        let now = clock::instant();
        let mut breaker = opened(2, now);
        let later = now + FIRST_PAUSE;
        assert_eq!(breaker.allowed(later), BreakerAllowance::One);
        breaker.begin();
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(breaker.allowed(later), BreakerAllowance::None);
        breaker.end(HealthSignal::Alive, later, 0.0);
        assert_eq!(breaker.allowed(later), BreakerAllowance::All);
    }

    #[test]
    fn pauses_grow_until_it_answers_again() {
        let mut now = clock::instant();
        let mut breaker = opened(1, now);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let BreakerAllowance::NoneUntil(until) = breaker.allowed(now) else {
                panic!("the breaker is open");
            };
            pauses.push((until - now).as_secs());
            now = until;
            assert_eq!(breaker.allowed(now), BreakerAllowance::One);
            breaker.begin();
            breaker.end(HealthSignal::Away, now, 0.0);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        breaker.end(HealthSignal::Alive, now, 0.0);
        breaker.end(HealthSignal::Away, now, 0.0);
        assert_eq!(
            breaker.allowed(now),
            BreakerAllowance::NoneUntil(now + FIRST_PAUSE)
        );
    }

    #[test]
    fn a_probe_that_never_got_there_is_followed_by_another() {
        let now = clock::instant();
        let mut breaker = opened(1, now);
        let now = now + 2 * FIRST_PAUSE;
        assert_eq!(breaker.allowed(now), BreakerAllowance::One);
        breaker.begin();
        breaker.end(HealthSignal::Nothing, now, 0.0);
        assert_eq!(breaker.allowed(now), BreakerAllowance::One);
    }

    #[test]
    fn without_a_threshold_it_never_opens() {
        let now = clock::instant();
        let mut breaker = CircuitBreaker::new(None);
        for _ in 0..1000 {
            breaker.end(HealthSignal::Away, now, 0.0);
        }
        assert_eq!(breaker.allowed(now), BreakerAllowance::All);
        let mut breaker = opened(1, now);
        breaker.set_threshold(None);
        assert_eq!(breaker.allowed(now), BreakerAllowance::All);
    }

    proptest! {
        // The breaker never gets stuck: within the longest pause an attempt is allowed, unless a probe is running.
        #[test]
        fn something_is_allowed_in_the_end(
            steps in proptest::collection::vec((0u8..4, 0u64..400, 0.0f64..1.0), 0..80),
            threshold in 1u32..5,
        ) {
            let mut now = clock::instant();
            let mut breaker = CircuitBreaker::new(Some(threshold));
            let mut probes = 0u32;
            for (step, seconds, chance) in steps {
                now += Duration::from_secs(seconds);
                match (step, breaker.allowed(now)) {
                    (0, BreakerAllowance::All) => breaker.begin(),
                    (0, BreakerAllowance::One) => {
                        breaker.begin();
                        probes += 1;
                        prop_assert_eq!(breaker.allowed(now), BreakerAllowance::None);
                    }
                    (1, _) => { breaker.end(HealthSignal::Alive, now, chance); probes = 0; }
                    (2, _) => { breaker.end(HealthSignal::Away, now, chance); probes = 0; }
                    (3, _) => { breaker.end(HealthSignal::Nothing, now, chance); probes = 0; }
                    _ => {}
                }
                prop_assert!(probes <= 1);
                let later = now + LONGEST_PAUSE.mul_f64(1.0 + JITTER);
                match breaker.allowed(later) {
                    BreakerAllowance::All | BreakerAllowance::One => {}
                    BreakerAllowance::None => prop_assert_eq!(breaker.state(), BreakerState::HalfOpen),
                    BreakerAllowance::NoneUntil(_) => prop_assert!(false, "open for too long"),
                }
            }
        }
    }
}
