//! `/replays`: old events that are delivered again, as new deliveries.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::{Extension, Json};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::admin::input::{self, Many, Named};
use crate::admin::problem::Problem;
use crate::admin::wire::{Moment, ProblemDocument, Replay, ReplayAsked, ReplayState, Replays};
use crate::admin::{AdminState, Visit, deliveries};
use crate::model::clock::Now;
use crate::store::search::{self, ReplayRow};

/// Those that are looked through for one.
const KNOWN: u64 = 1000;

/// The replays, the newest first, 1,000 at most
#[utoipa::path(
    get, path = "/api/v1/replays", tag = "replays", operation_id = "list_replays",
    responses(
        (status = 200, body = Replays),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(State(state): State<Arc<AdminState>>) -> Result<Json<Replays>, Problem> {
    let rows = state.store()?.replays(KNOWN).await?;
    Ok(Json(Replays {
        replays: rows.iter().map(replay).collect(),
    }))
}

/// Begins a replay: a new delivery for each one that matches
#[utoipa::path(
    post, path = "/api/v1/replays", tag = "replays", operation_id = "begin_replay",
    request_body = Many,
    responses(
        (status = 200, description = "It was only counted", body = ReplayAsked),
        (status = 201, description = "It was begun", body = ReplayAsked),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn begin(
    State(state): State<Arc<AdminState>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<ReplayAsked>), Problem> {
    let many: Many = input::json(&headers, body)?;
    let store = state.store()?.clone();
    let search = many.search()?;
    let asked = search::Replay { search };
    let _slot = state.long_slot()?;
    visit.patience.extend(deliveries::LONG);
    let wanted = many.words();
    if many.dry_run {
        let count = store.count_replay(&asked).await?;
        visit.remark(format!("{wanted}: {count} counted"));
        let answer = ReplayAsked {
            dry_run: true,
            count,
            replay: None,
        };
        return Ok((StatusCode::OK, Json(answer)));
    }
    let row = store.begin_replay(asked, Now::read().unix_ms).await?;
    visit.remark(format!("{wanted}: replay {} of {}", row.id, row.total));
    state.controls.replays.notify_one();
    let answer = ReplayAsked {
        dry_run: false,
        count: row.total,
        replay: Some(replay(&row)),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// One replay and how far it is
#[utoipa::path(
    get, path = "/api/v1/replays/{id}", tag = "replays", operation_id = "show_replay",
    params(("id" = i64, Path, description = "Its number")),
    responses(
        (status = 200, body = Replay),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show(
    State(state): State<Arc<AdminState>>,
    Named(id): Named<String>,
) -> Result<Json<Replay>, Problem> {
    let id = input::number(&id, "a replay")?;
    Ok(Json(replay(&find(&state, id).await?)))
}

/// Stops a replay; deliveries that it has made are attempted all the same
#[utoipa::path(
    post, path = "/api/v1/replays/{id}/pause", tag = "replays", operation_id = "pause_replay",
    params(("id" = i64, Path, description = "Its number")),
    responses(
        (status = 200, body = Replay),
        (status = 409, description = "It is over", body = ProblemDocument, content_type = "application/problem+json"),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn pause(
    State(state): State<Arc<AdminState>>,
    Named(id): Named<String>,
) -> Result<Json<Replay>, Problem> {
    set(&state, &id, true).await
}

/// Lets a replay go on
#[utoipa::path(
    post, path = "/api/v1/replays/{id}/resume", tag = "replays", operation_id = "resume_replay",
    params(("id" = i64, Path, description = "Its number")),
    responses(
        (status = 200, body = Replay),
        (status = 409, description = "It is over", body = ProblemDocument, content_type = "application/problem+json"),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn resume(
    State(state): State<Arc<AdminState>>,
    Named(id): Named<String>,
) -> Result<Json<Replay>, Problem> {
    set(&state, &id, false).await
}

async fn set(state: &AdminState, id: &str, is_paused: bool) -> Result<Json<Replay>, Problem> {
    let id = input::number(id, "a replay")?;
    if find(state, id).await?.is_ended {
        return Err(Problem::conflict(format!(
            "replay {id} is over: its deliveries were made, and `/deliveries/cancel` ends those that still wait"
        )));
    }
    let row = state.store()?.pause_replay(id, is_paused).await?;
    let row = row.ok_or_else(|| missing(id))?;
    state.controls.replays.notify_one();
    Ok(Json(replay(&row)))
}

async fn find(state: &AdminState, id: i64) -> Result<ReplayRow, Problem> {
    let rows = state.store()?.replays(KNOWN).await?;
    let row = rows.into_iter().find(|row| row.id == id);
    row.ok_or_else(|| missing(id))
}

fn missing(id: i64) -> Problem {
    Problem::missing(format!("there is no replay {id}"))
}

fn replay(row: &ReplayRow) -> Replay {
    Replay {
        id: row.id,
        created: Moment(row.created_ms),
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
