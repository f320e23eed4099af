//! Handler for `/nodes`.

use axum::Json;

use crate::admin::caller_view::WholeGate;
use crate::admin::documents::{ApiTimestamp, NodeDocument, NodeList};
use crate::admin::node_rows::{rows, warnings};
use crate::admin::problem::AdminProblem;
use crate::admin::state::AdminState;
use crate::model::clock::ClockReading;
use crate::store::nodes::NodeRow;

/// Lists the nodes that share the store
///
/// With an SQLite file or without a store, the list has this process only. Nodes that ended stay in the list for a day.
#[utoipa::path(
    get, path = "",
    responses(
        (status = 200, body = NodeList),
    ),
)]
pub(super) async fn list(state: WholeGate) -> Result<Json<NodeList>, AdminProblem> {
    let rows = rows(&state).await?;
    let store = state.controls.store.as_ref();
    let now_ms = ClockReading::read().unix_ms;
    Ok(Json(NodeList {
        shared: state.node().is_some(),
        nodes: rows
            .iter()
            .map(|row| NodeDocument {
                // Times of rows are of the database's clock.
                started: shown(&state, row.started_ms),
                ended: row.ended_ms.map(|ms| shown(&state, ms)),
                last_beat: last_beat(&state, row, now_ms),
                ..document(
                    row,
                    warnings(
                        row,
                        &rows,
                        store.map_or(now_ms, |store| store.now().unix_ms),
                    ),
                )
            })
            .collect(),
    }))
}

fn document(row: &NodeRow, warnings: Vec<String>) -> NodeDocument {
    let report = &row.report;
    NodeDocument {
        id: row.id,
        name: row.name.clone(),
        this: row.is_self,
        alive: row.ended_ms.is_none(),
        version: row.version.clone(),
        started: ApiTimestamp(row.started_ms),
        last_beat: ApiTimestamp(row.started_ms),
        ended: None,
        config: report.config_digest.clone(),
        clock_offset_ms: report.clock_offset_ms,
        connections: report.connections,
        in_flight: report.requests_in_flight,
        attempts_in_flight: report.attempts_in_flight,
        open_breakers: report.open_breakers.clone(),
        warnings,
    }
}

fn last_beat(state: &AdminState, row: &NodeRow, now_ms: i64) -> ApiTimestamp {
    match row.ended_ms {
        // Another node ends the row of a dead one much later, so the last report is nearer to the last beat.
        Some(ended_ms) => shown(
            state,
            ended_ms.min(row.report.published_ms.max(row.started_ms)),
        ),
        None => {
            let quiet_ms = i64::try_from(row.quiet_ms).unwrap_or(i64::MAX);
            ApiTimestamp(now_ms.saturating_sub(quiet_ms))
        }
    }
}

/// Converts a time of the store's clock to the wall clock.
fn shown(state: &AdminState, stored_ms: i64) -> ApiTimestamp {
    let store = state.shared_store();
    ApiTimestamp(store.map_or(stored_ms, |(store, _)| store.to_wall_ms(stored_ms)))
}
