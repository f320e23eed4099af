//! Handlers for `/alerts`: list, acknowledge and test.

use axum::{Extension, Json};
use http::StatusCode;

use crate::admin::access::AdminCaller;
use crate::admin::caller_view::WholeGate;
use crate::admin::connection_context::ConnectionContext;
use crate::admin::deliveries;
use crate::admin::documents::{
    AlertDocument, AlertList, AlertReceiverDocument, AlertTestDocument, AlertTestList, ApiTimestamp,
};
use crate::admin::parameters::PathParameter;
use crate::admin::problem::AdminProblem;
use crate::admin::state::AdminState;
use crate::alerts::{OpenAlert, ReceiverReport, TestOutcome};

/// Lists the open alerts and the receivers
///
/// Without `[alerts.NAME]` in the config the list is empty: the status lists what needs attention. Several nodes have
/// the same alerts.
#[utoipa::path(
    get, path = "",
    responses(
        (status = 200, body = AlertList),
    ),
)]
pub(super) async fn list(gate: WholeGate) -> Json<AlertList> {
    Json(list_now(&gate))
}

/// Acknowledges an open alert: its receivers get no further message until it is over or gets worse
#[utoipa::path(
    post, path = "",
    params(("id" = u64, Path, description = "Number of the alert")),
    responses(
        (status = 200, body = AlertList),
    ),
)]
pub(super) async fn acknowledge(
    gate: WholeGate,
    Extension(who): Extension<AdminCaller>,
    PathParameter(id): PathParameter<String>,
) -> Result<Json<AlertList>, AdminProblem> {
    let unknown = || AdminProblem::missing(format!("no alert with the number `{id}` is open"));
    let number = id.parse().map_err(|_| unknown())?;
    let known = gate.controls.alerts.acknowledge(number, &who.name).await;
    // Another node sends the messages, so it has to learn of the acknowledgment.
    let known = known.map_err(|error| {
        let detail = format!("the acknowledgment cannot be stored: {error}");
        AdminProblem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    match known {
        true => Ok(Json(list_now(&gate))),
        false => Err(unknown()),
    }
}

/// Sends a test message to every receiver
///
/// The response says for each receiver whether it accepted the message. It takes as long as the slowest receiver.
#[utoipa::path(
    post, path = "",
    responses(
        (status = 200, body = AlertTestList),
    ),
)]
pub(super) async fn test_all(
    gate: WholeGate,
    Extension(visit): Extension<ConnectionContext>,
) -> Json<AlertTestList> {
    visit.deadline.extend(deliveries::LONG);
    let outcomes = gate.controls.alerts.test(None).await;
    Json(tested(outcomes))
}

/// Sends a test message to one receiver
#[utoipa::path(
    post, path = "",
    params(("receiver" = String, Path, description = "Name of the receiver")),
    responses(
        (status = 200, body = AlertTestList),
    ),
)]
pub(super) async fn test_one(
    gate: WholeGate,
    Extension(visit): Extension<ConnectionContext>,
    PathParameter(receiver): PathParameter<String>,
) -> Result<Json<AlertTestList>, AdminProblem> {
    visit.deadline.extend(deliveries::LONG);
    let outcomes = gate.controls.alerts.test(Some(&receiver)).await;
    if outcomes.is_empty() {
        return Err(AdminProblem::missing(format!(
            "the config has no `[alerts.{receiver}]`"
        )));
    }
    Ok(Json(tested(outcomes)))
}

fn list_now(state: &AdminState) -> AlertList {
    let overview = state.controls.alerts.overview();
    AlertList {
        alerts: overview.alerts.into_iter().map(alert).collect(),
        receivers: overview.receivers.into_iter().map(receiver).collect(),
    }
}

fn alert(alert: OpenAlert) -> AlertDocument {
    let known = alert.acknowledged;
    AlertDocument {
        id: alert.id,
        condition: alert.kind,
        subject: alert.subject,
        text: alert.text,
        level: alert.level,
        since: ApiTimestamp(alert.since_ms),
        absent_since: alert.absent_ms.map(ApiTimestamp),
        acknowledged_at: known.as_ref().map(|known| ApiTimestamp(known.at_ms)),
        acknowledged_by: known.map(|known| known.by),
    }
}

fn receiver(report: ReceiverReport) -> AlertReceiverDocument {
    AlertReceiverDocument {
        name: report.name,
        kind: report.kind.to_owned(),
        waiting: report.waiting,
        failures: report.failures,
        failing_since: report.failing_since_ms.map(ApiTimestamp),
        last_error: report.last_error,
        last_accepted: report.accepted_ms.map(ApiTimestamp),
    }
}

fn tested(outcomes: Vec<TestOutcome>) -> AlertTestList {
    let each = outcomes.into_iter().map(|outcome| AlertTestDocument {
        name: outcome.name,
        kind: outcome.kind.to_owned(),
        accepted: outcome.error.is_none(),
        error: outcome.error,
    });
    AlertTestList {
        receivers: each.collect(),
    }
}
