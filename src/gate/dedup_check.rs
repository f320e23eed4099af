//! The dedup check: claims the keys of an event, and waits for its first copy where one is in flight.

use hookgate_verify::identity::KeyText;
use http::StatusCode;

use crate::config::model::ReplayRule;
use crate::gate::dedup::{self, Claim, ClaimResult};
use crate::gate::event::EventParts;
use crate::gate::reject::Reject;
use crate::gate::rules::RouteRules;
use crate::gate::verdict::Verdict;
use crate::model::clock::instant;

/// The result of the dedup check.
pub(super) enum ClaimDecision {
    /// The event is new, or the route has no dedup.
    New(Option<Claim>),
    /// The app has accepted the event already, with this status.
    Duplicate(StatusCode),
}

/// Claims the keys of an event. `digest` is that of the signed bytes.
pub(super) async fn claim(
    rules: &RouteRules,
    key: &KeyText,
    request: &EventParts,
    digest: &[u8; 32],
    verdict: &mut Verdict,
) -> Result<ClaimDecision, Reject> {
    let Some(rule) = &rules.key else {
        return Ok(ClaimDecision::New(None));
    };
    let keys = rule.keys(key, request, digest)?;
    let named = keys.unwrap_or_default();
    // Recorded also without claims, so that a check of an earlier request shows its key.
    verdict.dedup_key = named.id.or(named.body);
    verdict.dedup_by = verdict.dedup_key.map(|_| rule.describe(&named));
    verdict.watched_key = named.watched;
    let (Some(claims), Some(keys)) = (&rules.claims, keys) else {
        return Ok(ClaimDecision::New(None));
    };
    let first_copy = match claims.try_claim(keys) {
        // The copy in flight may still fail, and then this one is needed.
        ClaimResult::Claimed(claim) if claim.is_beside() && rule.replay == ReplayRule::Block => {
            return Err(Reject::InFlight);
        }
        // The claim is dropped here, which releases its keys.
        ClaimResult::Claimed(claim) if claim.is_replay() && rule.replay == ReplayRule::Block => {
            return Err(Reject::Replayed);
        }
        ClaimResult::Claimed(claim) => return Ok(ClaimDecision::New(Some(claim))),
        ClaimResult::Spent(status) => return Ok(ClaimDecision::Duplicate(status)),
        ClaimResult::InFlight(first_copy) => first_copy,
    };
    let began = instant();
    // The first copy ends within the upstream's timeout, so a longer wait is pointless. `MAX_WAIT` is for senders,
    // which close the connection sooner than a slow app responds.
    let upstream = rules.route.upstream.as_ref();
    let patience = upstream.map_or(dedup::MAX_WAIT, |upstream| upstream.timeout);
    let patience = patience.min(dedup::MAX_WAIT);
    let outcome = tokio::time::timeout(patience, first_copy).await;
    verdict.wait_time = instant().saturating_duration_since(began);
    match outcome {
        // The waiting copy gets the first one's status, so that the sender learns what became of its event.
        Ok(Ok(status)) if status.is_success() => Ok(ClaimDecision::Duplicate(status)),
        Ok(Ok(status)) => Err(Reject::FirstFailed { status }),
        Ok(Err(_)) | Err(_) => Err(Reject::InFlight),
    }
}
