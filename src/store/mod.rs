//! The store: durable events, deliveries, attempts and claims. Only this module knows SQL.
//!
//! `inbox` commits events, `deliver` takes due deliveries and records outcomes, and `admin` queries and changes rows
//! for an operator. One thread writes, in groups: all tasks that arrive while one group is synchronized to the disk
//! form the next group, so that one synchronization serves many tasks. A pool of read-only connections serves queries
//! beside the writer.
//!
//! The store never reports a task as done before it is durable. After a failed write the state of the file is unknown.
//! The store then fails all waiting tasks, opens the file again and checks it before the next group.

pub(crate) mod audit;
mod error;
mod options;
pub(crate) mod partial;
pub(crate) mod rows;
pub(crate) mod search;
mod sqlite;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use hookgate_verify::model::secret::Secret;

use crate::model::clock::ClockReading;
use crate::model::delivery::DeliveryId;
use crate::model::ids::{DestinationName, RequestId, RouteName};
use crate::store::audit::{ActionRow, ActionSearch, OperatorAction};
pub use crate::store::error::StoreError;
pub(crate) use crate::store::options::PurgeResult;
pub use crate::store::options::RetentionLimits;
pub use crate::store::options::StoreOptions;
pub use crate::store::options::StoreStatistics;
use crate::store::rows::{
    CommitOutcome, DestinationId, DestinationRow, DueDelivery, FinishedAttempt, NewEvent,
    SpentClaim, StoredEvent,
};
use crate::store::search::{
    AttemptRow, DeliveryRow, DeliverySearch, EventRow, EventSearch, ListPage, ReplayRow,
    ReplaySearch, StepSelection,
};
use crate::store::sqlite::StoreInner;

/// An open store. A clone is cheap, and the last clone closes the store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<StoreInner>,
}

impl Store {
    /// Opens or creates the store, migrates it to the newest schema, and returns deliveries that a dead process had in
    /// flight to the queue (`Step::Interrupt`, with an attempt of unknown outcome on record). Blocks.
    ///
    /// If the disk is full or fails, this still returns a store. That store rejects every task with
    /// [`StoreError::Reopening`] and tries again until it can open the file.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(options: StoreOptions) -> Result<Self, StoreError> {
        let inner = Arc::new(StoreInner::open(options)?);
        Ok(Self { inner })
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
        self.inner.destination(route, name).await
    }

    /// Commits an event, its deliveries and its claims in one transaction. They are durable when this returns.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn commit(&self, event: NewEvent) -> Result<CommitOutcome, StoreError> {
        self.inner.commit(event).await
    }

    /// Takes up to `limit` due deliveries of a destination. They are in flight from then on, and their attempt is
    /// counted.
    ///
    /// Higher priority goes first, then the earliest due time. Of the deliveries with one order key only the oldest
    /// open one is taken. A paused destination or route yields no delivery. If the caller goes away before it gets the
    /// deliveries, they return to the queue.
    ///
    /// `now_ms` is a time of the store's clock. An event that no key decrypts comes without its body and headers.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn begin(
        &self,
        destination: DestinationId,
        limit: usize,
        now_ms: i64,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        self.inner.begin(destination, limit, now_ms).await
    }

    /// Returns when the next delivery of a destination is due, by the store's clock. Returns `None` if no delivery
    /// waits or the destination is paused.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn next_due(&self, destination: DestinationId) -> Result<Option<i64>, StoreError> {
        self.inner.next_due(destination).await
    }

    /// Records the outcome of an attempt. Returns `false`, and changes nothing, if the delivery is not in flight with
    /// this attempt.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn finish(&self, finished: FinishedAttempt) -> Result<bool, StoreError> {
        self.inner.finish(finished).await
    }

    /// Records that an app has taken events of a proxy route. Returns at once; the next group writes the claims. If too
    /// many tasks wait, the claims are dropped: after a restart such an event may then pass once more.
    pub fn spend(&self, claims: Vec<SpentClaim>) {
        self.inner.spend(claims);
    }

    /// Returns the claims of a route that are valid at `now_ms` of the store's clock, at most the youngest `limit`.
    /// Blocks.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn claims(
        &self,
        route: &RouteName,
        now_ms: i64,
        limit: u64,
    ) -> Result<Vec<SpentClaim>, StoreError> {
        self.inner.claims(route, now_ms, limit)
    }

    /// Returns one event with its whole content.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn event(&self, uid: RequestId) -> Result<Option<StoredEvent>, StoreError> {
        self.inner.event(uid).await
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
        self.inner.events(search, page).await
    }

    /// Lists events that contain a text in body, type, ids or target, newest first, ignoring case. Each call reads a
    /// bounded part of the store. If it did not reach the end, it also returns the cursor for the next call.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn events_with_text(
        &self,
        search: EventSearch,
        text: String,
        page: ListPage,
    ) -> Result<(Vec<EventRow>, Option<i64>), StoreError> {
        self.inner.events_with_text(search, text, page).await
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
        self.inner.deliveries(search, page).await
    }

    /// Returns the attempts of a delivery in their order.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn attempts(&self, delivery: DeliveryId) -> Result<Vec<AttemptRow>, StoreError> {
        self.inner.attempts(delivery).await
    }

    /// Applies a step (`Retry`, `Cancel`, `Discard`) to one delivery or to all that match, in bounded groups. Returns
    /// how many deliveries it changed. Deliveries whose state does not allow the step stay as they are. Deliveries that
    /// arrive meanwhile are not considered.
    ///
    /// # Errors
    /// See [`StoreError`]. Groups before the one that failed stay done.
    pub async fn change(&self, selection: StepSelection, now_ms: i64) -> Result<u64, StoreError> {
        self.inner.change(selection, now_ms).await
    }

    /// Counts the deliveries that a replay would create.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn count_replay(&self, replay: &ReplaySearch) -> Result<u64, StoreError> {
        self.inner.count_replay(replay).await
    }

    /// Starts a replay, which `step_replay` then works off. It survives a restart.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn begin_replay(
        &self,
        replay: ReplaySearch,
        now_ms: i64,
    ) -> Result<ReplayRow, StoreError> {
        self.inner.begin_replay(replay, now_ms).await
    }

    /// Creates the next `limit` deliveries of a replay that is not paused. Returns `None` if the replay does not exist.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn step_replay(
        &self,
        id: i64,
        limit: u64,
        now_ms: i64,
    ) -> Result<Option<ReplayRow>, StoreError> {
        self.inner.step_replay(id, limit, now_ms).await
    }

    /// Pauses a replay, or resumes it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn pause_replay(
        &self,
        id: i64,
        is_paused: bool,
    ) -> Result<Option<ReplayRow>, StoreError> {
        self.inner.pause_replay(id, is_paused).await
    }

    /// Lists replays, newest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn replays(&self, limit: u64) -> Result<Vec<ReplayRow>, StoreError> {
        self.inner.replays(limit).await
    }

    /// Lists all destinations that ever had a name, with their numbers of deliveries.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn destinations(&self) -> Result<Vec<DestinationRow>, StoreError> {
        self.inner.destinations().await
    }

    /// Pauses or resumes a destination, or all of a route if no name is given. The route still accepts events. Returns
    /// `false` if the name is unknown.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn pause(
        &self,
        route: &RouteName,
        name: Option<&DestinationName>,
        is_paused: bool,
    ) -> Result<bool, StoreError> {
        self.inner.pause(route, name, is_paused).await
    }

    /// Returns whether a destination is disabled, or it or its route is paused. Reads memory only.
    #[must_use]
    pub fn is_held(&self, destination: DestinationId) -> bool {
        self.inner.is_held(destination)
    }

    /// Returns the number of a destination in the file. A destination that was named before the file was opened has
    /// another number outside of it.
    #[must_use]
    pub fn resolve(&self, destination: DestinationId) -> DestinationId {
        self.inner.resolve(destination)
    }

    /// Disables a destination that responded with 410, or enables it again if no reason is given. Its deliveries wait
    /// meanwhile.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn disable(
        &self,
        destination: DestinationId,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        self.inner.disable(destination, reason).await
    }

    /// Runs one bounded round of retention, and returns unused pages to the file system.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn purge(
        &self,
        retention: &RetentionLimits,
        now_ms: i64,
    ) -> Result<PurgeResult, StoreError> {
        self.inner.purge(retention, now_ms).await
    }

    /// Returns the counters of the store.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn stats(&self) -> Result<StoreStatistics, StoreError> {
        self.inner.stats().await
    }

    /// Stores an operator action and returns its number. Deletes the oldest actions beyond the limit.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn record_action(&self, action: OperatorAction) -> Result<i64, StoreError> {
        self.inner.record_action(action).await
    }

    /// Lists operator actions, newest first. A page holds at most 1,000 rows.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn actions(
        &self,
        search: ActionSearch,
        page: ListPage,
    ) -> Result<Vec<ActionRow>, StoreError> {
        self.inner.actions(search, page).await
    }

    /// Returns the time of the store's clock, with the monotonic time. This clock decides when a delivery is due, when
    /// its round began and when a claim expires. Only elapsed time moves it, so that setting the wall clock delays
    /// nothing.
    #[must_use]
    pub fn now(&self) -> ClockReading {
        self.inner.now()
    }

    /// Converts a time of the store's clock to the wall clock.
    #[must_use]
    pub fn to_wall_ms(&self, stored_ms: i64) -> i64 {
        self.inner.to_wall_ms(stored_ms)
    }

    /// Returns whether the store accepts commits now: `false` from a failed write until the file is open again.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.inner.is_healthy()
    }

    /// Returns whether the file was ever open. It is `false` if the disk had no room at the start and still has not.
    /// Until then the content is unknown, and destinations have temporary numbers that only this store understands.
    #[must_use]
    pub fn was_opened(&self) -> bool {
        self.inner.was_opened()
    }

    /// Writes all waiting tasks and closes the file, for all clones. Blocks.
    pub fn close(self) {
        self.inner.close();
    }
}

/// Runs the full integrity check of a store file, beside a running gate or without one. Returns one finding per line.
/// Blocks.
pub(crate) fn check(path: &Path) -> Result<Vec<String>, StoreError> {
    sqlite::check::check(path)
}

/// Copies a store file as it is now into a new file, beside a running gate or without one. Encrypted content stays
/// encrypted. `progress` gets the number of copied pages and of all pages. Blocks.
///
/// # Errors
/// See [`StoreError`]. Also fails if `to` exists.
pub(crate) fn copy(
    from: &Path,
    to: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), StoreError> {
    sqlite::copy::copy(from, to, progress)
}

/// Writes the events of a store file that were received at `since_ms` or later, with their deliveries and attempts, as
/// one line of JSON each, oldest first. `progress` gets the number of written events and of all events. Blocks.
///
/// # Errors
/// See [`StoreError`]. Fails with `Key` if the keys do not decrypt an event.
pub(crate) fn export(
    path: &Path,
    keys: &[Secret],
    since_ms: Option<i64>,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), StoreError> {
    sqlite::export::export(path, keys, since_ms, out, progress)
}

/// Counts of a finished salvage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct SalvageResult {
    /// Events that were written exactly as they were accepted.
    pub whole: u64,
    /// Events that are incomplete or differ from what was accepted; `lacks` in their lines names the missing parts.
    pub in_part: u64,
    /// Events among these that were found on pages to which no tree of the file leads. Retention may have removed
    /// some of them.
    pub carved: u64,
    /// Numbers of events at which nothing can be read. Some of these numbers may never have had an event.
    pub unreadable: u64,
    /// Commits of the write-ahead log behind damage in it. An ordinary start discards them; the salvage reads them.
    pub discarded_commits: u64,
    /// Frames of the write-ahead log whose checksum does not match.
    pub damaged_frames: u64,
}

/// Writes the readable part of a damaged store file as [`export`] does, and counts what is unreadable. Works on a copy
/// in the folder `scratch`, which needs as much room as the store. Blocks.
///
/// # Errors
/// See [`StoreError`]. Fails with `InUse` if a gate runs on the file.
pub(crate) fn salvage(
    path: &Path,
    keys: &[Secret],
    since_ms: Option<i64>,
    scratch: &Path,
    out: &mut dyn Write,
) -> Result<SalvageResult, StoreError> {
    sqlite::salvage::salvage(path, keys, since_ms, scratch, out)
}

/// Returns the counters of a store file, beside a running gate or without one. Blocks.
pub(crate) fn stats_of(path: &Path) -> Result<StoreStatistics, StoreError> {
    sqlite::stats::stats_of(path)
}

/// Number of response bytes that are stored with an attempt.
pub(crate) const KEPT_ANSWER: usize = 1024;
