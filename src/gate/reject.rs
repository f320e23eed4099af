//! Why a request was refused: one enum with typed evidence, and one table with what each reason means.
//!
//! `code` goes to the log, the metrics and the documents; the sender sees only `status` and a generic title.

use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;

/// A refusal with its evidence. Evidence never holds a secret or an expected signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reject {
    /// No route has this host and path.
    NoRoute,
    /// The route does not take this method.
    Method,
    /// The route does not take this content type.
    ContentType,
    /// The framing or the head is not what an honest sender makes.
    Framing(FramingFault),
    /// The declared or actual body is larger than the route's `max_body`.
    BodyTooLarge {
        /// `max_body`.
        limit: usize,
    },
    /// The source address is not in the route's `allow_ips`.
    SourceNotAllowed {
        /// The address.
        ip: IpAddr,
    },
    /// The source sends faster than `per_source_rate_limit`.
    SourceRate {
        /// When it may come again.
        retry_after: Duration,
    },
    /// A header or parameter that the scheme needs is not there.
    MissingMaterial {
        /// Its name.
        name: Box<str>,
    },
    /// It is there, but not as the scheme writes it, or more than once.
    MalformedMaterial {
        /// Its name.
        name: Box<str>,
        /// What is wrong.
        fault: &'static str,
    },
    /// The signed timestamp is further from now than the tolerance.
    StaleTimestamp {
        /// Now minus the timestamp, in seconds; negative where it lies in the future.
        age_seconds: i64,
        /// The route's tolerance.
        tolerance: Duration,
    },
    /// The body did not arrive within `body_timeout`, or too slowly.
    BodyTimeout,
    /// The body ended early, or its framing broke.
    BodyAborted,
    /// No current secret gives this signature.
    BadSignature,
    /// No secret of the route is current: all are past `until` or before `not_before`.
    NoCurrentSecret,
    /// The body cannot be read for the id or type that the route needs.
    Identity {
        /// What is wrong.
        fault: &'static str,
    },
    /// There is no event id, and the route says `missing_id = "reject"`.
    MissingId,
    /// The route's own rate is used up.
    RouteRate {
        /// When it may come again.
        retry_after: Duration,
    },
    /// The same event is in flight and did not end within the waiting time.
    InFlight,
    /// The first copy of this event, for which this one waited, failed.
    FirstFailed {
        /// The status that the first one got.
        status: StatusCode,
    },
    /// Too much is in flight; the gate sheds load.
    Overload,
    /// A fault of ours: the request was given up, its claim released or left to expire.
    Internal,
}

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingFault {
    /// `CONNECT`, `TRACE`, `Upgrade`, or a target that is not a path.
    Target,
    /// `Transfer-Encoding` other than `chunked`, or beside `Content-Length`.
    TransferEncoding,
    /// No `Host`, or several, or one that differs from `:authority`.
    Host,
    /// `Expect` other than `100-continue`.
    Expect,
    /// A header that must stand once stands twice.
    DuplicateHeader,
}
