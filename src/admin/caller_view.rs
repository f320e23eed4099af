//! The gate as one caller of the API may see it.
//!
//! A handler has no other way to the gate: the state of the router is closed, and opens only into one of two types. A
//! [`CallerView`] contains the routes of its caller only. A [`WholeGate`] exists only for callers without a limit to
//! routes. So a new handler cannot forget the limit: without one of the two it has nothing to show.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use bytes::Bytes;
use hookgate_verify::document::suggest;
use hookgate_verify::net::redact::MASK;
use http::request::Parts;
use http::{HeaderName, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

use crate::admin::access::{AdminCaller, PayloadAccess};
use crate::admin::caller_store::{CallerStore, need_payload, without_query};
use crate::admin::controls::DestinationHealth;
use crate::admin::documents::{HeaderDocument, RouteDocument};
use crate::admin::memory_erase::MemoryCriteria;
use crate::admin::node_counts::{self, DayOfNodes, SecretUses};
use crate::admin::problem::AdminProblem;
use crate::admin::problems::ProblemView;
use crate::admin::redact;
use crate::admin::state::AdminState;
use crate::explain::RefusalExplanation;
use crate::gate::reject::RejectReason;
use crate::model::clock::ClockReading;
use crate::model::ids::{RequestId, RouteName};
use crate::model::problem::FoundProblem;
use crate::record::history::IntervalTally;
use crate::record::recent_verdicts::{RecentVerdict, RecentVerdicts, VerdictQuery};
use crate::record::rejected_requests::{RejectedGroup, RejectedRequest};
use crate::store::rows::{DestinationId, StoredEvent};

/// State of the API's router, from which a handler can extract only what its caller may see.
#[derive(Clone)]
pub(super) struct ApiState(Arc<AdminState>);

impl ApiState {
    pub(super) fn new(state: Arc<AdminState>) -> Self {
        Self(state)
    }
}

/// The gate, limited to the routes of one caller and to what it may see of them.
#[derive(Clone)]
pub(super) struct CallerView {
    state: Arc<AdminState>,
    caller: AdminCaller,
}

/// The whole gate, for callers without a limit to routes.
pub(super) struct WholeGate(Arc<AdminState>);

impl FromRequestParts<ApiState> for CallerView {
    type Rejection = AdminProblem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, AdminProblem> {
        // The API adds the caller before it calls the router. Without one there is nothing that may be shown.
        let caller = parts.extensions.get::<AdminCaller>().cloned();
        let caller = caller.ok_or_else(|| {
            AdminProblem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the request has no caller",
            )
        })?;
        Ok(Self {
            state: Arc::clone(&state.0),
            caller,
        })
    }
}

impl FromRequestParts<ApiState> for WholeGate {
    type Rejection = AdminProblem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, AdminProblem> {
        let view = CallerView::from_request_parts(parts, state).await?;
        need_whole_gate(&view.caller)?;
        Ok(Self(view.state))
    }
}

impl Deref for WholeGate {
    type Target = AdminState;

    fn deref(&self) -> &AdminState {
        &self.0
    }
}

/// Refuses a caller that is limited to routes.
pub(super) fn need_whole_gate(caller: &AdminCaller) -> Result<(), AdminProblem> {
    match caller.scope.is_limited() {
        false => Ok(()),
        true => Err(AdminProblem::new(
            StatusCode::FORBIDDEN,
            format!(
                "the token `{}` is limited to routes, and this concerns the gate as a whole (`routes` in \
                 `[[admin.tokens]]`)",
                caller.name
            ),
        )),
    }
}

impl CallerView {
    /// Returns the state of the whole gate if the caller is not limited to routes.
    pub(super) fn whole(&self) -> Option<&AdminState> {
        (!self.caller.scope.is_limited()).then_some(&*self.state)
    }

    /// Refuses a caller that may not see what senders sent.
    pub(super) fn need_payload(&self) -> Result<(), AdminProblem> {
        need_payload(self.caller.payload)
    }

    pub(super) fn sees_payload(&self) -> bool {
        self.caller.payload == PayloadAccess::Shown
    }

    /// Returns the store as the caller may see it.
    pub(super) fn store(&self) -> Result<CallerStore, AdminProblem> {
        let store = self.state.store()?.clone();
        let scope = self.caller.scope.clone();
        Ok(CallerStore::new(store, scope, self.caller.payload))
    }

    /// Returns whether the store accepts commits; `None` without a store.
    pub(super) fn store_health(&self) -> Option<bool> {
        let store = self.state.controls.store.as_ref();
        store.map(crate::store::Store::is_healthy)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state.is_ready()
    }

    pub(super) fn started_ms(&self) -> i64 {
        self.state.started_ms
    }

    pub(super) fn node(&self) -> Option<String> {
        self.state.node()
    }

    pub(super) fn of_node(&self) -> String {
        self.state.of_node()
    }

    pub(super) fn tail_slot(&self) -> Result<OwnedSemaphorePermit, AdminProblem> {
        self.state.tail_slot()
    }

    pub(super) fn long_slot(&self) -> Result<OwnedSemaphorePermit, AdminProblem> {
        self.state.long_slot()
    }

    /// Wakes the worker of a destination.
    pub(super) fn wake(&self, destination: DestinationId) {
        (self.state.controls.wake)(destination);
    }

    /// Makes the task of replays read their list again.
    pub(super) fn notify_replays(&self) {
        self.state.controls.replays.notify_one();
    }

    /// Returns the health of the destinations of visible routes.
    pub(super) fn health(&self) -> Vec<DestinationHealth> {
        let mut health = (self.state.controls.health)();
        health.retain(|one| self.caller.scope.contains(one.route.as_str()));
        health
    }

    /// Finds the problems of visible routes, most urgent first, and returns them with the state in which they were found.
    /// A caller without a limit also gets those of the gate as a whole.
    pub(super) async fn problems(&self, now: ClockReading) -> (ProblemView, Vec<FoundProblem>) {
        let scope = &self.caller.scope;
        let mut seen = ProblemView::load(&self.state, now).await;
        seen.limit(scope);
        let found = seen.all(&self.state, scope).await;
        (seen, found)
    }

    /// Returns the visible routes of the running config.
    pub(super) fn routes(&self) -> Vec<RouteDocument> {
        let facts = self.state.facts.load();
        let routes = facts.routes.iter();
        routes
            .filter(|route| self.caller.scope.contains(&route.name))
            .cloned()
            .collect()
    }

    /// Returns the visible route with this name, or a 404 with the most similar visible name.
    pub(super) fn route(&self, name: &str) -> Result<RouteDocument, AdminProblem> {
        let mut routes = self.routes();
        if let Some(found) = routes.iter().position(|route| route.name == name) {
            return Ok(routes.swap_remove(found));
        }
        let near = suggest::nearest(name, routes.iter().map(|route| route.name.as_str()));
        let near = near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
        Err(AdminProblem::missing(format!(
            "the config has no route `{name}`{near}"
        )))
    }

    /// Returns the headers of a visible event; a value that the caller may not see is `None`.
    pub(super) fn headers(&self, event: &StoredEvent) -> Vec<HeaderDocument> {
        let mut headers = redact::headers(event, &self.state.facts.load());
        if !self.sees_payload() {
            headers.iter_mut().for_each(|header| header.value = None);
        }
        headers
    }

    /// Returns whether a header of an event may contain a secret.
    pub(super) fn is_redacted(&self, event: &StoredEvent, name: &HeaderName) -> bool {
        redact::is_redacted(event, name, &self.state.facts.load())
    }

    /// Returns path and query of an event, with values that may be secrets masked.
    pub(super) fn target(&self, event: &StoredEvent) -> String {
        redact::target(event, &self.state.facts.load())
    }

    /// Returns the counts of a visible route by minute and by hour.
    pub(super) fn history(
        &self,
        route: &RouteDocument,
        now_ms: i64,
    ) -> (Vec<IntervalTally>, Vec<IntervalTally>) {
        // A route without any request so far has no counters.
        let counters = self.state.recorder.find_route(&route.name);
        counters.map_or_else(Default::default, |counters| {
            let history = counters.history();
            (history.minutes(now_ms), history.hours(now_ms))
        })
    }

    /// Sums up the last 24 clock hours of a visible route over the nodes.
    pub(super) async fn day_of(&self, route: &RouteDocument, now_ms: i64) -> DayOfNodes {
        node_counts::day_of(&self.state, &route.name, now_ms).await
    }

    /// Returns the uses of the secrets of visible routes.
    pub(super) async fn secrets(&self) -> SecretUses {
        let mut uses = node_counts::secrets_now(&self.state).await;
        uses.secrets
            .retain(|one| self.caller.scope.contains(&one.route));
        uses
    }

    /// Returns a filter for verdicts with the scope of the caller.
    fn within(&self, wanted: &VerdictQuery) -> VerdictQuery {
        VerdictQuery {
            scope: self.caller.scope.clone(),
            ..wanted.clone()
        }
    }

    /// Lists visible verdicts with a number below `before`, newest first.
    pub(super) fn newest_verdicts(
        &self,
        before: Option<u64>,
        wanted: &VerdictQuery,
        limit: usize,
    ) -> Vec<Arc<RecentVerdict>> {
        self.recent().newest(before, &self.within(wanted), limit)
    }

    /// Lists visible verdicts with a number above `after`, oldest first, and the number from which to continue.
    pub(super) fn verdicts_after(
        &self,
        after: u64,
        wanted: &VerdictQuery,
        limit: usize,
    ) -> (Vec<Arc<RecentVerdict>>, u64) {
        self.recent().after(after, &self.within(wanted), limit)
    }

    /// Returns the verdict about a request, if the caller may see it.
    pub(super) fn verdict(&self, id: &RequestId) -> Option<Arc<RecentVerdict>> {
        let found = self.recent().find(id)?;
        self.within(&VerdictQuery::default())
            .fits(&found.verdict)
            .then_some(found)
    }

    /// Returns the number of the newest verdict of any route, where a tail begins.
    pub(super) fn last_verdict(&self) -> u64 {
        self.recent().last()
    }

    /// Waits until there is a verdict of any route with a number above `after`.
    pub(super) async fn wait_for_verdict(&self, after: u64) {
        self.recent().wait(after).await;
    }

    fn recent(&self) -> &RecentVerdicts {
        self.state.recorder.recent()
    }

    /// Lists rejected requests of visible routes, newest first.
    pub(super) fn rejected(
        &self,
        route: Option<&str>,
        reason: Option<RejectReason>,
    ) -> Vec<RejectedRequest> {
        let requests = self.state.recorder.rejected().list(route, reason);
        let visible = requests.iter().filter(|request| self.is_visible(request));
        visible.map(|request| self.shown(request)).collect()
    }

    /// Counts rejected requests of visible routes by route and reason.
    pub(super) fn rejected_groups(&self) -> Vec<RejectedGroup> {
        let mut groups = self.state.recorder.rejected().groups();
        groups.retain(|group| self.caller.scope.contains(group.route.as_str()));
        groups
    }

    /// Returns a rejected request of a visible route.
    pub(super) fn find_rejected(&self, id: &RequestId) -> Option<RejectedRequest> {
        let request = self.state.recorder.rejected().find(id)?;
        self.is_visible(&request).then(|| self.shown(&request))
    }

    fn is_visible(&self, request: &RejectedRequest) -> bool {
        let route = request.verdict.route.as_ref().map(RouteName::as_str);
        self.caller.scope.contains_any(route)
    }

    /// Returns a rejected request without what the caller may not see.
    fn shown(&self, request: &RejectedRequest) -> RejectedRequest {
        let mut request = request.clone();
        if !self.sees_payload() {
            request.target = without_query(&request.target).to_owned();
            request.body = Bytes::new();
            for (_, value) in &mut request.headers {
                *value = Bytes::from_static(MASK.as_bytes());
            }
        }
        request
    }

    /// Removes verdicts and rejected requests of visible routes from memory, or only counts them. The criteria are applied
    /// in the first step of an erasure, the events that a step found in each.
    pub(super) fn erase_memory(
        &self,
        criteria: &MemoryCriteria,
        events: &HashSet<RequestId>,
        is_first: bool,
        is_dry_run: bool,
    ) -> u64 {
        let rejected = self.state.recorder.rejected();
        let wants_rejected = |request: &RejectedRequest| {
            self.is_visible(request)
                && (events.contains(&request.verdict.request_id)
                    || (is_first && criteria.wants_rejected(request)))
        };
        let mut gone = events.clone();
        let kept = rejected.list(None, None);
        let found = kept.iter().filter(|request| wants_rejected(request));
        gone.extend(found.map(|request| request.verdict.request_id));
        let own = self.within(&VerdictQuery::default());
        let wants_verdict = |kept: &RecentVerdict| {
            own.fits(&kept.verdict)
                && (gone.contains(&kept.verdict.request_id)
                    || (is_first && criteria.wants_verdict(&kept.verdict, &gone)))
        };
        if is_dry_run {
            let requests = kept
                .iter()
                .filter(|request| wants_rejected(request))
                .count();
            let verdicts = self.recent().newest(None, &own, usize::MAX);
            let verdicts = verdicts.iter().filter(|kept| wants_verdict(kept)).count();
            return (requests as u64).saturating_add(verdicts as u64);
        }
        let requests = rejected.erase(wants_rejected);
        requests.saturating_add(self.recent().erase(wants_verdict))
    }

    /// Explains why a visible request was rejected.
    pub(super) async fn explain(&self, id: RequestId) -> Option<RefusalExplanation> {
        // Before the explanation, which costs work: the request must be known as one of a visible route.
        if self.whole().is_none()
            && self.verdict(&id).is_none()
            && self.find_rejected(&id).is_none()
        {
            return None;
        }
        (self.state.controls.explain)(id).await
    }
}
