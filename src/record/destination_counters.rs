//! The counters of one destination.

use std::sync::atomic::AtomicU64;

use crate::model::ids::{DestinationName, RouteName};
use crate::record::counters::ByKind;
use crate::record::histogram::{LONG_BOUNDS, LatencyHistogram};

/// Labels of a destination: its route and its name.
pub(super) type DestinationKey = (RouteName, DestinationName);

/// Counters and histograms of one destination.
#[derive(Debug)]
pub(crate) struct DestinationCounters {
    pub(super) attempts: ByKind,
    pub(super) delivered: AtomicU64,
    pub(super) delayed: AtomicU64,
    pub(super) dead: AtomicU64,
    pub(super) took: LatencyHistogram,
    /// Time from the acceptance of an event to its delivery. Replays are left out: they would report the age of the
    /// event.
    pub(super) lag: LatencyHistogram,
    /// Number of attempts that are currently in flight.
    pub in_flight: AtomicU64,
    /// State of the circuit breaker; 0: closed, 1: half open, 2: open.
    pub breaker: AtomicU64,
}

impl Default for DestinationCounters {
    fn default() -> Self {
        Self {
            attempts: ByKind::default(),
            delivered: AtomicU64::new(0),
            delayed: AtomicU64::new(0),
            dead: AtomicU64::new(0),
            took: LatencyHistogram::default(),
            lag: LatencyHistogram::new(&LONG_BOUNDS),
            in_flight: AtomicU64::new(0),
            breaker: AtomicU64::new(0),
        }
    }
}
