//! Bounded queue of claims that hold on all nodes: requests wait for an answer, ends do not.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::store::error::StoreError;
use crate::store::shared_claim::{SharedClaim, SharedClaimEnd, SharedClaimOutcome};

/// Requests and ends that may wait. A gate has fewer requests in flight.
const MAX_WAITING: usize = 16 * 1024;

/// Largest group of one statement.
const MAX_GROUP: usize = 256;

/// Requests for claims, and ends of claims, that wait for their statement.
#[derive(Default)]
pub(super) struct SharedClaimQueue {
    state: Mutex<WaitingClaims>,
    wake: Notify,
}

#[derive(Default)]
struct WaitingClaims {
    requests: VecDeque<ClaimRequest>,
    ends: VecDeque<(SharedClaim, SharedClaimEnd)>,
    is_closed: bool,
}

/// A request for a claim, with the sender of its reply.
pub(super) struct ClaimRequest {
    pub(super) claim: SharedClaim,
    pub(super) reply: oneshot::Sender<Result<SharedClaimOutcome, StoreError>>,
}

/// Requests and ends of one group.
pub(super) struct ClaimGroup {
    pub(super) requests: Vec<ClaimRequest>,
    pub(super) ends: Vec<(SharedClaim, SharedClaimEnd)>,
}

impl SharedClaimQueue {
    /// Adds a request.
    pub(super) fn request(&self, request: ClaimRequest) -> Result<(), StoreError> {
        {
            let mut state = self.state.lock();
            if state.is_closed {
                return Err(StoreError::Closed);
            }
            // Rejected at once, so that the route's rule for an absent store applies instead of a long wait.
            if state.requests.len() >= MAX_WAITING {
                return Err(StoreError::Busy);
            }
            state.requests.push_back(request);
        }
        self.wake.notify_one();
        Ok(())
    }

    /// Adds the end of a claim.
    pub(super) fn end(&self, claim: SharedClaim, end: SharedClaimEnd) {
        {
            let mut state = self.state.lock();
            // Without room the lease ends the claim.
            if state.is_closed || state.ends.len() >= MAX_WAITING {
                return;
            }
            state.ends.push_back((claim, end));
        }
        self.wake.notify_one();
    }

    /// Rejects new work. Ends that wait are still written.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.wake.notify_one();
    }

    /// Waits for work and takes a group. Returns `None` after the queue is closed and empty.
    pub(super) async fn take(&self) -> Option<ClaimGroup> {
        loop {
            {
                let mut state = self.state.lock();
                let requests = state.requests.len().min(MAX_GROUP);
                // Ends have a share of their own, so that a flood of requests does not delay the release of claims.
                let ends = state.ends.len().min(MAX_GROUP);
                if requests + ends > 0 {
                    return Some(ClaimGroup {
                        requests: state.requests.drain(..requests).collect(),
                        ends: state.ends.drain(..ends).collect(),
                    });
                }
                if state.is_closed {
                    return None;
                }
            }
            // `notify_one` stores a permit, so a wake between the check above and this wait is not lost.
            self.wake.notified().await;
        }
    }

    /// Puts ends back that could not be written. Writing one twice changes nothing.
    pub(super) fn put_back(&self, ends: Vec<(SharedClaim, SharedClaimEnd)>) {
        let mut state = self.state.lock();
        // Backwards, so that they keep their order at the front: the later of two ends of one key counts.
        for end in ends.into_iter().rev() {
            state.ends.push_front(end);
        }
        // The bound holds here too. A claim whose end is dropped ends with its lease.
        state.ends.truncate(MAX_WAITING);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }
}
