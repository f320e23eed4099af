//! A delivery: one event for one destination. Its states, and the one table of the steps between them.
//!
//! `store` changes a state only by a step of this table; `deliver` decides which step, operators ask for others. Pure:
//! a test drives this table and the store side by side.

use std::fmt;

/// The number of a delivery in its store. Later ones are higher.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DeliveryId(pub i64);

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a delivery stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum DeliveryState {
    /// To be attempted as soon as its destination takes it.
    Pending,
    /// An attempt is going on.
    InFlight,
    /// An attempt failed; the next one comes when it is due.
    Waiting,
    /// The destination took the event.
    Delivered,
    /// Retries are spent, or the event was refused for good: a dead letter.
    Dead,
    /// An operator ended it.
    Cancelled,
}

/// What happens to a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// An attempt begins.
    Begin,
    /// The destination answered 2xx.
    Deliver,
    /// The attempt failed, and another one will be made later.
    Delay,
    /// The attempt failed, and there will be no other by itself.
    GiveUp,
    /// The process ended during an attempt, whose outcome is unknown: it is made again.
    Interrupt,
    /// An operator wants it attempted now.
    Retry,
    /// An operator wants no more attempts.
    Cancel,
    /// An operator is done with a dead letter.
    Discard,
}

impl DeliveryState {
    /// All states, in the order of their codes.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::InFlight,
        Self::Waiting,
        Self::Delivered,
        Self::Dead,
        Self::Cancelled,
    ];

    /// The word for it, everywhere.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InFlight => "in_flight",
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// The number under which stores keep it.
    #[must_use]
    pub fn code(self) -> i64 {
        match self {
            Self::Pending => 0,
            Self::InFlight => 1,
            Self::Waiting => 2,
            Self::Delivered => 3,
            Self::Dead => 4,
            Self::Cancelled => 5,
        }
    }

    /// The state of a number that a store kept.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Whether an attempt may still come by itself.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::InFlight | Self::Waiting)
    }

    /// The state after a step; none where the step cannot happen here. What is delivered stays delivered: sending it
    /// again is a replay, which is a new delivery.
    #[must_use]
    pub fn after(self, step: Step) -> Option<Self> {
        use DeliveryState::{Cancelled, Dead, Delivered, InFlight, Pending, Waiting};
        match (self, step) {
            (Pending | Waiting, Step::Begin) => Some(InFlight),
            (InFlight, Step::Deliver) => Some(Delivered),
            (InFlight, Step::Delay) => Some(Waiting),
            (InFlight, Step::GiveUp) => Some(Dead),
            (InFlight, Step::Interrupt) => Some(Pending),
            (Pending | Waiting | Dead, Step::Retry) => Some(Pending),
            (Pending | Waiting, Step::Cancel) => Some(Cancelled),
            (Dead, Step::Discard) => Some(Cancelled),
            _ => None,
        }
    }
}

impl Step {
    /// All steps.
    pub const ALL: [Self; 8] = [
        Self::Begin,
        Self::Deliver,
        Self::Delay,
        Self::GiveUp,
        Self::Interrupt,
        Self::Retry,
        Self::Cancel,
        Self::Discard,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_codes_read_back() {
        for state in DeliveryState::ALL {
            assert_eq!(DeliveryState::parse(state.word()), Some(state));
            assert_eq!(DeliveryState::from_code(state.code()), Some(state));
        }
        assert_eq!(DeliveryState::parse("Pending"), None);
        assert_eq!(DeliveryState::from_code(6), None);
    }

    // Fails when a final state is left by anything but an operator's word about a dead letter.
    #[test]
    fn final_states_are_final() {
        for state in [
            DeliveryState::Delivered,
            DeliveryState::Dead,
            DeliveryState::Cancelled,
        ] {
            assert!(!state.is_open());
            let steps = Step::ALL.into_iter();
            let left: Vec<_> = steps.filter(|step| state.after(*step).is_some()).collect();
            let expected = match state {
                DeliveryState::Dead => vec![Step::Retry, Step::Discard],
                _ => Vec::new(),
            };
            assert_eq!(left, expected, "{state:?}");
        }
    }

    // Fails when something that is being attempted can be taken away from its owner.
    #[test]
    fn only_its_outcome_ends_an_attempt() {
        let steps = Step::ALL.into_iter();
        let ends: Vec<_> = steps
            .filter(|step| DeliveryState::InFlight.after(*step).is_some())
            .collect();
        assert_eq!(
            ends,
            [Step::Deliver, Step::Delay, Step::GiveUp, Step::Interrupt]
        );
    }
}
