//! The inbox as the pipeline uses it: acceptance of events, and exchanges that outlast the response to their sender.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::deliver::DeliveryEngine;
use crate::inbox::Inbox;
use crate::model::delivery::DeliveryId;
use crate::store::rows::DestinationId;

/// Largest number of exchanges that continue after their sender got a response. Further ones are given up and retried
/// from the store.
const MAX_LATE: usize = 256;

/// The inbox, and the deliverer of its events.
#[derive(Clone)]
pub(super) struct DurableAcceptance {
    /// Accepts events into the store.
    pub inbox: Inbox,
    /// Delivers the stored events to their destinations.
    pub deliverer: Arc<DeliveryEngine>,
    pub late: Arc<Semaphore>,
    /// Tracks the late exchanges, for which a drain waits.
    pub exchanges: TaskTracker,
}

impl DurableAcceptance {
    /// Creates a value without late exchanges.
    pub(super) fn new(
        inbox: Inbox,
        deliverer: Arc<DeliveryEngine>,
        exchanges: TaskTracker,
    ) -> Self {
        Self {
            inbox,
            deliverer,
            late: Arc::new(Semaphore::new(MAX_LATE)),
            exchanges,
        }
    }

    /// Wakes the workers of these deliveries.
    pub(super) fn wake(&self, deliveries: &[(DestinationId, DeliveryId)]) {
        for (destination, _) in deliveries {
            self.deliverer.wake(*destination);
        }
    }
}
