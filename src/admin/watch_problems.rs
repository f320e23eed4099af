//! The task that looks for problems and hands them to the alerts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::admin::problems::ProblemView;
use crate::admin::state::AdminState;
use crate::alerts::{NodeFindings, RecentTraffic};
use crate::model::clock::ClockReading;

/// Looks for problems until the future is dropped.
pub(crate) async fn watch_problems(state: Arc<AdminState>) {
    loop {
        let plan = state.controls.alerts.plan();
        // A pause and not a fixed rhythm: a look that takes long must not be followed by the next one at once.
        tokio::time::sleep(plan.watch.interval).await;
        if plan.has_receivers() {
            look(&state).await;
        }
    }
}

/// Runs one round.
async fn look(state: &AdminState) {
    let now = ClockReading::read();
    let view = ProblemView::load(state, now).await;
    let own = NodeFindings::new(now.unix_ms, activity(state, now.unix_ms), view.own(state));
    let shared = match view.is_partial {
        true => None,
        false => Some(view.shared(state).await),
    };
    state.controls.alerts.round(own, shared, now.unix_ms).await;
}

/// Returns the recent requests of each route on this node.
fn activity(state: &AdminState, now_ms: i64) -> BTreeMap<String, RecentTraffic> {
    let facts = state.facts.load();
    let mut routes = BTreeMap::new();
    for route in &facts.routes {
        let Some(counters) = state.recorder.find_route(&route.name) else {
            continue;
        };
        let history = counters.history();
        let mut activity = RecentTraffic {
            last_ms: history.last_genuine_ms(),
            ..RecentTraffic::default()
        };
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        for minute in history.minutes(now_ms) {
            activity.genuine += minute.accepted + minute.duplicate + minute.filtered;
            for (reason, count) in &minute.refused {
                activity.refused += count;
                *reasons.entry(reason.explanation().code).or_default() += count;
            }
        }
        let most = reasons.into_iter().max_by_key(|(_, count)| *count);
        activity.reason = most.map_or("", |(reason, _)| reason).to_owned();
        routes.insert(route.name.clone(), activity);
    }
    routes
}
