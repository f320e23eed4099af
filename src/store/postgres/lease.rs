//! The lease of this node: how long it may believe that other nodes consider it alive.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::model::clock;

/// Pause between two beats.
pub(super) const BEAT: Duration = Duration::from_secs(4);

/// How long a node may begin attempts after its last beat that the database confirmed.
const VALID: Duration = Duration::from_secs(12);

/// How long a node may be quiet before another one declares it dead. It is longer than `VALID` by two beats, so that a
/// node that lost the database stops beginning attempts well before another one takes over.
pub(super) const DEAD_AFTER: Duration = Duration::from_secs(20);

/// Time for a node to record the end of an attempt, beyond the attempt's own limit. Only after that another node takes
/// over its delivery.
pub(super) const ATTEMPT_GRACE_MS: i64 = 5_000;

/// The end of this node's lease, on its own monotonic clock. No wall clock decides about a lease.
#[derive(Default)]
pub(super) struct NodeLease {
    valid_until: Mutex<Option<Instant>>,
}

impl NodeLease {
    /// Renews the lease after a beat that began at this time. The beginning counts, because the database may have
    /// written the beat right then and answered much later.
    pub(super) fn renew(&self, began: Instant) {
        *self.valid_until.lock() = Some(began + VALID);
    }

    /// Ends the lease, because another node declared this one dead.
    pub(super) fn end(&self) {
        *self.valid_until.lock() = None;
    }

    /// Returns whether an attempt may begin.
    pub(super) fn is_valid(&self) -> bool {
        let until = *self.valid_until.lock();
        // Without a lease no attempt begins: another node may already have the deliveries of this one.
        until.is_some_and(|until| clock::instant() < until)
    }
}
