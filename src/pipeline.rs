//! One request from head to response: gate, then forward or store, then record. Read this module first.
//!
//! Only this module knows the whole order. `app` builds a `Generation` from each config and passes `edge` a handler
//! that calls `serve`. In every case a client gets the app's own response, a challenge response or a problem document,
//! and the recorder gets exactly one report.

mod acceptance;
mod batch;
mod exchange;
mod first_attempt;
mod generation;
mod in_flight;
mod local;
mod local_reply;
mod report;
mod request_ids;
mod shared_claim;
mod stored;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::request::Parts;
use http::{HeaderName, Method, Request, StatusCode, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use tokio_util::task::TaskTracker;

use crate::config::model::RouteMode;
use crate::deliver::DeliveryEngine;
use crate::gate::budget::{BudgetFault, BudgetShare, SourceBudgets};
use crate::gate::dedup::Claim;
use crate::gate::event::{BorrowedRequest, Event, UnverifiedRequest};
use crate::gate::reject::Reject;
use crate::gate::verdict::{GateDecision, Verdict};
use crate::gate::{GateAdmission, host};
use crate::inbox::Inbox;
use crate::model::clock::ClockReading;
use crate::model::ids::{RequestId, RouteName};
use crate::model::source::{RequestSource, SourceKey};
use crate::net::detach::{CaughtPanic, contain, detach};
use crate::net::event_headers::DUPLICATE;
use crate::net::headers::{REQUEST_ID, request_id_value};
use crate::net::problem;
use crate::net::read_body::{BodyHead, TrackedBody, discard_body};
use crate::net::response::{HttpResponse, ResponseBody};
use crate::pipeline::acceptance::DurableAcceptance;
use crate::pipeline::exchange::UpstreamExchange;
pub(crate) use crate::pipeline::generation::{CompiledRoute, Generation};
use crate::pipeline::in_flight::{InFlightCounts, InFlightPermit};
use crate::pipeline::report::{answered, closing, marked, refuse, report};
use crate::pipeline::request_ids::RequestIds;
use crate::record::TelemetryRecorder;
use crate::record::rejected_requests::ReceivedParts;

const FILTERED: HeaderName = HeaderName::from_static("hookgate-filtered");

/// Serves requests across all generations.
pub(crate) struct Pipeline {
    recorder: Arc<TelemetryRecorder>,
    /// The inbox and the deliverer; `None` without a store.
    acceptance: Option<DurableAcceptance>,
    /// Exchanges that continue after their sender's connection has closed.
    exchanges: TaskTracker,
    in_flight: Arc<InFlightCounts>,
    budgets: Arc<SourceBudgets>,
    ids: RequestIds,
    /// True once health checks fail, before the drain begins.
    is_stopping: AtomicBool,
}

/// The admitted request of one route, on its way to the response.
struct RoutedRequest {
    generation: Arc<Generation>,
    route: Arc<CompiledRoute>,
    verdict: Box<Verdict>,
    permit: InFlightPermit,
}

impl Pipeline {
    /// Creates a pipeline without requests. `seed` should differ between processes.
    pub(crate) fn new(
        recorder: Arc<TelemetryRecorder>,
        seed: u64,
        stored: Option<(Inbox, Arc<DeliveryEngine>)>,
    ) -> Arc<Self> {
        let exchanges = TaskTracker::new();
        let acceptance = stored
            .map(|(inbox, deliverer)| DurableAcceptance::new(inbox, deliverer, exchanges.clone()));
        Arc::new(Self {
            recorder,
            acceptance,
            exchanges,
            in_flight: Arc::default(),
            budgets: SourceBudgets::new(),
            ids: RequestIds::new(seed),
            is_stopping: AtomicBool::new(false),
        })
    }

    /// Fails health checks from now on. All other requests are served as before.
    pub(crate) fn fail_health_checks(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Returns the number of requests in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.all()
    }

    /// Returns the budgets of all sources.
    pub(crate) fn budgets(&self) -> &Arc<SourceBudgets> {
        &self.budgets
    }

    /// Waits until the exchanges that continue without their sender have ended. No request may come after this call.
    pub(crate) async fn drained(&self) {
        self.exchanges.close();
        self.exchanges.wait().await;
    }

    /// Responds to one request. Never fails: a panic on the way leads to a 500.
    pub(crate) async fn serve(
        &self,
        generation: Arc<Generation>,
        request: Request<Incoming>,
        source: RequestSource,
    ) -> HttpResponse {
        let now = ClockReading::read();
        let id = self.ids.make(now.unix_ms);
        let version = request.version();
        if is_health_check(&generation, &request) {
            // Health checks pass no gate and are not recorded.
            let is_unread = !request.body().is_end_stream();
            let mut answer = HttpResponse::new(ResponseBody::empty());
            if self.is_stopping.load(Ordering::Relaxed) {
                *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            return with_id(closing(answer, version, is_unread), id);
        }
        let verdict = Box::new(Verdict::new(id, source, now));
        let deciding = pin!(self.decide(generation, request, now, verdict));
        let unknown = || Verdict::new(id, source, now);
        with_id(self.answer(deciding, unknown, version).await, id)
    }

    /// Responds to a request on a route's Unix socket, whose sender is a user of this machine.
    pub(crate) async fn serve_user(
        &self,
        generation: Arc<Generation>,
        (route, user): (&RouteName, u32),
        request: Request<Incoming>,
        source: RequestSource,
    ) -> HttpResponse {
        let now = ClockReading::read();
        let id = self.ids.make(now.unix_ms);
        let version = request.version();
        let verdict = Box::new(Verdict::new(id, source, now));
        let deciding = pin!(self.decide_user(generation, (route, user), request, verdict));
        let unknown = || Verdict::new(id, source, now);
        with_id(self.answer(deciding, unknown, version).await, id)
    }

    /// Waits for the response. A panic on the way leads to a 500 with the verdict of `unknown`, and closes the connection.
    async fn answer(
        &self,
        deciding: Pin<&mut impl Future<Output = HttpResponse>>,
        unknown: impl FnOnce() -> Verdict,
        version: Version,
    ) -> HttpResponse {
        match contain(deciding).await {
            Ok(answer) => answer,
            Err(CaughtPanic) => closing(self.gave_up(unknown()), version, true),
        }
    }

    /// Responds to a request from the network, and reads the rest of its body.
    async fn decide(
        &self,
        generation: Arc<Generation>,
        request: Request<Incoming>,
        now: ClockReading,
        mut verdict: Box<Verdict>,
    ) -> HttpResponse {
        let (head, body) = request.into_parts();
        let rest = BodyHead {
            declared: body.size_hint().exact(),
            version: head.version,
        };
        // Reading the body would send "100 Continue" to a client that asks whether it may send one (RFC 9110, section
        // 10.1.1).
        let may_discard =
            rest.version == Version::HTTP_2 || !head.headers.contains_key(header::EXPECT);
        let mut body = TrackedBody::new(body);
        verdict.method = Some(head.method.clone());
        let answer = self.judge(generation, head, &mut body, now, verdict).await;
        if body.has_ended() {
            return answer;
        }
        // Read the rest of the body, so that the client gets the response instead of a connection reset.
        if may_discard {
            discard_body(&mut body, rest).await;
        }
        closing(answer, rest.version, !body.has_ended())
    }

    /// Finds the route, lets the gate decide, and acts on the decision.
    async fn judge(
        &self,
        generation: Arc<Generation>,
        head: Parts,
        body: &mut TrackedBody<Incoming>,
        now: ClockReading,
        mut verdict: Box<Verdict>,
    ) -> HttpResponse {
        // Count the request before its source's budget is checked, so that `in_flight` includes every request.
        let permit = self.in_flight.enter();
        let source = SourceKey::of(verdict.source.ip);
        let max = generation.max_in_flight;
        let share = match self.budgets.enter(source, max, now.mono) {
            Ok(share) => share,
            Err(fault) => {
                drop(permit);
                let reject = match fault {
                    BudgetFault::Source(retry_after) => Reject::SourceBudget { retry_after },
                    BudgetFault::Total => Reject::Overload,
                };
                return self.refuse(None, &mut verdict, &reject);
            }
        };
        let Some(route) = generation.find(&head) else {
            drop((permit, share));
            let reject = Reject::no_route(host(&head), head.uri.path());
            return self.refuse(None, &mut verdict, &reject);
        };
        let route = Arc::clone(route);
        let request = Request::from_parts(head, body);
        let admission = generation
            .gate
            .admit(&route.rules, Some(&share), request, now, &mut verdict)
            .await;
        let routed = RoutedRequest {
            generation,
            route,
            verdict,
            permit,
        };
        match admission {
            GateAdmission::Unverified(request) => {
                self.forward_monitored(routed, share, request).await
            }
            admission => {
                // The request is verified or has its response, so it no longer counts against its source.
                drop(share);
                self.dispatch(routed, admission).await
            }
        }
    }

    /// Responds to a request of a local user. The socket itself identifies the sender, so source budgets do not apply.
    async fn decide_user(
        &self,
        generation: Arc<Generation>,
        (route, user): (&RouteName, u32),
        request: Request<Incoming>,
        mut verdict: Box<Verdict>,
    ) -> HttpResponse {
        let permit = self.in_flight.enter();
        let version = request.version();
        let Some(route) = generation.routes.named(route).map(Arc::clone) else {
            // A reload has just removed the route.
            let reject = Reject::no_route("", request.uri().path());
            return closing(self.refuse(None, &mut verdict, &reject), version, true);
        };
        let (head, body) = request.into_parts();
        let mut body = TrackedBody::new(body);
        let request = Request::from_parts(head, &mut body);
        let admitting = generation
            .gate
            .admit_user(&route.rules, user, request, &mut verdict);
        let admission = Box::pin(admitting).await;
        let routed = RoutedRequest {
            generation,
            route,
            verdict,
            permit,
        };
        let answer = self.dispatch(routed, admission).await;
        closing(answer, version, !body.has_ended())
    }

    /// Acts on the decision of the gate.
    async fn dispatch(&self, routed: RoutedRequest, admission: GateAdmission) -> HttpResponse {
        let (route, verdict) = (&routed.route, &routed.verdict);
        match admission {
            GateAdmission::Event(event, claim) => self.dispatch_event(routed, event, claim).await,
            // Boxed, because a rare case should not enlarge the future of every request.
            GateAdmission::Unverified(request) => {
                Box::pin(self.forward_unverified(routed, request)).await
            }
            GateAdmission::Answered(answer) => {
                let exchange = answered(answer.status(), verdict);
                report(&self.recorder, Some(route), verdict, &exchange);
                answer
            }
            GateAdmission::Duplicate(status, event) => {
                report(
                    &self.recorder,
                    Some(route),
                    verdict,
                    &answered(status, verdict),
                );
                match route.takes_local() {
                    true => local::duplicate(status, event.received().headers, verdict),
                    false => marked(status, DUPLICATE),
                }
            }
            GateAdmission::Filtered(..) => {
                let exchange = answered(StatusCode::OK, verdict);
                report(&self.recorder, Some(route), verdict, &exchange);
                marked(StatusCode::OK, FILTERED)
            }
            GateAdmission::Refused(reject, request) => {
                if let Some(request) = &request {
                    self.remember_rejected(route, verdict, request.received());
                }
                let RoutedRequest {
                    route, mut verdict, ..
                } = routed;
                self.refuse(Some(&route), &mut verdict, &reject)
            }
        }
    }

    /// Forwards or stores a verified event.
    async fn dispatch_event(
        &self,
        routed: RoutedRequest,
        event: Event,
        claim: Option<Claim>,
    ) -> HttpResponse {
        let RoutedRequest {
            generation,
            route,
            verdict,
            permit,
        } = routed;
        let mut exchange = UpstreamExchange {
            recorder: Arc::clone(&self.recorder),
            acceptance: self.acceptance.clone(),
            route,
            verdict,
            permit,
            shared_claim: None,
        };
        if !exchange.permit.begin_exchange(generation.max_in_flight) {
            return exchange.refuse_event(claim, &Reject::Overload);
        }
        self.remember_rejected(&exchange.route, &exchange.verdict, event.received());
        // Only a verified request may name the trace that it belongs to.
        let continues = exchange.route.rules.route().continue_trace;
        let headers = continues.then_some(event.received().headers);
        exchange.verdict.trace = self.recorder.trace(exchange.verdict.request_id, headers);
        // A copy only waits for the app's own response and is not stored again.
        let mode = match exchange.verdict.is_copy {
            true => RouteMode::Proxy,
            false => exchange.route.mode(),
        };
        match mode {
            RouteMode::Proxy => detach(exchange.run(event, claim), &self.exchanges).await,
            // `detach` boxes these, so that they do not enlarge the future of every request.
            RouteMode::Queue => detach(exchange.queue(event, claim), &self.exchanges).await,
            RouteMode::Hybrid {
                answer_within,
                stores_4xx,
            } => {
                let work = exchange.hybrid(event, claim, answer_within, stores_4xx);
                detach(work, &self.exchanges).await
            }
        }
    }

    /// Forwards what monitor mode lets through. The exchange counts against its source: an unverified client must not
    /// get more than its share of the exchanges.
    async fn forward_monitored(
        &self,
        mut routed: RoutedRequest,
        mut share: BudgetShare,
        request: UnverifiedRequest,
    ) -> HttpResponse {
        if let Err(retry_after) = share.begin_exchange(routed.generation.max_in_flight) {
            let reject = Reject::SourceBudget { retry_after };
            return self.refuse(Some(&routed.route), &mut routed.verdict, &reject);
        }
        let answer = Box::pin(self.forward_unverified(routed, request)).await;
        drop(share);
        answer
    }

    async fn forward_unverified(
        &self,
        routed: RoutedRequest,
        request: UnverifiedRequest,
    ) -> HttpResponse {
        let RoutedRequest {
            generation,
            route,
            mut verdict,
            mut permit,
        } = routed;
        if !permit.begin_exchange(generation.max_in_flight) {
            return self.refuse(Some(&route), &mut verdict, &Reject::Overload);
        }
        self.remember_rejected(&route, &verdict, request.received());
        let exchange = UpstreamExchange {
            recorder: Arc::clone(&self.recorder),
            acceptance: None,
            route,
            verdict,
            permit,
            shared_claim: None,
        };
        exchange.run_unverified(request).await
    }

    /// Records the request for `/rejections` if its verdict is a rejection, or would be without monitor mode.
    fn remember_rejected(
        &self,
        route: &CompiledRoute,
        verdict: &Verdict,
        request: BorrowedRequest<'_>,
    ) {
        if verdict.decision.reject().is_none() {
            return;
        }
        let received = ReceivedParts {
            method: request.method,
            uri: request.uri,
            headers: request.headers,
            body: request.body,
            scheme: &route.rules.route().scheme,
        };
        self.recorder.rejected().push(verdict, &received);
    }

    fn refuse(
        &self,
        route: Option<&CompiledRoute>,
        verdict: &mut Verdict,
        reject: &Reject,
    ) -> HttpResponse {
        verdict.decision = GateDecision::Refused(reject.clone());
        refuse(&self.recorder, route, verdict, reject)
    }

    fn gave_up(&self, mut verdict: Verdict) -> HttpResponse {
        verdict.decision = GateDecision::Refused(Reject::Internal);
        let exchange = answered(StatusCode::INTERNAL_SERVER_ERROR, &verdict);
        self.recorder.request(None, &verdict, &exchange);
        problem::answer(exchange.response_status, verdict.request_id, None)
    }
}

/// Names the request in the response, as in the logs.
fn with_id(mut answer: HttpResponse, id: RequestId) -> HttpResponse {
    let headers = answer.headers_mut();
    headers.insert(REQUEST_ID, request_id_value(id));
    answer
}

fn is_health_check(generation: &Generation, request: &Request<Incoming>) -> bool {
    let is_asking = matches!(*request.method(), Method::GET | Method::HEAD);
    is_asking && generation.health.as_deref() == Some(request.uri().path())
}
