//! Handlers for `/status` and `/store`: health, content of the store, what needs attention.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::admin::documents::{
    ApiTimestamp, AttentionItem, StateCounts, StatusDocument, StoreStats,
};
use crate::admin::problem::AdminProblem;
use crate::admin::problems::ProblemView;
use crate::admin::state::AdminState;
use crate::model::clock::ClockReading;
use crate::model::problem::ProblemKind;
use crate::store::Store;
use crate::store::nodes::NodeRow;

/// Shows the content of the store
#[utoipa::path(
    get, path = "",
    responses(
        (status = 200, body = StoreStats),
    ),
)]
pub(super) async fn store(
    State(state): State<Arc<AdminState>>,
) -> Result<Json<StoreStats>, AdminProblem> {
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
pub(super) async fn status(State(state): State<Arc<AdminState>>) -> Json<StatusDocument> {
    let store = state.controls.store.as_ref();
    let now = ClockReading::read();
    let view = ProblemView::load(&state, now).await;
    let (rows, nodes) = (&view.rows, view.nodes.as_deref());
    let gate = (state.controls.gate)();
    // The wall clock may step back behind the start; the uptime then stays at 0.
    let uptime_ms = now.unix_ms.saturating_sub(state.started_ms);
    let open = rows
        .iter()
        .map(|row| StateCounts::new(row.deliveries).open());
    Json(StatusDocument {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: state.is_ready(),
        started: ApiTimestamp(state.started_ms),
        node: state.node(),
        nodes: nodes.map(|rows| alive(rows).count() as u64),
        has_store: store.is_some(),
        store_healthy: store.map(Store::is_healthy),
        tails: state.open_tails(),
        uptime_seconds: u64::try_from(uptime_ms / 1000).unwrap_or(0),
        routes: state.facts.load().routes.len() as u64,
        in_flight: gate.in_flight,
        connections: gate.connections,
        backlog: open.fold(0, u64::saturating_add),
        oldest_waiting: rows
            .iter()
            .filter_map(|row| row.oldest_open_ms)
            .min()
            .map(ApiTimestamp),
        needs: needs(&state, &view).await,
    })
}

fn alive(nodes: &[NodeRow]) -> impl Iterator<Item = &NodeRow> {
    nodes.iter().filter(|node| node.ended_ms.is_none())
}

/// Lists what needs attention, most urgent first.
async fn needs(state: &AdminState, view: &ProblemView) -> Vec<AttentionItem> {
    let mut found = view.own(state);
    found.extend(view.shared(state).await);
    found.extend(state.controls.alerts.judged_problems());
    // The order of the kinds is that of urgency: what rejects events comes first.
    found.sort_by_key(|problem| {
        let mut all = ProblemKind::ALL.into_iter();
        all.position(|(_, kind)| kind == problem.kind)
    });
    let each = found.into_iter().map(|problem| AttentionItem {
        what: problem.kind.word().to_owned(),
        text: problem.text,
    });
    each.collect()
}
