//! One exchange with the app, from the claim to its end.

use std::pin::{Pin, pin};
use std::sync::Arc;

use http::StatusCode;

use crate::dispatch::{DispatchError, UpstreamResponse, forward, forward_unverified};
use crate::gate::dedup::Claim;
use crate::gate::event::{Event, UnverifiedRequest};
use crate::gate::reject::Reject;
use crate::gate::verdict::{GateDecision, Verdict};
use crate::model::error;
use crate::model::trace::TracePart;
use crate::net::detach::contain;
use crate::net::problem;
use crate::net::response::HttpResponse;
use crate::pipeline::acceptance::DurableAcceptance;
use crate::pipeline::generation::CompiledRoute;
use crate::pipeline::in_flight::InFlightPermit;
use crate::pipeline::report::{answered, refuse, report};
use crate::record::{ExchangeSummary, TelemetryRecorder, otlp};
use crate::store::shared_claim::SharedClaim;

/// The app's response, or why no response came.
pub(super) type ExchangeResult = Result<UpstreamResponse, DispatchError>;

/// One exchange with the app, from the claim to its end. It owns its data, because it may continue after the connection
/// closes.
pub(super) struct UpstreamExchange {
    pub(super) recorder: Arc<TelemetryRecorder>,
    pub(super) acceptance: Option<DurableAcceptance>,
    pub(super) route: Arc<CompiledRoute>,
    pub(super) verdict: Box<Verdict>,
    pub(super) permit: InFlightPermit,
    /// The claim on all nodes, if the route's dedup is shared. It ends together with the gate's claim.
    pub(super) shared_claim: Option<SharedClaim>,
}

/// How a verified event ended, which decides about its claim.
#[derive(Clone, Copy)]
pub(super) enum EventEnd {
    /// The app has the event, and responded with this status. The store has to remember it for dedup.
    Taken(StatusCode),
    /// The store has the event with its claim; a duplicate gets this status.
    Stored(StatusCode),
    /// Neither is known to have the event. The sender gets this status, and sends the event again.
    Failed(StatusCode),
}

impl EventEnd {
    /// Returns the end of an exchange with the app.
    pub(super) fn of(result: &ExchangeResult) -> Self {
        match result {
            Ok(response) if response.status.is_success() => Self::Taken(response.status),
            Ok(response) => Self::Failed(response.status),
            Err(err) => Self::Failed(err.status()),
        }
    }
}

impl UpstreamExchange {
    /// Forwards a verified event under its claim and returns the app's response.
    pub(super) async fn run(mut self, mut event: Event, mut claim: Option<Claim>) -> HttpResponse {
        // Boxed, so that it does not enlarge the future of every request.
        if self.shares_claims()
            && let Some(answer) = Box::pin(self.claim_on_all_nodes(&mut claim)).await
        {
            return answer;
        }
        let id = self.verdict.request_id;
        insert_trace(&mut event, &self.verdict);
        let ended = {
            let exchange = pin!(async {
                let targets = self.route.targets.as_ref()?;
                let target = targets.of_event(&self.verdict);
                let forwarding = pin!(forward(event, target, id, self.permit.takes_turn()));
                let end = |claim, end| self.end_claim(claim, end);
                Some(settle(claim, forwarding, end).await)
            });
            contain(exchange).await
        };
        let answer = match ended {
            Ok(Some(result)) => self.finish(result),
            // The claim was dropped on the way. It was released, or expires later if the app may have seen the request.
            Ok(None) | Err(_) => self.give_up(),
        };
        // Let the other requests read their responses before this one is written to its sender.
        if self.permit.takes_turn() {
            tokio::task::yield_now().await;
        }
        answer
    }

    /// Forwards a request that monitor mode lets through, or a URL check that the route leaves to the app.
    pub(super) async fn run_unverified(mut self, request: UnverifiedRequest) -> HttpResponse {
        let Some(targets) = &self.route.targets else {
            return self.give_up();
        };
        // The claims of an unverified request are not trusted. The target for URL checks is the app that the sender
        // subscribes.
        let target = match self.verdict.decision {
            GateDecision::Monitored(_) => targets.of_unverified(),
            _ => targets.usual(),
        };
        let result = forward_unverified(request, target, self.verdict.request_id).await;
        self.finish(result)
    }

    /// Ends the claim of an event. It is spent exactly if the app or the store has the event; otherwise the sender's retry
    /// must not look like a duplicate.
    pub(super) fn end_claim(&self, claim: Option<Claim>, end: EventEnd) {
        let Some(claim) = claim else {
            return;
        };
        // Before the claim in memory: a copy that waits for it then asks the store after this.
        self.end_shared_claim(end);
        match end {
            EventEnd::Taken(status) => {
                self.remember(&claim, status);
                claim.spend(status);
            }
            EventEnd::Stored(status) => claim.spend(status),
            EventEnd::Failed(status) => claim.release(status),
        }
    }

    /// Stores that the app took the event, so that dedup survives a restart.
    fn remember(&self, claim: &Claim, status: StatusCode) {
        if let (Some(acceptance), Some(subscriptions)) =
            (&self.acceptance, &self.route.subscriptions)
        {
            let keys = claim.keys();
            // Those of a claim on all nodes are spent with it.
            let is_shared = self.shared_claim.is_some();
            let rest = keys.deciding().filter(|_| !is_shared).chain(keys.watched);
            acceptance
                .inbox
                .remember(rest, subscriptions, status.as_u16());
        }
    }

    /// Reports the end of an exchange and returns the response to the sender.
    pub(super) fn finish(&self, result: ExchangeResult) -> HttpResponse {
        let id = self.verdict.request_id;
        let (answer, exchange) = match result {
            Ok(forwarded) => {
                let mut exchange = answered(forwarded.response.status(), &self.verdict);
                exchange.upstream_status = Some(forwarded.status);
                exchange.upstream_time = forwarded.head_time;
                (forwarded.response, exchange)
            }
            Err(err) => {
                let mut exchange = answered(err.status(), &self.verdict);
                exchange.forward_error = Some((err.kind(), error::chain(&err)));
                (problem::answer(err.status(), id, None), exchange)
            }
        };
        report(&self.recorder, Some(&self.route), &self.verdict, &exchange);
        answer
    }

    /// Rejects an event that the gate admitted.
    pub(super) fn refuse(&mut self, reject: &Reject) -> HttpResponse {
        self.verdict.decision = GateDecision::Refused(reject.clone());
        refuse(&self.recorder, Some(&self.route), &self.verdict, reject)
    }

    /// Rejects an event that the gate admitted, and ends its claim.
    pub(super) fn refuse_event(&mut self, claim: Option<Claim>, reject: &Reject) -> HttpResponse {
        self.end_claim(claim, EventEnd::Failed(reject.status()));
        self.refuse(reject)
    }

    /// Reports a request that got a 200, with what `fill` adds.
    pub(super) fn report(&self, fill: impl FnOnce(&mut ExchangeSummary)) {
        let mut exchange = answered(StatusCode::OK, &self.verdict);
        fill(&mut exchange);
        report(&self.recorder, Some(&self.route), &self.verdict, &exchange);
    }

    /// Reports an error of hookgate itself and returns a 500.
    pub(super) fn give_up(&mut self) -> HttpResponse {
        self.verdict.decision = GateDecision::Refused(Reject::Internal);
        let exchange = answered(StatusCode::INTERNAL_SERVER_ERROR, &self.verdict);
        report(&self.recorder, Some(&self.route), &self.verdict, &exchange);
        problem::answer(exchange.response_status, self.verdict.request_id, None)
    }
}

/// Forwards under a claim and ends the claim.
async fn settle(
    mut claim: Option<Claim>,
    forwarding: Pin<&mut impl Future<Output = ExchangeResult>>,
    end_claim: impl FnOnce(Option<Claim>, EventEnd),
) -> ExchangeResult {
    // From here on the app may see the request. A panic then leaves the claim to expire instead of releasing it.
    if let Some(claim) = &mut claim {
        claim.begin_forwarding();
    }
    let result = forwarding.await;
    end_claim(claim, EventEnd::of(&result));
    result
}

/// Sends the app the trace of the event, if there is one.
pub(super) fn insert_trace(event: &mut Event, verdict: &Verdict) {
    if let Some(trace) = &verdict.trace {
        otlp::insert_trace_headers(event.headers_mut(), trace, TracePart::Stage("upstream"));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hookgate_verify::identity::dedup_key::DedupKey;

    use super::*;
    use crate::gate::dedup::{ClaimLimits, ClaimResult, ClaimTable, DedupKeys};

    fn ask(claims: &Arc<ClaimTable>) -> ClaimResult {
        claims.try_claim(DedupKeys {
            id: Some(DedupKey::of_id("evt_1")),
            ..DedupKeys::default()
        })
    }

    /// Fails when `settle` forwards before the claim is marked, or when a panic spends or releases the claim.
    #[tokio::test]
    async fn a_panic_while_the_app_works_leaves_the_claim_to_expire() {
        let hour = Duration::from_secs(3600);
        let claims = ClaimTable::new(ClaimLimits {
            window: hour,
            entries: 10,
            lease: hour,
        });
        let ClaimResult::Claimed(claim) = ask(&claims) else {
            panic!("the id should be free");
        };
        let ended = contain(pin!(settle(
            Some(claim),
            pin!(async { panic!("on purpose") }),
            |_, _| {},
        )))
        .await;
        assert!(ended.is_err());
        assert!(matches!(ask(&claims), ClaimResult::InFlight(_)));
    }
}
