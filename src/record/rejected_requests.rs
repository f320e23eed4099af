//! Recently rejected requests in memory: head, start of the body and verdict.
//!
//! `explain`, the console and a sender's support need them. Only requests that reached a route and failed one of its
//! checks are kept, including those that monitor mode forwarded. Tokens are masked before anything is kept: under the
//! names that senders use for them, and at the location that the route's own scheme gives. If that is the body, no body
//! is kept.
//!
//! One ring with shares serves all reasons: its size is the only number to configure, and a gate with a single problem
//! shows many examples of it. A flood cannot push out the rest cheaply. A route and reason keeps four requests per
//! source; beyond that the oldest is replaced, at most once a second. In a full ring the largest route and reason loses
//! its oldest request, a signed one last, so a flood from many sources pushes out itself. Counts include requests that
//! are not kept.
//!
//! Memory is bounded: the head by the listener's limit, a body at 64 KiB, all bodies at 8 MiB.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use hookgate_verify::net::redact::MASK;
use hookgate_verify::scheme::spec::SchemeSpec;
use http::{HeaderMap, HeaderName, Method, Uri, header};
use parking_lot::Mutex;

use crate::gate::reject::{Reject, RejectReason};
use crate::gate::verdict::Verdict;
use crate::model::ids::{RequestId, RouteName};
use crate::model::source::SourceKey;
use crate::net::request_file::{BODY, RECEIVED, REFUSED, REQUEST_ID, ROUTE, RequestFile, SOURCE};
use crate::record::recent_verdicts::bounded_verdict;

/// Requests kept of one source under one route and reason.
const PER_SOURCE: usize = 4;

/// Divisor of the capacity that gives the share of one source over all routes and reasons.
const SOURCE_PART: usize = 4;

/// Pause between kept requests of a source beyond `PER_SOURCE`, in milliseconds.
const PACE_MS: i64 = 1000;

/// Maximum number of bytes kept of one body.
const MAX_BODY: usize = 64 << 10;

/// Maximum number of bytes kept of all bodies together.
const MAX_BODIES: usize = 8 << 20;

/// A rejected request with its verdict; tokens are masked.
#[derive(Clone, Debug)]
pub(crate) struct RejectedRequest {
    /// Verdict of the gate, with the reject.
    pub verdict: Verdict,
    /// HTTP method of the request.
    pub method: Method,
    /// Path and query, with tokens masked.
    pub target: String,
    /// Header names and values in their order, with tokens masked.
    pub headers: Vec<(HeaderName, Bytes)>,
    /// Start of the body; empty if the request was rejected before its body was read.
    pub body: Bytes,
    /// True if more of the body arrived than is kept.
    pub is_cut: bool,
    /// Length of the whole body in bytes, where it is known.
    pub length: Option<u64>,
}

/// Summary of the rejects of one route for one reason.
#[derive(Clone, Debug)]
pub(crate) struct RejectedGroup {
    /// Route that the requests matched.
    pub route: RouteName,
    /// Reason that all requests of the group share.
    pub reason: RejectReason,
    /// Number of requests since the process started.
    pub count: u64,
    /// Time of the first request, in milliseconds since the Unix epoch.
    pub first_ms: i64,
    /// Time of the last request, in milliseconds since the Unix epoch.
    pub last_ms: i64,
    /// Id of the newest request that is kept.
    pub example: Option<RequestId>,
}

/// Received request, as far as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceivedParts<'a> {
    /// HTTP method of the request.
    pub method: &'a Method,
    /// Request target as received, tokens included.
    pub uri: &'a Uri,
    /// Headers as received, tokens included.
    pub headers: &'a HeaderMap,
    /// Part of the body that was read.
    pub body: &'a Bytes,
    /// Scheme of the route, which says where tokens are.
    pub scheme: &'a SchemeSpec,
}

/// Bounded buffer of the last rejected requests.
#[derive(Debug, Default)]
pub(crate) struct RejectedRequests {
    inner: Mutex<RejectedState>,
}

#[derive(Debug, Default)]
struct RejectedState {
    capacity: usize,
    /// Kept requests in order of arrival, oldest first.
    requests: VecDeque<Arc<RejectedRequest>>,
    bodies: usize,
    /// Counts by route and reason, which bound its size.
    counts: BTreeMap<(RouteName, u8), ReasonTally>,
}

#[derive(Clone, Copy, Debug)]
struct ReasonTally {
    reason: RejectReason,
    count: u64,
    first_ms: i64,
    last_ms: i64,
}

impl RejectedRequest {
    /// Returns the reason of the reject, also for a request that monitor mode forwarded.
    pub(crate) fn reason(&self) -> Option<RejectReason> {
        self.verdict.decision.reject().map(Reject::reason)
    }

    /// Returns the time of arrival, in milliseconds since the Unix epoch.
    pub(crate) fn unix_ms(&self) -> i64 {
        self.verdict.request_id.unix_ms()
    }

    /// Converts the request to a request file, which notes the parts that are missing. Masked values appear as `***`.
    pub(crate) fn to_file(&self) -> RequestFile {
        let mut file = RequestFile::new(self.method.clone(), &*self.target, self.body.clone());
        if let Ok(time) = jiff::Timestamp::from_millisecond(self.unix_ms()) {
            file.add_comment(RECEIVED, &time.to_string());
        }
        file.add_comment(SOURCE, &self.verdict.source.ip.to_string());
        file.add_comment(REQUEST_ID, &self.verdict.request_id.to_string());
        if let Some(route) = &self.verdict.route {
            file.add_comment(ROUTE, route.as_str());
        }
        if let Some(reason) = self.reason() {
            file.add_comment(REFUSED, reason.explanation().code);
        }
        let is = self.body.len();
        let all = self.length.filter(|length| *length > is as u64);
        match all {
            Some(all) => file.add_comment(BODY, &format!("cut, {is} of {all} bytes were kept")),
            None if self.is_cut => file.add_comment(BODY, &format!("cut, {is} bytes were kept")),
            None => {}
        }
        let headers = self.headers.iter();
        file.headers = headers
            // White space around a value has no meaning (RFC 9110, section 5.5), and the file format cannot express it.
            .map(|(name, value)| {
                (
                    name.as_str().to_owned(),
                    Bytes::copy_from_slice(value.trim_ascii()),
                )
            })
            .collect();
        file.mark_masked();
        file
    }

    fn is_of(&self, route: &RouteName, reason: RejectReason) -> bool {
        self.verdict.route.as_ref() == Some(route) && self.reason() == Some(reason)
    }
}

impl RejectedRequests {
    /// Changes how many requests are kept and drops the excess; 0 keeps nothing.
    pub(crate) fn set_capacity(&self, capacity: usize) {
        let mut inner = self.inner.lock();
        inner.capacity = capacity;
        while inner.requests.len() > capacity {
            inner.drop_one();
        }
    }

    /// Keeps a request that a route rejected, or that monitor mode forwarded; ignores all others.
    pub(crate) fn push(&self, verdict: &Verdict, came: &ReceivedParts<'_>) {
        let (Some(route), Some(reject)) = (&verdict.route, verdict.decision.reject()) else {
            return;
        };
        let reason = reject.reason();
        let source = SourceKey::of(verdict.source.ip);
        // Decided before the copy, because a flood is made of requests that are not kept.
        if !self
            .inner
            .lock()
            .is_wanted(verdict, (route, reason), source)
        {
            return;
        }
        // Copying up to 64 KiB happens outside the lock. Two threads may both find room; `make_room` restores the
        // bounds.
        let request = Arc::new(copied(verdict, came));
        let mut inner = self.inner.lock();
        inner.evict_for((route, reason), source, request.body.len());
        inner.bodies += request.body.len();
        inner.requests.push_back(request);
    }

    /// Lists kept requests, newest first, of one route or reason if given.
    pub(crate) fn list(
        &self,
        route: Option<&str>,
        reason: Option<RejectReason>,
    ) -> Vec<Arc<RejectedRequest>> {
        let fits = |request: &&Arc<RejectedRequest>| {
            let name = request.verdict.route.as_ref().map(RouteName::as_str);
            route.is_none_or(|wanted| name == Some(wanted))
                && reason.is_none_or(|wanted| request.reason() == Some(wanted))
        };
        let inner = self.inner.lock();
        let newest = inner.requests.iter().rev().filter(fits);
        newest.cloned().collect()
    }

    /// Finds the kept request with this id.
    pub(crate) fn find(&self, id: &RequestId) -> Option<Arc<RejectedRequest>> {
        let inner = self.inner.lock();
        let mut kept = inner.requests.iter().rev();
        kept.find(|request| request.verdict.request_id == *id)
            .cloned()
    }

    /// Removes the kept requests that a filter wants. Returns how many there were. The counts stay.
    pub(crate) fn erase(&self, is_wanted: impl Fn(&RejectedRequest) -> bool) -> u64 {
        let mut inner = self.inner.lock();
        let before = inner.requests.len();
        inner.requests.retain(|request| !is_wanted(request));
        inner.bodies = inner
            .requests
            .iter()
            .map(|request| request.body.len())
            .sum();
        let removed = before.saturating_sub(inner.requests.len());
        removed as u64
    }

    /// Summarizes rejects by route and reason, the most recent first.
    pub(crate) fn groups(&self) -> Vec<RejectedGroup> {
        let inner = self.inner.lock();
        let groups = inner.counts.iter().map(|((route, _), count)| {
            let mut newest = inner.requests.iter().rev();
            // The newest example has the best chance to match the present config.
            let example = newest.find(|request| request.is_of(route, count.reason));
            RejectedGroup {
                route: route.clone(),
                reason: count.reason,
                count: count.count,
                first_ms: count.first_ms,
                last_ms: count.last_ms,
                example: example.map(|request| request.verdict.request_id),
            }
        });
        let mut groups: Vec<_> = groups.collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.last_ms));
        groups
    }
}

impl RejectedState {
    /// Counts a request and returns true if it should be kept.
    fn is_wanted(
        &mut self,
        verdict: &Verdict,
        (route, reason): (&RouteName, RejectReason),
        source: SourceKey,
    ) -> bool {
        if self.capacity == 0 {
            return false;
        }
        let now = verdict.request_id.unix_ms();
        let counted = self.counts.entry((route.clone(), reason as u8));
        let count = counted.or_insert(ReasonTally {
            reason,
            count: 0,
            first_ms: now,
            last_ms: now,
        });
        count.count += 1;
        // Requests are counted when they end, not in the order in which they began.
        count.last_ms = count.last_ms.max(now);
        let mut same = 0;
        let mut newest = None;
        for request in self.requests.iter().rev() {
            if request.is_of(route, reason) && SourceKey::of(request.verdict.source.ip) == source {
                same += 1;
                newest = newest.or(Some(request.unix_ms()));
            }
        }
        // The first requests of a flood say most; later ones replace them only at the pace above.
        same < PER_SOURCE || newest.is_none_or(|newest| newest + PACE_MS <= now)
    }

    /// Removes kept requests until one more with a body of `body` bytes fits all bounds.
    fn evict_for(
        &mut self,
        (route, reason): (&RouteName, RejectReason),
        source: SourceKey,
        body: usize,
    ) {
        let is_same = |request: &Arc<RejectedRequest>| {
            request.is_of(route, reason) && SourceKey::of(request.verdict.source.ip) == source
        };
        if self
            .requests
            .iter()
            .filter(|request| is_same(request))
            .count()
            >= PER_SOURCE
            && let Some(oldest) = self.requests.iter().position(is_same)
        {
            self.remove(oldest);
        }
        // Without this share one source could fill the ring by using many reasons and routes. Signed requests are
        // exempt: only a holder of a secret can make them.
        let is_own = |request: &Arc<RejectedRequest>| {
            request.verdict.secret.is_none() && SourceKey::of(request.verdict.source.ip) == source
        };
        let share = (self.capacity / SOURCE_PART).max(PER_SOURCE);
        if self
            .requests
            .iter()
            .filter(|request| is_own(request))
            .count()
            >= share
            && let Some(oldest) = self.requests.iter().position(is_own)
        {
            self.remove(oldest);
        }
        while !self.requests.is_empty()
            && (self.requests.len() >= self.capacity || self.bodies + body > MAX_BODIES)
        {
            self.drop_one();
        }
    }

    /// Removes the oldest request of the largest group (route and reason); unsigned groups go before signed ones.
    fn drop_one(&mut self) {
        // Computed only when the ring is full; it has some hundred entries at most by default.
        let mut sizes: BTreeMap<(bool, &RouteName, u8), (usize, usize)> = BTreeMap::new();
        for (index, request) in self.requests.iter().enumerate() {
            if let (Some(route), Some(reason)) = (&request.verdict.route, request.reason()) {
                let is_signed = request.verdict.secret.is_some();
                let size = sizes.entry((is_signed, route, reason as u8));
                size.or_insert((0, index)).0 += 1;
            }
        }
        // Signed requests weigh half, because they are worth more to an operator and cannot be forged in bulk.
        let weight = |is_signed: bool, size: usize| if is_signed { size } else { size * 2 };
        let largest = sizes
            .iter()
            .map(|((is_signed, ..), (size, oldest))| (weight(*is_signed, *size), *oldest))
            .max_by_key(|(weight, oldest)| (*weight, std::cmp::Reverse(*oldest)));
        self.remove(largest.map_or(0, |(_, oldest)| oldest));
    }

    fn remove(&mut self, index: usize) {
        if let Some(removed) = self.requests.remove(index) {
            self.bodies = self.bodies.saturating_sub(removed.body.len());
        }
    }
}

/// Copies a request without its tokens. Everything is copied: a slice would keep the connection's whole buffer alive.
fn copied(verdict: &Verdict, came: &ReceivedParts<'_>) -> RejectedRequest {
    let headers = came.headers.iter().map(|(name, value)| {
        let shown = if came.scheme.redacts_header(name) {
            MASK.as_bytes()
        } else {
            value.as_bytes()
        };
        (name.clone(), Bytes::copy_from_slice(shown))
    });
    let target = came
        .uri
        .path_and_query()
        .map_or("/", |whole| whole.as_str());
    // If the body was not read, the declared length is all that is known.
    let declared = came.headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse().ok());
    let start = came.body.get(..MAX_BODY).unwrap_or(came.body);
    // A token inside a body cannot be masked reliably, so such bodies are never kept.
    let body = match came.scheme.has_token_in_body() {
        true => &[],
        false => start,
    };
    RejectedRequest {
        verdict: bounded_verdict(verdict),
        method: came.method.clone(),
        target: came.scheme.shown_target(target),
        headers: headers.collect(),
        body: Bytes::copy_from_slice(body),
        is_cut: came.body.len() > body.len(),
        length: match came.body.is_empty() {
            true => declared,
            false => Some(came.body.len() as u64),
        },
    }
}

#[cfg(test)]
mod tests;
