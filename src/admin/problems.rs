//! Finds the problems of now: one list for the status, the console, the commands and the alerts.

use crate::admin::certificate_list::certificates_of;
use crate::admin::documents::StateCounts;
use crate::admin::state::AdminState;
use crate::admin::{node_rows, rotation};
use crate::model::clock::{self, ClockReading, millis};
use crate::model::problem::{FoundProblem, ProblemKind};
use crate::model::route_scope::RouteScope;
use crate::store::nodes::NodeRow;
use crate::store::rows::DestinationRow;
use crate::store::{Store, StoreStatistics};

const DAY_MS: i64 = 86_400_000;

/// Failures in a row from which a renewal is a problem. One or two occur when a CA is busy.
const MANY_FAILURES: u32 = 3;

/// Days before the expiry of a certificate, each of which makes the problem worse.
const CERTIFICATE_STEPS: [i64; 4] = [7, 3, 1, 0];

/// Time before the end of a revocation list at which it is a problem: authorities renew most lists days before.
const LIST_SOON: i64 = 24 * 3600;

/// State of the store and the nodes in which problems are found. It is empty if the store does not respond.
pub(super) struct ProblemView {
    pub(super) rows: Vec<DestinationRow>,
    pub(super) nodes: Option<Vec<NodeRow>>,
    stats: Option<StoreStatistics>,
    /// True if the store did not respond.
    pub(super) is_partial: bool,
    now: ClockReading,
}

impl ProblemView {
    /// Queries the store.
    pub(super) async fn load(state: &AdminState, now: ClockReading) -> Self {
        let store = state.controls.store.as_ref();
        let (rows, stats) = match store {
            // If the store fails, a problem says so. The rest must not fail with it.
            Some(store) => (store.destinations().await.ok(), store.stats().await.ok()),
            None => (None, None),
        };
        let nodes = node_rows::rows(state).await.ok();
        let is_known = rows.is_some() && stats.is_some() && nodes.is_some();
        Self {
            is_partial: store.is_some() && !is_known,
            rows: rows.unwrap_or_default(),
            nodes,
            stats,
            now,
        }
    }

    /// Removes what belongs to routes outside a scope, and to the gate as a whole.
    pub(super) fn limit(&mut self, scope: &RouteScope) {
        self.rows.retain(|row| scope.contains(row.route.as_str()));
        if scope.is_limited() {
            self.nodes = None;
        }
    }

    /// Finds all problems within a scope, most urgent first.
    pub(super) async fn all(&self, state: &AdminState, scope: &RouteScope) -> Vec<FoundProblem> {
        let mut found = self.own(state);
        found.extend(self.shared(state).await);
        found.extend(state.controls.alerts.judged_problems());
        found.retain(|problem| scope.contains_any(problem.route()));
        // The order of the kinds is that of urgency: what rejects events comes first.
        found.sort_by_key(|problem| {
            let mut all = ProblemKind::ALL.into_iter();
            all.position(|(_, kind)| kind == problem.kind)
        });
        found
    }

    /// Finds the problems of this process, which other nodes may not have.
    pub(super) fn own(&self, state: &AdminState) -> Vec<FoundProblem> {
        let mut found = Vec::new();
        store_away(state, &mut found);
        if let Some(error) = state.refused_reload.load().as_deref() {
            // The first line names the error; the others show its location in the file.
            let first = error.lines().next().unwrap_or_default();
            let subject = state.node().unwrap_or_default();
            let text = format!("the last reload failed, the previous config stays in use: {first}");
            found.push(FoundProblem::new(ProblemKind::Config, subject, text));
        }
        self.certificates(state, &mut found);
        self.ranges(state, &mut found);
        // An open breaker needs no action at first: it closes by itself when an attempt succeeds.
        for health in (state.controls.health)() {
            let row = self.rows.iter().find(|row| row.id == health.id);
            if let Some(row) = row.filter(|_| health.breaker == "open") {
                let place = place(row);
                let text =
                    format!("{place} fails repeatedly: attempts pause and continue by themselves");
                found.push(FoundProblem::new(ProblemKind::Failing, place, text));
            }
        }
        found
    }

    fn certificates(&self, state: &AdminState, found: &mut Vec<FoundProblem>) {
        let gate = (state.controls.gate)();
        let plan = state.controls.alerts.plan();
        let soon_ms = millis(plan.watch.certificate_expiry);
        for certificate in certificates_of(gate.certificates, self.now) {
            let names = certificate.names.join(", ");
            let failure = certificate.failure.as_ref();
            let reason = failure.map(|failure| failure.reason.as_str());
            let (Some(end), Some(days)) = (&certificate.not_after, certificate.days_left) else {
                let text = match reason {
                    Some(reason) => format!(
                        "there is no certificate for {names}, so handshakes for it fail: {reason}"
                    ),
                    None => {
                        format!("there is no certificate for {names} yet: the CA was not asked yet")
                    }
                };
                // Nothing is worse, so later steps do not open the alert again.
                let level = u32::try_from(CERTIFICATE_STEPS.len()).unwrap_or(0);
                let problem = FoundProblem::new(ProblemKind::Certificate, names, text);
                found.push(problem.with_level(level));
                continue;
            };
            if end.0.saturating_sub(self.now.unix_ms) < soon_ms {
                let passed = CERTIFICATE_STEPS.iter().filter(|step| days < **step);
                let text = match reason {
                    Some(reason) => format!(
                        "the certificate for {names} expires in {days} days and cannot be renewed: {reason}"
                    ),
                    None => {
                        format!("the certificate for {names} expires in {days} days: renew it")
                    }
                };
                let level = u32::try_from(passed.count()).unwrap_or(0);
                let problem = FoundProblem::new(ProblemKind::Certificate, names, text);
                found.push(problem.with_level(level));
            } else if let Some(failure) = failure.filter(|one| one.count >= MANY_FAILURES) {
                let text = format!(
                    "the certificate for {names} could not be renewed {} times: {}",
                    failure.count, failure.reason
                );
                found.push(FoundProblem::new(ProblemKind::Renewal, names, text));
            }
        }
        for (route, until) in gate.revocation_lists {
            let left = until.saturating_sub(self.now.unix_seconds());
            if left >= LIST_SOON {
                continue;
            }
            let text = match left.max(0) / 3600 {
                _ if left < 0 => format!(
                    "a revocation list of route `{route}` is past its end, so its clients are refused: fetch the \
                     current list"
                ),
                hours => format!(
                    "a revocation list of route `{route}` ends in {hours} hours, and its clients are refused then: \
                     fetch the current list"
                ),
            };
            let problem = FoundProblem::new(ProblemKind::RevocationList, route.as_str(), text);
            found.push(problem.with_level(u32::from(left < 0)));
        }
    }

    fn ranges(&self, state: &AdminState, found: &mut Vec<FoundProblem>) {
        let Some(limit) = state.controls.alerts.plan().watch.ranges_age else {
            return;
        };
        for (provider, day) in (state.controls.ranges)() {
            let Some(start) = clock::day_start(&day) else {
                continue;
            };
            let age_ms = self.now.unix_ms.saturating_sub(start.saturating_mul(1000));
            // A list is read at some time of its day, so the day itself does not count.
            if age_ms.saturating_sub(DAY_MS) > millis(limit) {
                let days = age_ms / DAY_MS;
                let text = format!(
                    "the address ranges of `{provider}` are {days} days old, since refreshes fail: look in the log for \
                     the cause, or its new addresses are rejected"
                );
                found.push(FoundProblem::new(ProblemKind::Ranges, provider, text));
            }
        }
    }

    /// Finds the problems of what all nodes share: the store with its destinations, the nodes, and secrets.
    pub(super) async fn shared(&self, state: &AdminState) -> Vec<FoundProblem> {
        let mut found = Vec::new();
        let store = state.controls.store.as_ref();
        let store_now_ms = store.map_or(self.now, Store::now).unix_ms;
        let rows = self.nodes.as_deref().unwrap_or_default();
        for node in rows {
            for text in node_rows::warnings(node, rows, store_now_ms) {
                found.push(FoundProblem::new(ProblemKind::Node, &node.name, text));
            }
        }
        found.extend(rotation::problems(state, self.now).await);
        self.full_store(state, &mut found);
        for row in &self.rows {
            destination(state, row, store_now_ms, &mut found);
        }
        found
    }

    fn full_store(&self, state: &AdminState, found: &mut Vec<FoundProblem>) {
        let Some(limit) = state.controls.alerts.plan().watch.store_full else {
            return;
        };
        let Some(stats) = &self.stats else {
            return;
        };
        let bounds = state.controls.bounds;
        let share = |used: u64, most: u64| used as f64 / most.max(1) as f64;
        let mut shares = Vec::new();
        if let Some(most) = bounds.max_size {
            shares.push((
                share(stats.size.saturating_sub(stats.spare), most),
                "max_size",
            ));
        }
        if let Some(most) = bounds.max_events {
            shares.push((share(stats.events, most), "max_events"));
        }
        if let (Some(least), Some(free)) = (bounds.min_free, stats.disk_free) {
            // The store and the room that is left for it are the whole.
            let room = free.saturating_sub(least);
            shares.push((
                share(stats.size, stats.size.saturating_add(room)),
                "min_free",
            ));
        }
        // A small store on a disk with little room is far from full as long as it is small against that room.
        shares.sort_by(|left, right| right.0.total_cmp(&left.0));
        if let Some((share, key)) = shares.first().filter(|(share, _)| *share >= limit) {
            let percent = (share * 100.0) as u64;
            // Worse at 95 % and when it is full, so that receivers hear of it again.
            let level = u32::from(*share >= 0.95) + u32::from(*share >= 1.0);
            let text = format!(
                "the store has used {percent} % of its room (`{key}`): at 100 % it rejects events, so give it more \
                 room, or shorten `retention`"
            );
            found.push(FoundProblem::new(ProblemKind::StoreFull, *key, text).with_level(level));
        }
    }
}

/// Reports a store that accepts nothing.
fn store_away(state: &AdminState, found: &mut Vec<FoundProblem>) {
    let store = state.controls.store.as_ref();
    if store.is_none_or(|store| store.is_healthy()) {
        return;
    }
    let text = match state.node() {
        None => {
            "the store cannot be written, so events are rejected: check its disk and look in the log"
        }
        Some(_) => {
            "the store's database is away, so events of queue routes are rejected: check the database and look in the log"
        }
    };
    found.push(FoundProblem::new(ProblemKind::Store, "store", text));
}

/// Finds the problems of a destination.
fn destination(
    state: &AdminState,
    row: &DestinationRow,
    now_ms: i64,
    found: &mut Vec<FoundProblem>,
) {
    let plan = state.controls.alerts.plan();
    let watch = &plan.watch;
    let place = place(row);
    let mut add = |kind, text: String, level| {
        found.push(FoundProblem::new(kind, place.clone(), text).with_level(level));
    };
    if let Some(why) = &row.disabled {
        let text = format!("{place} is disabled ({why}): resume it when it accepts events again");
        add(ProblemKind::Disabled, text, 0);
    }
    let is_paused = row.is_paused || row.is_route_paused;
    if is_paused {
        let text = format!("{place} is paused: its deliveries wait until you resume it");
        add(ProblemKind::Paused, text, 0);
    }
    let dead = StateCounts::new(row.deliveries).dead;
    if dead >= watch.dead_letters {
        let text = format!(
            "{place} has dead letters ({dead}): retry them when it accepts events again, or discard them"
        );
        // Each doubling is worse, so that single further ones are not.
        add(
            ProblemKind::DeadLetters,
            text,
            dead.checked_ilog2().unwrap_or(0),
        );
    }
    let (Some(limit), Some(oldest_ms)) = (watch.backlog_age, row.oldest_open_ms) else {
        return;
    };
    let age_ms = now_ms.saturating_sub(oldest_ms);
    let is_stopped = is_paused || row.disabled.is_some();
    // A destination that is paused or disabled has a backlog by intent, and has a problem of its own above.
    if age_ms > millis(limit) && !is_stopped {
        let minutes = age_ms / 60_000;
        let text = format!(
            "{place} has a delivery that has been pending for {minutes} minutes: look at its attempts for the cause"
        );
        let times = u64::try_from(age_ms / millis(limit).max(1)).unwrap_or(0);
        add(
            ProblemKind::Backlog,
            text,
            times.checked_ilog2().unwrap_or(0),
        );
    }
}

fn place(row: &DestinationRow) -> String {
    format!("{}/{}", row.route, row.name)
}
