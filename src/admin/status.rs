//! Handlers for `/status` and `/store`: health, content of the store, what needs attention.

use axum::Json;

use crate::admin::caller_view::{CallerView, WholeGate};
use crate::admin::controls::GateStatus;
use crate::admin::documents::{
    ApiTimestamp, AttentionItem, StateCounts, StatusDocument, StoreStats,
};
use crate::admin::problem::AdminProblem;
use crate::admin::state::AdminState;
use crate::model::clock::ClockReading;
use crate::store::nodes::NodeRow;

/// Shows the content of the store
#[utoipa::path(
    get, path = "",
    responses(
        (status = 200, body = StoreStats),
    ),
)]
pub(super) async fn store(state: WholeGate) -> Result<Json<StoreStats>, AdminProblem> {
    let store = state.store()?;
    let stats = store.stats().await?;
    Ok(Json(StoreStats {
        healthy: store.is_healthy(),
        events: stats.events,
        deliveries: StateCounts::new(stats.deliveries),
        claims: stats.claims,
        size: stats.size,
        spare: stats.spare,
        oldest_open: stats.oldest_open_ms.map(ApiTimestamp),
        groups: stats.groups,
        grouped: stats.grouped,
        reopened: stats.reopened,
    }))
}

/// Shows the status of the gate
#[utoipa::path(
    get, path = "",
    responses(
        (status = 200, body = StatusDocument),
    ),
)]
pub(super) async fn status(view: CallerView) -> Json<StatusDocument> {
    let now = ClockReading::read();
    let (seen, problems) = view.problems(now).await;
    let (rows, nodes) = (&seen.rows, seen.nodes.as_deref());
    let store_health = view.store_health();
    // What belongs to no route is only for callers that see all of them.
    let whole = view.whole();
    let gate = whole.map_or_else(GateStatus::default, |state| (state.controls.gate)());
    // The wall clock may step back behind the start; the uptime then stays at 0.
    let uptime_ms = now.unix_ms.saturating_sub(view.started_ms());
    let open = rows
        .iter()
        .map(|row| StateCounts::new(row.deliveries).open());
    // The problems are sorted: most urgent first.
    let needs = problems.into_iter().map(|problem| AttentionItem {
        what: problem.kind.word().to_owned(),
        text: problem.text,
    });
    Json(StatusDocument {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: view.is_ready(),
        limited: whole.is_none(),
        payload: view.sees_payload(),
        started: ApiTimestamp(view.started_ms()),
        node: view.node(),
        nodes: nodes.map(|rows| alive(rows).count() as u64),
        has_store: store_health.is_some(),
        store_healthy: store_health,
        tails: whole.map_or(0, AdminState::open_tails),
        uptime_seconds: u64::try_from(uptime_ms / 1000).unwrap_or(0),
        routes: view.routes().len() as u64,
        in_flight: gate.in_flight,
        connections: gate.connections,
        backlog: open.fold(0, u64::saturating_add),
        oldest_waiting: rows
            .iter()
            .filter_map(|row| row.oldest_open_ms)
            .min()
            .map(ApiTimestamp),
        needs: needs.collect(),
    })
}

fn alive(nodes: &[NodeRow]) -> impl Iterator<Item = &NodeRow> {
    nodes.iter().filter(|node| node.ended_ms.is_none())
}
