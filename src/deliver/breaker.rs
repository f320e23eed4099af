//! The circuit breaker of a destination: it pauses attempts after repeated failures, then probes with one.
//!
//! It is pure: callers pass in the time and the random number. It counts signs that the destination is away (no
//! connection, no response, 5xx), not its verdicts on events (4xx). While the breaker is open nothing is taken from the
//! store, so deliveries use up no attempts.

use std::time::{Duration, Instant};

/// Evidence of an attempt about its destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// The destination responds, with any status below 500.
    Alive,
    /// The destination does not respond, or responds with a server error.
    Away,
    /// The attempt ended before it reached the destination.
    Nothing,
}

/// Attempts that the breaker allows now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Allowed {
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
pub enum BreakerState {
    /// Attempts are made as usual.
    Closed,
    /// No attempt is made until a pause ends.
    Open,
    /// One attempt probes the destination.
    HalfOpen,
}

/// The circuit breaker of one destination.
#[derive(Debug)]
pub struct Breaker {
    /// Failures in a row that open the breaker; `None` if it never opens.
    threshold: Option<u32>,
    failures: u32,
    /// How often the breaker opened since the last response.
    openings: u32,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
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
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }

    /// Returns the number for this state in metrics.
    #[must_use]
    pub fn code(self) -> u64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

impl Breaker {
    /// Returns a closed breaker that has counted no failure.
    #[must_use]
    pub fn new(threshold: Option<u32>) -> Self {
        Self {
            threshold,
            failures: 0,
            openings: 0,
            state: State::Closed,
        }
    }

    /// Sets another threshold. Without a threshold the breaker closes.
    pub fn set_threshold(&mut self, threshold: Option<u32>) {
        self.threshold = threshold;
        if threshold.is_none() {
            self.close();
        }
    }

    /// Returns which attempts are allowed now.
    #[must_use]
    pub fn allowed(&self, now: Instant) -> Allowed {
        match self.state {
            State::Closed => Allowed::All,
            State::Open { until } if now < until => Allowed::NoneUntil(until),
            State::Open { .. } | State::HalfOpen { is_probing: false } => Allowed::One,
            State::HalfOpen { is_probing: true } => Allowed::None,
        }
    }

    /// Records the start of an attempt that `allowed` permitted.
    pub fn begin(&mut self) {
        match self.state {
            State::Closed => {}
            State::Open { .. } | State::HalfOpen { .. } => {
                self.state = State::HalfOpen { is_probing: true };
            }
        }
    }

    /// Records the end of an attempt. `chance` is a random number from 0.0 up to 1.0.
    pub fn end(&mut self, signal: Signal, now: Instant, chance: f64) {
        match (signal, self.state) {
            // A response always closes the breaker, even one to an attempt from before it opened.
            (Signal::Alive, _) => self.close(),
            (Signal::Away, State::Closed) => {
                self.failures = self.failures.saturating_add(1);
                if self.threshold.is_some_and(|limit| self.failures >= limit) {
                    self.open(now, chance);
                }
            }
            (Signal::Away, State::HalfOpen { .. }) => self.open(now, chance),
            // An attempt from before the breaker opened proves nothing about the present.
            (Signal::Away | Signal::Nothing, State::Open { .. })
            | (Signal::Nothing, State::Closed) => {}
            // The probe never reached the destination, so allow another one.
            (Signal::Nothing, State::HalfOpen { .. }) => {
                self.state = State::HalfOpen { is_probing: false };
            }
        }
    }

    /// Allows a probe at once, because an operator asked for it.
    pub fn half_open(&mut self) {
        if let State::Open { .. } = self.state {
            self.state = State::HalfOpen { is_probing: false };
        }
    }

    /// Returns the state for metrics and the console.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn close(&mut self) {
        self.failures = 0;
        self.openings = 0;
        self.state = State::Closed;
    }

    fn open(&mut self, now: Instant, chance: f64) {
        let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.openings));
        let pause = doubled.min(LONGEST_PAUSE);
        let longer = pause.mul_f64(1.0 + JITTER * chance.clamp(0.0, 1.0));
        self.openings = self.openings.saturating_add(1);
        // If the clock cannot represent the end of the pause, the pause would never end. Then there is no pause.
        let until = now.checked_add(longer).unwrap_or(now);
        self.state = State::Open { until };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::clock;

    fn opened(threshold: u32, now: Instant) -> Breaker {
        let mut breaker = Breaker::new(Some(threshold));
        for _ in 0..threshold {
            assert_eq!(breaker.allowed(now), Allowed::All);
            breaker.begin();
            breaker.end(Signal::Away, now, 0.0);
        }
        breaker
    }

    // Fails when failures count together although a response came between them.
    #[test]
    fn so_many_failures_in_a_row_open_it() {
        let now = clock::instant();
        let mut breaker = Breaker::new(Some(3));
        for signal in [
            Signal::Away,
            Signal::Away,
            Signal::Alive,
            Signal::Away,
            Signal::Nothing,
            Signal::Away,
        ] {
            breaker.end(signal, now, 0.0);
            assert_eq!(breaker.state(), BreakerState::Closed);
        }
        breaker.end(Signal::Away, now, 0.0);
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.allowed(now), Allowed::NoneUntil(now + FIRST_PAUSE));
    }

    // Mutation: `allowed` says `One` for `is_probing: true`.
    #[test]
    fn one_attempt_shows_whether_it_is_back() {
        let now = clock::instant();
        let mut breaker = opened(2, now);
        let later = now + FIRST_PAUSE;
        assert_eq!(breaker.allowed(later), Allowed::One);
        breaker.begin();
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(breaker.allowed(later), Allowed::None);
        breaker.end(Signal::Alive, later, 0.0);
        assert_eq!(breaker.allowed(later), Allowed::All);
    }

    #[test]
    fn pauses_grow_until_it_answers_again() {
        let mut now = clock::instant();
        let mut breaker = opened(1, now);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let Allowed::NoneUntil(until) = breaker.allowed(now) else {
                panic!("the breaker is open");
            };
            pauses.push((until - now).as_secs());
            now = until;
            assert_eq!(breaker.allowed(now), Allowed::One);
            breaker.begin();
            breaker.end(Signal::Away, now, 0.0);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        breaker.end(Signal::Alive, now, 0.0);
        breaker.end(Signal::Away, now, 0.0);
        assert_eq!(breaker.allowed(now), Allowed::NoneUntil(now + FIRST_PAUSE));
    }

    #[test]
    fn a_probe_that_never_got_there_is_followed_by_another() {
        let now = clock::instant();
        let mut breaker = opened(1, now);
        breaker.half_open();
        assert_eq!(breaker.allowed(now), Allowed::One);
        breaker.begin();
        breaker.end(Signal::Nothing, now, 0.0);
        assert_eq!(breaker.allowed(now), Allowed::One);
    }

    #[test]
    fn without_a_threshold_it_never_opens() {
        let now = clock::instant();
        let mut breaker = Breaker::new(None);
        for _ in 0..1000 {
            breaker.end(Signal::Away, now, 0.0);
        }
        assert_eq!(breaker.allowed(now), Allowed::All);
        let mut breaker = opened(1, now);
        breaker.set_threshold(None);
        assert_eq!(breaker.allowed(now), Allowed::All);
    }

    proptest! {
        // The breaker never gets stuck: within the longest pause an attempt is allowed, unless a probe is running.
        #[test]
        fn something_is_allowed_in_the_end(
            steps in proptest::collection::vec((0u8..4, 0u64..400, 0.0f64..1.0), 0..80),
            threshold in 1u32..5,
        ) {
            let mut now = clock::instant();
            let mut breaker = Breaker::new(Some(threshold));
            let mut probes = 0u32;
            for (step, seconds, chance) in steps {
                now += Duration::from_secs(seconds);
                match (step, breaker.allowed(now)) {
                    (0, Allowed::All) => breaker.begin(),
                    (0, Allowed::One) => {
                        breaker.begin();
                        probes += 1;
                        prop_assert_eq!(breaker.allowed(now), Allowed::None);
                    }
                    (1, _) => { breaker.end(Signal::Alive, now, chance); probes = 0; }
                    (2, _) => { breaker.end(Signal::Away, now, chance); probes = 0; }
                    (3, _) => { breaker.end(Signal::Nothing, now, chance); probes = 0; }
                    _ => {}
                }
                prop_assert!(probes <= 1);
                let later = now + LONGEST_PAUSE.mul_f64(1.0 + JITTER);
                match breaker.allowed(later) {
                    Allowed::All | Allowed::One => {}
                    Allowed::None => prop_assert_eq!(breaker.state(), BreakerState::HalfOpen),
                    Allowed::NoneUntil(_) => prop_assert!(false, "open for too long"),
                }
            }
        }
    }
}
