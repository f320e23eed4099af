//! Delivery states, and the one table of the steps between them.
//!
//! A delivery is one event for one destination. `store` changes a state only by a step of this table; `deliver` decides
//! which step, and operators request others. The table does no I/O: a test runs it side by side with the store.

use std::fmt;

/// The number of a delivery in its store. Later deliveries have higher numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DeliveryId(pub i64);

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The state of a delivery, as stores, the admin API and the console know it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum DeliveryState {
    /// Due for an attempt as soon as its destination has room for it.
    Pending,
    /// An attempt is in progress.
    InFlight,
    /// The last attempt failed; the next one starts when it is due.
    Waiting,
    /// The destination accepted the event.
    Delivered,
    /// A dead letter: retries are spent, or the destination rejected the event for good.
    Dead,
    /// An operator canceled it, or discarded its dead letter.
    Cancelled,
}

/// A transition of a delivery from one state to another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DeliveryStep {
    /// An attempt begins: the worker claims the delivery.
    Begin,
    /// The destination responded with 2xx.
    Deliver,
    /// The attempt failed, and a retry is scheduled.
    Delay,
    /// The attempt failed, and no retry follows unless an operator requests one.
    GiveUp,
    /// The process ended during an attempt. Its outcome is unknown, so the attempt is repeated.
    Interrupt,
    /// An operator requests an attempt now.
    Retry,
    /// An operator requests that no further attempt is made.
    Cancel,
    /// An operator discards a dead letter.
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

    /// Returns the name of the state in the admin API, the console, metrics and logs.
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

    /// Parses the name of a state.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Returns the number that stores write for the state. These numbers never change.
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

    /// Returns the state for a number from a store.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Returns true while an attempt may still follow without an operator.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::InFlight | Self::Waiting)
    }

    /// Returns the state after a step, or `None` where the step is not allowed in this state.
    ///
    /// A delivered event stays delivered: sending it again is a replay, which is a new delivery.
    #[must_use]
    pub fn after(self, step: DeliveryStep) -> Option<Self> {
        use DeliveryState::{Cancelled, Dead, Delivered, InFlight, Pending, Waiting};
        match (self, step) {
            // Both in-flight and final states reject `Begin`, so no delivery is ever attempted twice at once.
            (Pending | Waiting, DeliveryStep::Begin) => Some(InFlight),
            (InFlight, DeliveryStep::Deliver) => Some(Delivered),
            (InFlight, DeliveryStep::Delay) => Some(Waiting),
            (InFlight, DeliveryStep::GiveUp) => Some(Dead),
            (InFlight, DeliveryStep::Interrupt) => Some(Pending),
            // An in-flight delivery cannot be retried or canceled: its worker owns it until the outcome is known.
            (Pending | Waiting | Dead, DeliveryStep::Retry) => Some(Pending),
            (Pending | Waiting, DeliveryStep::Cancel) => Some(Cancelled),
            (Dead, DeliveryStep::Discard) => Some(Cancelled),
            _ => None,
        }
    }
}

impl DeliveryStep {
    /// All steps, so that a test can try each of them in each state.
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

    // Fails when a final state is left by any step but an operator's retry or discard of a dead letter.
    #[test]
    fn final_states_are_final() {
        for state in [
            DeliveryState::Delivered,
            DeliveryState::Dead,
            DeliveryState::Cancelled,
        ] {
            assert!(!state.is_open());
            let steps = DeliveryStep::ALL.into_iter();
            let left: Vec<_> = steps.filter(|step| state.after(*step).is_some()).collect();
            let expected = match state {
                DeliveryState::Dead => vec![DeliveryStep::Retry, DeliveryStep::Discard],
                _ => Vec::new(),
            };
            assert_eq!(left, expected, "{state:?}");
        }
    }

    // Fails when a delivery in flight can be taken away from the worker that owns it.
    #[test]
    fn only_its_outcome_ends_an_attempt() {
        let steps = DeliveryStep::ALL.into_iter();
        let ends: Vec<_> = steps
            .filter(|step| DeliveryState::InFlight.after(*step).is_some())
            .collect();
        assert_eq!(
            ends,
            [
                DeliveryStep::Deliver,
                DeliveryStep::Delay,
                DeliveryStep::GiveUp,
                DeliveryStep::Interrupt
            ]
        );
    }
}
