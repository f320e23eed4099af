//! Handlers for `/deliveries`: list deliveries and retry, cancel or discard them.

use std::time::Duration;

use axum::{Extension, Json};
use http::{StatusCode, Uri};

use crate::admin::caller_store::CallerStore;
use crate::admin::caller_view::CallerView;
use crate::admin::connection_context::ConnectionContext;
use crate::admin::documents::{
    ApiTimestamp, AttemptDocument, AttemptList, BulkChangeResult, DeliveryAction, DeliveryDetail,
    DeliveryDocument, DeliveryList, ProblemDocument,
};
use crate::admin::parameters::{
    self, BulkSelection, DeliveryFilter, JsonParameters, PageParameters, PathParameter,
};
use crate::admin::problem::AdminProblem;
use crate::model::delivery::{DeliveryId, DeliveryState};
use crate::store::search::{AttemptRow, DeliveryRow, DeliverySearch};

/// Deadline for a bulk change, which the store makes in bounded groups.
pub(super) const LONG: Duration = Duration::from_secs(600);

/// Lists deliveries, newest first
///
/// Dead letters are the deliveries with `state=dead`.
#[utoipa::path(
    get, path = "",
    params(DeliveryFilter, PageParameters),
    responses(
        (status = 200, body = DeliveryList),
    ),
)]
pub(super) async fn list(view: CallerView, uri: Uri) -> Result<Json<DeliveryList>, AdminProblem> {
    let (filter, page) = parameters::listing::<DeliveryFilter>(&uri)?;
    let search = filter.search()?;
    let store = view.store()?;
    // The extra row shows whether there is another page, without a count of all rows.
    let rows = store.deliveries(search, parameters::one_more(page)).await?;
    let (rows, next) = parameters::cut(rows, page.limit, |row| row.id.0);
    Ok(Json(DeliveryList {
        deliveries: rows.into_iter().map(delivery).collect(),
        next,
    }))
}

/// Shows a delivery with its attempts
#[utoipa::path(
    get, path = "",
    params(("id" = i64, Path, description = "Number of the delivery")),
    responses(
        (status = 200, body = DeliveryDetail),
    ),
)]
pub(super) async fn show(
    view: CallerView,
    PathParameter(id): PathParameter<String>,
) -> Result<Json<DeliveryDetail>, AdminProblem> {
    let id = delivery_id(&id)?;
    let store = view.store()?;
    let row = store.delivery(id).await?;
    let attempts = store.attempts(&row).await?;
    Ok(Json(DeliveryDetail {
        delivery: delivery(row),
        attempts: attempts.into_iter().map(attempt).collect(),
    }))
}

/// Lists the attempts of a delivery, oldest first
#[utoipa::path(
    get, path = "",
    params(("id" = i64, Path, description = "Number of the delivery")),
    responses(
        (status = 200, body = AttemptList),
    ),
)]
pub(super) async fn attempts(
    view: CallerView,
    PathParameter(id): PathParameter<String>,
) -> Result<Json<AttemptList>, AdminProblem> {
    let id = delivery_id(&id)?;
    let store = view.store()?;
    // A delivery without attempts and a missing one both have no rows, so look for the delivery first.
    let row = store.delivery(id).await?;
    let attempts = store.attempts(&row).await?;
    Ok(Json(AttemptList {
        attempts: attempts.into_iter().map(attempt).collect(),
    }))
}

/// Retries a delivery now
#[utoipa::path(
    post, path = "",
    params(("id" = i64, Path, description = "Number of the delivery")),
    responses(
        (status = 200, body = DeliveryDocument),
        (status = 409, description = "The state of the delivery does not allow this", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn retry(
    view: CallerView,
    PathParameter(id): PathParameter<String>,
) -> Result<Json<DeliveryDocument>, AdminProblem> {
    change(&view, &id, DeliveryAction::Retry).await
}

/// Cancels an open delivery
#[utoipa::path(
    post, path = "",
    params(("id" = i64, Path, description = "Number of the delivery")),
    responses(
        (status = 200, body = DeliveryDocument),
        (status = 409, description = "The state of the delivery does not allow this", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn cancel(
    view: CallerView,
    PathParameter(id): PathParameter<String>,
) -> Result<Json<DeliveryDocument>, AdminProblem> {
    change(&view, &id, DeliveryAction::Cancel).await
}

/// Discards a dead-lettered delivery
#[utoipa::path(
    post, path = "",
    params(("id" = i64, Path, description = "Number of the delivery")),
    responses(
        (status = 200, body = DeliveryDocument),
        (status = 409, description = "The state of the delivery does not allow this", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn discard(
    view: CallerView,
    PathParameter(id): PathParameter<String>,
) -> Result<Json<DeliveryDocument>, AdminProblem> {
    change(&view, &id, DeliveryAction::Discard).await
}

/// Retries all matching deliveries now
#[utoipa::path(
    post, path = "",
    request_body = BulkSelection,
    responses(
        (status = 200, body = BulkChangeResult),
    ),
)]
pub(super) async fn retry_many(
    view: CallerView,
    Extension(visit): Extension<ConnectionContext>,
    JsonParameters(many): JsonParameters<BulkSelection>,
) -> Result<Json<BulkChangeResult>, AdminProblem> {
    change_many(&view, &visit, many, DeliveryAction::Retry).await
}

/// Cancels all matching open deliveries
#[utoipa::path(
    post, path = "",
    request_body = BulkSelection,
    responses(
        (status = 200, body = BulkChangeResult),
    ),
)]
pub(super) async fn cancel_many(
    view: CallerView,
    Extension(visit): Extension<ConnectionContext>,
    JsonParameters(many): JsonParameters<BulkSelection>,
) -> Result<Json<BulkChangeResult>, AdminProblem> {
    change_many(&view, &visit, many, DeliveryAction::Cancel).await
}

/// Discards all matching dead letters
#[utoipa::path(
    post, path = "",
    request_body = BulkSelection,
    responses(
        (status = 200, body = BulkChangeResult),
    ),
)]
pub(super) async fn discard_many(
    view: CallerView,
    Extension(visit): Extension<ConnectionContext>,
    JsonParameters(many): JsonParameters<BulkSelection>,
) -> Result<Json<BulkChangeResult>, AdminProblem> {
    change_many(&view, &visit, many, DeliveryAction::Discard).await
}

fn delivery_id(text: &str) -> Result<DeliveryId, AdminProblem> {
    parameters::number(text, "a delivery").map(DeliveryId)
}

/// Takes a step with one delivery, or says why its state does not allow it.
async fn change(
    view: &CallerView,
    id: &str,
    action: DeliveryAction,
) -> Result<Json<DeliveryDocument>, AdminProblem> {
    let id = delivery_id(id)?;
    let store = view.store()?;
    let row = store.delivery(id).await?;
    // Checked before the write only for a useful message. The store checks the state again when it changes it.
    if row.state.after(action.step()).is_none() {
        return Err(refused(id, row.state, action));
    }
    let changed = store.change_one(&row, action.step()).await?;
    let row = store.delivery(id).await?;
    if changed == 0 {
        // A worker changed the delivery between the query and this change, so report its new state.
        return Err(refused(id, row.state, action));
    }
    // The worker of the destination sleeps until its next due delivery, so wake it for this one.
    if action == DeliveryAction::Retry {
        view.wake(store.destination_of(&row).await?);
    }
    Ok(Json(delivery(row)))
}

/// Explains why the state of a delivery does not allow an action, and which action is possible.
fn refused(id: DeliveryId, state: DeliveryState, action: DeliveryAction) -> AdminProblem {
    use DeliveryState::{Cancelled, Dead, Delivered, InFlight, Pending, Waiting};
    let why = match (action, state) {
        (_, InFlight) => "an attempt is in progress: try again when it has ended",
        (DeliveryAction::Retry, Delivered) => {
            "the destination accepted the event: use a replay to deliver it again"
        }
        (DeliveryAction::Retry, Cancelled) => {
            "the delivery ended for good: use a replay to deliver the event"
        }
        (DeliveryAction::Cancel, Dead) => "the delivery is a dead letter: discard it instead",
        (DeliveryAction::Cancel, Delivered) => "the destination accepted the event already",
        (DeliveryAction::Cancel | DeliveryAction::Discard, Cancelled) => {
            "the delivery ended already"
        }
        (DeliveryAction::Discard, Pending | Waiting) => {
            "the delivery is not a dead letter: cancel it instead"
        }
        (DeliveryAction::Discard, Delivered) => {
            "the delivery is not a dead letter: the destination accepted the event"
        }
        (DeliveryAction::Retry, Pending | Waiting | Dead)
        | (DeliveryAction::Cancel, Pending | Waiting)
        | (DeliveryAction::Discard, Dead) => "its state changed at this moment: try again",
    };
    AdminProblem::conflict(format!(
        "cannot {} delivery {id}, which is {}: {why}",
        action.word(),
        state.word().replace('_', " ")
    ))
}

/// Takes a step with all matching deliveries whose state allows it, or only counts them.
async fn change_many(
    view: &CallerView,
    visit: &ConnectionContext,
    many: BulkSelection,
    action: DeliveryAction,
) -> Result<Json<BulkChangeResult>, AdminProblem> {
    let store = view.store()?;
    let search = many.search()?;
    let _slot = view.long_slot()?;
    visit.deadline.extend(LONG);
    let wanted = many.describe();
    // The remark gives the audit log the search and the count. The path of the request shows neither.
    if many.dry_run {
        let count = count(&store, &search, action).await?;
        visit.remark(format!("{wanted}: {count} counted"));
        return Ok(Json(BulkChangeResult {
            dry_run: true,
            count,
        }));
    }
    let changed = store.change_all(search.clone(), action.step()).await;
    visit.remark(match &changed {
        Ok(count) => format!("{wanted}: {count} changed"),
        // Groups before the failure are committed, so the number of changes is unknown.
        Err(_) => format!("{wanted}: failed, possibly after some changes"),
    });
    let count = changed?;
    if action == DeliveryAction::Retry && count > 0 {
        wake_all(view, &store, &search).await?;
    }
    Ok(Json(BulkChangeResult {
        dry_run: false,
        count,
    }))
}

/// Counts the matching deliveries whose state allows the action.
async fn count(
    store: &CallerStore,
    search: &DeliverySearch,
    action: DeliveryAction,
) -> Result<u64, AdminProblem> {
    let mut count = 0_u64;
    let states = DeliveryState::ALL.into_iter();
    let states = states.filter(|state| state.after(action.step()).is_some());
    let states = states.filter(|state| search.state.is_none_or(|wanted| wanted == *state));
    for state in states {
        let search = DeliverySearch {
            state: Some(state),
            ..search.clone()
        };
        // With a state, `count_replay` counts deliveries. Without one it may count events, which an action does not.
        let found = store.count_replay(search).await?;
        count = count.saturating_add(found);
    }
    Ok(count)
}

/// Wakes the workers of all destinations that the search may concern.
async fn wake_all(
    view: &CallerView,
    store: &CallerStore,
    search: &DeliverySearch,
) -> Result<(), AdminProblem> {
    // Only route and destination narrow it: to wake a worker without due deliveries costs one query.
    for row in store.destinations().await? {
        let route = search.event.route.as_ref();
        let name = search.destination.as_ref();
        if route.is_none_or(|route| *route == row.route)
            && name.is_none_or(|name| *name == row.name)
        {
            view.wake(row.id);
        }
    }
    Ok(())
}

/// Creates a 500 for a task that panicked or lost its other end.
pub(super) fn broken() -> AdminProblem {
    AdminProblem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the gate failed while it handled this request: look in its log for the error",
    )
}

/// Converts a delivery to its JSON shape.
pub(super) fn delivery(row: DeliveryRow) -> DeliveryDocument {
    DeliveryDocument {
        id: row.id.0,
        event: row.uid.to_string(),
        route: row.route.to_string(),
        destination: row.destination.to_string(),
        event_id: row.event_id.map(|id| id.to_string()),
        event_type: row.event_type.map(Into::into),
        state: row.state.into(),
        attempts: row.attempts,
        replay: row.is_replay,
        created: ApiTimestamp(row.created_ms),
        due: row.due_ms.map(ApiTimestamp),
        ended: row.ended_ms.map(ApiTimestamp),
        last_status: row.last_status,
        last_error: row.last_error,
    }
}

fn attempt(row: AttemptRow) -> AttemptDocument {
    let (error, error_detail) = row.record.error.unzip();
    AttemptDocument {
        number: row.number,
        started: ApiTimestamp(row.record.started_ms),
        duration_ms: row.record.duration_ms,
        status: row.record.status,
        error,
        error_detail,
        answer: String::from_utf8_lossy(&row.record.response_start).into_owned(),
    }
}
