//! The result of erasing events.

use crate::store::rows::DestinationId;

/// Events that one transaction erases. Their bodies are overwritten, so a group must not be large.
pub(in crate::store) const ERASED_AT_ONCE: usize = 16;

/// Numbers of erased rows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct EraseResult {
    /// Events that were erased with all their rows. Their claims stay, so that a retry of the sender is no new event.
    pub events: u64,
    /// Deliveries that waited for an attempt, which now never comes.
    pub cancelled: u64,
    /// Deliveries whose attempt was in progress: its request may still reach the app.
    pub in_flight: u64,
    /// Destinations that had open deliveries. Others of the same order key may be due now.
    pub destinations: Vec<DestinationId>,
}

/// Numbers of the first and the last event of a store, for a progress bar.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct EventExtent {
    /// Number of the oldest event; 0 without events.
    pub first: i64,
    /// Number of the newest event; 0 without events.
    pub last: i64,
}

impl EraseResult {
    pub(crate) fn add(&mut self, other: Self) {
        self.events = self.events.saturating_add(other.events);
        self.cancelled = self.cancelled.saturating_add(other.cancelled);
        self.in_flight = self.in_flight.saturating_add(other.in_flight);
        for destination in other.destinations {
            if !self.destinations.contains(&destination) {
                self.destinations.push(destination);
            }
        }
    }
}
