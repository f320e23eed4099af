//! The gate: checks one request in a fixed order and returns an event or a reject.
//!
//! `Gate::admit` is that order. The gate writes no logs and no counters, and it sends no response except one to a URL
//! check. It fills in a `Verdict` beside every admission, so that no code path can skip it. `pipeline` calls the gate
//! and carries out its decision.

mod batch;
pub(crate) mod budget;
pub(crate) mod challenge;
mod check_timings;
pub(crate) mod condition;
pub(crate) mod dedup;
pub(crate) mod event;
pub(crate) mod filter;
mod framing;
pub(crate) mod identity;
mod key;
mod key_rule;
pub(crate) mod rate_limit;
pub(crate) mod reject;
pub(crate) mod route;
pub(crate) mod rules;
mod schema;
pub(crate) mod signature;
mod single_values;
mod socket_peer;
mod spent_ids;
mod tenant;
mod url_check;
pub(crate) mod verdict;
mod walk;

#[cfg(test)]
mod vector_tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode};
use http_body::Body;

use crate::config::model::ReplayRule;
use crate::criteria::body::JsonBody;
use crate::gate::budget::BudgetShare;
use crate::gate::dedup::{Claim, ClaimResult};
use crate::gate::event::{Event, EventParts, UnverifiedRequest};
use crate::gate::filter::FilterKind;
use crate::gate::rate_limit::{SourceCharge, SourceLimiters};
use crate::gate::reject::Reject;
use crate::gate::route::{RouteIndex, RouteTable};
use crate::gate::rules::RouteRules;
use crate::gate::signature::{PendingVerification, VerifiedSignature};
use crate::gate::verdict::{GateCheck, GateDecision, Verdict};
use crate::keys::{KeyCache, KeyFault};
use crate::model::clock::{ClockReading, instant};
use crate::model::ids::RouteName;
use crate::model::source::SourceKey;
use crate::net::event_headers::EventMarks;
use crate::net::read_body::{BodyFault, BodyHead, BodyLimits, read_body};
use crate::net::response::HttpResponse;
use crate::scheme::{RequestHead, SchemeError};

/// The compiled rules of one configuration snapshot.
pub(crate) struct Gate {
    table: RouteTable,
    rules: Vec<RouteRules>,
    source_limiters: Option<Arc<SourceLimiters>>,
    keys: Arc<KeyCache>,
    body_timeout: Duration,
}

/// The result of the gate. `pipeline` matches it exhaustively, so that a new variant cannot be forgotten.
pub(crate) enum GateAdmission {
    /// An event that passed every check; without a claim where the route has no dedup or the event has no dedup key.
    Event(Event, Option<Claim>),
    /// A request that failed a check in monitor mode; the verdict names the check.
    Unverified(UnverifiedRequest),
    /// A URL check of the provider, with the response that the gate sends.
    Answered(HttpResponse),
    /// A duplicate of an event that the app accepted with this status.
    Duplicate(StatusCode, Box<EventParts>),
    /// A genuine event that the route's filter excludes.
    Filtered,
    /// A rejected request, with the parts that were read if it had a route.
    Refused(Reject, Option<Box<EventParts>>),
}

/// The origin of a request: a connection, or a replay for `explain`.
#[derive(Clone, Copy)]
struct RequestArrival<'a> {
    /// The route to check against, whatever route host and path lead to.
    index: Option<RouteIndex>,
    /// The request's share in the budget of its source; `None` for a request that is checked again.
    share: Option<&'a BudgetShare>,
}

/// An early end of the checks, with the request if it was read whole.
struct CheckFailure {
    reject: Reject,
    request: Option<Box<EventParts>>,
    /// True in monitor mode: the request is forwarded although a check failed.
    is_forwarded: bool,
}

impl From<Reject> for CheckFailure {
    fn from(reject: Reject) -> Self {
        Self {
            reject,
            request: None,
            is_forwarded: false,
        }
    }
}

impl Gate {
    /// Creates a gate. The rules must be in the order of the table's indexes.
    pub(crate) fn new(
        table: RouteTable,
        rules: Vec<RouteRules>,
        source_limiters: Option<Arc<SourceLimiters>>,
        keys: Arc<KeyCache>,
        body_timeout: Duration,
    ) -> Self {
        Self {
            table,
            rules,
            source_limiters,
            keys,
            body_timeout,
        }
    }

    /// Returns a gate with the same rules that claims and counts nothing, to check an earlier request again.
    pub(crate) fn bare(&self) -> Result<Self, SchemeError> {
        let rules: Result<Vec<RouteRules>, SchemeError> =
            self.rules.iter().map(RouteRules::bare).collect();
        Ok(Self {
            table: self.table.clone(),
            rules: rules?,
            source_limiters: None,
            keys: Arc::clone(&self.keys),
            body_timeout: self.body_timeout,
        })
    }

    /// Returns the index of the route that a host and a path lead to.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<RouteIndex> {
        self.table.find(host, path)
    }

    /// Returns the rules of every route, by route index.
    pub(crate) fn all_rules(&self) -> &[RouteRules] {
        &self.rules
    }

    /// Returns the rules of the route at an index.
    pub(crate) fn rules(&self, index: usize) -> Option<&RouteRules> {
        self.rules.get(index)
    }

    pub(crate) fn index_of(&self, route: &RouteName) -> Option<usize> {
        let mut all = self.rules.iter();
        all.position(|rules| rules.route.name == *route)
    }

    /// Runs the checks in the order of the table in README.md, and charges the budget of the source for an unverified
    /// request.
    ///
    /// Cheap checks come first, and nothing whose size the client controls is allocated before the signature, except
    /// the body itself up to its limits. Fills in `verdict`, which must be fresh.
    pub(crate) async fn admit_within<B>(
        &self,
        share: &BudgetShare,
        request: Request<B>,
        now: ClockReading,
        verdict: &mut Verdict,
    ) -> GateAdmission
    where
        B: Body<Data = Bytes>,
    {
        let arrival = RequestArrival {
            index: None,
            share: Some(share),
        };
        self.admit_by(arrival, request, now, verdict).await
    }

    /// Runs the checks of the route at `index`, whatever route host and path lead to. Used for requests that are
    /// checked again.
    pub(crate) async fn admit_to<B>(
        &self,
        index: RouteIndex,
        request: Request<B>,
        now: ClockReading,
        verdict: &mut Verdict,
    ) -> GateAdmission
    where
        B: Body<Data = Bytes>,
    {
        let arrival = RequestArrival {
            index: Some(index),
            share: None,
        };
        self.admit_by(arrival, request, now, verdict).await
    }

    async fn admit_by<B>(
        &self,
        arrival: RequestArrival<'_>,
        request: Request<B>,
        now: ClockReading,
        verdict: &mut Verdict,
    ) -> GateAdmission
    where
        B: Body<Data = Bytes>,
    {
        let (parts, body) = request.into_parts();
        // Owned here and not by the checks, so that a reject can report the head after they have ended.
        let mut held = Some(parts);
        let checked = self.checks(arrival, (&mut held, body), now, verdict).await;
        verdict.end();
        match checked {
            Ok(admission) => admission,
            Err(stop) => stopped(stop, held, verdict),
        }
    }

    /// Runs the checks. Takes the head out of `held` once the body is read; until then it remains there, so that a
    /// reject can still report the request.
    async fn checks<B>(
        &self,
        arrival: RequestArrival<'_>,
        (held, body): (&mut Option<Parts>, B),
        now: ClockReading,
        verdict: &mut Verdict,
    ) -> Result<GateAdmission, CheckFailure>
    where
        B: Body<Data = Bytes>,
    {
        let parts = held.as_ref().ok_or(Reject::Internal)?;
        let rules = self.find_rules(arrival.index, parts, verdict)?;

        if let Some(asked) = rules.find_in_head(parts, &now) {
            // Boxed, like all rare branches, to keep the future of an ordinary request small.
            return Box::pin(self.find_in_head(asked, rules, (held, body), verdict)).await;
        }
        verdict.begin(GateCheck::Framing);
        let declared = framing::check(&rules.route, parts)?;

        verdict.begin(GateCheck::SourceIp);
        // Monitor mode goes on after a failed check, since it forwards the request with its body.
        let from_there = check_source_ip(rules, verdict);
        if !rules.is_monitored() {
            from_there.clone()?;
        }

        verdict.begin(GateCheck::SourceRate);
        // Also in monitor mode: this limit protects the gate itself, so it is never only reported.
        let charge = self.charge_source(verdict)?;

        verdict.begin(GateCheck::Material);
        let failed_in_head = match &from_there {
            Ok(()) => GateCheck::Material,
            Err(_) => GateCheck::SourceIp,
        };
        let (own_names, named) = match rules.keys.own_names(&parts.headers) {
            Ok(own_names) => (own_names, Ok(())),
            Err(reject) => (None, Err(reject)),
        };
        // The head is checked before any byte of the body is read, so that forged requests cost little.
        let mut pending = from_there.and(named).and_then(|()| {
            let headers = own_names.as_deref().unwrap_or(&parts.headers);
            rules.keys.open(head(parts, headers), &now)
        });
        if let Err(reject) = &pending {
            // Some providers send URL checks without a signature, which only the body shows.
            if rules.may_be_in_body(reject) {
                let reject = reject.clone();
                let asked = self.find_in_body(reject, rules, (held, body), &now, verdict);
                return Box::pin(asked).await;
            }
            if !rules.is_monitored() {
                return Err(reject.clone().into());
            }
        }

        verdict.begin(GateCheck::Body);
        let body_head = BodyHead {
            declared,
            version: parts.version,
        };
        let limits = BodyLimits {
            max: rules.route.max_body,
            timeout: self.body_timeout,
        };
        // The MAC is computed while the body arrives, so that the body is hashed while the gate waits for the next
        // bytes.
        let read = read_body(body, body_head, limits, |chunk| {
            if let Ok(pending) = &mut pending {
                pending.update(chunk);
            }
            // Stops reading once the source has too many unverified bytes in memory.
            arrival.share.is_none_or(|share| share.hold(chunk.len()))
        });
        let body = read.await.map_err(|fault| body_reject(fault, limits.max))?;
        verdict.body_bytes = body.len() as u64;

        verdict.begin(GateCheck::Signature);
        if pending.is_err() {
            // Monitor mode read on. The verdict reports the check that failed first.
            verdict.failed_at(failed_in_head);
        }
        let signed = self.verify(pending, &body, rules, arrival.share).await;
        let mut request = read_request(held, body, verdict)?;
        match signed {
            Ok(mut signed) => {
                // Verified: the source gets back what the request was charged, so that genuine bursts cost it nothing.
                if let Some(charge) = charge {
                    charge.refund();
                }
                if let Some(share) = arrival.share {
                    share.give_back();
                }
                request.plain = signed.plain.take().map(Bytes::from);
                request.own_names = own_names;
                verdict.secret = Some(Arc::clone(&signed.label));
                // A signed URL check ends here: it has no identity, and dedup must not claim it.
                match rules.find_signed(&request, &signed.label) {
                    Some(asked) => Box::pin(self.answer_signed(asked, verdict)).await,
                    None => after_signature(rules, request, &signed, verdict).await,
                }
            }
            Err(reject) => Err(CheckFailure {
                reject,
                request: Some(request),
                is_forwarded: rules.is_monitored(),
            }),
        }
    }

    /// Compares the signature, after fetching the key where the scheme needs one.
    ///
    /// The source pays for the processor time of this, unless the signature is right. It pays before the gate waits for
    /// a key: otherwise a client could make the gate parse for free by closing the connection.
    async fn verify(
        &self,
        pending: Result<PendingVerification<'_>, Reject>,
        body: &Bytes,
        rules: &RouteRules,
        share: Option<&BudgetShare>,
    ) -> Result<VerifiedSignature, Reject> {
        let began = instant();
        let charge = |since| {
            let work = instant().saturating_duration_since(since);
            share.map_or(Duration::ZERO, |share| share.charge(work, body.len()))
        };
        let mut pending = pending.inspect_err(|_| {
            charge(began);
        })?;
        // Schemes with tokens parse the body here, so this counts as work too.
        let need = pending.need(body).inspect_err(|_| {
            charge(began);
        })?;
        let Some(need) = need else {
            let signed = pending.finish(body, None);
            return signed.inspect_err(|_| {
                charge(began);
            });
        };
        let paid = charge(began);
        let mut quota = KeyQuota::new(share);
        let finding = self.keys.find(&need, &rules.route.name, || quota.take());
        let keys = Box::pin(finding).await;
        // An unknown key name is the request's fault, an unreachable key source is not: only the latter gets a 503, so
        // that the sender retries.
        let keys = keys.map_err(|fault| match fault {
            KeyFault::Unknown => Reject::MalformedMaterial {
                name: "the token's `kid`".into(),
                fault: "matches no key of the sender",
            },
            KeyFault::Unavailable(fault) => Reject::KeyUnavailable { fault },
            KeyFault::Spent => Reject::SourceBudget {
                retry_after: quota.wait,
            },
        })?;
        let began = instant();
        let signed = pending.finish(body, Some(&keys));
        match &signed {
            Ok(_) => {
                quota.give_back();
                if let Some(share) = share {
                    share.forgive(paid);
                }
            }
            Err(_) => {
                charge(began);
            }
        }
        signed
    }

    /// Charges the request to its source's rate; the charge is refunded if the signature is right.
    fn charge_source(&self, verdict: &Verdict) -> Result<Option<SourceCharge>, Reject> {
        let Some(limiters) = &self.source_limiters else {
            return Ok(None);
        };
        let charged = limiters.charge(SourceKey::of(verdict.source.ip));
        match charged {
            Ok(charge) => Ok(Some(charge)),
            Err(retry_after) => Err(Reject::SourceRate { retry_after }),
        }
    }

    fn find_rules(
        &self,
        index: Option<RouteIndex>,
        parts: &Parts,
        verdict: &mut Verdict,
    ) -> Result<&RouteRules, Reject> {
        let (host, path) = (framing::host(parts), parts.uri.path());
        let found = index.or_else(|| self.table.find(host, path));
        let found = found.and_then(|index| Some((index, self.rules.get(index)?)));
        let (index, rules) = found.ok_or_else(|| Reject::no_route(host, path))?;
        // Recorded before the other checks, so that every later reject names its route.
        verdict.route = Some(rules.route.name.clone());
        verdict.route_index = Some(index);
        verdict.provider = Some(Arc::clone(&rules.provider));
        Ok(rules)
    }
}

/// Counts the keys that one request makes the gate fetch, at the cost of its source.
struct KeyQuota<'a> {
    share: Option<&'a BudgetShare>,
    taken: u32,
    /// Time until the next fetch is allowed, set when a fetch was denied.
    wait: Duration,
}

impl<'a> KeyQuota<'a> {
    fn new(share: Option<&'a BudgetShare>) -> Self {
        Self {
            share,
            taken: 0,
            wait: Duration::ZERO,
        }
    }

    /// Takes one fetch. Returns false where the source has used up its fetches.
    fn take(&mut self) -> bool {
        let Some(share) = self.share else {
            return true;
        };
        match share.take_key() {
            Ok(()) => {
                self.taken += 1;
                true
            }
            Err(wait) => {
                self.wait = wait;
                false
            }
        }
    }

    fn give_back(&self) {
        for _ in 0..self.taken {
            if let Some(share) = self.share {
                share.forgive_key();
            }
        }
    }
}

/// Turns an early end into an admission.
///
/// Monitor mode forwards a request that was read whole as `UnverifiedRequest`. It does not forward a request that could not be
/// read, or that the gate rejects to protect itself.
fn stopped(stop: CheckFailure, mut head: Option<Parts>, verdict: &mut Verdict) -> GateAdmission {
    let request = match stop.request {
        Some(request) if stop.is_forwarded => request,
        read => {
            // The head is still there if the body was not read: the reject is reported without a body.
            let head_only = || read_request(&mut head, Bytes::new(), verdict).ok();
            let request = read.or_else(head_only);
            let request = request.filter(|_| verdict.route.is_some());
            verdict.decision = GateDecision::Refused(stop.reject.clone());
            return GateAdmission::Refused(stop.reject, request);
        }
    };
    verdict.decision = GateDecision::Monitored(stop.reject);
    // The claims of an unverified request about itself must not appear as facts in the log.
    (verdict.event_id, verdict.event_type) = (None, None);
    verdict.event_version = None;
    GateAdmission::Unverified(UnverifiedRequest { parts: request })
}

fn head<'p>(parts: &'p Parts, headers: &'p HeaderMap) -> RequestHead<'p> {
    RequestHead {
        method: &parts.method,
        uri: &parts.uri,
        headers,
    }
}

fn check_source_ip(rules: &RouteRules, verdict: &Verdict) -> Result<(), Reject> {
    let ip = verdict.source.ip;
    match rules.allows(&ip) {
        true => Ok(()),
        false => Err(Reject::SourceNotAllowed { ip }),
    }
}

/// Runs the checks that need a verified request.
async fn after_signature(
    rules: &RouteRules,
    request: Box<EventParts>,
    signed: &VerifiedSignature,
    verdict: &mut Verdict,
) -> Result<GateAdmission, CheckFailure> {
    match claim(rules, &request, &signed.digest, verdict).await {
        Ok(ClaimDecision::New(claim)) => {
            verdict.is_replay = claim.as_ref().is_some_and(Claim::is_replay);
            let event = identified(request, signed, verdict);
            Ok(GateAdmission::Event(event, claim))
        }
        Ok(ClaimDecision::Duplicate(_))
            if rules.forwards_duplicates(verdict.event_type.as_deref()) =>
        {
            // The sender acts on the response, so each copy gets the app's own response.
            verdict.is_copy = true;
            let event = identified(request, signed, verdict);
            Ok(GateAdmission::Event(event, None))
        }
        Ok(ClaimDecision::Duplicate(status)) if rules.is_monitored() => {
            // Monitor mode changes nothing for the app, which received every copy before hookgate was there.
            verdict.decision = GateDecision::Monitored(Reject::Duplicate { status });
            let event = identified(request, signed, verdict);
            Ok(GateAdmission::Event(event, None))
        }
        Ok(ClaimDecision::Duplicate(status)) => {
            verdict.decision = GateDecision::Duplicate;
            Ok(GateAdmission::Duplicate(status, request))
        }
        Ok(ClaimDecision::Filtered(by)) if rules.is_monitored() => {
            verdict.decision = GateDecision::Monitored(Reject::Filtered { by });
            let event = identified(request, signed, verdict);
            Ok(GateAdmission::Event(event, None))
        }
        Ok(ClaimDecision::Filtered(by)) => {
            verdict.decision = GateDecision::Filtered(by);
            Ok(GateAdmission::Filtered)
        }
        Err(reject) => Err(CheckFailure {
            reject,
            request: Some(request),
            is_forwarded: rules.is_monitored(),
        }),
    }
}

enum ClaimDecision {
    New(Option<Claim>),
    Duplicate(StatusCode),
    Filtered(FilterKind),
}

async fn claim(
    rules: &RouteRules,
    request: &EventParts,
    digest: &[u8; 32],
    verdict: &mut Verdict,
) -> Result<ClaimDecision, Reject> {
    verdict.begin(GateCheck::Identity);
    // Rejects repeated names first: a repeated header could give the app another identity than the one read here.
    let identity = rules.identity.read(&request.head(), request.text())?;
    // Before id and type are recorded: an event of another customer is not this route's.
    rules.check_tenant(&identity.tenants)?;
    verdict.event_id = identity.event_id;
    verdict.event_type = identity.event_type;
    verdict.event_version = identity.version;
    verdict.types = identity.types;

    // Before rate and dedup, so that an excluded event uses up no rate and spends no id.
    if let Some(by) = check_content(rules, request, verdict)? {
        return Ok(ClaimDecision::Filtered(by));
    }

    verdict.begin(GateCheck::RouteRate);
    if let Some(limiter) = &rules.limiter {
        let checked = limiter.check();
        checked.map_err(|retry_after| Reject::RouteRate { retry_after })?;
    }

    verdict.begin(GateCheck::Dedup);
    let Some(rule) = &rules.key else {
        return Ok(ClaimDecision::New(None));
    };
    let keys = rule.keys(&identity.key, request, digest)?;
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

/// Runs the checks that read the event. They share its parsed body, which is dropped before the dedup check may wait.
fn check_content(
    rules: &RouteRules,
    request: &EventParts,
    verdict: &mut Verdict,
) -> Result<Option<FilterKind>, Reject> {
    verdict.begin(GateCheck::Filter);
    if let Some(by) = rules.filter.find(verdict)? {
        return Ok(Some(by));
    }
    let body = JsonBody::new(request.text());
    if !rules.condition.holds(request, verdict, &body)? {
        return Ok(Some(FilterKind::When));
    }
    verdict.begin(GateCheck::Schema);
    rules.schemas.check(verdict, &body)?;
    Ok(None)
}

/// Builds the parts of a request from its head and body. Identity, digest and marks are still empty: nothing is
/// verified yet.
fn read_request(
    head: &mut Option<Parts>,
    body: Bytes,
    verdict: &Verdict,
) -> Result<Box<EventParts>, Reject> {
    let parts = head.take().ok_or(Reject::Internal)?;
    Ok(Box::new(EventParts {
        route: verdict.route_index.unwrap_or_default(),
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        body,
        plain: None,
        own_names: None,
        source: verdict.source,
        event_id: None,
        event_type: None,
        digest: [0; 32],
        marks: EventMarks::default(),
    }))
}

/// Turns a request that passed every check into an event, with the id and type that were read from it.
fn identified(mut parts: Box<EventParts>, signed: &VerifiedSignature, verdict: &Verdict) -> Event {
    parts.digest = signed.digest;
    parts.marks = EventMarks {
        is_copy: verdict.is_copy,
        is_replay: verdict.is_replay,
    };
    parts.event_id.clone_from(&verdict.event_id);
    parts.event_type.clone_from(&verdict.event_type);
    Event { parts }
}

fn body_reject(fault: BodyFault, limit: usize) -> Reject {
    match fault {
        BodyFault::TooLarge => Reject::BodyTooLarge { limit },
        BodyFault::Timeout | BodyFault::TooSlow => Reject::BodyTimeout,
        BodyFault::Aborted => Reject::BodyAborted,
        BodyFault::NoRoom => Reject::SourceBudget {
            retry_after: budget::SHARE_DELAY,
        },
    }
}
