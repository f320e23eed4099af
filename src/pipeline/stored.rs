//! Requests whose event is stored: at once (queue mode), or if the app does not take it in time (hybrid mode).
//!
//! A sender gets a 2xx from here only after the commit. If the store does not accept the event, queue mode rejects the
//! request, and hybrid mode waits for the app's own response as if there were no store.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::dispatch::forward;
use crate::gate::dedup::{Claim, DedupKeys};
use crate::gate::event::Event;
use crate::gate::reject::Reject;
use crate::gate::verdict::{GateCheck, GateDecision};
use crate::inbox::subscriptions::RouteSubscriptions;
use crate::inbox::{AcceptOptions, AcceptOutcome};
use crate::model::clock::ClockReading;
use crate::model::delivery::DeliveryId;
use crate::model::error;
use crate::net::detach::contain;
use crate::net::event_headers::DUPLICATE;
use crate::net::response::{HttpResponse, ResponseBody};
use crate::pipeline::acceptance::DurableAcceptance;
use crate::pipeline::exchange::{EventEnd, ExchangeResult, UpstreamExchange, insert_trace};
use crate::pipeline::first_attempt::{ExchangeFuture, FirstAttemptContext, LateExchange};
use crate::pipeline::local;
use crate::pipeline::report::marked;
use crate::record::deliveries::AttemptedEvent;
use crate::store::rows::DestinationId;

/// The status for the sender of a stored event.
const QUEUED: StatusCode = StatusCode::OK;

/// The status for the sender if the app did not take the event in time.
const KEPT: StatusCode = StatusCode::ACCEPTED;

impl UpstreamExchange {
    /// Stores the event and responds.
    pub(super) async fn queue(mut self, event: Event, mut claim: Option<Claim>) -> HttpResponse {
        let route = Arc::clone(&self.route);
        let (Some(keeping), Some(outlets)) = (self.acceptance.clone(), &route.subscriptions) else {
            return self.give_up();
        };
        if outlets.is_local() {
            return local::queue(self, &keeping, outlets, event, claim).await;
        }
        self.store(&keeping, outlets, &event, &mut claim, QUEUED)
            .await
    }

    /// Commits the event and responds with this status.
    async fn store(
        &mut self,
        keeping: &DurableAcceptance,
        outlets: &RouteSubscriptions,
        event: &Event,
        claim: &mut Option<Claim>,
        status: StatusCode,
    ) -> HttpResponse {
        let terms = AcceptOptions::usual(status.as_u16());
        match self.accept(keeping, outlets, event, claim, terms).await {
            Ok(AcceptOutcome::Stored(deliveries)) => {
                keeping.wake(&deliveries);
                self.record_stored(status, None);
                let mut answer = HttpResponse::new(ResponseBody::empty());
                *answer.status_mut() = status;
                answer
            }
            Ok(AcceptOutcome::Duplicate(status)) => self.answer_duplicate(status),
            Err(reject) => self.refuse(&reject),
        }
    }

    /// Commits the event and ends its claim according to the result.
    pub(super) async fn accept(
        &mut self,
        keeping: &DurableAcceptance,
        outlets: &RouteSubscriptions,
        event: &Event,
        claim: &mut Option<Claim>,
        terms: AcceptOptions,
    ) -> Result<AcceptOutcome, Reject> {
        let keys = claim.as_ref().map(Claim::keys);
        if let Some(claim) = claim.as_mut() {
            // From here on the event may be in the store, even if this task ends early.
            claim.begin_forwarding();
        }
        let accepted = self.commit(keeping, outlets, event, keys, terms).await;
        let end = match &accepted {
            Ok(AcceptOutcome::Stored(_)) => EventEnd::Stored(status_of(terms.status)),
            Ok(AcceptOutcome::Duplicate(status)) => EventEnd::Stored(status_of(*status)),
            Err(reject) => EventEnd::Failed(reject.status()),
        };
        self.end_claim(claim.take(), end);
        accepted
    }

    /// Commits the event and records the time that it takes.
    async fn commit(
        &mut self,
        keeping: &DurableAcceptance,
        outlets: &RouteSubscriptions,
        event: &Event,
        keys: Option<DedupKeys>,
        terms: AcceptOptions,
    ) -> Result<AcceptOutcome, Reject> {
        self.verdict.begin_after(GateCheck::Commit);
        let accepting = keeping
            .inbox
            .accept(event, &self.verdict, keys, outlets, terms);
        let accepted = accepting.await;
        self.verdict.end();
        accepted
    }

    /// Forwards the event, and stores it if the app does not take it in time.
    pub(super) async fn hybrid(
        mut self,
        event: Event,
        mut claim: Option<Claim>,
        answer_within: Duration,
        stores_4xx: bool,
    ) -> HttpResponse {
        let route = Arc::clone(&self.route);
        let (Some(keeping), Some(outlets)) = (self.acceptance.clone(), &route.subscriptions) else {
            return self.give_up();
        };
        if keeping.inbox.is_held(outlets) {
            // Deliveries to the app are paused, so this request must not reach it either.
            return self
                .store(&keeping, outlets, &event, &mut claim, KEPT)
                .await;
        }
        // Boxed, so that it does not enlarge the future of every request.
        if self.shares_claims()
            && let Some(answer) = Box::pin(self.claim_on_all_nodes(&mut claim)).await
        {
            return answer;
        }
        if let Some(claim) = &mut claim {
            claim.begin_forwarding();
        }
        // The exchange consumes the event, but the store needs it if the exchange takes too long.
        let copy = event.to_stored();
        let started = ClockReading::read();
        let mut exchanging = self.exchange(event);
        let in_time = tokio::time::timeout(answer_within, &mut exchanging).await;
        let early = match in_time {
            // The exchange panicked. The claim expires later, because the app may have seen the request.
            Ok(None) => return self.give_up(),
            // The app responded in time, so the event need not be stored.
            Ok(Some(result)) if is_for_sender(&result, stores_4xx) => {
                self.end_claim(claim, EventEnd::of(&result));
                return self.finish(result);
            }
            Ok(Some(result)) => Some(result),
            Err(_) => None,
        };
        // The running exchange is the first attempt. In flight, no worker attempts the same delivery meanwhile.
        let terms = AcceptOptions {
            is_in_flight: true,
            ..AcceptOptions::usual(KEPT.as_u16())
        };
        let keys = claim.as_ref().map(Claim::keys);
        let accepted = self.commit(&keeping, outlets, &copy, keys, terms).await;
        match accepted {
            Ok(AcceptOutcome::Stored(deliveries)) => {
                self.end_claim(claim, EventEnd::Stored(KEPT));
                debug_assert!(
                    !deliveries.is_empty(),
                    "the upstream of hybrid mode has no filter"
                );
                let first = deliveries.first().copied();
                let why = early.as_ref().map(log_fields);
                self.report_first_attempt(
                    &keeping,
                    first,
                    started,
                    early.map_or(LateExchange::Running(exchanging), LateExchange::Ended),
                );
                self.record_stored(KEPT, why);
                let mut answer = HttpResponse::new(ResponseBody::empty());
                *answer.status_mut() = KEPT;
                answer
            }
            Ok(AcceptOutcome::Duplicate(status)) => {
                self.end_claim(claim, EventEnd::Stored(status_of(status)));
                self.answer_duplicate(status)
            }
            // Without a store the sender gets the app's response, however late it comes.
            Err(reject) => {
                self.record_not_stored(&reject);
                let result = match early {
                    Some(result) => Some(result),
                    None => exchanging.await,
                };
                match result {
                    Some(result) => {
                        self.end_claim(claim, EventEnd::of(&result));
                        self.finish(result)
                    }
                    None => self.give_up(),
                }
            }
        }
    }

    /// Returns the exchange with the app as a future that owns its data and contains panics.
    fn exchange(&self, mut event: Event) -> ExchangeFuture {
        insert_trace(&mut event, &self.verdict);
        let (route, id) = (Arc::clone(&self.route), self.verdict.request_id);
        let verdict = self.verdict.clone();
        let takes_turn = self.permit.takes_turn();
        Box::pin(async move {
            let mut exchange = Box::pin(async {
                let targets = route.targets.as_ref()?;
                let target = targets.of_event(&verdict);
                Some(forward(event, target, id, takes_turn).await)
            });
            contain(exchange.as_mut()).await.ok().flatten()
        })
    }

    /// Passes the outcome of the first attempt to the deliverer, now or when it ends.
    fn report_first_attempt(
        &self,
        keeping: &DurableAcceptance,
        first: Option<(DestinationId, DeliveryId)>,
        started: ClockReading,
        late: LateExchange,
    ) {
        // A filter of the destination excluded the event, so no delivery exists.
        let Some((destination, delivery)) = first else {
            return;
        };
        let first = FirstAttemptContext {
            destination,
            delivery,
            started,
            event: AttemptedEvent {
                uid: self.verdict.request_id,
                event_id: self.verdict.event_id.clone(),
                event_type: self.verdict.event_type.clone(),
            },
        };
        let deliverer = Arc::clone(&keeping.deliverer);
        match late {
            // The sender does not wait for this, because the event is already on the disk.
            LateExchange::Ended(result) => {
                keeping
                    .exchanges
                    .spawn(first.report(deliverer, Some(result)));
            }
            LateExchange::Running(exchanging) => {
                match Arc::clone(&keeping.late).try_acquire_owned() {
                    Ok(permit) => {
                        keeping
                            .exchanges
                            .spawn(first.wait(deliverer, exchanging, permit));
                    }
                    // Too many late exchanges: give this one up. Its outcome is unknown, so the store retries it.
                    Err(_) => {
                        drop(exchanging);
                        keeping.exchanges.spawn(first.report(deliverer, None));
                    }
                }
            }
        }
    }

    pub(super) fn answer_duplicate(&mut self, status: u16) -> HttpResponse {
        self.verdict.decision = GateDecision::Duplicate;
        let status = status_of(status);
        self.report(|exchange| exchange.response_status = status);
        marked(status, DUPLICATE)
    }

    fn record_stored(&self, status: StatusCode, why: Option<ExchangeLogFields>) {
        self.report(|exchange| {
            exchange.response_status = status;
            exchange.is_stored = true;
            if let Some(why) = why {
                exchange.upstream_status = why.status;
                exchange.forward_error = why.error;
            }
        });
    }

    fn record_not_stored(&self, reject: &Reject) {
        if let Reject::NotStored { fault } = reject {
            tracing::warn!(
                request_id = %self.verdict.request_id,
                fault = %fault,
                "the event was not stored; waiting for the app's own response"
            );
        }
    }
}

/// The log fields of an exchange that led to storing the event.
struct ExchangeLogFields {
    status: Option<StatusCode>,
    error: Option<(&'static str, String)>,
}

fn log_fields(result: &ExchangeResult) -> ExchangeLogFields {
    match result {
        Ok(forwarded) => ExchangeLogFields {
            status: Some(forwarded.status),
            error: None,
        },
        Err(err) => ExchangeLogFields {
            status: None,
            error: Some((err.kind(), error::chain(err))),
        },
    }
}

/// Returns whether the sender gets this response of the app.
fn is_for_sender(result: &ExchangeResult, stores_4xx: bool) -> bool {
    let Ok(forwarded) = result else {
        return false;
    };
    let status = forwarded.status;
    status.is_success() || (status.is_client_error() && !stores_4xx)
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::OK)
}
