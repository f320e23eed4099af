//! Handlers for recent counts: `/routes/{route}/history`, `/routes/{route}/promotion` and `/secrets`.

use axum::Json;

use crate::admin::caller_view::CallerView;
use crate::admin::documents::{
    ApiTimestamp, HistoryDocument, IntervalDocument, PromotionDocument, ReasonCount, SecretUseList,
};
use crate::admin::parameters::PathParameter;
use crate::admin::problem::AdminProblem;
use crate::admin::verdicts;
use crate::gate::reject::RejectReason;
use crate::model::clock::ClockReading;
use crate::record::history;
use crate::record::recent_verdicts::VerdictQuery;

/// Most example verdicts in a promotion report.
const EXAMPLES: usize = 50;

/// Counts recent requests of a route by minute and by hour
///
/// Counts are kept in memory: they survive a reload, but not a restart. With several nodes they are of the node that
/// answers.
#[utoipa::path(
    get, path = "",
    params(("route" = String, Path, description = "Name of the route")),
    responses(
        (status = 200, body = HistoryDocument),
    ),
)]
pub(super) async fn show(
    view: CallerView,
    PathParameter(name): PathParameter<String>,
) -> Result<Json<HistoryDocument>, AdminProblem> {
    let route = view.route(&name)?;
    let now = ClockReading::read().unix_ms;
    let (minutes, hours) = view.history(&route, now);
    Ok(Json(HistoryDocument {
        route: route.name,
        node: view.node(),
        counted_since: ApiTimestamp(view.started_ms()),
        minutes: minutes.iter().map(tally).collect(),
        hours: hours.iter().map(tally).collect(),
    }))
}

/// Shows what a route in monitor mode would have rejected in the last 24 hours
///
/// Read it before you leave monitor mode: it lists the requests that `enforce = "block"` would have kept from the app.
/// It changes nothing. Several nodes are summed up; the examples are of the node that answers.
#[utoipa::path(
    get, path = "",
    params(("route" = String, Path, description = "Name of the route")),
    responses(
        (status = 200, body = PromotionDocument),
    ),
)]
pub(super) async fn promotion(
    view: CallerView,
    PathParameter(name): PathParameter<String>,
) -> Result<Json<PromotionDocument>, AdminProblem> {
    let route = view.route(&name)?;
    let now = ClockReading::read().unix_ms;
    let day = view.day_of(&route, now).await;
    let wanted = VerdictQuery {
        route: Some(route.name.clone()),
        verdict: Some("monitored".to_owned()),
        reason: None,
        ..VerdictQuery::default()
    };
    let examples = view.newest_verdicts(None, &wanted, EXAMPLES);
    Ok(Json(PromotionDocument {
        route: route.name,
        enforced: route.enforced,
        since: ApiTimestamp(day.since_ms),
        requests: day.requests,
        would_refuse: day.reasons.iter().map(|each| each.count).sum(),
        reasons: day.reasons,
        missing_nodes: day.missing_nodes,
        node: view.node(),
        examples: examples
            .iter()
            .map(|kept| verdicts::verdict(kept))
            .collect(),
    }))
}

/// Lists the secrets of all routes: when they expire and when they last matched
///
/// The response contains no secret and nothing derived from one. After a rotation, remove the old secret once only the
/// new one matches.
#[utoipa::path(
    get, path = "",
    responses(
        (status = 200, body = SecretUseList),
    ),
)]
pub(super) async fn secrets(view: CallerView) -> Json<SecretUseList> {
    let uses = view.secrets().await;
    Json(SecretUseList {
        counted_since: ApiTimestamp(uses.counted_since_ms),
        complete: uses.complete_since_ms.is_some(),
        secrets: uses.secrets,
    })
}

/// Converts the counts of a minute or an hour to their JSON shape.
fn tally(tally: &history::IntervalTally) -> IntervalDocument {
    IntervalDocument {
        start: ApiTimestamp(tally.start_ms),
        accepted: tally.accepted,
        duplicate: tally.duplicate,
        challenge: tally.challenge,
        filtered: tally.filtered,
        refused: counted(&tally.refused),
        would_refuse: counted(&tally.would_refuse),
    }
}

fn counted(counts: &[(RejectReason, u64)]) -> Vec<ReasonCount> {
    let each = counts.iter().map(|(reason, count)| ReasonCount {
        reason: reason.explanation().code.to_owned(),
        count: *count,
    });
    each.collect()
}
