//! The gate: checks one request in a fixed order and returns an event or a reject.
//!
//! `Gate::admit` is that order. The gate writes no logs and no counters, and it sends no response except one to a URL
//! check. It fills in a `Verdict` beside every admission, so that no code path can skip it. `pipeline` calls the gate
//! and carries out its decision.

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

/// The compiled rules of one configuration snapshot.
pub struct Gate {
    table: RouteTable,
    rules: Vec<Rules>,
    source_limiters: Option<Arc<SourceLimiters>>,
    keys: Arc<KeyCache>,
    body_timeout: Duration,
}

/// The result of the gate. `pipeline` matches it exhaustively, so that a new variant cannot be forgotten.
pub enum Admission {
    /// An event that passed every check; without a claim where the route has no dedup or the event has no dedup key.
    Event(Event, Option<Claim>),
    /// A request that failed a check in monitor mode; the verdict names the check.
    Unverified(Unverified),
    /// A URL check of the provider, with the response that the gate sends.
    Answered(Answer),
    /// A duplicate of an event that the app accepted with this status.
    Duplicate(StatusCode, Box<EventParts>),
    /// A genuine event that the route's filter excludes.
    Filtered,
    /// A rejected request, with the parts that were read if it had a route.
    Refused(Reject, Option<Box<EventParts>>),
}

/// The origin of a request: a connection, or a replay for `explain`.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    /// The route to check against, whatever route host and path lead to.
    index: Option<RouteIndex>,
    /// The request's share in the budget of its source; `None` for a request that is checked again.
    share: Option<&'a Share>,
}

/// An early end of the checks, with the request if it was read whole.
struct Stop {
    reject: Reject,
    request: Option<Box<EventParts>>,
    /// True in monitor mode: the request is forwarded although a check failed.
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
    /// Creates a gate. The rules must be in the order of the table's indexes.
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

    /// Returns a gate with the same rules that claims and counts nothing, to check an earlier request again.
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

    /// Returns the index of the route that a host and a path lead to.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<RouteIndex> {
        self.table.find(host, path)
    }

    /// Returns the rules of every route, by route index.
    #[must_use]
    pub fn all_rules(&self) -> &[Rules] {
        &self.rules
    }

    /// Returns the rules of the route at an index.
    #[must_use]
    pub fn rules(&self, index: usize) -> Option<&Rules> {
        self.rules.get(index)
    }

    /// Returns the index of the route with this name.
    #[must_use]
    pub fn index_of(&self, route: &RouteName) -> Option<usize> {
        let mut all = self.rules.iter();
        all.position(|rules| rules.route.name == *route)
    }

    /// Runs the checks in the order of the table in README.md.
    ///
    /// Cheap checks come first, and nothing whose size the client controls is allocated before the signature, except
    /// the body itself up to its limits. Fills in `verdict`, which must be fresh.
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

    /// Runs the checks and charges the budget of the source for an unverified request.
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

    /// Runs the checks of the route at `index`, whatever route host and path lead to. Used for requests that are
    /// checked again.
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
            // Boxed, like all rare branches, to keep the future of an ordinary request small.
            return Box::pin(self.asked_in_head(asked, rules, (held, body), verdict)).await;
        }
        verdict.begin(Check::Framing);
        let declared = framing::check(&rules.route, parts)?;

        verdict.begin(Check::SourceIp);
        // Monitor mode goes on after a failed check, since it forwards the request with its body.
        let from_there = check_source_ip(rules, verdict);
        if !rules.is_monitored() {
            from_there.clone()?;
        }

        verdict.begin(Check::SourceRate);
        // Also in monitor mode: this limit protects the gate itself, so it is never only reported.
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
        // The head is checked before any byte of the body is read, so that forged requests cost little.
        let mut pending = from_there.and(named).and_then(|()| {
            let headers = own_names.as_deref().unwrap_or(&parts.headers);
            rules.keys.open(head(parts, headers), &now)
        });
        if let Err(reject) = &pending {
            // Some providers send URL checks without a signature, which only the body shows.
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

        verdict.begin(Check::Signature);
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

    /// Compares the signature, after fetching the key where the scheme needs one.
    ///
    /// The source pays for the processor time of this, unless the signature is right. It pays before the gate waits for
    /// a key: otherwise a client could make the gate parse for free by closing the connection.
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
    ) -> Result<&Rules, Reject> {
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
    share: Option<&'a Share>,
    taken: u32,
    /// Time until the next fetch is allowed, set when a fetch was denied.
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
/// Monitor mode forwards a request that was read whole as `Unverified`. It does not forward a request that could not be
/// read, or that the gate rejects to protect itself.
fn stopped(stop: Stop, mut head: Option<Parts>, verdict: &mut Verdict) -> Admission {
    let request = match stop.request {
        Some(request) if stop.is_forwarded => request,
        read => {
            // The head is still there if the body was not read: the reject is reported without a body.
            let head_only = || read_request(&mut head, Bytes::new(), verdict).ok();
            let request = read.or_else(head_only);
            let request = request.filter(|_| verdict.route.is_some());
            verdict.decision = Decision::Refused(stop.reject.clone());
            return Admission::Refused(stop.reject, request);
        }
    };
    verdict.decision = Decision::Monitored(stop.reject);
    // The claims of an unverified request about itself must not appear as facts in the log.
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

/// Runs the checks that need a verified request.
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
            // The sender acts on the response, so each copy gets the app's own response.
            verdict.is_copy = true;
            let event = identified(request, signed, verdict);
            Ok(Admission::Event(event, None))
        }
        Ok(Claimed::Duplicate(status)) if rules.is_monitored() => {
            // Monitor mode changes nothing for the app, which received every copy before hookgate was there.
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
    // Recorded also without claims, so that a check of an earlier request shows its key.
    verdict.dedup_key = named.id.or(named.body);
    verdict.dedup_by = verdict.dedup_key.map(|_| rule.words(&named));
    verdict.watched_key = named.watched;
    let (Some(claims), Some(keys)) = (&rules.claims, keys) else {
        return Ok(Claimed::New(None));
    };
    let told = match claims.ask(keys) {
        // The copy in flight may still fail, and then this one is needed.
        Asked::Claimed(claim) if claim.is_beside() && rule.replay == ReplayRule::Block => {
            return Err(Reject::InFlight);
        }
        // The claim is dropped here, which releases its keys.
        Asked::Claimed(claim) if claim.is_replay() && rule.replay == ReplayRule::Block => {
            return Err(Reject::Replayed);
        }
        Asked::Claimed(claim) => return Ok(Claimed::New(Some(claim))),
        Asked::Spent(status) => return Ok(Claimed::Duplicate(status)),
        Asked::InFlight(told) => told,
    };
    let began = instant();
    // The first copy ends within the upstream's timeout, so a longer wait is pointless. `MAX_WAIT` is for senders,
    // which close the connection sooner than a slow app responds.
    let upstream = rules.route.upstream.as_ref();
    let patience = upstream.map_or(dedup::MAX_WAIT, |upstream| upstream.timeout);
    let patience = patience.min(dedup::MAX_WAIT);
    let outcome = tokio::time::timeout(patience, told).await;
    verdict.wait_time = instant().saturating_duration_since(began);
    match outcome {
        // The waiting copy gets the first one's status, so that the sender learns what became of its event.
        Ok(Ok(status)) if status.is_success() => Ok(Claimed::Duplicate(status)),
        Ok(Ok(status)) => Err(Reject::FirstFailed { status }),
        Ok(Err(_)) | Err(_) => Err(Reject::InFlight),
    }
}

/// Runs the checks that read the event. They share its parsed body, which is dropped before the dedup check may wait.
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
