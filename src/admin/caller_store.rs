//! The store as one caller of the API may see it.
//!
//! Every call adds the caller's scope to the search, so that the store reads no row of another route. A row of another
//! route and a row that does not exist have the same response. What senders sent is removed here for callers that may
//! not see it, so that no handler has it to show.

use http::{HeaderValue, StatusCode};

use crate::admin::access::PayloadAccess;
use crate::admin::problem::AdminProblem;
use crate::model::clock::ClockReading;
use crate::model::delivery::{DeliveryId, DeliveryStep};
use crate::model::ids::{DestinationName, RequestId, RouteName};
use crate::model::route_scope::RouteScope;
use crate::store::content_match::ContentCriterion;
use crate::store::erase::{EraseResult, EventExtent};
use crate::store::rows::{CommitOutcome, DestinationId, DestinationRow, NewEvent, StoredEvent};
use crate::store::search::{
    AttemptRow, DeliveryRow, DeliverySearch, DeliverySelector, EventRow, EventSearch, ListPage,
    ReplayRow, ReplaySearch, StepSelection,
};
use crate::store::{Store, StoreError};

/// Most replays that a list returns and that a lookup by number reads.
const KNOWN_REPLAYS: u64 = 1000;

/// The store, limited to what one caller may see.
#[derive(Clone)]
pub(super) struct CallerStore {
    store: Store,
    scope: RouteScope,
    payload: PayloadAccess,
}

/// An event that its caller may see.
pub(super) struct VisibleEvent {
    /// The event; without payload if the caller may not see it.
    pub(super) event: StoredEvent,
    /// Size of the stored body, if the store has it.
    pub(super) body_size: Option<u64>,
    /// False if body, header values, query and digest were removed.
    pub(super) has_payload: bool,
}

/// Id of an event that its caller may see, and therefore erase.
#[derive(Clone, Copy)]
pub(super) struct VisibleUid(RequestId);

impl VisibleUid {
    pub(super) fn get(self) -> RequestId {
        self.0
    }
}

impl CallerStore {
    pub(super) fn new(store: Store, scope: RouteScope, payload: PayloadAccess) -> Self {
        Self {
            store,
            scope,
            payload,
        }
    }

    fn within(&self, search: EventSearch) -> EventSearch {
        EventSearch {
            scope: self.scope.clone(),
            ..search
        }
    }

    fn within_deliveries(&self, search: DeliverySearch) -> DeliverySearch {
        DeliverySearch {
            event: self.within(search.event),
            ..search
        }
    }

    /// Lists visible events, newest first.
    pub(super) async fn events(
        &self,
        search: EventSearch,
        page: ListPage,
    ) -> Result<Vec<EventRow>, StoreError> {
        self.store.events(self.within(search), page).await
    }

    /// Lists visible events whose content meets a criterion.
    pub(super) async fn events_with_content(
        &self,
        search: EventSearch,
        criterion: ContentCriterion,
        page: ListPage,
    ) -> Result<(Vec<EventRow>, Option<i64>), AdminProblem> {
        // The response "this text is in it" reveals a body word by word.
        need_payload(self.payload)?;
        let found = self
            .store
            .events_with_content(self.within(search), criterion, page)
            .await?;
        Ok(found)
    }

    /// Returns the ids of visible events that match, newest first, and the cursor of the next page if there is one.
    pub(super) async fn find_uids(
        &self,
        search: EventSearch,
        content: Option<ContentCriterion>,
        page: ListPage,
    ) -> Result<(Vec<VisibleUid>, Option<i64>), AdminProblem> {
        let (rows, next) = match content {
            Some(content) => self.events_with_content(search, content, page).await?,
            None => {
                let rows = self.events(search, page).await?;
                let is_more = rows.len() >= usize::try_from(page.limit).unwrap_or(usize::MAX);
                let next = rows.last().map(|row| row.cursor).filter(|_| is_more);
                (rows, next)
            }
        };
        let uids = rows.iter().map(|row| VisibleUid(row.uid));
        Ok((uids.collect(), next))
    }

    /// Returns the id of one event if the caller may see it.
    pub(super) async fn find_uid(&self, uid: RequestId) -> Result<Option<VisibleUid>, StoreError> {
        let found = self.event(uid).await?;
        Ok(found.map(|visible| VisibleUid(visible.event.uid)))
    }

    /// Erases visible events with all their rows.
    pub(super) async fn erase(&self, events: &[VisibleUid]) -> Result<EraseResult, StoreError> {
        let uids: Vec<_> = events.iter().map(|uid| uid.0).collect();
        self.store.erase(&uids).await
    }

    /// Removes the bytes of deleted rows from the files of the store.
    pub(super) async fn scrub(&self) -> Result<bool, StoreError> {
        self.store.scrub().await
    }

    /// Returns the numbers of the first and the last event of the store.
    pub(super) async fn extent(&self) -> Result<EventExtent, StoreError> {
        self.store.extent().await
    }

    /// Returns one visible event.
    pub(super) async fn event(&self, uid: RequestId) -> Result<Option<VisibleEvent>, StoreError> {
        let found = self.store.event(uid).await?;
        let found = found.filter(|event| self.scope.contains(event.route.as_str()));
        Ok(found.map(|mut event| {
            let body_size = event.body.as_ref().map(|body| body.len() as u64);
            let has_payload = self.payload == PayloadAccess::Shown;
            if !has_payload {
                remove_payload(&mut event);
            }
            VisibleEvent {
                event,
                body_size,
                has_payload,
            }
        }))
    }

    /// Lists visible deliveries, newest first.
    pub(super) async fn deliveries(
        &self,
        search: DeliverySearch,
        page: ListPage,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let search = self.within_deliveries(search);
        self.store.deliveries(search, page).await
    }

    /// Returns one visible delivery.
    pub(super) async fn delivery(&self, id: DeliveryId) -> Result<DeliveryRow, AdminProblem> {
        // Lists go from the newest to the oldest, so a delivery is the first row of a page that begins just above it.
        let page = ListPage {
            after: Some(id.0.saturating_add(1)),
            limit: 1,
        };
        let rows = self.deliveries(DeliverySearch::default(), page).await?;
        let row = rows.into_iter().find(|row| row.id == id);
        row.ok_or_else(|| {
            AdminProblem::missing(format!(
                "delivery {id} does not exist: check the number; retention may have removed it"
            ))
        })
    }

    /// Returns the attempts of a delivery, which a caller has only if it may see it.
    pub(super) async fn attempts(
        &self,
        delivery: &DeliveryRow,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let mut attempts = self.store.attempts(delivery.id).await?;
        if self.payload == PayloadAccess::Hidden {
            for attempt in &mut attempts {
                // Apps repeat what they got in their responses.
                attempt.record.response_start.clear();
            }
        }
        Ok(attempts)
    }

    /// Takes a step with one delivery. Returns how many changed.
    pub(super) async fn change_one(
        &self,
        delivery: &DeliveryRow,
        step: DeliveryStep,
    ) -> Result<u64, StoreError> {
        self.change(step, DeliverySelector::One(delivery.id)).await
    }

    /// Takes a step with all visible deliveries that match. Returns how many changed.
    pub(super) async fn change_all(
        &self,
        search: DeliverySearch,
        step: DeliveryStep,
    ) -> Result<u64, StoreError> {
        let search = self.within_deliveries(search);
        self.change(step, DeliverySelector::All(search)).await
    }

    async fn change(&self, step: DeliveryStep, which: DeliverySelector) -> Result<u64, StoreError> {
        let selection = StepSelection { step, which };
        self.store
            .change(selection, ClockReading::read().unix_ms)
            .await
    }

    /// Lists the destinations of visible routes.
    pub(super) async fn destinations(&self) -> Result<Vec<DestinationRow>, StoreError> {
        let mut rows = self.store.destinations().await?;
        rows.retain(|row| self.scope.contains(row.route.as_str()));
        Ok(rows)
    }

    /// Returns the number of the destination of a visible delivery.
    pub(super) async fn destination_of(
        &self,
        delivery: &DeliveryRow,
    ) -> Result<DestinationId, StoreError> {
        self.store
            .destination(&delivery.route, &delivery.destination)
            .await
    }

    /// Pauses or resumes a destination, or a route. Returns `false` if the caller sees no such name.
    pub(super) async fn pause(
        &self,
        route: &RouteName,
        name: Option<&DestinationName>,
        is_paused: bool,
    ) -> Result<bool, StoreError> {
        if !self.scope.contains(route.as_str()) {
            return Ok(false);
        }
        self.store.pause(route, name, is_paused).await
    }

    /// Enables a visible destination again.
    pub(super) async fn enable(&self, destination: &DestinationRow) -> Result<(), StoreError> {
        self.store.disable(destination.id, None).await
    }

    /// Commits a test event for a visible destination.
    pub(super) async fn commit_test(
        &self,
        to: &DestinationRow,
        event: NewEvent,
    ) -> Result<CommitOutcome, StoreError> {
        debug_assert_eq!(to.route, event.event.route);
        self.store.commit(event).await
    }

    /// Returns the time of the store's clock.
    pub(super) fn now(&self) -> ClockReading {
        self.store.now()
    }

    /// Counts the deliveries that a replay would create.
    pub(super) async fn count_replay(&self, search: DeliverySearch) -> Result<u64, StoreError> {
        let search = self.within_deliveries(search);
        self.store.count_replay(&ReplaySearch { search }).await
    }

    /// Starts a replay. The scope is stored with it, and limits each of its steps.
    pub(super) async fn begin_replay(
        &self,
        search: DeliverySearch,
    ) -> Result<ReplayRow, StoreError> {
        let search = self.within_deliveries(search);
        self.store
            .begin_replay(ReplaySearch { search }, ClockReading::read().unix_ms)
            .await
    }

    /// Lists replays of visible routes only, newest first.
    pub(super) async fn replays(&self) -> Result<Vec<ReplayRow>, StoreError> {
        let mut rows = self.store.replays(KNOWN_REPLAYS).await?;
        rows.retain(|row| self.scope.covers(&row.scope));
        Ok(rows)
    }

    /// Returns one replay of visible routes only.
    pub(super) async fn replay(&self, id: i64) -> Result<ReplayRow, AdminProblem> {
        // The store has no query for one replay, and the list is short.
        let rows = self.replays().await?;
        let row = rows.into_iter().find(|row| row.id == id);
        row.ok_or_else(|| missing_replay(id))
    }

    /// Pauses or resumes a visible replay.
    pub(super) async fn pause_replay(
        &self,
        replay: &ReplayRow,
        is_paused: bool,
    ) -> Result<ReplayRow, AdminProblem> {
        let row = self.store.pause_replay(replay.id, is_paused).await?;
        row.ok_or_else(|| missing_replay(replay.id))
    }
}

fn missing_replay(id: i64) -> AdminProblem {
    AdminProblem::missing(format!(
        "replay {id} does not exist: list the replays with `/replays`"
    ))
}

/// Refuses a caller that may not see what senders sent.
pub(super) fn need_payload(payload: PayloadAccess) -> Result<(), AdminProblem> {
    match payload {
        PayloadAccess::Shown => Ok(()),
        PayloadAccess::Hidden => Err(AdminProblem::new(
            StatusCode::FORBIDDEN,
            "this token sees no payload, and this would show it or search in it (`payload` in `[[admin.tokens]]`)",
        )),
    }
}

/// Removes everything that the sender wrote except its id and type.
fn remove_payload(event: &mut StoredEvent) {
    event.body = None;
    // A digest confirms a guess of a short body.
    event.digest = [0; 32];
    event.target = without_query(&event.target).to_owned();
    for value in event.headers.values_mut() {
        *value = HeaderValue::from_static(hookgate_verify::net::redact::MASK);
    }
}

/// Returns the path of a request target.
pub(super) fn without_query(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}
