//! The answers of a shared store, for tests of code that uses one without a database server.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::model::delivery::DeliveryId;
use crate::store::nodes::{BreakerReport, NodeReport, NodeRow};
use crate::store::rows::DestinationId;
use crate::store::take::{TakeHold, TakeRequest, TakeResult};

/// Overrides the answers of an SQLite store in which several nodes matter, and records the calls.
#[derive(Default)]
pub(crate) struct NodeStub {
    /// True if the lease of this node is over.
    pub(crate) is_fenced: AtomicBool,
    /// While set, a take returns no delivery and this reason.
    pub(crate) hold: Mutex<Option<TakeHold>>,
    /// Ends the lease with the next take that returns deliveries.
    pub(crate) ends_lease_with_take: AtomicBool,
    /// All takes, in their order.
    pub(crate) takes: Mutex<Vec<TakeRequest>>,
    /// Deliveries that were given back, with their attempts.
    pub(crate) given_back: Mutex<Vec<(DeliveryId, u32)>>,
    /// Reports about breakers, in their order.
    pub(crate) breakers: Mutex<Vec<BreakerReport>>,
    /// The list of nodes.
    pub(crate) nodes: Mutex<Vec<NodeRow>>,
    /// The newest report of this node.
    pub(crate) report: Mutex<Option<NodeReport>>,
    news: Mutex<Option<mpsc::Sender<DestinationId>>>,
}

impl NodeStub {
    pub(super) fn take(&self, request: &TakeRequest) -> Option<TakeResult> {
        self.takes.lock().push(request.clone());
        let hold = *self.hold.lock();
        hold.map(|hold| TakeResult {
            due: Vec::new(),
            hold: Some(hold),
        })
    }

    /// Handles the end of a take that was left to the store.
    pub(super) fn has_taken(&self, count: usize) {
        if count > 0 && self.ends_lease_with_take.load(Ordering::SeqCst) {
            self.is_fenced.store(true, Ordering::SeqCst);
        }
    }

    pub(super) fn may_attempt(&self) -> bool {
        !self.is_fenced.load(Ordering::SeqCst)
    }

    pub(super) fn news(&self) -> mpsc::Receiver<DestinationId> {
        let (sender, receiver) = mpsc::channel(16);
        *self.news.lock() = Some(sender);
        receiver
    }

    /// Reports work of another node.
    pub(crate) fn announce(&self, destination: DestinationId) {
        let news = self.news.lock();
        news.as_ref().unwrap().try_send(destination).unwrap();
    }
}
