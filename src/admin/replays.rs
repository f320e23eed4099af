//! Handlers for `/replays`: deliver old events again, as new deliveries.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;

use crate::admin::connection_context::ConnectionContext;
use crate::admin::deliveries;
use crate::admin::documents::{
    ApiTimestamp, ProblemDocument, ReplayCreated, ReplayDocument, ReplayList, ReplayState,
};
use crate::admin::parameters::{self, BulkSelection, JsonParameters, PathParameter};
use crate::admin::problem::AdminProblem;
use crate::admin::state::AdminState;
use crate::model::clock::ClockReading;
use crate::store::search::{self, ReplayRow};

/// Most replays that a list returns and that a lookup by number reads.
const KNOWN: u64 = 1000;

/// Lists the last 1,000 replays, newest first
#[utoipa::path(
    get, path = "",
    responses(
        (status = 200, body = ReplayList),
    ),
)]
pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
) -> Result<Json<ReplayList>, AdminProblem> {
    let rows = state.store()?.replays(KNOWN).await?;
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
    State(state): State<Arc<AdminState>>,
    Extension(visit): Extension<ConnectionContext>,
    JsonParameters(many): JsonParameters<BulkSelection>,
) -> Result<(StatusCode, Json<ReplayCreated>), AdminProblem> {
    let store = state.store()?.clone();
    let search = many.search()?;
    let asked = search::ReplaySearch { search };
    let _slot = state.long_slot()?;
    visit.deadline.extend(deliveries::LONG);
    let wanted = many.describe();
    if many.dry_run {
        let count = store.count_replay(&asked).await?;
        visit.remark(format!("{wanted}: {count} counted"));
        let answer = ReplayCreated {
            dry_run: true,
            count,
            replay: None,
        };
        return Ok((StatusCode::OK, Json(answer)));
    }
    // The store fixes the selection now: deliveries that match later are no part of the replay.
    let row = store
        .begin_replay(asked, ClockReading::read().unix_ms)
        .await?;
    visit.remark(format!("{wanted}: replay {} of {}", row.id, row.total));
    // The replay is in the store, so it survives a restart. The notification only has it start at once.
    state.controls.replays.notify_one();
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
    State(state): State<Arc<AdminState>>,
    PathParameter(id): PathParameter<String>,
) -> Result<Json<ReplayDocument>, AdminProblem> {
    let id = parameters::number(&id, "a replay")?;
    Ok(Json(replay(&find(&state, id).await?)))
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
    State(state): State<Arc<AdminState>>,
    PathParameter(id): PathParameter<String>,
) -> Result<Json<ReplayDocument>, AdminProblem> {
    set(&state, &id, true).await
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
    State(state): State<Arc<AdminState>>,
    PathParameter(id): PathParameter<String>,
) -> Result<Json<ReplayDocument>, AdminProblem> {
    set(&state, &id, false).await
}

/// Pauses or resumes a replay that has not ended.
async fn set(
    state: &AdminState,
    id: &str,
    is_paused: bool,
) -> Result<Json<ReplayDocument>, AdminProblem> {
    let id = parameters::number(id, "a replay")?;
    if find(state, id).await?.is_ended {
        return Err(AdminProblem::conflict(format!(
            "replay {id} has ended and created all its deliveries: cancel those that still wait with \
             `/deliveries/cancel`"
        )));
    }
    let row = state.store()?.pause_replay(id, is_paused).await?;
    let row = row.ok_or_else(|| missing(id))?;
    // After a pause too: the task then reads the list of replays again and leaves this one out.
    state.controls.replays.notify_one();
    Ok(Json(replay(&row)))
}

async fn find(state: &AdminState, id: i64) -> Result<ReplayRow, AdminProblem> {
    // The store has no query for one replay, and the list is short.
    let rows = state.store()?.replays(KNOWN).await?;
    let row = rows.into_iter().find(|row| row.id == id);
    row.ok_or_else(|| missing(id))
}

fn missing(id: i64) -> AdminProblem {
    AdminProblem::missing(format!(
        "replay {id} does not exist: list the replays with `/replays`"
    ))
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
