//! Calls of the store on the path of events: commits, attempts of deliveries, and claims.

use std::time::Duration;

use crate::model::delivery::DeliveryId;
use crate::model::ids::RouteName;
use crate::store::error::StoreError;
use crate::store::handle::{Backend, Store};
use crate::store::nodes::BreakerReport;
use crate::store::rows::{CommitOutcome, DestinationId, FinishedAttempt, NewEvent, SpentClaim};
use crate::store::shared_claim::{SharedClaim, SharedClaimEnd, SharedClaimOutcome};
use crate::store::take::{TakeRequest, TakeResult};

impl Store {
    /// Commits an event, its deliveries and its claims in one transaction. They are durable when this returns.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn commit(&self, event: NewEvent) -> Result<CommitOutcome, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.commit(event).await,
            Backend::Postgres(store) => store.commit(event).await,
        }
    }

    /// Takes due deliveries of a destination. They are in flight, and their attempt is counted, before this returns. If
    /// the caller is gone by then, they return to the queue.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn take(&self, request: TakeRequest) -> Result<TakeResult, StoreError> {
        #[cfg(test)]
        if let Some(stub) = &self.stub
            && let Some(taken) = stub.take(&request)
        {
            return Ok(taken);
        }
        let taken = match &self.backend {
            Backend::Sqlite(store) => store.take(request).await,
            Backend::Postgres(store) => store.take(request).await,
        };
        #[cfg(test)]
        if let (Some(stub), Ok(taken)) = (&self.stub, &taken) {
            stub.has_taken(taken.due.len());
        }
        taken
    }

    /// Returns when the next delivery of a destination is due, by the store's clock. Returns `None` if no delivery
    /// waits or the destination is paused.
    pub(crate) async fn next_due(
        &self,
        destination: DestinationId,
    ) -> Result<Option<i64>, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.next_due(destination).await,
            Backend::Postgres(store) => store.next_due(destination).await,
        }
    }

    /// Returns whether an attempt may begin now: `false` if other nodes may by now believe that this one is dead, and
    /// take over its deliveries. Reads memory only.
    pub(crate) fn may_attempt(&self) -> bool {
        #[cfg(test)]
        if let Some(stub) = &self.stub {
            return stub.may_attempt();
        }
        match &self.backend {
            Backend::Sqlite(_) => true,
            Backend::Postgres(store) => store.may_attempt(),
        }
    }

    /// Returns deliveries that were taken and not attempted to the queue, at once and without counting an attempt as
    /// failed.
    pub(crate) async fn give_back(
        &self,
        delivery: DeliveryId,
        attempt: u32,
    ) -> Result<(), StoreError> {
        #[cfg(test)]
        if let Some(stub) = &self.stub {
            stub.given_back.lock().push((delivery, attempt));
            return Ok(());
        }
        match &self.backend {
            // Only a node that others may believe to be dead has to give back what it took.
            Backend::Sqlite(_) => Ok(()),
            Backend::Postgres(store) => store.give_back(delivery, attempt).await,
        }
    }

    /// Records the outcome of an attempt. Returns `false`, and changes nothing, if the delivery is not in flight with
    /// this attempt.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn finish(&self, finished: FinishedAttempt) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.finish(finished).await,
            Backend::Postgres(store) => store.finish(finished).await,
        }
    }

    /// Publishes the circuit breaker of a destination for all nodes. Returns at once.
    pub(crate) fn report_breaker(&self, destination: DestinationId, report: BreakerReport) {
        #[cfg(test)]
        if let Some(stub) = &self.stub {
            stub.breakers.lock().push(report);
        }
        match &self.backend {
            // One process has one breaker for each destination, in memory.
            Backend::Sqlite(_) => {}
            Backend::Postgres(store) => store.report_breaker(destination, report),
        }
    }

    /// Records that an app has taken events of a proxy route. Returns at once; the next group writes the claims. If too
    /// many tasks wait, the claims are dropped: after a restart such an event may then pass once more.
    pub(crate) fn spend(&self, claims: Vec<SpentClaim>) {
        match &self.backend {
            Backend::Sqlite(store) => store.spend(claims),
            Backend::Postgres(store) => store.spend(claims),
        }
    }

    /// Claims the keys of an event on all nodes, before an app is asked. The claim ends with [`Self::end_shared`], or after
    /// `lease`. A store of one process always grants it: that process has claims in memory.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) async fn claim_shared(
        &self,
        route: &RouteName,
        keys: Vec<[u8; 16]>,
        lease: Duration,
    ) -> Result<SharedClaimOutcome, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(SharedClaimOutcome::Claimed(SharedClaim {
                route: route.clone(),
                keys,
                lease_ms: 0,
            })),
            Backend::Postgres(store) => store.claim_shared(route, keys, lease).await,
        }
    }

    /// Ends a claim of this node on all nodes. Returns at once. If the end cannot be written, the claim ends with its
    /// lease.
    pub(crate) fn end_shared(&self, claim: SharedClaim, end: SharedClaimEnd) {
        match &self.backend {
            Backend::Sqlite(_) => {}
            Backend::Postgres(store) => store.end_shared(claim, end),
        }
    }

    /// Returns the claims of a route that are valid at `now_ms` of the store's clock, at most the youngest `limit`.
    /// Blocks.
    pub(crate) fn claims(
        &self,
        route: &RouteName,
        now_ms: i64,
        limit: u64,
    ) -> Result<Vec<SpentClaim>, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.claims(route, now_ms, limit),
            Backend::Postgres(store) => store.claims(route, now_ms, limit),
        }
    }

    /// Sets the longest duration of a delivery's attempt that is under way when its event is committed (hybrid mode). If
    /// this node dies, another one takes over such a delivery after that.
    pub(crate) fn set_first_attempt(&self, limit: Duration) {
        match &self.backend {
            // The next start of the process takes back what was in flight.
            Backend::Sqlite(_) => {}
            Backend::Postgres(store) => store.set_first_attempt(limit),
        }
    }
}
