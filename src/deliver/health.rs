//! How a destination is doing, as its worker and its attempts note it and the operator's door shows it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::deliver::breaker::BreakerState;
use crate::deliver::judge::Fault;
use crate::model::ids::{DestinationName, RouteName};
use crate::store::rows::DestinationId;

/// How one destination is doing.
#[derive(Clone, PartialEq, Debug)]
pub struct Health {
    /// Its number in the store.
    pub destination: DestinationId,
    /// Its route.
    pub route: RouteName,
    /// Its name.
    pub name: DestinationName,
    /// Whether the config has it attempted.
    pub is_active: bool,
    /// Where its breaker stands.
    pub breaker: BreakerState,
    /// How long until the breaker lets an attempt through.
    pub opens_in: Option<Duration>,
    /// Attempts under way.
    pub in_flight: usize,
    /// When it last took an event. Milliseconds since the epoch.
    pub last_success_ms: Option<i64>,
    /// When an attempt last failed. Milliseconds since the epoch.
    pub last_failure_ms: Option<i64>,
    /// How that failed.
    pub last_fault: Option<Fault>,
    /// How long its attempts take, the last ones weighing most; none: there was none yet.
    pub latency: Option<Duration>,
    /// Why nothing is taken from the store, where that fails.
    pub store_trouble: Option<String>,
}

/// What is noted.
#[derive(Clone, Default)]
pub(super) struct Noted {
    pub(super) breaker: Option<BreakerState>,
    pub(super) opens_at: Option<std::time::Instant>,
    pub(super) last_success_ms: Option<i64>,
    pub(super) last_failure_ms: Option<i64>,
    pub(super) last_fault: Option<Fault>,
    pub(super) latency: Option<Duration>,
    pub(super) store_trouble: Option<String>,
}

/// Noted under a lock that nobody holds for longer than a copy takes.
#[derive(Default)]
pub(super) struct Pulse(Mutex<Noted>);

/// The weight of the newest latency is one part of so many.
const WEIGHT: u32 = 8;

impl Pulse {
    pub(super) fn note(&self, change: impl FnOnce(&mut Noted)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn read(&self) -> Noted {
        let noted = self.0.lock();
        noted.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Noted {
    /// An attempt ended.
    pub(super) fn ended(&mut self, is_success: bool, fault: Option<Fault>, now_ms: i64) {
        if is_success {
            self.last_success_ms = Some(now_ms);
        } else {
            self.last_failure_ms = Some(now_ms);
            self.last_fault = fault;
        }
    }

    pub(super) fn took(&mut self, took: Duration) {
        self.latency = Some(match self.latency {
            None => took,
            Some(before) => before - before / WEIGHT + took / WEIGHT,
        });
    }
}
