//! The last refused requests, in memory: head, start of the body, verdict. What `explain`, a list of troubles and a sender's
//! support ask for. Requests that monitor mode let through are kept as well.
//!
//! Only what reached a route and failed a check of it. Tokens are masked before anything is kept: by the names under which
//! senders show them, and at the place that the route's own scheme says; where that is the body, no body is kept.
//!
//! One ring with shares, instead of a ring per reason: N is all that has to be known of its size, and a gate with one
//! trouble shows all of it. A flood cannot push out the rest cheaply: a route and reason keeps four requests per source, of
//! which the oldest goes first and once a second at most; and in a full ring the largest route and reason gives way, a
//! signed request last. So a flood of many sources pushes out itself. Counts go on for what is not kept.
//!
//! Bounded: the head by what the listener takes, a body at 64 KiB, all bodies at 8 MiB. All is copied, since a piece of a
//! connection's buffer would hold the whole buffer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Uri, header};

use crate::gate::reject::{Reason, Reject};
use crate::gate::verdict::Verdict;
use crate::model::ids::{RequestId, RouteName};
use crate::model::source::SourceKey;
use crate::net::hide::MASK;
use crate::net::request_file::{BODY, RECEIVED, REFUSED, REQUEST_ID, ROUTE, RequestFile, SOURCE};
use crate::record::recent::bounded_verdict;
use crate::scheme::spec::Spec;

/// Requests of one source under one route and reason.
const PER_SOURCE: usize = 4;

/// Beyond that, how long one has to wait for the next, in milliseconds.
const PACE_MS: i64 = 1000;

/// Bytes of one body.
const MAX_BODY: usize = 64 << 10;

/// Bytes of all bodies.
const MAX_BODIES: usize = 8 << 20;

/// One refused request.
#[derive(Clone, Debug)]
pub struct RejectedRequest {
    /// What the gate decided.
    pub verdict: Verdict,
    /// The method.
    pub method: Method,
    /// Path and query, without tokens.
    pub target: String,
    /// Names and values in their order, without tokens.
    pub headers: Vec<(HeaderName, Bytes)>,
    /// The start of the body; empty where it was refused before the body.
    pub body: Bytes,
    /// Whether more of the body came than is kept.
    pub is_cut: bool,
    /// The length of the whole body, where it is known.
    pub length: Option<u64>,
}

/// What happened to one route for one reason.
#[derive(Clone, Debug)]
pub struct RejectedGroup {
    /// The route.
    pub route: RouteName,
    /// Why.
    pub reason: Reason,
    /// Requests since the start of the process.
    pub count: u64,
    /// The first, in milliseconds since the Unix epoch.
    pub first_ms: i64,
    /// The last.
    pub last_ms: i64,
    /// One that is kept, the newest.
    pub example: Option<RequestId>,
}

/// A request as it came, for as far as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Came<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target.
    pub uri: &'a Uri,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// What was read of the body.
    pub body: &'a Bytes,
    /// How its route's senders sign.
    pub scheme: &'a Spec,
}

/// Keeps the last refused requests.
#[derive(Debug, Default)]
pub struct Rejected {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    capacity: usize,
    /// The oldest first.
    kept: VecDeque<Arc<RejectedRequest>>,
    bodies: usize,
    /// Bounded by routes and reasons.
    counts: BTreeMap<(RouteName, u8), Count>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    reason: Reason,
    count: u64,
    first_ms: i64,
    last_ms: i64,
}

impl RejectedRequest {
    /// Why it was refused, or would have been.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.verdict.decision.reject().map(Reject::reason)
    }

    /// When it came, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn unix_ms(&self) -> i64 {
        self.verdict.request_id.unix_ms()
    }

    /// The same as a file, which says what is not there. Masked values stand in it as `***`.
    #[must_use]
    pub fn to_file(&self) -> RequestFile {
        let mut file = RequestFile::new(self.method.clone(), &*self.target, self.body.clone());
        if let Ok(time) = jiff::Timestamp::from_millisecond(self.unix_ms()) {
            file.note(RECEIVED, &time.to_string());
        }
        file.note(SOURCE, &self.verdict.source.ip.to_string());
        file.note(REQUEST_ID, &self.verdict.request_id.to_string());
        if let Some(route) = &self.verdict.route {
            file.note(ROUTE, route.as_str());
        }
        if let Some(reason) = self.reason() {
            file.note(REFUSED, reason.explanation().code);
        }
        let is = self.body.len();
        let all = self.length.filter(|length| *length > is as u64);
        match all {
            Some(all) => file.note(BODY, &format!("cut, {is} of {all} bytes were kept")),
            None if self.is_cut => file.note(BODY, &format!("cut, {is} bytes were kept")),
            None => {}
        }
        let headers = self.headers.iter();
        file.headers = headers
            // White space at the ends says nothing, and no file can keep it.
            .map(|(name, value)| {
                (
                    name.as_str().to_owned(),
                    Bytes::copy_from_slice(value.trim_ascii()),
                )
            })
            .collect();
        file.note_masked();
        file
    }

    fn is_of(&self, route: &RouteName, reason: Reason) -> bool {
        self.verdict.route.as_ref() == Some(route) && self.reason() == Some(reason)
    }
}

impl Rejected {
    /// Keeps so many from now on; 0: none.
    pub fn set_capacity(&self, capacity: usize) {
        let mut inner = self.lock();
        inner.capacity = capacity;
        while inner.kept.len() > capacity {
            inner.drop_one();
        }
    }

    /// Takes in a request whose verdict is a refusal on a route, or would have been; others are let go.
    pub fn keep(&self, verdict: &Verdict, came: &Came<'_>) {
        let (Some(route), Some(reject)) = (&verdict.route, verdict.decision.reject()) else {
            return;
        };
        let reason = reject.reason();
        let source = SourceKey::of(verdict.source.ip);
        if !self.lock().is_wanted(verdict, (route, reason), source) {
            return;
        }
        // Outside the lock.
        let request = Arc::new(copied(verdict, came));
        let mut inner = self.lock();
        inner.make_room((route, reason), source, request.body.len());
        inner.bodies += request.body.len();
        inner.kept.push_back(request);
    }

    /// The newest first.
    #[must_use]
    pub fn list(&self, route: Option<&str>, reason: Option<Reason>) -> Vec<Arc<RejectedRequest>> {
        let fits = |request: &&Arc<RejectedRequest>| {
            let name = request.verdict.route.as_ref().map(RouteName::as_str);
            route.is_none_or(|wanted| name == Some(wanted))
                && reason.is_none_or(|wanted| request.reason() == Some(wanted))
        };
        let inner = self.lock();
        let newest = inner.kept.iter().rev().filter(fits);
        newest.cloned().collect()
    }

    /// The one with this id.
    #[must_use]
    pub fn find(&self, id: &RequestId) -> Option<Arc<RejectedRequest>> {
        let inner = self.lock();
        let mut kept = inner.kept.iter().rev();
        kept.find(|request| request.verdict.request_id == *id)
            .cloned()
    }

    /// What was refused, by route and reason; what happened last comes first.
    #[must_use]
    pub fn groups(&self) -> Vec<RejectedGroup> {
        let inner = self.lock();
        let groups = inner.counts.iter().map(|((route, _), count)| {
            let mut newest = inner.kept.iter().rev();
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

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic between two steps could at worst leave a wrong count.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Counts, and says whether it is worth a copy.
    fn is_wanted(
        &mut self,
        verdict: &Verdict,
        (route, reason): (&RouteName, Reason),
        source: SourceKey,
    ) -> bool {
        if self.capacity == 0 {
            return false;
        }
        let now = verdict.request_id.unix_ms();
        let counted = self.counts.entry((route.clone(), reason as u8));
        let count = counted.or_insert(Count {
            reason,
            count: 0,
            first_ms: now,
            last_ms: now,
        });
        count.count += 1;
        count.last_ms = count.last_ms.max(now);
        let mut same = 0;
        let mut newest = None;
        for request in self.kept.iter().rev() {
            if request.is_of(route, reason) && SourceKey::of(request.verdict.source.ip) == source {
                same += 1;
                newest = newest.or(Some(request.unix_ms()));
            }
        }
        same < PER_SOURCE || newest.is_none_or(|newest| newest + PACE_MS <= now)
    }

    /// Lets go of what has to give way to a body of so many bytes.
    fn make_room(&mut self, (route, reason): (&RouteName, Reason), source: SourceKey, body: usize) {
        let is_same = |request: &Arc<RejectedRequest>| {
            request.is_of(route, reason) && SourceKey::of(request.verdict.source.ip) == source
        };
        if self.kept.iter().filter(|request| is_same(request)).count() >= PER_SOURCE
            && let Some(oldest) = self.kept.iter().position(is_same)
        {
            self.remove(oldest);
        }
        while !self.kept.is_empty()
            && (self.kept.len() >= self.capacity || self.bodies + body > MAX_BODIES)
        {
            self.drop_one();
        }
    }

    /// The oldest of the largest route and reason, and of what nobody signed before what somebody did.
    fn drop_one(&mut self) {
        let mut sizes: BTreeMap<(bool, &RouteName, u8), (usize, usize)> = BTreeMap::new();
        for (index, request) in self.kept.iter().enumerate() {
            if let (Some(route), Some(reason)) = (&request.verdict.route, request.reason()) {
                let is_signed = request.verdict.secret.is_some();
                let size = sizes.entry((is_signed, route, reason as u8));
                size.or_insert((0, index)).0 += 1;
            }
        }
        // What is signed counts as half of what it is.
        let weight = |is_signed: bool, size: usize| if is_signed { size } else { size * 2 };
        let largest = sizes
            .iter()
            .map(|((is_signed, ..), (size, oldest))| (weight(*is_signed, *size), *oldest))
            .max_by_key(|(weight, oldest)| (*weight, std::cmp::Reverse(*oldest)));
        self.remove(largest.map_or(0, |(_, oldest)| oldest));
    }

    fn remove(&mut self, index: usize) {
        if let Some(removed) = self.kept.remove(index) {
            self.bodies = self.bodies.saturating_sub(removed.body.len());
        }
    }
}

/// A copy that holds no token and no buffer of a connection.
fn copied(verdict: &Verdict, came: &Came<'_>) -> RejectedRequest {
    let headers = came.headers.iter().map(|(name, value)| {
        let shown = if came.scheme.hides_header(name) {
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
    let declared = came.headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse().ok());
    let start = came.body.get(..MAX_BODY).unwrap_or(came.body);
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
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::gate::verdict::Decision;
    use crate::model::clock::Now;
    use crate::model::source::Source;
    use crate::providers;
    use crate::scheme::spec::{Family, TokenPlace, TokenSpec, Variants};

    const START: i64 = 1_700_000_000_000;

    struct Sent<'a> {
        route: &'a str,
        ip: &'a str,
        at_ms: i64,
        reject: Reject,
        provider: &'a str,
        is_signed: bool,
    }

    fn sent<'a>(route: &'a str, ip: &'a str, at_ms: i64, reject: Reject) -> Sent<'a> {
        Sent {
            route,
            ip,
            at_ms,
            reject,
            provider: "github",
            is_signed: false,
        }
    }

    fn keep(rejected: &Rejected, sent: &Sent<'_>, headers: &[(&'static str, &str)], body: &[u8]) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let came = Came {
            method: &Method::POST,
            uri: &Uri::from_static("/in?a=1&token=the-secret"),
            headers: &map,
            body: &Bytes::copy_from_slice(body),
            scheme: &providers::find(sent.provider).unwrap().scheme,
        };
        keep_as_it_came(rejected, sent, &came);
    }

    fn keep_as_it_came(rejected: &Rejected, sent: &Sent<'_>, came: &Came<'_>) {
        let peer = SocketAddr::new(sent.ip.parse().unwrap(), 4711);
        let source = Source {
            ip: peer.ip(),
            peer,
            is_tls: true,
        };
        let id = RequestId::new(START + sent.at_ms, [1; 10]);
        let mut verdict = Verdict::new(id, source, Now::at_unix_seconds(0));
        verdict.route = Some(RouteName::new(sent.route));
        verdict.decision = Decision::Refused(sent.reject.clone());
        verdict.secret = sent.is_signed.then(|| "1".into());
        rejected.keep(&verdict, came);
    }

    fn of(capacity: usize) -> Rejected {
        let rejected = Rejected::default();
        rejected.set_capacity(capacity);
        rejected
    }

    /// Fails when a token by which a sender is known can be read in what is kept.
    #[test]
    fn tokens_are_masked_before_anything_is_kept() {
        let rejected = of(10);
        let sent = sent("a", "192.0.2.1", 0, Reject::BadSignature);
        let headers = [
            ("authorization", "Bearer the-secret"),
            ("x-gitlab-token", "the-secret"),
            ("cookie", "a=the-secret"),
            ("x-hub-signature-256", "sha256=00"),
        ];
        keep(&rejected, &sent, &headers, b"{}");
        let kept = &rejected.list(None, None)[0];
        let file = kept.to_file().to_bytes().unwrap();
        let text = String::from_utf8(file).unwrap();
        assert!(!format!("{kept:?}{text}").contains("the-secret"), "{text}");
        assert!(text.contains("POST /in?a=1&token=*** HTTP/1.1"), "{text}");
        assert!(text.contains("sha256=00"), "{text}");
        assert!(text.ends_with("\r\n\r\n{}"), "{text}");
    }

    /// Fails when a token can be read whose name says nothing, at the place where the route's own scheme has it.
    // Mutation: ask `net/hide.rs` instead of the scheme in `copied`, or keep every body.
    #[test]
    fn a_token_is_masked_where_the_scheme_has_it() {
        let name = HeaderName::from_static("x-who");
        let in_json = || vec!["who".to_owned()];
        for place in [
            TokenPlace::Header {
                name: name.clone(),
                prefix: String::new(),
            },
            TokenPlace::Query("who".to_owned()),
            TokenPlace::Form("who".to_owned()),
            TokenPlace::Json(in_json()),
            TokenPlace::FormJson("data".to_owned(), in_json()),
        ] {
            let (mut headers, mut target, mut body) = (HeaderMap::new(), "/in?a=1", "");
            match &place {
                TokenPlace::Header { name, .. } => {
                    headers.insert(name, "the-secret".parse().unwrap());
                }
                TokenPlace::Query(_) => target = "/in?a=1&who=the-secret",
                _ => body = "the-secret",
            }
            let spec = Spec {
                family: Family::Token(TokenSpec { place }),
                event_id: vec![],
                event_type: vec![],
                version: vec![],
                variants: Variants::default(),
            };
            let came = Came {
                method: &Method::POST,
                uri: &Uri::from_static(target),
                headers: &headers,
                body: &Bytes::from_static(body.as_bytes()),
                scheme: &spec,
            };
            let rejected = of(10);
            let sent = sent("a", "192.0.2.1", 0, Reject::BadSignature);
            keep_as_it_came(&rejected, &sent, &came);
            let kept = &rejected.list(None, None)[0];
            let file = kept.to_file().to_bytes().unwrap();
            let text = format!("{kept:?}{}", String::from_utf8_lossy(&file));
            assert!(!text.contains("the-secret"), "{text}");
        }
    }

    /// Fails when many refusals of one kind push out the few of another, or memory grows with them.
    #[test]
    fn a_flood_pushes_out_itself_only_and_stays_within_bounds() {
        let rejected = of(20);
        let rare = sent("b", "192.0.2.1", 0, Reject::MissingId);
        keep(&rejected, &rare, &[], b"rare");
        let body = vec![b'x'; 1 << 20];
        for number in 0..2000_i64 {
            let ip = format!("198.51.100.{}", number % 250);
            let flood = sent("a", &ip, number, Reject::BadSignature);
            keep(&rejected, &flood, &[], &body);
        }
        let all = rejected.list(None, None);
        assert_eq!(all.len(), 20);
        assert!(all.iter().all(|kept| kept.body.len() <= MAX_BODY));
        assert!(all[0].is_cut && all[0].length == Some(1 << 20));
        assert_eq!(rejected.list(Some("b"), None).len(), 1);
        let groups = rejected.groups();
        assert_eq!(groups.len(), 2);
        assert_eq!((groups[0].route.as_str(), groups[0].count), ("a", 2000));
        assert_eq!(groups[0].first_ms, START);
        assert_eq!(groups[0].last_ms, START + 1999);
        assert!(groups[0].example.is_some());
    }

    /// Fails when one source fills the ring.
    #[test]
    fn one_source_has_four_of_a_kind() {
        let rejected = of(100);
        for number in 0..50 {
            let one = sent("a", "192.0.2.1", number * 10, Reject::BadSignature);
            keep(&rejected, &one, &[], b"");
        }
        let all = rejected.list(None, None);
        // The next one is kept after a pause only: what a flood began with says most.
        assert_eq!((all.len(), all[0].unix_ms()), (PER_SOURCE, START + 30));
        let later = sent("a", "192.0.2.1", 5000, Reject::BadSignature);
        keep(&rejected, &later, &[], b"");
        let all = rejected.list(None, Some(Reason::BadSignature));
        assert_eq!((all.len(), all[0].unix_ms()), (PER_SOURCE, START + 5000));
        assert!(rejected.find(&all[0].verdict.request_id).is_some());
        rejected.set_capacity(0);
        keep(&rejected, &later, &[], b"");
        assert!(rejected.list(None, None).is_empty());
    }

    /// Fails when what somebody signed has to give way as early as what anybody can send.
    #[test]
    fn what_is_signed_counts_as_half_of_what_it_is() {
        let rejected = of(9);
        for number in 0..20_u8 {
            let is_signed = number < 5;
            let reject = match is_signed {
                true => Reject::MissingId,
                false => Reject::BadSignature,
            };
            let ip = format!("192.0.2.{number}");
            let sent = sent("a", &ip, i64::from(number), reject);
            keep(&rejected, &Sent { is_signed, ..sent }, &[], b"");
        }
        let signed = rejected.list(None, Some(Reason::MissingId));
        assert_eq!((signed.len(), rejected.list(None, None).len()), (5, 9));
    }

    /// Fails when the start of a body keeps all of it in memory.
    #[test]
    fn what_is_kept_holds_no_buffer_of_a_connection() {
        let body = Bytes::from(vec![b'x'; 1 << 20]);
        let came = Came {
            method: &Method::POST,
            uri: &Uri::from_static("/in"),
            headers: &HeaderMap::new(),
            body: &body,
            scheme: &providers::find("github").unwrap().scheme,
        };
        let rejected = of(10);
        let sent = sent("a", "192.0.2.1", 0, Reject::BadSignature);
        keep_as_it_came(&rejected, &sent, &came);
        assert_eq!(rejected.list(None, None)[0].body.len(), MAX_BODY);
        assert!(body.is_unique());
    }

    #[test]
    fn bodies_are_bounded_together() {
        let rejected = of(1000);
        for number in 0..200_u8 {
            let ip = format!("192.0.2.{number}");
            let one = sent("a", &ip, i64::from(number), Reject::BadSignature);
            keep(&rejected, &one, &[], &vec![b'x'; MAX_BODY]);
        }
        let all = rejected.list(None, None);
        assert_eq!(all.len(), MAX_BODIES / MAX_BODY);
    }
}
