//! The report that this process publishes for all nodes that share its store.
//!
//! A report is written often, so its size is bounded: a gate with more routes publishes a part of its counts, and says
//! so.

use crate::admin::state::AdminState;
use crate::model::clock::ClockReading;
use crate::record::history::IntervalTally;
use crate::store::Store;
use crate::store::nodes::{HourReport, NodeReport, RouteReport, SecretReport};

/// Most routes whose counts by hour are published.
const MAX_ROUTES: usize = 200;

/// Most secrets whose last use is published.
const MAX_SECRETS: usize = 2_000;

/// Collects what this process publishes about itself now.
pub(crate) fn node_report(state: &AdminState) -> NodeReport {
    let mut report = own_report(state);
    report.is_partial = report.routes.len() > MAX_ROUTES || report.secrets.len() > MAX_SECRETS;
    report.routes.truncate(MAX_ROUTES);
    report.secrets.truncate(MAX_SECRETS);
    report
}

/// Collects everything that this process knows about itself, without bounds.
pub(super) fn own_report(state: &AdminState) -> NodeReport {
    let gate = (state.controls.gate)();
    let health = (state.controls.health)();
    let facts = state.facts.load();
    let now = ClockReading::read();
    let store = state.controls.store.as_ref();
    let mut report = NodeReport {
        config_digest: facts.digest.clone(),
        published_ms: store.map_or(now, Store::now).unix_ms,
        counted_since_ms: state.started_ms,
        connections: gate.connections,
        requests_in_flight: gate.in_flight,
        attempts_in_flight: health.iter().map(|one| one.in_flight).sum(),
        open_breakers: health
            .iter()
            .filter(|one| one.breaker == "open")
            .map(|one| format!("{}/{}", one.route, one.name))
            .collect(),
        ..NodeReport::default()
    };
    for route in &facts.routes {
        let Some(counters) = state.recorder.find_route(&route.name) else {
            continue;
        };
        let history = counters.history();
        let hours: Vec<_> = history.last_day(now.unix_ms).iter().map(hour).collect();
        // A route without requests says nothing that a missing one does not.
        if !hours.is_empty() {
            report.routes.push(RouteReport {
                route: route.name.clone(),
                hours,
            });
        }
        let used = history.secrets().into_iter();
        report.secrets.extend(used.map(|used| SecretReport {
            route: route.name.clone(),
            label: used.label.to_string(),
            matches: used.matches,
            last_ms: used.last_ms,
        }));
    }
    report
}

fn hour(tally: &IntervalTally) -> HourReport {
    let would_refuse = tally.would_refuse.iter();
    HourReport {
        start_ms: tally.start_ms,
        requests: tally.total(),
        would_refuse: would_refuse
            .map(|(reason, count)| (reason.explanation().code.to_owned(), *count))
            .collect(),
    }
}
