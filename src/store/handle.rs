//! An open store, whichever database holds it.
//!
//! The set of databases is closed, so the store is an enum: a call costs one branch, and the compiler lists every place
//! that a new operation needs.

#[cfg(test)]
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::clock::ClockReading;
use crate::model::database::DatabaseLocation;
use crate::model::delivery::DeliveryId;
use crate::model::ids::{DestinationName, RequestId, RouteName};
use crate::store::audit::{ActionRow, ActionSearch, OperatorAction};
use crate::store::certificate_item::CertificateItem;
use crate::store::content_match::ContentCriterion;
use crate::store::erase::{EraseResult, EventExtent};
use crate::store::error::StoreError;
#[cfg(test)]
use crate::store::node_testing::NodeStub;
use crate::store::nodes::{BreakerReport, NodeReport, NodeRow};
use crate::store::options::{PurgeResult, RetentionLimits, StoreOptions, StoreStatistics};
use crate::store::postgres::store::PostgresStore;
#[cfg(test)]
use crate::store::rows::DueDelivery;
use crate::store::rows::{
    CommitOutcome, DestinationId, DestinationRow, FinishedAttempt, NewEvent, SpentClaim,
    StoredEvent,
};
use crate::store::search::{
    AttemptRow, DeliveryRow, DeliverySearch, EventRow, EventSearch, ListPage, ReplayRow,
    ReplaySearch, StepSelection,
};
use crate::store::shared_claim::{SharedClaim, SharedClaimEnd, SharedClaimOutcome};
use crate::store::sqlite::options::SqliteOptions;
use crate::store::sqlite::store::SqliteStore;
use crate::store::take::{TakeRequest, TakeResult};

/// An open store. A clone is cheap, and the last clone closes the store.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
    /// Answers of other nodes that a test wants.
    #[cfg(test)]
    stub: Option<Arc<NodeStub>>,
}

#[derive(Clone)]
enum Backend {
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
}

impl Store {
    /// Opens or creates the store, and migrates it to the newest schema. Blocks.
    ///
    /// An SQLite file returns to the queue what a dead process had in flight (`Step::Interrupt`, with an attempt of
    /// unknown outcome on record). If its disk is full or fails, or PostgreSQL is away, this still returns a store. That
    /// store rejects every task with [`StoreError::Reopening`] and tries again until it can open the database.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(options: StoreOptions) -> Result<Self, StoreError> {
        let backend = match options.location.clone() {
            DatabaseLocation::Sqlite(file) => {
                Backend::Sqlite(SqliteStore::open(SqliteOptions::new(file, options))?)
            }
            DatabaseLocation::Postgres(settings) => {
                Backend::Postgres(PostgresStore::open(*settings, options)?)
            }
        };
        Ok(Self {
            backend,
            #[cfg(test)]
            stub: None,
        })
    }

    /// Returns the number of a destination, and assigns one to a new name. A name keeps its number forever.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn destination(
        &self,
        route: &RouteName,
        name: &DestinationName,
    ) -> Result<DestinationId, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.destination(route, name).await,
            Backend::Postgres(store) => store.destination(route, name).await,
        }
    }

    /// Lists all destinations that ever had a name, with their numbers of deliveries.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn destinations(&self) -> Result<Vec<DestinationRow>, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.destinations().await,
            Backend::Postgres(store) => store.destinations().await,
        }
    }

    /// Pauses or resumes a destination, or all of a route if no name is given. The route still accepts events. Returns
    /// `false` if the name is unknown.
    pub(crate) async fn pause(
        &self,
        route: &RouteName,
        name: Option<&DestinationName>,
        is_paused: bool,
    ) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.pause(route, name, is_paused).await,
            Backend::Postgres(store) => store.pause(route, name, is_paused).await,
        }
    }

    /// Returns whether a destination is disabled, or it or its route is paused. Reads memory only.
    pub(crate) fn is_held(&self, destination: DestinationId) -> bool {
        match &self.backend {
            Backend::Sqlite(store) => store.is_held(destination),
            Backend::Postgres(store) => store.is_held(destination),
        }
    }

    /// Returns the number of a destination in the database. A destination that was named before the database was
    /// opened has another number outside of it.
    pub(crate) fn resolve(&self, destination: DestinationId) -> DestinationId {
        match &self.backend {
            Backend::Sqlite(store) => store.resolve(destination),
            Backend::Postgres(store) => store.resolve(destination),
        }
    }

    /// Disables a destination that responded with 410, or enables it again if no reason is given. Its deliveries wait
    /// meanwhile.
    pub(crate) async fn disable(
        &self,
        destination: DestinationId,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.disable(destination, reason).await,
            Backend::Postgres(store) => store.disable(destination, reason).await,
        }
    }

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

    /// Returns one event with its whole content.
    pub(crate) async fn event(&self, uid: RequestId) -> Result<Option<StoredEvent>, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.event(uid).await,
            Backend::Postgres(store) => store.event(uid).await,
        }
    }

    /// Lists events, newest first. A page holds at most 1,000 rows.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn events(
        &self,
        search: EventSearch,
        page: ListPage,
    ) -> Result<Vec<EventRow>, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.events(search, page).await,
            Backend::Postgres(store) => store.events(search, page).await,
        }
    }

    /// Lists events whose content meets a criterion, newest first. Each call reads a
    /// bounded part of the store. If it did not reach the end, it also returns the cursor for the next call.
    pub(crate) async fn events_with_content(
        &self,
        search: EventSearch,
        criterion: ContentCriterion,
        page: ListPage,
    ) -> Result<(Vec<EventRow>, Option<i64>), StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.events_with_content(search, criterion, page).await,
            Backend::Postgres(store) => store.events_with_content(search, criterion, page).await,
        }
    }

    /// Lists deliveries, newest first. A page holds at most 1,000 rows.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn deliveries(
        &self,
        search: DeliverySearch,
        page: ListPage,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.deliveries(search, page).await,
            Backend::Postgres(store) => store.deliveries(search, page).await,
        }
    }

    /// Returns the attempts of a delivery in their order.
    pub(crate) async fn attempts(
        &self,
        delivery: DeliveryId,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.attempts(delivery).await,
            Backend::Postgres(store) => store.attempts(delivery).await,
        }
    }

    /// Applies a step (`Retry`, `Cancel`, `Discard`) to one delivery or to all that match, in bounded groups. Returns
    /// how many deliveries it changed. Deliveries whose state does not allow the step stay as they are. Deliveries that
    /// arrive meanwhile are not considered. If a group fails, those before it stay done.
    pub(crate) async fn change(
        &self,
        selection: StepSelection,
        now_ms: i64,
    ) -> Result<u64, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.change(selection, now_ms).await,
            Backend::Postgres(store) => store.change(selection, now_ms).await,
        }
    }

    /// Counts the deliveries that a replay would create.
    pub(crate) async fn count_replay(&self, replay: &ReplaySearch) -> Result<u64, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.count_replay(replay).await,
            Backend::Postgres(store) => store.count_replay(replay).await,
        }
    }

    /// Starts a replay, which `step_replay` then works off. It survives a restart.
    pub(crate) async fn begin_replay(
        &self,
        replay: ReplaySearch,
        now_ms: i64,
    ) -> Result<ReplayRow, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.begin_replay(replay, now_ms).await,
            Backend::Postgres(store) => store.begin_replay(replay, now_ms).await,
        }
    }

    /// Creates the next `limit` deliveries of a replay that is not paused. Returns `None` if the replay does not exist.
    pub(crate) async fn step_replay(
        &self,
        id: i64,
        limit: u64,
        now_ms: i64,
    ) -> Result<Option<ReplayRow>, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.step_replay(id, limit, now_ms).await,
            Backend::Postgres(store) => store.step_replay(id, limit, now_ms).await,
        }
    }

    /// Pauses a replay, or resumes it.
    pub(crate) async fn pause_replay(
        &self,
        id: i64,
        is_paused: bool,
    ) -> Result<Option<ReplayRow>, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.pause_replay(id, is_paused).await,
            Backend::Postgres(store) => store.pause_replay(id, is_paused).await,
        }
    }

    /// Lists replays, newest first.
    pub(crate) async fn replays(&self, limit: u64) -> Result<Vec<ReplayRow>, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.replays(limit).await,
            Backend::Postgres(store) => store.replays(limit).await,
        }
    }

    /// Erases events with all their rows, in bounded groups. Their claims stay, so that a retry of the sender is no new
    /// event. If a group fails, those before it stay erased.
    pub(crate) async fn erase(&self, events: &[RequestId]) -> Result<EraseResult, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.erase(events).await,
            Backend::Postgres(store) => store.erase(events).await,
        }
    }

    /// Removes the bytes of deleted rows from the files of the store. Returns `false` if that is not complete yet, or
    /// left to the server of a database.
    pub(crate) async fn scrub(&self) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.scrub().await,
            // Old versions of rows and the log of the database belong to its server.
            Backend::Postgres(_) => Ok(false),
        }
    }

    /// Returns the numbers of the first and the last event.
    pub(crate) async fn extent(&self) -> Result<EventExtent, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.extent().await,
            Backend::Postgres(store) => store.extent().await,
        }
    }

    /// Runs one bounded round of retention, and returns unused space.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn purge(
        &self,
        retention: &RetentionLimits,
        now_ms: i64,
    ) -> Result<PurgeResult, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.purge(retention, now_ms).await,
            Backend::Postgres(store) => store.purge(retention, now_ms).await,
        }
    }

    /// Returns the counters of the store.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn stats(&self) -> Result<StoreStatistics, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.stats().await,
            Backend::Postgres(store) => store.stats().await,
        }
    }

    /// Stores an operator action and returns its number. Deletes the oldest actions beyond the limit.
    pub(crate) async fn record_action(&self, action: OperatorAction) -> Result<i64, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.record_action(action).await,
            Backend::Postgres(store) => store.record_action(action).await,
        }
    }

    /// Lists operator actions, newest first. A page holds at most 1,000 rows.
    pub(crate) async fn actions(
        &self,
        search: ActionSearch,
        page: ListPage,
    ) -> Result<Vec<ActionRow>, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.actions(search, page).await,
            Backend::Postgres(store) => store.actions(search, page).await,
        }
    }

    /// Takes or prolongs the duty of alerts, for a time. Returns its term, which grows whenever the duty goes to another
    /// node, or `None` if another node has it. A store of one process always has it.
    pub(crate) async fn take_alert_duty(&self, lease: Duration) -> Result<Option<i64>, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(Some(0)),
            Backend::Postgres(store) => store.take_alert_duty(lease).await,
        }
    }

    /// Lists the rows of alerts whose names begin with a text. A store of one process has no such rows.
    pub(crate) async fn alert_rows(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, String)>, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(Vec::new()),
            Backend::Postgres(store) => store.alert_rows(prefix).await,
        }
    }

    /// Writes or deletes rows of alerts in one transaction. With a term, this changes nothing and returns `false` if
    /// this node does not have the duty in this term.
    pub(crate) async fn put_alert_rows(
        &self,
        term: Option<i64>,
        rows: Vec<(String, Option<String>)>,
    ) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(true),
            Backend::Postgres(store) => store.put_alert_rows(term, rows).await,
        }
    }

    /// Lists the nodes that share the store, this one first. An SQLite file has one node, so its list is empty.
    pub(crate) async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        #[cfg(test)]
        if let Some(stub) = &self.stub {
            return Ok(stub.nodes.lock().clone());
        }
        match &self.backend {
            Backend::Sqlite(_) => Ok(Vec::new()),
            Backend::Postgres(store) => store.nodes().await,
        }
    }

    /// Returns the name of this node, if several nodes may share the store.
    pub(crate) fn node_name(&self) -> Option<&str> {
        #[cfg(test)]
        if self.stub.is_some() {
            return Some("test");
        }
        match &self.backend {
            Backend::Sqlite(_) => None,
            Backend::Postgres(store) => Some(store.node_name()),
        }
    }

    /// Returns a value that changes with each written or removed certificate item. An SQLite file has no items: its process
    /// holds certificates in files.
    pub(crate) async fn certificate_version(&self) -> Result<(i64, i64), StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok((0, 0)),
            Backend::Postgres(store) => store.certificate_version().await,
        }
    }

    /// Returns the certificate items of these kinds that all nodes share.
    pub(crate) async fn certificate_items(
        &self,
        kinds: Vec<String>,
    ) -> Result<Vec<CertificateItem>, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(Vec::new()),
            Backend::Postgres(store) => store.certificate_items(kinds).await,
        }
    }

    /// Writes a certificate item for all nodes.
    pub(crate) async fn put_certificate_item(
        &self,
        item: CertificateItem,
    ) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(()),
            Backend::Postgres(store) => store.put_certificate_item(item).await,
        }
    }

    /// Removes a certificate item for all nodes.
    pub(crate) async fn remove_certificate_item(
        &self,
        kind: String,
        name: String,
    ) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(()),
            Backend::Postgres(store) => store.remove_certificate_item(kind, name).await,
        }
    }

    /// Takes or extends the lease of the one node that orders certificates. Returns `false` if another node has it.
    pub(crate) async fn take_certificate_lease(
        &self,
        length: Duration,
    ) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(true),
            Backend::Postgres(store) => store.take_certificate_lease(length).await,
        }
    }

    /// Ends the lease of this node.
    pub(crate) async fn end_certificate_lease(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(()),
            Backend::Postgres(store) => store.end_certificate_lease().await,
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

    /// Sets what this node publishes about itself with its next beats.
    pub(crate) fn publish(&self, report: NodeReport) {
        #[cfg(test)]
        if let Some(stub) = &self.stub {
            *stub.report.lock() = Some(report.clone());
        }
        match &self.backend {
            Backend::Sqlite(_) => {}
            Backend::Postgres(store) => store.publish(report),
        }
    }

    /// Returns a receiver of destinations that got work from other nodes. Only one receiver gets them: the newest.
    pub(crate) fn news(&self) -> mpsc::Receiver<DestinationId> {
        #[cfg(test)]
        if let Some(stub) = &self.stub {
            return stub.news();
        }
        match &self.backend {
            // No other process writes the file, so this channel is closed at once.
            Backend::Sqlite(_) => mpsc::channel(1).1,
            Backend::Postgres(store) => store.news(),
        }
    }

    /// Returns the time of the store's clock, with the monotonic time. This clock decides when a delivery is due, when
    /// its round began and when a claim expires. Setting the wall clock of this machine delays nothing.
    pub(crate) fn now(&self) -> ClockReading {
        match &self.backend {
            Backend::Sqlite(store) => store.now(),
            Backend::Postgres(store) => store.now(),
        }
    }

    /// Converts a time of the store's clock to the wall clock.
    pub(crate) fn to_wall_ms(&self, stored_ms: i64) -> i64 {
        match &self.backend {
            Backend::Sqlite(store) => store.to_wall_ms(stored_ms),
            Backend::Postgres(store) => store.to_wall_ms(stored_ms),
        }
    }

    /// Returns whether the store accepts commits now: `false` from a failed write until the database is open again.
    pub(crate) fn is_healthy(&self) -> bool {
        match &self.backend {
            Backend::Sqlite(store) => store.is_healthy(),
            Backend::Postgres(store) => store.is_healthy(),
        }
    }

    /// Returns whether the database was ever open. It is `false` if it was away at the start and still is. Until then
    /// the content is unknown, and destinations have temporary numbers that only this store understands.
    pub(crate) fn was_opened(&self) -> bool {
        match &self.backend {
            Backend::Sqlite(store) => store.was_opened(),
            Backend::Postgres(store) => store.was_opened(),
        }
    }

    /// Lets the process that follows this one open the store, while this one commits what its last exchanges need. Nodes
    /// on PostgreSQL share the database anyway.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) async fn share(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.share().await,
            Backend::Postgres(_) => Ok(()),
        }
    }

    /// Ends the time that [`Self::share`] began, because no other process followed. Returns `false` if one has the store.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) async fn take_back(&self) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.take_back().await,
            Backend::Postgres(_) => Ok(true),
        }
    }

    /// Returns whether the process that this one follows may still write to the store, without notice to this one.
    pub(crate) fn has_predecessor(&self) -> bool {
        match &self.backend {
            Backend::Sqlite(store) => store.has_predecessor(),
            // Its commits are announced like those of every other node.
            Backend::Postgres(_) => false,
        }
    }

    /// Writes all waiting tasks and closes the database, for all clones. Blocks.
    pub fn close(self) {
        match self.backend {
            Backend::Sqlite(store) => store.close(),
            Backend::Postgres(store) => store.close(),
        }
    }
}

#[cfg(test)]
impl Store {
    /// Returns the store of a file, for tests that reach inside it.
    pub(in crate::store) fn sqlite(&self) -> &SqliteStore {
        match &self.backend {
            Backend::Sqlite(store) => store,
            Backend::Postgres(_) => panic!("the store is not a file"),
        }
    }

    /// Starts a store whose file could not be opened.
    pub(in crate::store) fn open_late(options: StoreOptions) -> Self {
        let DatabaseLocation::Sqlite(file) = options.location.clone() else {
            panic!("the store is not a file");
        };
        let store = SqliteStore::open_late(SqliteOptions::new(file, options));
        Self {
            backend: Backend::Sqlite(store),
            stub: None,
        }
    }

    /// Returns this store with the answers of a shared one.
    pub(crate) fn with_stub(self, stub: Arc<NodeStub>) -> Self {
        Self {
            stub: Some(stub),
            ..self
        }
    }

    /// Takes due deliveries without limits across nodes.
    pub(crate) async fn begin(
        &self,
        destination: DestinationId,
        limit: usize,
        as_of_ms: i64,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let request = TakeRequest::new(destination, limit, as_of_ms);
        self.take(request).await.map(|taken| taken.due)
    }

    /// Returns the store in PostgreSQL, for tests that reach inside it.
    pub(in crate::store) fn postgres(&self) -> &PostgresStore {
        match &self.backend {
            Backend::Sqlite(_) => panic!("the store is a file"),
            Backend::Postgres(store) => store,
        }
    }
}
