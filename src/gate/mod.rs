//! The gate: head + body -> `Event` or `Reject`. `Gate::admit` is the order of the checks, one after the other.
//!
//! Writes no log line, no counter and no answer but a challenge's; it returns a `Verdict` beside every admission, so no
//! path can skip it. `pipeline` calls it and does what it decided.

mod batch;
pub mod budget;
pub mod challenge;
pub mod condition;
pub mod dedup;
pub mod event;
pub mod filter;
mod framing;
pub mod identity;
mod key;
mod key_rule;
mod laps;
mod once;
mod peer;
pub mod rate_limit;
pub mod reject;
pub mod route;
pub mod rules;
mod schema;
pub mod signature;
mod spent;
mod tenant;
mod url_check;
pub mod verdict;
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
use crate::gate::budget::Share;
use crate::gate::dedup::{Asked, Claim};
use crate::gate::event::{Event, EventParts, Unverified};
use crate::gate::filter::Sieve;
use crate::gate::rate_limit::{SourceCharge, SourceLimiters};
use crate::gate::reject::Reject;
use crate::gate::route::{RouteIndex, RouteTable};
use crate::gate::rules::Rules;
use crate::gate::signature::{Pending, Signed};
use crate::gate::verdict::{Check, Decision, Verdict};
use crate::keys::{KeyCache, KeyFault};
use crate::model::clock::{Now, instant};
use crate::model::ids::RouteName;
use crate::model::source::SourceKey;
use crate::net::answer::Answer;
use crate::net::outgoing::EventMarks;
use crate::net::read_body::{BodyFault, BodyHead, BodyLimits, read_body};
use crate::scheme::{Head, SchemeError};

/// The rules of one generation.
pub struct Gate {
    table: RouteTable,
    rules: Vec<Rules>,
    source_limiters: Option<Arc<SourceLimiters>>,
    keys: Arc<KeyCache>,
    body_timeout: Duration,
}

/// All the ways in which the gate can end. `pipeline` matches it whole: a new way cannot be forgotten.
pub enum Admission {
    /// Passed; without a claim where the route has no dedup, or the event no key.
    Event(Event, Option<Claim>),
    /// Monitor mode only: a check failed, and the verdict says which.
    Unverified(Unverified),
    /// A challenge: answered here.
    Answered(Answer),
    /// The app has taken this event, with this status.
    Duplicate(StatusCode, Box<EventParts>),
    /// Genuine, but not one that the app gets.
    Filtered,
    /// Refused; with the request as far as it was read, where it had a route.
    Refused(Reject, Option<Box<EventParts>>),
}

/// How a request comes to the checks.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    /// The route that was chosen for it, wherever host and path lead.
    index: Option<RouteIndex>,
    /// Its share in the budget of its source; none for requests that have been judged before.
    share: Option<&'a Share>,
}

/// Why the checks ended early, and the request where it was read in whole.
struct Stop {
    reject: Reject,
    request: Option<Box<EventParts>>,
    /// Monitor mode: it is forwarded all the same.
    is_forwarded: bool,
}

impl From<Reject> for Stop {
    fn from(reject: Reject) -> Self {
        Self {
            reject,
            request: None,
            is_forwarded: false,
        }
    }
}

impl Gate {
    /// Joins the rules, which stand in the order of the table's indexes.
    #[must_use]
    pub fn new(
        table: RouteTable,
        rules: Vec<Rules>,
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

    /// A gate with the same rules that claims nothing and counts nothing, to judge a request that has been.
    ///
    /// # Errors
    /// As for [`Rules::compile`].
    pub fn bare(&self) -> Result<Self, SchemeError> {
        let rules: Result<Vec<Rules>, SchemeError> = self.rules.iter().map(Rules::bare).collect();
        Ok(Self {
            table: self.table.clone(),
            rules: rules?,
            source_limiters: None,
            keys: Arc::clone(&self.keys),
            body_timeout: self.body_timeout,
        })
    }

    /// The position of the route that a host and a path lead to.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<RouteIndex> {
        self.table.find(host, path)
    }

    /// The rules of every route, in the order of their positions.
    #[must_use]
    pub fn all_rules(&self) -> &[Rules] {
        &self.rules
    }

    /// The rules of a route.
    #[must_use]
    pub fn rules(&self, index: usize) -> Option<&Rules> {
        self.rules.get(index)
    }

    /// The index of a route.
    #[must_use]
    pub fn index_of(&self, route: &RouteName) -> Option<usize> {
        let mut all = self.rules.iter();
        all.position(|rules| rules.route.name == *route)
    }

    /// Runs the checks in the order of the table in README.md. Cheap ones come first; nothing that a stranger can
    /// grow is allocated before the signature. What is found is written into a fresh verdict.
    pub async fn admit<B>(&self, request: Request<B>, now: Now, verdict: &mut Verdict) -> Admission
    where
        B: Body<Data = Bytes>,
    {
        let arrival = Arrival {
            index: None,
            share: None,
        };
        self.admit_by(arrival, request, now, verdict).await
    }

    /// Runs the checks at the cost of the source's budget.
    pub async fn admit_within<B>(
        &self,
        share: &Share,
        request: Request<B>,
        now: Now,
        verdict: &mut Verdict,
    ) -> Admission
    where
        B: Body<Data = Bytes>,
    {
        let arrival = Arrival {
            index: None,
            share: Some(share),
        };
        self.admit_by(arrival, request, now, verdict).await
    }

    /// Runs the checks of the route at `index`, wherever host and path lead: for requests that have been.
    pub async fn admit_to<B>(
        &self,
        index: RouteIndex,
        request: Request<B>,
        now: Now,
        verdict: &mut Verdict,
    ) -> Admission
    where
        B: Body<Data = Bytes>,
    {
        let arrival = Arrival {
            index: Some(index),
            share: None,
        };
        self.admit_by(arrival, request, now, verdict).await
    }

    async fn admit_by<B>(
        &self,
        arrival: Arrival<'_>,
        request: Request<B>,
        now: Now,
        verdict: &mut Verdict,
    ) -> Admission
    where
        B: Body<Data = Bytes>,
    {
        let (parts, body) = request.into_parts();
        let mut held = Some(parts);
        let checked = self.checks(arrival, (&mut held, body), now, verdict).await;
        verdict.end();
        match checked {
            Ok(admission) => admission,
            Err(stop) => stopped(stop, held, verdict),
        }
    }

    /// Takes the head where it read the body to it; else it stays, for whoever looks into refusals.
    async fn checks<B>(
        &self,
        arrival: Arrival<'_>,
        (held, body): (&mut Option<Parts>, B),
        now: Now,
        verdict: &mut Verdict,
    ) -> Result<Admission, Stop>
    where
        B: Body<Data = Bytes>,
    {
        let parts = held.as_ref().ok_or(Reject::Internal)?;
        let rules = self.find_rules(arrival.index, parts, verdict)?;

        if let Some(asked) = rules.asked_in_head(parts, &now) {
            // Boxed, as all rare ways are, to keep the future of a request small.
            return Box::pin(self.asked_in_head(asked, rules, (held, body), verdict)).await;
        }
        verdict.begin(Check::Framing);
        let declared = framing::check(&rules.route, parts)?;

        verdict.begin(Check::SourceIp);
        let from_there = check_source_ip(rules, verdict);
        if !rules.is_monitored() {
            from_there.clone()?;
        }

        verdict.begin(Check::SourceRate);
        let charge = self.charge_source(verdict)?;

        verdict.begin(Check::Material);
        let failed_in_head = match &from_there {
            Ok(()) => Check::Material,
            Err(_) => Check::SourceIp,
        };
        let (own_names, named) = match rules.keys.own_names(&parts.headers) {
            Ok(own_names) => (own_names, Ok(())),
            Err(reject) => (None, Err(reject)),
        };
        let mut pending = from_there.and(named).and_then(|()| {
            let headers = own_names.as_deref().unwrap_or(&parts.headers);
            rules.keys.open(head(parts, headers), &now)
        });
        if let Err(reject) = &pending {
            if rules.may_be_asked_in_body(reject) {
                let reject = reject.clone();
                let asked = self.asked_in_body(reject, rules, (held, body), &now, verdict);
                return Box::pin(asked).await;
            }
            if !rules.is_monitored() {
                return Err(reject.clone().into());
            }
        }

        verdict.begin(Check::Body);
        let body_head = BodyHead {
            declared,
            version: parts.version,
        };
        let limits = BodyLimits {
            max: rules.route.max_body,
            timeout: self.body_timeout,
        };
        let read = read_body(body, body_head, limits, |chunk| {
            if let Ok(pending) = &mut pending {
                pending.update(chunk);
            }
            arrival.share.is_none_or(|share| share.hold(chunk.len()))
        });
        let body = read.await.map_err(|fault| body_reject(fault, limits.max))?;
        verdict.body_bytes = body.len() as u64;

        verdict.begin(Check::Signature);
        if pending.is_err() {
            // Monitor mode read on; what it tells is the check that failed.
            verdict.failed_at(failed_in_head);
        }
        let signed = self.verify(pending, &body, rules, arrival.share).await;
        let mut request = read_request(held, body, verdict)?;
        match signed {
            Ok(mut signed) => {
                if let Some(charge) = charge {
                    charge.refund();
                }
                if let Some(share) = arrival.share {
                    share.give_back();
                }
                request.plain = signed.plain.take().map(Bytes::from);
                request.own_names = own_names;
                verdict.secret = Some(Arc::clone(&signed.label));
                match rules.asked_and_signed(&request, &signed.label) {
                    Some(asked) => Box::pin(self.answer_signed(asked, verdict)).await,
                    None => after_signature(rules, request, &signed, verdict).await,
                }
            }
            Err(reject) => Err(Stop {
                reject,
                request: Some(request),
                is_forwarded: rules.is_monitored(),
            }),
        }
    }

    /// Compares, after the key is fetched where the request needs one.
    ///
    /// The source pays for the time that this takes, unless the signature is right. It pays before it waits for a key, so
    /// that nobody parses for free by hanging up.
    async fn verify(
        &self,
        pending: Result<Pending<'_>, Reject>,
        body: &Bytes,
        rules: &Rules,
        share: Option<&Share>,
    ) -> Result<Signed, Reject> {
        let began = instant();
        let charge = |since| {
            let work = instant().saturating_duration_since(since);
            share.map_or(Duration::ZERO, |share| share.charge(work, body.len()))
        };
        let mut pending = pending.inspect_err(|_| {
            charge(began);
        })?;
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
        let keys = keys.map_err(|fault| match fault {
            KeyFault::Unknown => Reject::MalformedMaterial {
                name: "the token's `kid`".into(),
                fault: "names none of the sender's keys",
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

    /// Charges the request to its source, which gets the charge back where the signature is right.
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
    ) -> Result<&Rules, Reject> {
        let (host, path) = (framing::host(parts), parts.uri.path());
        let found = index.or_else(|| self.table.find(host, path));
        let found = found.and_then(|index| Some((index, self.rules.get(index)?)));
        let (index, rules) = found.ok_or_else(|| Reject::no_route(host, path))?;
        verdict.route = Some(rules.route.name.clone());
        verdict.route_index = Some(index);
        verdict.provider = Some(Arc::clone(&rules.provider));
        Ok(rules)
    }
}

/// The new keys that one request makes the gate fetch, at the cost of its source.
struct KeyQuota<'a> {
    share: Option<&'a Share>,
    taken: u32,
    /// Where there was none: until there is one.
    wait: Duration,
}

impl<'a> KeyQuota<'a> {
    fn new(share: Option<&'a Share>) -> Self {
        Self {
            share,
            taken: 0,
            wait: Duration::ZERO,
        }
    }

    /// Takes one fetch; false where the source has none left.
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

/// In monitor mode what was read goes on as `Unverified`; a request that could not be read, or that the gate refuses to
/// protect itself, does not.
fn stopped(stop: Stop, mut head: Option<Parts>, verdict: &mut Verdict) -> Admission {
    let request = match stop.request {
        Some(request) if stop.is_forwarded => request,
        read => {
            let head_only = || read_request(&mut head, Bytes::new(), verdict).ok();
            let request = read.or_else(head_only);
            let request = request.filter(|_| verdict.route.is_some());
            verdict.decision = Decision::Refused(stop.reject.clone());
            return Admission::Refused(stop.reject, request);
        }
    };
    verdict.decision = Decision::Monitored(stop.reject);
    // Nobody vouches for what an unverified request says of itself.
    (verdict.event_id, verdict.event_type) = (None, None);
    verdict.event_version = None;
    Admission::Unverified(Unverified { parts: request })
}

fn head<'p>(parts: &'p Parts, headers: &'p HeaderMap) -> Head<'p> {
    Head {
        method: &parts.method,
        uri: &parts.uri,
        headers,
    }
}

fn check_source_ip(rules: &Rules, verdict: &Verdict) -> Result<(), Reject> {
    let ip = verdict.source.ip;
    match rules.allows(&ip) {
        true => Ok(()),
        false => Err(Reject::SourceNotAllowed { ip }),
    }
}

/// The checks of what is now known to be genuine.
async fn after_signature(
    rules: &Rules,
    request: Box<EventParts>,
    signed: &Signed,
    verdict: &mut Verdict,
) -> Result<Admission, Stop> {
    match claim(rules, &request, &signed.digest, verdict).await {
        Ok(Claimed::New(claim)) => {
            verdict.is_replay = claim.as_ref().is_some_and(Claim::is_replay);
            let event = identified(request, signed, verdict);
            Ok(Admission::Event(event, claim))
        }
        Ok(Claimed::Duplicate(_)) if rules.forwards_duplicates(verdict.event_type.as_deref()) => {
            // Its sender does what the response says, so it gets the app's own each time.
            verdict.is_copy = true;
            let event = identified(request, signed, verdict);
            Ok(Admission::Event(event, None))
        }
        Ok(Claimed::Duplicate(status)) if rules.is_monitored() => {
            // Monitor mode changes nothing for the app, which got every copy before.
            verdict.decision = Decision::Monitored(Reject::Duplicate { status });
            let event = identified(request, signed, verdict);
            Ok(Admission::Event(event, None))
        }
        Ok(Claimed::Duplicate(status)) => {
            verdict.decision = Decision::Duplicate;
            Ok(Admission::Duplicate(status, request))
        }
        Ok(Claimed::Filtered(by)) if rules.is_monitored() => {
            verdict.decision = Decision::Monitored(Reject::Filtered { by });
            let event = identified(request, signed, verdict);
            Ok(Admission::Event(event, None))
        }
        Ok(Claimed::Filtered(by)) => {
            verdict.decision = Decision::Filtered(by);
            Ok(Admission::Filtered)
        }
        Err(reject) => Err(Stop {
            reject,
            request: Some(request),
            is_forwarded: rules.is_monitored(),
        }),
    }
}

enum Claimed {
    New(Option<Claim>),
    Duplicate(StatusCode),
    Filtered(Sieve),
}

async fn claim(
    rules: &Rules,
    request: &EventParts,
    digest: &[u8; 32],
    verdict: &mut Verdict,
) -> Result<Claimed, Reject> {
    verdict.begin(Check::Identity);
    let identity = rules.identity.read(&request.head(), request.text())?;
    rules.check_tenant(&identity.tenants)?;
    verdict.event_id = identity.event_id;
    verdict.event_type = identity.event_type;
    verdict.event_version = identity.version;
    verdict.types = identity.types;

    if let Some(by) = check_content(rules, request, verdict)? {
        return Ok(Claimed::Filtered(by));
    }

    verdict.begin(Check::RouteRate);
    if let Some(limiter) = &rules.limiter {
        let checked = limiter.check();
        checked.map_err(|retry_after| Reject::RouteRate { retry_after })?;
    }

    verdict.begin(Check::Dedup);
    let Some(rule) = &rules.key else {
        return Ok(Claimed::New(None));
    };
    let keys = rule.keys(&identity.key, request, digest)?;
    let named = keys.unwrap_or_default();
    verdict.dedup_key = named.id.or(named.body);
    verdict.dedup_by = verdict.dedup_key.map(|_| rule.words(&named));
    verdict.watched_key = named.watched;
    let (Some(claims), Some(keys)) = (&rules.claims, keys) else {
        return Ok(Claimed::New(None));
    };
    let told = match claims.ask(keys) {
        // It may yet fail, and then this one is wanted.
        Asked::Claimed(claim) if claim.is_beside() && rule.replay == ReplayRule::Block => {
            return Err(Reject::InFlight);
        }
        // Dropped, which gives back what it holds.
        Asked::Claimed(claim) if claim.is_replay() && rule.replay == ReplayRule::Block => {
            return Err(Reject::Replayed);
        }
        Asked::Claimed(claim) => return Ok(Claimed::New(Some(claim))),
        Asked::Spent(status) => return Ok(Claimed::Duplicate(status)),
        Asked::InFlight(told) => told,
    };
    let began = instant();
    let upstream = rules.route.upstream.as_ref();
    let patience = upstream.map_or(dedup::MAX_WAIT, |upstream| upstream.timeout);
    let patience = patience.min(dedup::MAX_WAIT);
    let outcome = tokio::time::timeout(patience, told).await;
    verdict.wait_time = instant().saturating_duration_since(began);
    match outcome {
        Ok(Ok(status)) if status.is_success() => Ok(Claimed::Duplicate(status)),
        Ok(Ok(status)) => Err(Reject::FirstFailed { status }),
        Ok(Err(_)) | Err(_) => Err(Reject::InFlight),
    }
}

/// Runs the checks that look into the event. They share its parsed body, which is dropped before the dedup check may wait.
fn check_content(
    rules: &Rules,
    request: &EventParts,
    verdict: &mut Verdict,
) -> Result<Option<Sieve>, Reject> {
    verdict.begin(Check::Filter);
    if let Some(by) = rules.filter.find(verdict)? {
        return Ok(Some(by));
    }
    let body = JsonBody::new(request.text());
    if !rules.condition.holds(request, verdict, &body)? {
        return Ok(Some(Sieve::When));
    }
    verdict.begin(Check::Schema);
    rules.schemas.check(verdict, &body)?;
    Ok(None)
}

/// What was read, with nothing yet that the gate vouches for.
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

/// A request that passed every check, under the id and the type that were read from it.
fn identified(mut parts: Box<EventParts>, signed: &Signed, verdict: &Verdict) -> Event {
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
