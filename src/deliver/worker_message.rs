//! Messages to a worker, and the state that it shares.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::sync::{Notify, mpsc};

use crate::deliver::breaker::HealthSignal;
use crate::deliver::health::SharedHealth;
use crate::record::deliveries::DestinationCounters;
use crate::store::rows::NextState;

/// State that a worker shares with its attempts and the deliverer.
pub(super) struct WorkerShared {
    pub(super) wake: Notify,
    pub(super) health: SharedHealth,
    pub(super) in_flight: AtomicUsize,
    pub(super) counters: Arc<DestinationCounters>,
    /// Messages to the worker. Each attempt sends at most two, so their number is bounded by that of attempts.
    pub(super) messages: mpsc::UnboundedSender<WorkerMessage>,
}

/// A message to the worker.
#[derive(Clone, Copy, Debug)]
pub(super) enum WorkerMessage {
    /// An exchange has ended and freed its permit.
    Exchanged(HealthSignal),
    /// The store has the outcome of an attempt.
    Finished(NextState),
    /// A delivery returned to the queue without an attempt.
    GivenBack,
    /// An attempt that `forward` made has ended and is stored.
    Elsewhere(HealthSignal, NextState),
}
