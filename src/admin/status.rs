//! `/status` and `/store`: how the gate does, and what is in the store.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::admin::AdminState;
use crate::admin::problem::Problem;
use crate::admin::wire::{Counts, Moment, ProblemDocument, Status, StoreStats};
use crate::store::Store;

/// What is in the store
#[utoipa::path(
    get, path = "/api/v1/store", tag = "gate", operation_id = "show_store",
    responses(
        (status = 200, body = StoreStats),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn store(
    State(state): State<Arc<AdminState>>,
) -> Result<Json<StoreStats>, Problem> {
    let store = state.store()?;
    let stats = store.stats().await?;
    Ok(Json(StoreStats {
        healthy: store.is_healthy(),
        events: stats.events,
        deliveries: Counts::new(stats.deliveries),
        claims: stats.claims,
        size: stats.size,
        spare: stats.spare,
        oldest_open: stats.oldest_open_ms.map(Moment),
        groups: stats.groups,
        grouped: stats.grouped,
        reopened: stats.reopened,
    }))
}

/// How the gate does
#[utoipa::path(
    get, path = "/api/v1/status", tag = "gate", operation_id = "show_status",
    responses(
        (status = 200, body = Status),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn status(State(state): State<Arc<AdminState>>) -> Json<Status> {
    let store = state.controls.store.as_ref();
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: state.is_ready(),
        started: Moment(state.started_ms),
        has_store: store.is_some(),
        store_healthy: store.map(Store::is_healthy),
        tails: state.open_tails(),
    })
}
