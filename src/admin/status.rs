//! Handlers for `/status` and `/store`: health, content of the store, what needs attention.

use axum::Json;

use crate::admin::caller_view::{CallerView, WholeGate};
use crate::admin::controls::GateStatus;
use crate::admin::documents::{
    ApiTimestamp, AttentionItem, StateCounts, StatusDocument, StoreStats,
};
use crate::admin::problem::AdminProblem;
use crate::admin::state::AdminState;
use crate::admin::{node_rows, rotation, running_config};
use crate::model::clock::ClockReading;
use crate::store::nodes::NodeRow;
use crate::store::rows::DestinationRow;

/// Time before the end of a revocation list at which it needs attention: authorities renew most lists days before.
const SOON: i64 = 24 * 3600;

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
    let store_health = view.store_health();
    // If the store fails, the status says so in `store_healthy`. The rest of the status must not fail with it.
    let rows = match view.store() {
        Ok(store) => store.destinations().await.ok(),
        Err(_) => None,
    };
    let rows = rows.unwrap_or_default();
    // What belongs to no route is only for callers that see all of them.
    let whole = view.whole();
    let nodes = match whole {
        Some(state) => node_rows::rows(state).await.ok(),
        None => None,
    };
    let now = ClockReading::read();
    let gate = whole.map_or_else(GateStatus::default, |state| (state.controls.gate)());
    // The wall clock may step back behind the start; the uptime then stays at 0.
    let uptime_ms = now.unix_ms.saturating_sub(view.started_ms());
    let open = rows
        .iter()
        .map(|row| StateCounts::new(row.deliveries).open());
    Json(StatusDocument {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: view.is_ready(),
        limited: whole.is_none(),
        payload: view.sees_payload(),
        started: ApiTimestamp(view.started_ms()),
        node: view.node(),
        nodes: nodes.as_ref().map(|rows| alive(rows).count() as u64),
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
        needs: needs(&view, &rows, nodes.as_deref(), &gate, now).await,
    })
}

fn alive(nodes: &[NodeRow]) -> impl Iterator<Item = &NodeRow> {
    nodes.iter().filter(|node| node.ended_ms.is_none())
}

/// Lists what needs attention, most urgent first.
async fn needs(
    view: &CallerView,
    rows: &[DestinationRow],
    nodes: Option<&[NodeRow]>,
    gate: &GateStatus,
    now: ClockReading,
) -> Vec<AttentionItem> {
    // The order below is the order of urgency: what rejects events comes first.
    let mut needs = Vec::new();
    let mut tell = |what: &str, text: String| {
        let what = what.to_owned();
        needs.push(AttentionItem { what, text });
    };
    let whole = view.whole();
    if view.store_health() == Some(false) {
        let text = match view.node() {
            None => {
                "the store cannot be written, so events are rejected: check its disk and look in the log"
            }
            Some(_) => {
                "the store's database is away, so events of queue routes are rejected: check the database and look in the log"
            }
        };
        tell("store", text.to_owned());
    }
    if let Some(error) = whole.and_then(|state| state.refused_reload.load_full()) {
        // The first line names the error; the others show its location in the file.
        let first = error.lines().next().unwrap_or_default();
        tell(
            "config",
            format!("the last reload failed, the previous config stays in use: {first}"),
        );
    }
    for certificate in running_config::certificates_of(gate.certificates.clone(), now) {
        if certificate.ends_soon() {
            let names = certificate.names.join(", ");
            let days = certificate.days_left;
            tell(
                "certificate",
                format!("the certificate for {names} expires in {days} days: renew it"),
            );
        }
    }
    for (route, until) in view.revocation_lists() {
        let left = until.saturating_sub(now.unix_seconds());
        if left < SOON {
            let text = match left.max(0) / 3600 {
                _ if left < 0 => format!(
                    "a revocation list of route `{route}` is past its end, so its clients are refused: fetch the current list"
                ),
                hours => format!(
                    "a revocation list of route `{route}` ends in {hours} hours, and its clients are refused then: fetch the current list"
                ),
            };
            tell("revocation_list", text);
        }
    }
    for node in nodes.into_iter().flatten() {
        let store_now_ms = whole
            .and_then(AdminState::shared_store)
            .map_or(now.unix_ms, |(store, _)| store.now().unix_ms);
        for text in node_rows::warnings(node, nodes.unwrap_or_default(), store_now_ms) {
            tell("node", text);
        }
    }
    for need in rotation::needs(&view.secrets().await, now) {
        tell(&need.what, need.text);
    }
    for row in rows {
        let place = format!("{}/{}", row.route, row.name);
        if let Some(why) = &row.disabled {
            tell(
                "disabled",
                format!("{place} is disabled ({why}): resume it when it accepts events again"),
            );
        }
        if row.is_paused || row.is_route_paused {
            tell(
                "paused",
                format!("{place} is paused: its deliveries wait until you resume it"),
            );
        }
        let dead = StateCounts::new(row.deliveries).dead;
        if dead > 0 {
            tell(
                "dead_letters",
                format!(
                    "{place} has dead letters ({dead}): retry them when it accepts events again, or discard them"
                ),
            );
        }
    }
    // Last, because an open breaker needs no action: it closes by itself when an attempt succeeds.
    for health in view.health() {
        let row = rows.iter().find(|row| row.id == health.id);
        if let Some(row) = row.filter(|_| health.breaker == "open") {
            let place = format!("{}/{}", row.route, row.name);
            tell(
                "failing",
                format!("{place} fails repeatedly: attempts pause and continue by themselves"),
            );
        }
    }
    needs
}
