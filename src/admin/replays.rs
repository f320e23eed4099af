//! Handlers for `/replays`: deliver old events again, as new deliveries.

use axum::{Extension, Json};
use http::StatusCode;

use crate::admin::caller_view::CallerView;
use crate::admin::connection_context::ConnectionContext;
use crate::admin::deliveries;
use crate::admin::documents::{
    ApiTimestamp, ProblemDocument, ReplayCreated, ReplayDocument, ReplayList, ReplayState,
};
use crate::admin::parameters::{self, BulkSelection, JsonParameters, PathParameter};
use crate::admin::problem::AdminProblem;
use crate::store::search::ReplayRow;

/// Lists the last 1,000 replays, newest first
#[utoipa::path(
    get, path = "",
    responses(
        (status = 200, body = ReplayList),
    ),
)]
pub(super) async fn list(view: CallerView) -> Result<Json<ReplayList>, AdminProblem> {
    let rows = view.store()?.replays().await?;
    Ok(Json(ReplayList {
        replays: rows.iter().map(replay).collect(),
    }))
}

/// Begins a replay, which creates a new delivery for each matching one
#[utoipa::path(
    post, path = "",
    request_body = BulkSelection,
    responses(
        (status = 200, description = "The deliveries were only counted (`dry_run`)", body = ReplayCreated),
        (status = 201, description = "The replay has begun", body = ReplayCreated),
    ),
)]
pub(super) async fn begin(
    view: CallerView,
    Extension(visit): Extension<ConnectionContext>,
    JsonParameters(many): JsonParameters<BulkSelection>,
) -> Result<(StatusCode, Json<ReplayCreated>), AdminProblem> {
    let store = view.store()?;
    let search = many.search()?;
    let _slot = view.long_slot()?;
    visit.deadline.extend(deliveries::LONG);
    let wanted = many.describe();
    if many.dry_run {
        let count = store.count_replay(search).await?;
        visit.remark(format!("{wanted}: {count} counted"));
        let answer = ReplayCreated {
            dry_run: true,
            count,
            replay: None,
        };
        return Ok((StatusCode::OK, Json(answer)));
    }
    // The store fixes the selection now: deliveries that match later are no part of the replay.
    let row = store.begin_replay(search).await?;
    visit.remark(format!("{wanted}: replay {} of {}", row.id, row.total));
    // The replay is in the store, so it survives a restart. The notification only has it start at once.
    view.notify_replays();
    let answer = ReplayCreated {
        dry_run: false,
        count: row.total,
        replay: Some(replay(&row)),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Shows a replay and its progress
#[utoipa::path(
    get, path = "",
    params(("id" = i64, Path, description = "Number of the replay")),
    responses(
        (status = 200, body = ReplayDocument),
    ),
)]
pub(super) async fn show(
    view: CallerView,
    PathParameter(id): PathParameter<String>,
) -> Result<Json<ReplayDocument>, AdminProblem> {
    let id = parameters::number(&id, "a replay")?;
    Ok(Json(replay(&view.store()?.replay(id).await?)))
}

/// Pauses a replay; deliveries that it already created are still attempted
#[utoipa::path(
    post, path = "",
    params(("id" = i64, Path, description = "Number of the replay")),
    responses(
        (status = 200, body = ReplayDocument),
        (status = 409, description = "The replay has ended", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn pause(
    view: CallerView,
    PathParameter(id): PathParameter<String>,
) -> Result<Json<ReplayDocument>, AdminProblem> {
    set(&view, &id, true).await
}

/// Resumes a paused replay
#[utoipa::path(
    post, path = "",
    params(("id" = i64, Path, description = "Number of the replay")),
    responses(
        (status = 200, body = ReplayDocument),
        (status = 409, description = "The replay has ended", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn resume(
    view: CallerView,
    PathParameter(id): PathParameter<String>,
) -> Result<Json<ReplayDocument>, AdminProblem> {
    set(&view, &id, false).await
}

/// Pauses or resumes a replay that has not ended.
async fn set(
    view: &CallerView,
    id: &str,
    is_paused: bool,
) -> Result<Json<ReplayDocument>, AdminProblem> {
    let id = parameters::number(id, "a replay")?;
    let store = view.store()?;
    let row = store.replay(id).await?;
    if row.is_ended {
        return Err(AdminProblem::conflict(format!(
            "replay {id} has ended and created all its deliveries: cancel those that still wait with \
             `/deliveries/cancel`"
        )));
    }
    let row = store.pause_replay(&row, is_paused).await?;
    // After a pause too: the task then reads the list of replays again and leaves this one out.
    view.notify_replays();
    Ok(Json(replay(&row)))
}

fn replay(row: &ReplayRow) -> ReplayDocument {
    ReplayDocument {
        id: row.id,
        created: ApiTimestamp(row.created_ms),
        // A replay that ended while it was paused counts as ended.
        state: match row {
            ReplayRow { is_ended: true, .. } => ReplayState::Ended,
            ReplayRow {
                is_paused: true, ..
            } => ReplayState::Paused,
            _ => ReplayState::Running,
        },
        total: row.total,
        done: row.done,
        skipped: row.skipped,
    }
}
