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
use crate::admin::verdicts;
use crate::gate::reject::RejectReason;
use crate::model::clock::ClockReading;
use crate::record::history;
use crate::record::recent_verdicts::VerdictQuery;

/// Most example verdicts in a promotion report.
const EXAMPLES: usize = 50;

/// Counts recent requests of a route by minute and by hour
///
/// Counts are kept in memory: they survive a reload, but not a restart.
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
        counted_since: ApiTimestamp(state.started_ms),
        minutes: minutes.iter().map(tally).collect(),
        hours: hours.iter().map(tally).collect(),
    }))
}

/// Shows what a route in monitor mode would have rejected in the last 24 hours
///
/// Read it before you leave monitor mode: it lists the requests that `enforce = "block"` would have kept from the app.
/// It changes nothing.
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
    let counters = state.recorder.find_route(&route.name);
    let day = counters.map_or_else(Default::default, |counters| counters.history().day(now));
    let mut reasons = counted(&day.would_refuse);
    reasons.sort_by_key(|each| std::cmp::Reverse(each.count));
    let wanted = VerdictQuery {
        route: Some(route.name.clone()),
        verdict: Some("monitored".to_owned()),
        reason: None,
    };
    let examples = state.recorder.recent().newest(None, &wanted, EXAMPLES);
    Ok(Json(PromotionDocument {
        route: route.name,
        enforced: route.enforced,
        // A process younger than a day has counted only since its start.
        since: ApiTimestamp(day.start_ms.max(state.started_ms)),
        requests: day.total(),
        would_refuse: reasons.iter().map(|each| each.count).sum(),
        reasons,
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
    Json(SecretUseList {
        counted_since: ApiTimestamp(state.started_ms),
        secrets: secrets_now(&state),
    })
}

/// Returns the secrets of the running config with their matches since the start.
pub(super) fn secrets_now(state: &AdminState) -> Vec<SecretUseDocument> {
    let facts = state.facts.load();
    let mut secrets = Vec::new();
    // The config decides which secrets are listed: counts of a secret that left it are left out.
    for route in &facts.routes {
        let counters = state.recorder.find_route(&route.name);
        let used = counters.map_or_else(Vec::new, |counters| counters.history().secrets());
        secrets.extend(route.secrets.iter().map(|secret| {
            let found = used.iter().find(|used| *used.label == *secret.name);
            SecretUseDocument {
                route: route.name.clone(),
                name: secret.name.clone(),
                not_before: secret.not_before,
                until: secret.until,
                matches: found.map_or(0, |used| used.matches),
                last_match: found.map(|used| ApiTimestamp(used.last_ms)),
            }
        }));
    }
    secrets
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
