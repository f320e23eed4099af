//! Handlers for `/status` and `/store`: health, content of the store, what needs attention.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::admin::controls::GateStatus;
use crate::admin::documents::{
    ApiTimestamp, AttentionItem, CertificateDocument, StateCounts, StatusDocument, StoreStats,
};
use crate::admin::problem::AdminProblem;
use crate::admin::state::AdminState;
use crate::admin::{nodes, rotation, running_config};
use crate::model::clock::ClockReading;
use crate::store::Store;
use crate::store::nodes::NodeRow;
use crate::store::rows::DestinationRow;

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
    let rows = match store {
        // If the store fails, the status says so in `store_healthy`. The rest of the status must not fail with it.
        Some(store) => store.destinations().await.ok(),
        None => None,
    };
    let rows = rows.unwrap_or_default();
    let nodes = nodes::rows(&state).await.ok();
    let now = ClockReading::read();
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
        nodes: nodes.as_ref().map(|rows| alive(rows).count() as u64),
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
        needs: needs(&state, &rows, nodes.as_deref(), &gate, now).await,
    })
}

fn alive(nodes: &[NodeRow]) -> impl Iterator<Item = &NodeRow> {
    nodes.iter().filter(|node| node.ended_ms.is_none())
}

/// Failures in a row from which a renewal needs attention. One or two occur when a CA is busy.
const MANY_FAILURES: u32 = 3;

/// Describes what a certificate needs, if it needs anything.
fn certificate_need(certificate: &CertificateDocument) -> Option<String> {
    let names = certificate.names.join(", ");
    let failure = certificate.failure.as_ref();
    match (certificate.days_left, failure) {
        (None, None) => Some(format!(
            "there is no certificate for {names} yet: the CA was not asked yet"
        )),
        (None, Some(failure)) => Some(format!(
            "there is no certificate for {names}, so handshakes for it fail: {}",
            failure.reason
        )),
        (Some(days), Some(failure))
            if failure.count >= MANY_FAILURES || certificate.ends_soon() =>
        {
            Some(format!(
                "the certificate for {names} expires in {days} days and cannot be renewed: {}",
                failure.reason
            ))
        }
        (Some(days), _) if certificate.ends_soon() => Some(format!(
            "the certificate for {names} expires in {days} days: renew it"
        )),
        _ => None,
    }
}

/// Lists what needs attention, most urgent first.
async fn needs(
    state: &AdminState,
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
    if state
        .controls
        .store
        .as_ref()
        .is_some_and(|store| !store.is_healthy())
    {
        let text = match state.node() {
            None => {
                "the store cannot be written, so events are rejected: check its disk and look in the log"
            }
            Some(_) => {
                "the store's database is away, so events of queue routes are rejected: check the database and look in the log"
            }
        };
        tell("store", text.to_owned());
    }
    if let Some(error) = state.refused_reload.load().as_deref() {
        // The first line names the error; the others show its location in the file.
        let first = error.lines().next().unwrap_or_default();
        tell(
            "config",
            format!("the last reload failed, the previous config stays in use: {first}"),
        );
    }
    for certificate in running_config::certificates_of(gate.certificates.clone(), now) {
        if let Some(text) = certificate_need(&certificate) {
            tell("certificate", text);
        }
    }
    for node in nodes.into_iter().flatten() {
        let store_now_ms = state
            .shared_store()
            .map_or(now.unix_ms, |(store, _)| store.now().unix_ms);
        for text in nodes::warnings(node, nodes.unwrap_or_default(), store_now_ms) {
            tell("node", text);
        }
    }
    for need in rotation::needs(state, now).await {
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
    for health in (state.controls.health)() {
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
