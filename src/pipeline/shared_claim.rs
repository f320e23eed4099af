//! Claims on all nodes, for routes whose dedup is shared: the gate's own claim comes first, this one second.
//!
//! The gate has no I/O, so it decides by the claims in memory. What passes it may still be in flight on another node, or
//! have been accepted there. Queue mode does not need this: its commit claims the event exactly.

use std::time::Duration;

use http::StatusCode;

use crate::config::model::AwayRule;
use crate::gate::dedup::{Claim, MAX_WAIT};
use crate::gate::reject::Reject;
use crate::model::clock::instant;
use crate::model::error;
use crate::net::response::HttpResponse;
use crate::pipeline::exchange::{EventEnd, UpstreamExchange};
use crate::store::shared_claim::{SharedClaim, SharedClaimEnd, SharedClaimOutcome};

/// Pause before asking again for a claim that another node holds.
const PAUSE: Duration = Duration::from_millis(200);

/// Handling of an event that the gate admitted.
enum SharedDecision {
    /// Forward it, under a claim on all nodes if there is one.
    Forward(Option<SharedClaim>),
    /// An app has accepted the event by another node, with this status.
    Duplicate(u16),
    Refuse(Reject),
}

impl UpstreamExchange {
    /// Returns whether the route's dedup is shared over nodes.
    pub(super) fn shares_claims(&self) -> bool {
        let dedup = self.route.rules.route().dedup.as_ref();
        dedup.is_some_and(|dedup| dedup.shared.is_some())
    }

    /// Claims the event on all nodes, if its route wants that. Returns the response if the event must not be forwarded;
    /// its claim has ended then.
    pub(super) async fn claim_on_all_nodes(
        &mut self,
        claim: &mut Option<Claim>,
    ) -> Option<HttpResponse> {
        let dedup = self.route.rules.route().dedup.as_ref()?;
        let away = dedup.shared?;
        // An event without a key has no claim in memory either.
        let held = claim.as_ref()?;
        let keys: Vec<_> = held.keys().deciding().map(|key| key.to_bytes()).collect();
        let lease = held.lease();
        if keys.is_empty() {
            return None;
        }
        let began = instant();
        let decision = self.decide_on_all_nodes(&keys, lease, away).await;
        self.verdict.wait_time += instant().saturating_duration_since(began);
        match decision {
            SharedDecision::Forward(shared) => {
                self.shared_claim = shared;
                None
            }
            SharedDecision::Duplicate(status) => {
                let known = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
                // The next copy on this node needs no question to the store.
                self.end_claim(claim.take(), EventEnd::Stored(known));
                Some(self.answer_duplicate(status))
            }
            SharedDecision::Refuse(reject) => Some(self.refuse_event(claim.take(), &reject)),
        }
    }

    async fn decide_on_all_nodes(
        &self,
        keys: &[[u8; 16]],
        lease: Duration,
        away: AwayRule,
    ) -> SharedDecision {
        let Some(acceptance) = &self.acceptance else {
            return SharedDecision::Forward(None);
        };
        let route = &self.route.rules.route().name;
        let began = instant();
        loop {
            let asked = acceptance.inbox.claim_shared(route, keys, lease).await;
            match asked {
                Ok(SharedClaimOutcome::Claimed(claim)) => {
                    return SharedDecision::Forward(Some(claim));
                }
                Ok(SharedClaimOutcome::Spent(status)) => return SharedDecision::Duplicate(status),
                // Another node's copy may still fail, and then this one is needed.
                Ok(SharedClaimOutcome::Held) if began.elapsed() < MAX_WAIT => {
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(SharedClaimOutcome::Held) => return SharedDecision::Refuse(Reject::InFlight),
                // The claim in memory still protects against copies that reach this node.
                Err(_) if away == AwayRule::Local => return SharedDecision::Forward(None),
                Err(err) => {
                    return SharedDecision::Refuse(Reject::NotStored {
                        fault: error::chain(&err).into(),
                    });
                }
            }
        }
    }

    /// Ends the claim on all nodes, if there is one. Does not wait for the store.
    pub(super) fn end_shared_claim(&self, end: EventEnd) {
        let (Some(claim), Some(acceptance)) = (&self.shared_claim, &self.acceptance) else {
            return;
        };
        let Some(window) = self
            .route
            .rules
            .route()
            .dedup
            .as_ref()
            .map(|dedup| dedup.window)
        else {
            return;
        };
        let end = match end {
            EventEnd::Taken(status) => SharedClaimEnd::Spent {
                status: status.as_u16(),
                expires_ms: acceptance.inbox.expires_ms(window),
            },
            // The commit turned the claim into the event's own. What is still in progress is a second key of a duplicate.
            EventEnd::Stored(_) | EventEnd::Failed(_) => SharedClaimEnd::Released,
        };
        acceptance.inbox.end_shared(claim.clone(), end);
    }
}
