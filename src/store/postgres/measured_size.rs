//! The size of the stored rows, as last measured.

use std::time::{Duration, Instant};

use crate::model::clock;

/// Estimated bytes of an event's rows and index entries beside its body.
pub(super) const OVERHEAD: u64 = 1024;

/// The stored bytes as of the last measurement, without what this node deleted since.
#[derive(Default)]
pub(super) struct MeasuredSize {
    measured: Option<(u64, Instant)>,
}

impl MeasuredSize {
    /// Returns the bytes if they were measured not long ago.
    pub(super) fn known(&self, age: Duration) -> Option<u64> {
        let (bytes, at) = self.measured?;
        (clock::instant().saturating_duration_since(at) < age).then_some(bytes)
    }

    pub(super) fn set(&mut self, bytes: u64, at: Instant) {
        self.measured = Some((bytes, at));
    }

    /// Subtracts deleted events.
    pub(super) fn subtract(&mut self, content: u64, events: u64) {
        if let Some((bytes, _)) = &mut self.measured {
            let freed = events.saturating_mul(OVERHEAD).saturating_add(content);
            *bytes = bytes.saturating_sub(freed);
        }
    }
}
