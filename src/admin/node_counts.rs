//! Counts of routes and secrets, summed up over all nodes.

use crate::admin::documents::{ApiTimestamp, ReasonCount, SecretUseDocument};
use crate::admin::node_rows;
use crate::admin::state::AdminState;
use crate::record::history::RouteHistory;

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
    pub(super) since_ms: i64,
    pub(super) requests: u64,
    /// Requests that would have been rejected, the most frequent reason first.
    pub(super) reasons: Vec<ReasonCount>,
    /// Live nodes whose counts are not known.
    pub(super) missing_nodes: Vec<String>,
}

/// Sums up the last 24 clock hours of a route over the nodes.
pub(super) async fn day_of(state: &AdminState, route: &str, now_ms: i64) -> DayOfNodes {
    let first_ms = RouteHistory::day_start_ms(now_ms);
    let (nodes, missing_nodes) = node_rows::known_rows(state).await;
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
    let (nodes, missing) = node_rows::known_rows(state).await;
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
