//! Claims on events on their way to the successor: those in flight, and how they end.
//!
//! A copy of an event that reaches the successor waits for the exchange of the predecessor and shares its outcome, as if
//! one process had both.

use std::collections::HashMap;
use std::sync::Arc;

use hookgate_verify::identity::dedup_key::DedupKey;
use http::StatusCode;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::oneshot;

use crate::app::cross_reload::CrossReloadState;
use crate::app::succession::channel::SuccessionChannel;
use crate::app::succession::error::SuccessionError;
use crate::app::succession::frame::{ClaimEntry, SuccessionFrame};
use crate::gate::dedup::{AdoptedClaim, ClaimChange, ClaimTable};
use crate::model::ids::RouteName;

/// Changes in one frame.
const AT_ONCE: usize = 1_000;

/// A change of a claim of a route.
type RouteChange = (RouteName, DedupKey, ClaimChange);

/// The claims of this process for its successor.
pub(super) struct ClaimFeed {
    known: Vec<(RouteName, Vec<ClaimEntry>)>,
    changes: UnboundedReceiver<RouteChange>,
}

impl ClaimFeed {
    /// Collects all claims, and all changes from now on.
    pub(super) fn begin(state: &CrossReloadState) -> Self {
        // Not bounded, because a change must not be lost. It grows with the requests of the drain only.
        let (sender, changes) = mpsc::unbounded_channel();
        let mut known = Vec::new();
        for (route, table) in state.all_claims() {
            let (name, sender) = (route.clone(), sender.clone());
            let in_flight = table.observe(Box::new(move |key, change| {
                // The successor may have ended.
                let _ = sender.send((name.clone(), key, change));
            }));
            let in_flight = in_flight.into_iter();
            let in_flight = in_flight.map(|key| ClaimEntry::new(key, ClaimChange::Claimed));
            // After `observe`, so that no key is missed that is spent in between. A store has them already.
            let spent = match state.has_store() {
                true => Vec::new(),
                false => table.spent(),
            };
            let spent = spent.into_iter().map(|(key, status)| {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
                ClaimEntry::new(key, ClaimChange::Spent(status))
            });
            known.push((route.clone(), spent.chain(in_flight).collect()));
        }
        Self { known, changes }
    }

    /// Sends the claims that were known at the begin, and the changes so far.
    pub(super) async fn send_known(
        &mut self,
        channel: &mut SuccessionChannel,
    ) -> Result<(), SuccessionError> {
        for (route, mut entries) in std::mem::take(&mut self.known) {
            while !entries.is_empty() {
                let rest = entries.split_off(entries.len().min(AT_ONCE));
                let changes = std::mem::replace(&mut entries, rest);
                let route = route.to_string();
                let frame = SuccessionFrame::Claims { route, changes };
                channel.send(&frame).await?;
            }
        }
        // Before `Go`, so that the successor begins with every claim that this process has by now.
        while let Ok(change) = self.changes.try_recv() {
            channel.send(&frame_of(change)).await?;
        }
        Ok(())
    }

    /// Sends the changes until `over`, and then those that are left.
    pub(super) async fn forward(
        mut self,
        mut channel: SuccessionChannel,
        mut over: oneshot::Receiver<()>,
    ) {
        let mut is_over = false;
        loop {
            let change = match self.changes.try_recv() {
                Ok(change) => change,
                // Only when the queue is empty: the changes of the last exchanges come just before the end.
                Err(_) if is_over => return,
                Err(_) => tokio::select! {
                    change = self.changes.recv() => match change {
                        Some(change) => change,
                        None => return,
                    },
                    _ = &mut over => {
                        is_over = true;
                        continue;
                    }
                },
            };
            if channel.send(&frame_of(change)).await.is_err() {
                return;
            }
        }
    }
}

fn frame_of((route, key, change): RouteChange) -> SuccessionFrame {
    SuccessionFrame::Claims {
        route: route.to_string(),
        changes: vec![ClaimEntry::new(key, change)],
    }
}

/// The claims of the predecessor in this process. Those that never end expire with their lease, as after a crash.
#[derive(Default)]
pub(super) struct AdoptedClaims {
    in_flight: HashMap<(RouteName, DedupKey), (Arc<ClaimTable>, AdoptedClaim)>,
}

impl AdoptedClaims {
    /// Applies changes of a route. A route without dedup in this process ignores them.
    pub(super) fn apply(&mut self, state: &CrossReloadState, route: &str, changes: &[ClaimEntry]) {
        let route = RouteName::new(route);
        for (key, change) in changes.iter().filter_map(ClaimEntry::read) {
            let name = (route.clone(), key);
            match change {
                ClaimChange::Claimed => {
                    let Some(table) = state.claims(&route) else {
                        continue;
                    };
                    // A key that is taken already stays with its owner. The end of this claim then only enters the
                    // spent key.
                    if let Some(claim) = table.adopt(key) {
                        self.in_flight.insert(name, (table, claim));
                    }
                }
                ClaimChange::Released(_) | ClaimChange::Spent(_) => {
                    // A reload in between may have replaced the table. The claim ends where it began, and a spent key is
                    // passed on to the table that followed.
                    if let Some((table, claim)) = self.in_flight.remove(&name) {
                        table.end_adopted(key, Some(claim), change);
                    } else if let Some(table) = state.claims(&route) {
                        table.end_adopted(key, None, change);
                    }
                }
            }
        }
    }
}
