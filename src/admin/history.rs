//! Handlers for recent counts: `/routes/{route}/history`, `/routes/{route}/promotion` and `/secrets`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::admin::documents::{
    ApiTimestamp, HistoryDocument, IntervalDocument, PromotionDocument, ReasonCount,
    SecretUseDocument, SecretUseList,
};
use crate::admin::parameters::PathParameter;
use crate::admin::problem::AdminProblem;
use crate::admin::state::AdminState;
use crate::admin::{nodes, verdicts};
use crate::gate::reject::RejectReason;
use crate::model::clock::ClockReading;
use crate::record::history::{self, RouteHistory};
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
    State(state): State<Arc<AdminState>>,
    PathParameter(name): PathParameter<String>,
) -> Result<Json<HistoryDocument>, AdminProblem> {
    let route = state.facts.load().route(&name)?.clone();
    let now = ClockReading::read().unix_ms;
    // A route without any request so far has no counters.
    let counters = state.recorder.find_route(&route.name);
    let (minutes, hours) = counters.map_or_else(Default::default, |counters| {
        let history = counters.history();
        (history.minutes(now), history.hours(now))
    });
    Ok(Json(HistoryDocument {
        route: route.name,
        node: state.node(),
        counted_since: ApiTimestamp(state.started_ms),
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
    State(state): State<Arc<AdminState>>,
    PathParameter(name): PathParameter<String>,
) -> Result<Json<PromotionDocument>, AdminProblem> {
    let route = state.facts.load().route(&name)?.clone();
    let now = ClockReading::read().unix_ms;
    let day = day_of(&state, &route.name, now).await;
    let wanted = VerdictQuery {
        route: Some(route.name.clone()),
        verdict: Some("monitored".to_owned()),
        reason: None,
    };
    let examples = state.recorder.recent().newest(None, &wanted, EXAMPLES);
    Ok(Json(PromotionDocument {
        route: route.name,
        enforced: route.enforced,
        since: ApiTimestamp(day.since_ms),
        requests: day.requests,
        would_refuse: day.reasons.iter().map(|each| each.count).sum(),
        reasons: day.reasons,
        missing_nodes: day.missing_nodes,
        node: state.node(),
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
pub(super) async fn secrets(State(state): State<Arc<AdminState>>) -> Json<SecretUseList> {
    let uses = secrets_now(&state).await;
    Json(SecretUseList {
        counted_since: ApiTimestamp(uses.counted_since_ms),
        complete: uses.complete_since_ms.is_some(),
        secrets: uses.secrets,
    })
}

/// The uses of all secrets, on all nodes.
pub(super) struct SecretUses {
    pub(super) secrets: Vec<SecretUseDocument>,
    /// Since when the node that counts for the shortest time does.
    pub(super) counted_since_ms: i64,
    /// The same time; `None` if the uses on a live node are not known.
    pub(super) complete_since_ms: Option<i64>,
}

/// Requests of a route within a day, on all nodes.
pub(super) struct DayOfNodes {
    since_ms: i64,
    pub(super) requests: u64,
    /// Requests that would have been rejected, the most frequent reason first.
    pub(super) reasons: Vec<ReasonCount>,
    /// Live nodes whose counts are not known.
    pub(super) missing_nodes: Vec<String>,
}

/// Sums up the last 24 clock hours of a route over the nodes.
pub(super) async fn day_of(state: &AdminState, route: &str, now_ms: i64) -> DayOfNodes {
    let first_ms = RouteHistory::day_start_ms(now_ms);
    let (nodes, missing_nodes) = nodes::known_rows(state).await;
    let mut day = DayOfNodes {
        // A process younger than a day has counted only since its start.
        since_ms: first_ms,
        requests: 0,
        reasons: Vec::new(),
        missing_nodes,
    };
    for node in nodes {
        let report = node.report;
        day.since_ms = day.since_ms.max(report.counted_since_ms);
        let routes = report.routes.into_iter();
        let hours = routes
            .filter(|one| one.route == route)
            .flat_map(|one| one.hours)
            .filter(|hour| hour.start_ms >= first_ms);
        for hour in hours {
            day.requests = day.requests.saturating_add(hour.requests);
            for (reason, count) in hour.would_refuse {
                match day.reasons.iter_mut().find(|known| known.reason == reason) {
                    Some(known) => known.count = known.count.saturating_add(count),
                    None => day.reasons.push(ReasonCount { reason, count }),
                }
            }
        }
    }
    day.reasons
        .sort_by_key(|each| std::cmp::Reverse(each.count));
    day
}

/// Returns the secrets of the running config with their matches on all nodes since these count.
pub(super) async fn secrets_now(state: &AdminState) -> SecretUses {
    let (nodes, missing) = nodes::known_rows(state).await;
    let since_ms = nodes.iter().map(|node| node.report.counted_since_ms).max();
    let since_ms = since_ms.unwrap_or(state.started_ms);
    let facts = state.facts.load();
    let mut secrets = Vec::new();
    // The config decides which secrets are listed: counts of a secret that left it are left out.
    for route in &facts.routes {
        secrets.extend(route.secrets.iter().map(|secret| {
            let all = nodes.iter().flat_map(|node| &node.report.secrets);
            let used: Vec<_> = all
                .filter(|used| used.route == route.name && used.label == *secret.name)
                .collect();
            SecretUseDocument {
                route: route.name.clone(),
                name: secret.name.clone(),
                not_before: secret.not_before,
                until: secret.until,
                matches: used.iter().map(|used| used.matches).sum(),
                last_match: used.iter().map(|used| ApiTimestamp(used.last_ms)).max(),
            }
        }));
    }
    SecretUses {
        secrets,
        counted_since_ms: since_ms,
        complete_since_ms: missing.is_empty().then_some(since_ms),
    }
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
