//! One request from head to response: gate, then forward or store, then record. Read this module first.
//!
//! Only this module knows the whole order. `app` builds a `Generation` from each config and passes `edge` a handler
//! that calls `serve`. In every case a client gets the app's own response, a challenge response or a problem document,
//! and the recorder gets exactly one report.

mod batch;
mod first_attempt;
mod local;
mod stored;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use tokio_util::task::TaskTracker;

use crate::config::model::RouteMode;
use crate::deliver::DeliveryEngine;
use crate::forward::{ForwardError, RouteTargets, UpstreamResponse, forward, forward_unverified};
use crate::gate::budget::{BudgetFault, BudgetShare, SourceBudgets};
use crate::gate::dedup::Claim;
use crate::gate::event::{Event, EventParts, UnverifiedRequest};
use crate::gate::reject::Reject;
use crate::gate::verdict::{GateDecision, Verdict};
use crate::gate::{Gate, GateAdmission};
use crate::inbox::Inbox;
use crate::inbox::subscriptions::RouteSubscriptions;
use crate::model::clock::{ClockReading, instant};
use crate::model::error;
use crate::model::ids::{RequestId, RouteName};
use crate::model::source::{RequestSource, SourceKey};
use crate::model::trace::TracePart;
use crate::net::detach::{CaughtPanic, contain, detach};
use crate::net::event_headers::DUPLICATE;
use crate::net::headers::{REQUEST_ID, request_id_value};
use crate::net::problem;
use crate::net::read_body::{BodyHead, TrackedBody, discard_body};
use crate::net::response::{HttpResponse, ResponseBody};
use crate::pipeline::stored::DurableAcceptance;
use crate::providers::challenge::ProviderChallenge;
use crate::record::counters::RouteCounters;
use crate::record::rejected_requests::ReceivedParts;
use crate::record::{ExchangeSummary, TelemetryRecorder, otlp};

const FILTERED: HeaderName = HeaderName::from_static("hookgate-filtered");

/// Everything that one loaded config built. A request keeps the generation with which it began until its response.
pub(crate) struct Generation {
    /// The checks of all routes.
    pub gate: Gate,
    /// The work after admission, by the index of the route.
    pub routes: Vec<RouteDispatch>,
    /// The path that responds with 200 to the health checks of load balancers.
    pub health: Option<String>,
    /// Largest number of concurrent exchanges with apps.
    pub max_in_flight: usize,
}

/// How the admitted events of one route are handled.
pub(crate) struct RouteDispatch {
    /// Forward the event, store it, or both.
    pub mode: RouteMode,
    /// The upstream targets; `None` in queue mode.
    pub targets: Option<RouteTargets>,
    /// True if the trace of the sender is continued.
    pub continues_trace: bool,
    pub counters: Arc<RouteCounters>,
    /// The destinations and their filters; `None` without a store.
    pub subscriptions: Option<RouteSubscriptions>,
}

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
}

/// Generates request ids. They name requests and protect nothing, so they must be unique but not unpredictable.
struct RequestIds {
    seed: u64,
    count: AtomicU64,
}

/// Counters of requests in flight.
#[derive(Default)]
struct InFlightCounts {
    /// All requests in flight, verified or not.
    all: AtomicUsize,
    /// Requests that hold one of the `max_in_flight` permits: verified ones, and those that monitor mode forwards.
    exchanges: AtomicUsize,
}

/// A permit of a request in flight, returned when dropped.
struct InFlightPermit {
    counts: Arc<InFlightCounts>,
    has_exchange: bool,
}

/// From this number of requests in flight they take turns.
const CROWD: usize = 4;

impl InFlightPermit {
    /// Returns whether other requests are probably ready too. Then all of them are checked before the first is written
    /// to its app, and all responses are read before the first is written to its sender. So the code of one stage stays
    /// in the processor's cache, and a sleeping peer is woken once for several. With few requests, turns would only
    /// delay them.
    fn takes_turn(&self) -> bool {
        self.counts.all.load(Ordering::Relaxed) >= CROWD
    }

    /// Takes one of the exchanges with apps. Returns `false` if `max` are taken.
    ///
    /// Only verified requests come here, and those that monitor mode forwards. Slow or untrusted clients hold no
    /// exchange.
    fn begin_exchange(&mut self, max: usize) -> bool {
        let before = self.counts.exchanges.fetch_add(1, Ordering::Relaxed);
        self.has_exchange = true;
        // A rejected request has counted itself too. Dropping the permit takes both counts back.
        before < max
    }
}

impl Drop for InFlightPermit {
    fn drop(&mut self) {
        if self.has_exchange {
            self.counts.exchanges.fetch_sub(1, Ordering::Relaxed);
        }
        self.counts.all.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pipeline {
    /// Creates a pipeline without requests. `seed` should differ between processes.
    pub(crate) fn new(
        recorder: Arc<TelemetryRecorder>,
        seed: u64,
        kept: Option<(Inbox, Arc<DeliveryEngine>)>,
    ) -> Arc<Self> {
        let exchanges = TaskTracker::new();
        let keeping = kept
            .map(|(inbox, deliverer)| DurableAcceptance::new(inbox, deliverer, exchanges.clone()));
        Arc::new(Self {
            recorder,
            acceptance: keeping,
            exchanges,
            in_flight: Arc::default(),
            budgets: SourceBudgets::new(),
            ids: RequestIds {
                seed,
                count: AtomicU64::new(0),
            },
        })
    }

    /// Returns the number of requests in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.all.load(Ordering::Relaxed)
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
        let mut answer = if is_health_check(&generation, &request) {
            // Health checks pass no gate and are not recorded.
            let is_unread = !request.body().is_end_stream();
            closing(HttpResponse::new(ResponseBody::empty()), version, is_unread)
        } else {
            let deciding = pin!(self.decide(generation, request, source, now, id));
            match contain(deciding).await {
                Ok(answer) => answer,
                Err(CaughtPanic) => {
                    let answer = self.gave_up(Verdict::new(id, source, now));
                    closing(answer, version, true)
                }
            }
        };
        let headers = answer.headers_mut();
        headers.insert(REQUEST_ID, request_id_value(id));
        answer
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
        // The socket itself identifies the sender, so source budgets do not apply.
        let deciding = pin!(async {
            let mut verdict = Box::new(Verdict::new(id, source, now));
            let index = generation.gate.index_of(route).unwrap_or(usize::MAX);
            let place = self.enter();
            let (parts, body) = request.into_parts();
            let mut body = TrackedBody::new(body);
            let request = Request::from_parts(parts, &mut body);
            let admitting = generation
                .gate
                .admit_user(index, user, request, &mut verdict);
            let admission = Box::pin(admitting).await;
            let answer = self
                .dispatch_admission(generation, verdict, place, admission)
                .await;
            closing(answer, version, !body.has_ended())
        });
        let mut answer = match contain(deciding).await {
            Ok(answer) => answer,
            Err(CaughtPanic) => {
                let answer = self.gave_up(Verdict::new(id, source, now));
                closing(answer, version, true)
            }
        };
        let headers = answer.headers_mut();
        headers.insert(REQUEST_ID, request_id_value(id));
        answer
    }

    async fn decide(
        &self,
        generation: Arc<Generation>,
        request: Request<Incoming>,
        source: RequestSource,
        now: ClockReading,
        id: RequestId,
    ) -> HttpResponse {
        let (parts, body) = request.into_parts();
        let rest = BodyHead {
            declared: body.size_hint().exact(),
            version: parts.version,
        };
        // Reading the body would send "100 Continue" to a client that asks whether it may send one (RFC 9110, section
        // 10.1.1).
        let may_discard =
            rest.version == Version::HTTP_2 || !parts.headers.contains_key(header::EXPECT);
        let mut body = TrackedBody::new(body);
        let mut verdict = Box::new(Verdict::new(id, source, now));
        verdict.method = Some(parts.method.clone());
        let answer = self.judge(generation, parts, &mut body, now, verdict).await;
        if body.has_ended() {
            return answer;
        }
        // Read the rest of the body, so that the client gets the response instead of a connection reset.
        if may_discard {
            discard_body(&mut body, rest).await;
        }
        closing(answer, rest.version, !body.has_ended())
    }

    /// Lets the gate decide and acts on the decision.
    async fn judge(
        &self,
        generation: Arc<Generation>,
        parts: Parts,
        body: &mut TrackedBody<Incoming>,
        now: ClockReading,
        mut verdict: Box<Verdict>,
    ) -> HttpResponse {
        // Count the request before its source's budget is checked, so that `in_flight` includes every request.
        let place = self.enter();
        let source = SourceKey::of(verdict.source.ip);
        let max = generation.max_in_flight;
        let share = match self.budgets.enter(source, max, now.mono) {
            Ok(share) => share,
            Err(fault) => {
                drop(place);
                let reject = match fault {
                    BudgetFault::Source(retry_after) => Reject::SourceBudget { retry_after },
                    BudgetFault::Total => Reject::Overload,
                };
                verdict.decision = GateDecision::Refused(reject.clone());
                return self.refuse(&generation, &verdict, &reject);
            }
        };
        let request = Request::from_parts(parts, body);
        let admitting = generation
            .gate
            .admit_within(&share, request, now, &mut verdict);
        match admitting.await {
            GateAdmission::Refused(reject, request) => {
                drop((place, share));
                if let Some(request) = request {
                    self.remember_rejected(&generation, &verdict, &request);
                }
                self.refuse(&generation, &verdict, &reject)
            }
            GateAdmission::Unverified(request) => {
                self.forward_monitored(generation, verdict, (place, share), request)
                    .await
            }
            admission => {
                // The request is verified or has its response, so it no longer counts against its source.
                drop(share);
                self.dispatch_admission(generation, verdict, place, admission)
                    .await
            }
        }
    }

    /// Acts on the decision of the gate.
    async fn dispatch_admission(
        &self,
        generation: Arc<Generation>,
        mut verdict: Box<Verdict>,
        mut place: InFlightPermit,
        admission: GateAdmission,
    ) -> HttpResponse {
        match admission {
            GateAdmission::Event(event, claim) => {
                if !place.begin_exchange(generation.max_in_flight) {
                    drop(place);
                    // Release the claim, or the sender's retry would look like a duplicate.
                    if let Some(claim) = claim {
                        claim.release(Reject::Overload.status());
                    }
                    verdict.decision = GateDecision::Refused(Reject::Overload);
                    return self.refuse(&generation, &verdict, &Reject::Overload);
                }
                self.remember_rejected(&generation, &verdict, event.parts());
                // Only a verified request may name the trace that it belongs to.
                let route = generation.routes.get(event.parts().route);
                let continues = route.is_some_and(|route| route.continues_trace);
                let headers = continues.then_some(&event.parts().headers);
                verdict.trace = self.recorder.trace(verdict.request_id, headers);
                // A copy only waits for the app's own response and is not stored again.
                let mode = match verdict.is_copy {
                    true => RouteMode::Proxy,
                    false => stored::mode(&generation, &verdict),
                };
                let exchange = UpstreamExchange {
                    recorder: Arc::clone(&self.recorder),
                    acceptance: self.acceptance.clone(),
                    generation,
                    verdict,
                    permit: place,
                };
                match mode {
                    RouteMode::Proxy => detach(exchange.run(event, claim), &self.exchanges).await,
                    // `outlive` boxes these, so that they do not enlarge the future of every request.
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
            // Boxed, because a rare case should not enlarge the future of every request.
            GateAdmission::Unverified(request) => {
                let forwarding = self.forward_unverified(generation, verdict, place, request);
                Box::pin(forwarding).await
            }
            GateAdmission::Answered(answer) => {
                let exchange = answered(answer.status(), &verdict);
                update_exchange(&self.recorder, &generation, &verdict, &exchange);
                answer
            }
            GateAdmission::Duplicate(status, request) => {
                let exchange = answered(status, &verdict);
                update_exchange(&self.recorder, &generation, &verdict, &exchange);
                match stored::takes_local(&generation, &verdict) {
                    true => local::duplicate(status, &request.headers, &verdict),
                    false => marked(status, DUPLICATE),
                }
            }
            GateAdmission::Filtered => {
                let exchange = answered(StatusCode::OK, &verdict);
                update_exchange(&self.recorder, &generation, &verdict, &exchange);
                marked(StatusCode::OK, FILTERED)
            }
            GateAdmission::Refused(reject, request) => {
                if let Some(request) = request {
                    self.remember_rejected(&generation, &verdict, &request);
                }
                self.refuse(&generation, &verdict, &reject)
            }
        }
    }

    /// Forwards what monitor mode lets through. The exchange counts against its source: an unverified client must not
    /// get more than its share of the exchanges.
    async fn forward_monitored(
        &self,
        generation: Arc<Generation>,
        mut verdict: Box<Verdict>,
        (place, mut share): (InFlightPermit, BudgetShare),
        request: UnverifiedRequest,
    ) -> HttpResponse {
        if let Err(retry_after) = share.begin_exchange(generation.max_in_flight) {
            let reject = Reject::SourceBudget { retry_after };
            verdict.decision = GateDecision::Refused(reject.clone());
            return self.refuse(&generation, &verdict, &reject);
        }
        let forwarding = self.forward_unverified(generation, verdict, place, request);
        let answer = Box::pin(forwarding).await;
        drop(share);
        answer
    }

    async fn forward_unverified(
        &self,
        generation: Arc<Generation>,
        mut verdict: Box<Verdict>,
        mut place: InFlightPermit,
        request: UnverifiedRequest,
    ) -> HttpResponse {
        if !place.begin_exchange(generation.max_in_flight) {
            verdict.decision = GateDecision::Refused(Reject::Overload);
            return self.refuse(&generation, &verdict, &Reject::Overload);
        }
        self.remember_rejected(&generation, &verdict, request.parts());
        let exchange = UpstreamExchange {
            recorder: Arc::clone(&self.recorder),
            acceptance: None,
            generation,
            verdict,
            permit: place,
        };
        exchange.run_unverified(request).await
    }

    /// Records the request for `/rejections` if its verdict is a rejection, or would be without monitor mode.
    fn remember_rejected(&self, generation: &Generation, verdict: &Verdict, request: &EventParts) {
        if verdict.decision.reject().is_none() {
            return;
        }
        let index = verdict.route_index.unwrap_or(usize::MAX);
        if let Some(rules) = generation.gate.rules(index) {
            let came = ReceivedParts {
                method: &request.method,
                uri: &request.uri,
                headers: &request.headers,
                body: &request.body,
                scheme: &rules.route().scheme,
            };
            self.recorder.rejected().push(verdict, &came);
        }
    }

    fn enter(&self) -> InFlightPermit {
        self.in_flight.all.fetch_add(1, Ordering::Relaxed);
        InFlightPermit {
            counts: Arc::clone(&self.in_flight),
            has_exchange: false,
        }
    }

    pub(crate) fn budgets(&self) -> &Arc<SourceBudgets> {
        &self.budgets
    }

    fn refuse(&self, generation: &Generation, verdict: &Verdict, reject: &Reject) -> HttpResponse {
        let status = reject.status();
        let mut answer = refused(&self.recorder, generation, verdict, reject);
        if status == StatusCode::METHOD_NOT_ALLOWED
            && let Some(methods) = allowed_methods(generation, verdict)
        {
            answer.headers_mut().insert(header::ALLOW, methods);
        }
        answer
    }

    fn gave_up(&self, mut verdict: Verdict) -> HttpResponse {
        verdict.decision = GateDecision::Refused(Reject::Internal);
        let exchange = answered(StatusCode::INTERNAL_SERVER_ERROR, &verdict);
        self.recorder.request(None, &verdict, &exchange);
        problem::answer(exchange.response_status, verdict.request_id, None)
    }
}

/// One exchange with the app, from the claim to its end. It owns its data, because it may continue after the connection
/// closes.
struct UpstreamExchange {
    recorder: Arc<TelemetryRecorder>,
    acceptance: Option<DurableAcceptance>,
    generation: Arc<Generation>,
    verdict: Box<Verdict>,
    permit: InFlightPermit,
}

impl UpstreamExchange {
    async fn run(mut self, mut event: Event, claim: Option<Claim>) -> HttpResponse {
        let id = self.verdict.request_id;
        insert_trace(&mut event, &self.verdict);
        let ended = {
            let exchange = pin!(async {
                let route = self.generation.routes.get(event.parts().route)?;
                let targets = route.targets.as_ref()?;
                let target = targets.of_event(&self.verdict);
                let forwarding = pin!(forward(event, target, id, self.permit.takes_turn()));
                let taken = |claim: &Claim, status| self.remember(claim, status);
                Some(settle(claim, forwarding, taken).await)
            });
            contain(exchange).await
        };
        let answer = match ended {
            Ok(Some(result)) => self.finish(result),
            // The claim was dropped on the way. It was released, or expires later if the app may have seen the request.
            Ok(None) | Err(CaughtPanic) => self.give_up(),
        };
        // Let the other requests read their responses before this one is written to its sender.
        if self.permit.takes_turn() {
            tokio::task::yield_now().await;
        }
        answer
    }

    async fn run_unverified(mut self, request: UnverifiedRequest) -> HttpResponse {
        let id = self.verdict.request_id;
        let index = self.verdict.route_index.unwrap_or(usize::MAX);
        let route = self.generation.routes.get(index);
        match route.and_then(|route| route.targets.as_ref()) {
            Some(targets) => {
                // The claims of an unverified request are not trusted. The target for URL checks is the app that the
                // sender subscribes.
                let target = match self.verdict.decision {
                    GateDecision::Monitored(_) => targets.of_unverified(),
                    _ => targets.usual(),
                };
                let result = forward_unverified(request, target, id).await;
                self.finish(result)
            }
            None => self.give_up(),
        }
    }

    fn finish(&self, result: Result<UpstreamResponse, ForwardError>) -> HttpResponse {
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
        update_exchange(&self.recorder, &self.generation, &self.verdict, &exchange);
        answer
    }

    /// Rejects an event that the gate admitted.
    fn refuse(&mut self, reject: &Reject) -> HttpResponse {
        self.verdict.decision = GateDecision::Refused(reject.clone());
        refused(&self.recorder, &self.generation, &self.verdict, reject)
    }

    fn update_exchange(&self, fill: impl FnOnce(&mut ExchangeSummary)) {
        let mut exchange = answered(StatusCode::OK, &self.verdict);
        fill(&mut exchange);
        update_exchange(&self.recorder, &self.generation, &self.verdict, &exchange);
    }

    fn give_up(&mut self) -> HttpResponse {
        self.verdict.decision = GateDecision::Refused(Reject::Internal);
        let exchange = answered(StatusCode::INTERNAL_SERVER_ERROR, &self.verdict);
        update_exchange(&self.recorder, &self.generation, &self.verdict, &exchange);
        problem::answer(exchange.response_status, self.verdict.request_id, None)
    }
}

/// Forwards under a claim, and spends the claim exactly if the app took the event.
async fn settle(
    mut claim: Option<Claim>,
    forwarding: Pin<&mut impl Future<Output = Result<UpstreamResponse, ForwardError>>>,
    taken: impl FnOnce(&Claim, StatusCode),
) -> Result<UpstreamResponse, ForwardError> {
    // From here on the app may see the request. A panic then leaves the claim to expire instead of releasing it.
    if let Some(claim) = &mut claim {
        claim.begin_forwarding();
    }
    let result = forwarding.await;
    let status = match &result {
        Ok(forwarded) => forwarded.status,
        Err(err) => err.status(),
    };
    match claim {
        Some(claim) if result.is_ok() && status.is_success() => {
            taken(&claim, status);
            claim.spend(status);
        }
        Some(claim) => claim.release(status),
        None => {}
    }
    result
}

impl RequestIds {
    fn make(&self, unix_ms: i64) -> RequestId {
        // Both halves derive from one counter, so that ids never repeat within a process.
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let [high, low] = [
            mix(self.seed.wrapping_add(count)),
            mix(self.seed ^ count.rotate_left(32)),
        ]
        .map(u64::to_le_bytes);
        let mut random = [0; 10];
        for (to, from) in random.iter_mut().zip(high.into_iter().chain(low)) {
            *to = from;
        }
        RequestId::new(unix_ms, random)
    }
}

/// Mixes a number with the finalizer of `SplitMix64`: distinct inputs give distinct, unrelated outputs.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Announces that the connection closes if the request body was not fully read: the rest cannot be separated from the
/// next request. In HTTP/2 only the stream ends.
fn closing(mut answer: HttpResponse, version: Version, is_unread: bool) -> HttpResponse {
    if is_unread && version != Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(header::CONNECTION, close);
    }
    answer
}

fn is_health_check(generation: &Generation, request: &Request<Incoming>) -> bool {
    let is_asking = matches!(*request.method(), Method::GET | Method::HEAD);
    is_asking && generation.health.as_deref() == Some(request.uri().path())
}

fn allowed_methods(generation: &Generation, verdict: &Verdict) -> Option<HeaderValue> {
    let rules = generation.gate.rules(verdict.route_index?)?;
    let methods: Vec<_> = rules.methods().iter().map(Method::as_str).collect();
    HeaderValue::from_str(&methods.join(", ")).ok()
}

/// Creates an empty response of the gate, with a header that explains why the app saw nothing.
fn marked(status: StatusCode, mark: HeaderName) -> HttpResponse {
    let mut answer = HttpResponse::new(ResponseBody::empty());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(mark, HeaderValue::from_static("true"));
    answer
}

fn answered(answer_status: StatusCode, verdict: &Verdict) -> ExchangeSummary {
    ExchangeSummary {
        response_status: answer_status,
        upstream_status: None,
        upstream_time: Duration::ZERO,
        forward_error: None,
        is_stored: false,
        total: instant().saturating_duration_since(verdict.began),
    }
}

/// Sends the app the trace of the event, if there is one.
fn insert_trace(event: &mut Event, verdict: &Verdict) {
    if let Some(trace) = &verdict.trace {
        otlp::insert_trace_headers(event.headers_mut(), trace, TracePart::Stage("upstream"));
    }
}

/// Reports a rejection and creates its response.
fn refused(
    recorder: &TelemetryRecorder,
    generation: &Generation,
    verdict: &Verdict,
    reject: &Reject,
) -> HttpResponse {
    let status = reject.status();
    update_exchange(recorder, generation, verdict, &answered(status, verdict));
    let mut answer = problem::answer(status, verdict.request_id, reject.retry_after());
    // Some providers test an endpoint with a wrong signature and expect an empty 401.
    if status == StatusCode::UNAUTHORIZED && wants_empty(generation, verdict) {
        answer.headers_mut().remove(header::CONTENT_TYPE);
        answer = answer.map(|_| ResponseBody::empty());
    }
    answer
}

/// Returns whether the route's sender expects a 401 without a body.
fn wants_empty(generation: &Generation, verdict: &Verdict) -> bool {
    let rules = verdict
        .route_index
        .and_then(|index| generation.gate.rules(index));
    let provider = rules.and_then(|rules| rules.route().provider.as_ref());
    let challenge = provider.and_then(|provider| provider.challenge);
    challenge.is_some_and(ProviderChallenge::wants_empty_refusals)
}

fn update_exchange(
    recorder: &TelemetryRecorder,
    generation: &Generation,
    verdict: &Verdict,
    exchange: &ExchangeSummary,
) {
    let route = verdict.route_index;
    let route = route.and_then(|index| generation.routes.get(index));
    recorder.request(route.map(|route| &*route.counters), verdict, exchange);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::gate::dedup::{ClaimLimits, ClaimResult, ClaimTable, DedupKey, DedupKeys};

    fn ask(claims: &Arc<ClaimTable>) -> ClaimResult {
        claims.try_claim(DedupKeys {
            id: Some(DedupKey::of_id("evt_1")),
            ..DedupKeys::default()
        })
    }

    #[test]
    fn request_ids_are_unique() {
        let ids = RequestIds {
            seed: 7,
            count: AtomicU64::new(0),
        };
        let made: HashSet<_> = (0..10_000).map(|_| ids.make(1)).collect();
        assert_eq!(made.len(), 10_000);
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
