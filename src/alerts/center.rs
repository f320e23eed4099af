//! The alerts of a running gate: rounds that judge problems, and the sending of messages.
//!
//! Of several nodes that share a store, one leads: it judges for all of them and sends. The others publish what they
//! find, and show what the leader wrote. While the database is away, the last leader goes on from memory, since that is
//! a problem that has to be reported.

mod acknowledgments;
mod sending;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::alerts::book::{AlertBook, BookTimes};
use crate::alerts::distribution::{distribute, limits, message_id, receiver_problems};
use crate::alerts::findings::{NodeFindings, sum_activity};
use crate::alerts::keeper::{AlertKeeper, AlertRow, KeeperError};
use crate::alerts::learned::LearnedRoutes;
use crate::alerts::message::AlertMessage;
use crate::alerts::outbox::ReceiverOutbox;
use crate::alerts::plan::AlertPlan;
use crate::model::clock::millis;
use crate::model::error::chain;
use crate::model::problem::FoundProblem;

/// Name of the row with the alerts and what waits for the receivers.
const BOOK: &str = "book";

/// Prefix of the rows with what was learned about each route.
const LEARNED: &str = "route/";

/// Prefix of the rows with what each node finds.
const FOUND: &str = "seen/";

/// Prefix of the rows with acknowledgments that another node received.
const ACKNOWLEDGED: &str = "ack/";

/// Intervals for which the duty of alerts is taken. After that, another node takes it.
const LEASE: u32 = 4;

/// Shortest lease, for short intervals.
const MIN_LEASE: Duration = Duration::from_secs(3);

/// Intervals after which what another node found says nothing about the present.
const FRESH: u32 = 4;

/// The alerts of a running gate.
pub(crate) struct AlertCenter {
    pub(super) plan: ArcSwap<AlertPlan>,
    keeper: AlertKeeper,
    pub(super) host: Arc<str>,
    pub(super) state: Mutex<CenterState>,
    pub(super) counts: Mutex<BTreeMap<String, Arc<MessageCounts>>>,
}

#[derive(Default)]
pub(super) struct CenterState {
    pub(super) role: CenterRole,
    pub(super) stored: StoredBook,
    /// Text of the row `book`, as it was written last.
    written: String,
    learned: LearnedRoutes,
    /// Receivers to which a message is being sent.
    sending: BTreeSet<String>,
    is_save_failing: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum CenterRole {
    /// No round has run yet.
    #[default]
    Unknown,
    /// This node judges and sends, in this term.
    Leads(i64),
    /// Another node does.
    Follows,
}

/// The alerts and what waits for the receivers.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct StoredBook {
    pub(super) book: AlertBook,
    pub(super) outboxes: BTreeMap<String, ReceiverOutbox>,
}

/// Messages to one receiver since the start.
#[derive(Default)]
pub(super) struct MessageCounts {
    pub(super) sent: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) given_up: AtomicU64,
}

impl AlertCenter {
    /// Creates the center of a gate, which does nothing until it has a plan with receivers. `host` names the gate in
    /// messages.
    pub(crate) fn new(keeper: AlertKeeper, host: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            plan: ArcSwap::default(),
            keeper,
            host,
            state: Mutex::default(),
            counts: Mutex::default(),
        })
    }

    /// Replaces the plan after a reload.
    pub(crate) fn follow(&self, plan: AlertPlan) {
        let mut counts = self.counts.lock();
        counts.retain(|name, _| plan.receivers.contains_key(name));
        for name in plan.receivers.keys() {
            counts.entry(name.clone()).or_default();
        }
        drop(counts);
        self.plan.store(Arc::new(plan));
    }

    /// Returns the plan in use.
    pub(crate) fn plan(&self) -> Arc<AlertPlan> {
        self.plan.load_full()
    }

    /// Runs one round: compares the problems of now with the alerts, and sends what is due.
    ///
    /// `own` is what this node finds. `shared` are the problems that every node finds in the same way, such as those of
    /// destinations in the store. `None`: they are unknown, since the store does not respond.
    pub(crate) async fn round(
        self: &Arc<Self>,
        own: NodeFindings,
        shared: Option<Vec<FoundProblem>>,
        now_ms: i64,
    ) {
        let plan = self.plan();
        if !plan.has_receivers() {
            return;
        }
        let interval = plan.watch.interval;
        let duty = self
            .keeper
            .take_duty((interval * LEASE).max(MIN_LEASE))
            .await;
        let role = { self.state.lock().role };
        let term = match duty {
            Ok(Some(term)) => {
                // A new term means that another node may have written since, so its rows replace what this node
                // remembers.
                if role != CenterRole::Leads(term) && !self.load(term).await {
                    return;
                }
                Some(term)
            }
            Ok(None) => {
                self.stand_by(&own).await;
                return;
            }
            // The database is away. Only the last leader goes on, so that there are not as many messages as nodes.
            Err(error) => {
                tracing::debug!(error = chain(&error), "the duty of alerts is unknown");
                match role {
                    CenterRole::Leads(term) => Some(term),
                    CenterRole::Unknown | CenterRole::Follows => None,
                }
            }
        };
        let Some(term) = term else { return };
        let nodes = self.findings_of_all(own, interval, now_ms).await;
        let acknowledged = self.take_acknowledgments().await;
        let (messages, rows) = self.judge(&plan, &nodes, shared, &acknowledged, now_ms);
        // Stored before it is sent: a message that a crash interrupts is sent again and not lost.
        if !self.save(term, rows).await {
            return;
        }
        for (name, message) in messages {
            self.spawn_send(&plan, name, message);
        }
    }

    /// Loads what an earlier process or another leader wrote. Returns whether this node may lead now.
    async fn load(&self, term: i64) -> bool {
        let rows = match self.keeper.load().await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(error = chain(&error), "cannot read the stored alerts");
                return false;
            }
        };
        let mut state = self.state.lock();
        let book = rows.iter().find(|(name, _)| name == BOOK);
        let text = book.map_or("", |(_, body)| body);
        state.stored = serde_json::from_str(text).unwrap_or_default();
        text.clone_into(&mut state.written);
        let learned = rows.iter().filter_map(|(name, body)| {
            let route = name.strip_prefix(LEARNED)?;
            Some((route.to_owned(), body.clone()))
        });
        state.learned = LearnedRoutes::load(learned);
        // Tasks of a former term may still send. Receivers recognize copies by the ids of the messages.
        state.sending.clear();
        state.role = CenterRole::Leads(term);
        true
    }

    /// Publishes what this node finds, and reads what the leader wrote.
    async fn stand_by(&self, own: &NodeFindings) {
        let name = match &self.keeper {
            AlertKeeper::Shared(store) => store.node_name().unwrap_or_default().to_owned(),
            // A file has one node only, so there is no leader that could read its findings.
            AlertKeeper::File(_) => return,
        };
        let rows = vec![(format!("{FOUND}{name}"), serde_json::to_string(own).ok())];
        let saved = self.keeper.save(None, rows).await;
        let read = self.keeper.rows_of_others(BOOK).await;
        if let Err(error) = &saved {
            tracing::debug!(error = chain(error), "cannot publish what this node finds");
        }
        let mut state = self.state.lock();
        state.role = CenterRole::Follows;
        if let Ok(rows) = read {
            let book = rows.into_iter().find(|(name, _)| name == BOOK);
            let book = book.map(|(_, body)| serde_json::from_str(&body).unwrap_or_default());
            state.stored = book.unwrap_or_default();
        }
    }

    /// Returns what this node and the others find.
    async fn findings_of_all(
        &self,
        own: NodeFindings,
        interval: Duration,
        now_ms: i64,
    ) -> Vec<NodeFindings> {
        let fresh_ms = millis(interval * FRESH);
        // Nodes may have clocks that differ by seconds.
        let fresh_ms = fresh_ms.saturating_add(10_000);
        let others = self.keeper.rows_of_others(FOUND).await.unwrap_or_default();
        let others = others
            .into_iter()
            .filter_map(|(_, body)| serde_json::from_str::<NodeFindings>(&body).ok());
        let mut all = vec![own];
        all.extend(others.map(|mut found| {
            if now_ms.saturating_sub(found.at_ms) > fresh_ms {
                // A node that ended has no problems any more, but the events that it got are still events.
                found = NodeFindings::new(found.at_ms, found.routes, Vec::new());
                for activity in found.routes.values_mut() {
                    (activity.genuine, activity.refused) = (0, 0);
                }
            }
            found
        }));
        all
    }

    /// Judges the problems of now. Returns the messages to send, and the rows to write before.
    fn judge(
        &self,
        plan: &AlertPlan,
        nodes: &[NodeFindings],
        shared: Option<Vec<FoundProblem>>,
        acknowledged: &[(u64, String)],
        now_ms: i64,
    ) -> (Vec<(String, AlertMessage)>, Vec<AlertRow>) {
        let activity = sum_activity(nodes);
        let mut state = self.state.lock();
        let state = &mut *state;
        let outboxes = &mut state.stored.outboxes;
        // A receiver that left the config must not keep its queue in the stored book forever.
        outboxes.retain(|name, _| plan.receivers.contains_key(name));
        let is_partial = shared.is_none();
        let mut found = shared.unwrap_or_default();
        found.extend(nodes.iter().flat_map(NodeFindings::problems));
        state.learned.add(&activity, now_ms);
        let learned = state
            .learned
            .problems(&plan.routes, &activity, &plan.watch, now_ms);
        // Without the store, the events of other nodes are unknown, so that no silence means anything.
        found.extend(learned.into_iter().filter(|_| !is_partial));
        found.extend(receiver_problems(outboxes));
        let mut notes = Vec::new();
        let mut rows = Vec::new();
        for (id, by) in acknowledged {
            let known = state.stored.book.acknowledge(*id, by, now_ms);
            notes.extend(known.unwrap_or_default());
            // Deleted by the write that stores their effect, so that a crash in between loses no acknowledgment.
            rows.push((format!("{ACKNOWLEDGED}{id}"), None));
        }
        let hold = |kind| plan.hold(kind);
        let times = BookTimes {
            now_ms,
            interval: plan.watch.interval,
            hold: &hold,
            is_partial,
        };
        notes.extend(state.stored.book.observe(found, times));
        distribute(plan, outboxes, notes);
        let mut messages = Vec::new();
        for (name, receiver) in &plan.receivers {
            let outbox = outboxes.entry(name.clone()).or_default();
            let is_busy = state.sending.contains(name);
            let limits = limits(plan, receiver, now_ms);
            if let Some(message) = (!is_busy).then(|| outbox.due(limits, message_id)).flatten() {
                // One message at a time for each receiver, so that its messages arrive in their order.
                state.sending.insert(name.clone());
                messages.push((name.clone(), message));
            }
        }
        let learned = state.learned.take_changed(&plan.routes).into_iter();
        rows.extend(learned.map(|(name, body)| (format!("{LEARNED}{name}"), body)));
        let book = serde_json::to_string(&state.stored).unwrap_or_default();
        // Most rounds change nothing, so most rounds write nothing.
        if book != state.written {
            rows.push((BOOK.to_owned(), Some(book.clone())));
            state.written = book;
        }
        (messages, rows)
    }

    /// Writes rows. Returns `false` if this node has lost the duty, and must not send anything.
    async fn save(&self, term: i64, rows: Vec<AlertRow>) -> bool {
        if rows.is_empty() {
            return true;
        }
        let saved = self.keeper.save(Some(term), rows).await;
        let mut state = self.state.lock();
        match saved {
            Ok(()) => state.is_save_failing = false,
            Err(KeeperError::DutyLost) => {
                state.role = CenterRole::Unknown;
                return false;
            }
            Err(error) => {
                // Written again with the next round, whatever changes until then.
                state.written.clear();
                log_failed_save(&error, std::mem::replace(&mut state.is_save_failing, true));
            }
        }
        true
    }

    /// Writes the state for the last time, when the gate ends.
    pub(crate) async fn close(&self) {
        let (role, row) = {
            let state = self.state.lock();
            let text = serde_json::to_string(&state.stored).ok();
            (state.role, (BOOK.to_owned(), text))
        };
        if let CenterRole::Leads(term) = role {
            self.save(term, vec![row]).await;
        }
    }
}

fn log_failed_save(error: &KeeperError, is_known: bool) {
    // Once, not with every round.
    if !is_known {
        tracing::warn!(
            error = chain(error),
            "the alerts cannot be stored: a restart may repeat or forget some"
        );
    }
}

#[cfg(test)]
mod tests;
