//! Calls of the store for an operator: searches, changes of deliveries, replays, erasure and the audit log.

use crate::model::delivery::DeliveryId;
use crate::model::ids::RequestId;
use crate::store::audit::{ActionRow, ActionSearch, OperatorAction};
use crate::store::content_match::ContentCriterion;
use crate::store::erase::{EraseResult, EventExtent};
use crate::store::error::StoreError;
use crate::store::handle::{Backend, Store};
use crate::store::rows::StoredEvent;
use crate::store::search::{
    AttemptRow, DeliveryRow, DeliverySearch, EventRow, EventSearch, ListPage, ReplayRow,
    ReplaySearch, StepSelection,
};

impl Store {
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
}
