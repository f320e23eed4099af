//! The verdict: what the gate decided about one request, with the outcome of each check. Made beside every admission, so
//! that no path can skip it; `record` prints and counts it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::gate::filter::Sieve;
use crate::gate::reject::Reject;
use crate::model::clock::Now;
use crate::model::ids::{EventId, RequestId, RouteName};
use crate::model::source::Source;

/// The checks in the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Check {
    /// Host and path.
    Route,
    /// Method, content type, declared length, framing.
    Framing,
    /// Allowlist.
    SourceIp,
    /// Per-source rate.
    SourceRate,
    /// Signature material and timestamp.
    Material,
    /// Reading the body.
    Body,
    /// The signature itself.
    Signature,
    /// The provider's URL check.
    Challenge,
    /// Event id and type.
    Identity,
    /// Whether the app gets events like this one.
    Filter,
    /// Whether the body is what the route's schemas ask for.
    Schema,
    /// The route's rate.
    RouteRate,
    /// The claim of the event id.
    Dedup,
    /// The commit to the store, where the route keeps events.
    Commit,
}

/// How the gate ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Every check passed; the event goes to the app.
    Accepted,
    /// Answered by the gate with a 2xx: a challenge.
    Challenge,
    /// Answered by the gate with the first one's 2xx.
    Duplicate,
    /// Genuine, answered by the gate with a 2xx: the route's filter keeps it from the app.
    Filtered(Sieve),
    /// Refused.
    Refused(Reject),
    /// Monitor mode: would have been refused; forwarded all the same.
    Monitored(Reject),
}

/// What the gate decided about one request.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The request's id.
    pub request_id: RequestId,
    /// Who sent it.
    pub source: Source,
    /// The route, once found.
    pub route: Option<RouteName>,
    /// The index of the route in its generation, for counters.
    pub route_index: Option<usize>,
    /// The provider's id, or `custom`.
    pub provider: Option<Arc<str>>,
    /// The last check that was begun.
    pub last_check: Check,
    /// What was decided.
    pub decision: Decision,
    /// Which secret matched, by label.
    pub secret: Option<Arc<str>>,
    /// The event's id.
    pub event_id: Option<EventId>,
    /// The event's type.
    pub event_type: Option<Box<str>>,
    /// The version of its payload.
    pub event_version: Option<Box<str>>,
    /// The token that a URL check brought, where the route asks to see it.
    pub shown: Option<Box<str>>,
    /// Bytes of the body that were read.
    pub body_bytes: u64,
    /// When the request began.
    pub began: Instant,
    /// Time to the end of the checks of the head.
    pub head_time: Duration,
    /// Time spent reading the body (the MAC is fed meanwhile).
    pub body_time: Duration,
    /// Time spent on signature, identity and limits after the body.
    pub verify_time: Duration,
    /// Time spent waiting for the first copy of the same event.
    pub wait_time: Duration,
}

impl Verdict {
    /// A verdict on which no check has run yet.
    #[must_use]
    pub fn new(request_id: RequestId, source: Source, now: Now) -> Self {
        Self {
            request_id,
            source,
            route: None,
            route_index: None,
            provider: None,
            last_check: Check::Route,
            decision: Decision::Accepted,
            secret: None,
            event_id: None,
            event_type: None,
            event_version: None,
            shown: None,
            body_bytes: 0,
            began: now.mono,
            head_time: Duration::ZERO,
            body_time: Duration::ZERO,
            verify_time: Duration::ZERO,
            wait_time: Duration::ZERO,
        }
    }
}
