//! Handler for `/audit`, which lists the actions of operators.

use axum::Json;
use http::Uri;
use serde::Deserialize;

use crate::admin::audit_log::outcome;
use crate::admin::caller_view::WholeGate;
use crate::admin::documents::{ApiTimestamp, AuditEntries, AuditEntry};
use crate::admin::parameters::{self, PageParameters};
use crate::admin::problem::AdminProblem;
use crate::store::audit::{ActionRow, ActionSearch};

/// Filter for actions. An action must match every field that is set.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ActionFilter {
    /// Name of the token, or user of the Unix socket (`uid:0`).
    who: Option<String>,
    /// Operation, by its `operationId` in this document.
    action: Option<String>,
    /// Target of the action, as in the list.
    target: Option<String>,
    /// Earliest time: RFC 3339, seconds or milliseconds since the epoch, a day, or an age (`2h`).
    since: Option<String>,
    /// Actions before this time, in the same forms as `since`.
    before: Option<String>,
}

/// Lists the actions of operators, newest first
///
/// The list has changes, rejected changes, and views of the bytes of events. With a store it covers the last 100,000
/// actions of the last 400 days, without one the last 1,000 since the start. For operators only.
#[utoipa::path(
    get, path = "",
    params(ActionFilter, PageParameters),
    responses(
        (status = 200, body = AuditEntries),
    ),
)]
pub(super) async fn list(gate: WholeGate, uri: Uri) -> Result<Json<AuditEntries>, AdminProblem> {
    let (filter, page) = parameters::listing::<ActionFilter>(&uri)?;
    let search = ActionSearch {
        who: filter.who,
        action: filter.action,
        target: filter.target,
        since_ms: parameters::time("since", filter.since.as_deref())?,
        before_ms: parameters::time("before", filter.before.as_deref())?,
    };
    let rows = gate.audit.list(search, parameters::one_more(page)).await?;
    let (rows, next) = parameters::cut(rows, page.limit, |row| row.id);
    Ok(Json(AuditEntries {
        actions: rows.into_iter().map(shown).collect(),
        next,
    }))
}

fn shown(row: ActionRow) -> AuditEntry {
    let action = row.action;
    AuditEntry {
        id: row.id,
        at: ApiTimestamp(action.at_ms),
        who: action.who,
        role: action.role,
        source: action.source,
        action: action.action,
        target: Some(action.target).filter(|target| !target.is_empty()),
        detail: action.detail,
        outcome: outcome(action.status).to_owned(),
        status: action.status,
    }
}
