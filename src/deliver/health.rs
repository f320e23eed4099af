//! Health of a destination: its worker and attempts record it, the admin API and console show it.

use std::time::Duration;

use parking_lot::Mutex;

use crate::deliver::breaker::BreakerState;
use crate::deliver::verdict::AttemptFault;
use crate::model::ids::{DestinationName, RouteName};
use crate::store::rows::DestinationId;

/// Health of one destination at this moment.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct WorkerHealth {
    /// The number of the destination in the store.
    pub destination: DestinationId,
    /// The route of the destination.
    pub route: RouteName,
    /// The name of the destination in its route.
    pub name: DestinationName,
    /// True if the config has `active = true`.
    pub is_active: bool,
    /// The current state of its circuit breaker.
    pub breaker: BreakerState,
    /// Time until the breaker allows an attempt.
    pub opens_in: Option<Duration>,
    /// Number of attempts in flight.
    pub in_flight: usize,
    /// When the destination last took an event, in milliseconds since the epoch.
    pub last_success_ms: Option<i64>,
    /// When an attempt last failed, in milliseconds since the epoch.
    pub last_failure_ms: Option<i64>,
    /// The fault of the last failed attempt.
    pub last_fault: Option<AttemptFault>,
    /// Moving average of the attempt time, weighted toward recent attempts; `None` before the first one.
    pub latency: Option<Duration>,
    /// Why deliveries cannot be taken from the store, if that fails.
    pub store_error: Option<String>,
}

/// The values that worker and attempts record.
#[derive(Clone, Default)]
pub(super) struct HealthRecord {
    pub(super) breaker: Option<BreakerState>,
    pub(super) opens_at: Option<std::time::Instant>,
    pub(super) last_success_ms: Option<i64>,
    pub(super) last_failure_ms: Option<i64>,
    pub(super) last_fault: Option<AttemptFault>,
    pub(super) latency: Option<Duration>,
    pub(super) store_error: Option<String>,
}

/// The recorded values behind a lock, which is only held for the time of a copy.
#[derive(Default)]
pub(super) struct SharedHealth(Mutex<HealthRecord>);

/// The newest latency has a weight of one in this many parts.
const WEIGHT: u32 = 8;

impl SharedHealth {
    pub(super) fn update(&self, change: impl FnOnce(&mut HealthRecord)) {
        change(&mut self.0.lock());
    }

    pub(super) fn read(&self) -> HealthRecord {
        self.0.lock().clone()
    }
}

impl HealthRecord {
    /// Records the end of an attempt.
    pub(super) fn ended(&mut self, is_success: bool, fault: Option<AttemptFault>, now_ms: i64) {
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
            // An exponential moving average, which needs no history.
            Some(before) => before - before / WEIGHT + took / WEIGHT,
        });
    }
}
