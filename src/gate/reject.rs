//! The reject reasons: one enum with typed evidence. `meanings.rs` has the table that explains each reason.
//!
//! The `code` of a reason goes to the log, the metrics and the docs. The client sees only the status and a generic
//! title.

mod meanings;
mod verify_error;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use strum::{EnumDiscriminants, VariantArray};

use crate::criteria::json::JsonFault;
use crate::criteria::schema::SchemaViolation;
use crate::gate::filter_kind::FilterKind;

/// Characters of client-supplied text that evidence keeps. Bounds log lines, which an untrusted client fills.
const EVIDENCE_LIMIT: usize = 256;

/// `Retry-After` for a copy of an event that is still in flight.
const IN_FLIGHT_DELAY: Duration = Duration::from_secs(5);

/// `Retry-After` when the gate sheds load.
const OVERLOAD_DELAY: Duration = Duration::from_secs(1);

/// `Retry-After` for an event that could not be committed to the store.
const STORE_DELAY: Duration = Duration::from_secs(10);

/// `Retry-After` while the sender's key cannot be fetched. About the interval at which the key source is retried.
const KEY_DELAY: Duration = Duration::from_secs(15);

/// A reject with its evidence. Evidence never holds a secret or an expected signature.
///
/// [`RejectReason`] is derived: it has the same variants, in the same order.
#[derive(Clone, Debug, PartialEq, Eq, EnumDiscriminants)]
#[strum_discriminants(
    name(RejectReason),
    vis(pub),
    derive(Hash, VariantArray),
    doc = "The kind of a reject without its evidence: the label of metrics, and the key of the explanations."
)]
pub(crate) enum Reject {
    /// No route has this host and path; made by [`Reject::no_route`].
    NoRoute {
        /// Host of the request, cut to the evidence limit.
        host: Box<str>,
        /// Path of the request, without the query, which may hold a token.
        path: Box<str>,
    },
    /// The route does not take this method.
    Method {
        /// Method of the request, which `methods` does not list.
        method: Method,
    },
    /// The route does not take this content type; made by [`Reject::content_type`].
    ContentType {
        /// Content type of the request; empty where it has no such header.
        found: Box<str>,
    },
    /// The framing or the head is one that no genuine sender produces.
    Framing(FramingFault),
    /// The declared or actual body is larger than the route's `max_body`.
    BodyTooLarge {
        /// The `max_body` of the route, in bytes.
        limit: usize,
    },
    /// The source address is not in the route's `allow_ips`.
    SourceNotAllowed {
        /// The source address of the request.
        ip: IpAddr,
    },
    /// The source sends more unverified requests than `per_source_rate_limit` allows.
    SourceRate {
        /// Time until the source's rate admits the next request.
        retry_after: Duration,
    },
    /// The source has used up its budget for unverified requests.
    SourceBudget {
        /// Time until the budget admits the next request.
        retry_after: Duration,
    },
    /// The route demands a client certificate, and the connection has no certificate.
    ClientCertMissing,
    /// The client certificate is not valid for the route.
    ClientCertInvalid {
        /// The reason, in a few words.
        fault: &'static str,
    },
    /// The client certificate is on a revocation list.
    ClientCertRevoked,
    /// The client certificate is valid, and the route does not admit its client.
    ClientCertNotAllowed {
        /// Subject of the certificate.
        subject: Box<str>,
        /// SHA-256 of the certificate.
        fingerprint: Box<str>,
    },
    /// The revocation lists of the route cannot decide about the certificate.
    ClientCertUnchecked {
        /// The reason, in a few words.
        fault: &'static str,
    },
    /// A header or parameter that the scheme needs is missing.
    MissingMaterial {
        /// Name of the header or parameter.
        name: Box<str>,
    },
    /// A header or parameter of the scheme does not have the scheme's form, or occurs more than once.
    MalformedMaterial {
        /// Name of the header or parameter.
        name: Box<str>,
        /// The violated rule, in a few words.
        fault: &'static str,
    },
    /// The signed timestamp is further from now than the tolerance.
    StaleTimestamp {
        /// Now minus the timestamp, in seconds; negative for a timestamp in the future.
        age_seconds: i64,
        /// The `tolerance` of the route.
        tolerance: Duration,
    },
    /// The body did not arrive within `body_timeout`, or too slowly.
    BodyTimeout,
    /// The body ended early, or its framing broke.
    BodyAborted,
    /// No current secret gives this signature.
    BadSignature,
    /// A Unix user who is not among the `users` of the route's socket.
    UserNotAllowed {
        /// The user id that the kernel reports for the peer.
        user: u32,
    },
    /// The key that verifies the signature cannot be fetched, and no copy of it is cached.
    KeyUnavailable {
        /// The error of the fetch, with its causes.
        fault: Arc<str>,
    },
    /// The URL that confirms a subscription could not be opened.
    Unconfirmed {
        /// The error of the request, with its causes.
        fault: Arc<str>,
    },
    /// No secret of the route is current: all are past `until` or before `not_before`.
    NoCurrentSecret,
    /// The signature is right, but the event belongs to another customer of the sender.
    WrongTenant,
    /// The body cannot be read for the id or type that the route needs.
    Identity {
        /// The reason why it cannot be read, in a few words.
        fault: &'static str,
    },
    /// The event has no id, and the route says `missing_id = "reject"`.
    MissingId,
    /// The route filters by event type, and no type can be read unambiguously.
    MissingType,
    /// The route filters by version, and no version can be read unambiguously.
    MissingVersion,
    /// The route's filter excludes the event. Only monitor mode rejects with this: other routes respond with a 2xx.
    Filtered {
        /// The setting of the route that excludes it.
        by: FilterKind,
    },
    /// The route's `when` cannot be evaluated for this event.
    Unjudged {
        /// The error of the evaluation, for the log.
        fault: Box<str>,
    },
    /// The route has a schema for this event, and the body is not unambiguous JSON.
    NotJson {
        /// The first error in the JSON.
        fault: JsonFault,
    },
    /// The body does not fit a schema of the route.
    Schema {
        /// The first locations that do not match.
        misfits: Box<[SchemaViolation]>,
    },
    /// The route's own `rate_limit` is used up.
    RouteRate {
        /// Time until the rate admits the next event.
        retry_after: Duration,
    },
    /// The app has already accepted this event. Only monitor mode rejects with this: other routes repeat the first
    /// status.
    Duplicate {
        /// Status of the response to the first copy.
        status: StatusCode,
    },
    /// The app has accepted the same signed bytes as another event, and the route says `replay = "block"`.
    Replayed,
    /// The same event is in flight, and its outcome was not known within the waiting time.
    InFlight,
    /// The first copy of this event, for which this one waited, failed.
    FirstFailed {
        /// Status of the response to the first copy.
        status: StatusCode,
    },
    /// A local app posted an event whose delay, priority or batch is invalid.
    MalformedEvent {
        /// The error that the local app receives as well.
        fault: Box<str>,
    },
    /// The event passed every check but could not be committed. The sender got no 2xx for it.
    NotStored {
        /// The error that the store reported.
        fault: Box<str>,
    },
    /// `max_in_flight` requests are in flight; the gate sheds load.
    Overload,
    /// An internal fault. The request is dropped; its claim is released, or expires.
    Internal,
}

/// The rule that a head violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FramingFault {
    /// `CONNECT`, `TRACE`, or a target that is not a path.
    Target,
    /// `Transfer-Encoding` other than `chunked`, or beside `Content-Length`.
    TransferEncoding,
    /// No `Host`, or several, or one that differs from `:authority`.
    Host,
    /// `Expect` other than `100-continue`.
    Expect,
    /// A header that may occur only once occurs twice.
    DuplicateHeader,
}

impl FramingFault {
    /// Returns the `fault` in the log.
    #[must_use]
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::TransferEncoding => "transfer-encoding",
            Self::Host => "host",
            Self::Expect => "expect",
            Self::DuplicateHeader => "duplicate-header",
        }
    }
}

/// The operator's explanation of one reason.
#[derive(Debug)]
pub struct ReasonMeaning {
    /// The id of the reason in logs, metrics and docs.
    pub code: &'static str,
    /// Status of the response to the client.
    pub status: StatusCode,
    /// The failed check, in one sentence.
    pub means: &'static str,
    /// The usual causes, in one sentence.
    pub usually: &'static str,
    /// The log fields and settings to look at next.
    pub look_at: &'static str,
}

impl Reject {
    /// Builds a `NoRoute` reject. Host and path are cut to [`EVIDENCE_LIMIT`] characters.
    #[must_use]
    pub(crate) fn no_route(host: &str, path: &str) -> Self {
        Self::NoRoute {
            host: bounded(host),
            path: bounded(path),
        }
    }

    /// Builds a `ContentType` reject. The type is cut to [`EVIDENCE_LIMIT`] characters.
    #[must_use]
    pub(crate) fn content_type(found: &str) -> Self {
        Self::ContentType {
            found: bounded(found),
        }
    }

    /// Returns the reason without its evidence.
    #[must_use]
    pub(crate) fn reason(&self) -> RejectReason {
        self.into()
    }

    /// Returns the explanation of its reason.
    #[must_use]
    pub(crate) fn explanation(&self) -> &'static ReasonMeaning {
        self.reason().explanation()
    }

    /// Returns the id of the reason in logs, metrics and docs.
    #[must_use]
    pub(crate) fn code(&self) -> &'static str {
        self.explanation().code
    }

    /// Returns the status of the response: always an error status.
    #[must_use]
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            // A waiting copy repeats the first one's error. A success status here would acknowledge an event that
            // failed.
            Self::FirstFailed { status }
                if status.is_client_error() || status.is_server_error() =>
            {
                *status
            }
            _ => self.explanation().status,
        }
    }

    /// Returns the `Retry-After` of the response, for the reasons that a retry can cure.
    #[must_use]
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::SourceRate { retry_after }
            | Self::SourceBudget { retry_after }
            | Self::RouteRate { retry_after } => Some(*retry_after),
            Self::InFlight => Some(IN_FLIGHT_DELAY),
            Self::KeyUnavailable { .. }
            | Self::Unconfirmed { .. }
            | Self::ClientCertUnchecked { .. } => Some(KEY_DELAY),
            Self::NotStored { .. } => Some(STORE_DELAY),
            Self::Overload => Some(OVERLOAD_DELAY),
            _ => None,
        }
    }

    /// Returns whether it is a security event: one that a forger, a scanner or a flood would cause.
    #[must_use]
    pub(crate) fn is_security(&self) -> bool {
        matches!(
            self.reason(),
            RejectReason::Framing
                | RejectReason::SourceNotAllowed
                | RejectReason::SourceRate
                | RejectReason::SourceBudget
                | RejectReason::ClientCertMissing
                | RejectReason::ClientCertInvalid
                | RejectReason::ClientCertRevoked
                | RejectReason::ClientCertNotAllowed
                | RejectReason::MissingMaterial
                | RejectReason::MalformedMaterial
                | RejectReason::StaleTimestamp
                | RejectReason::BadSignature
                | RejectReason::UserNotAllowed
                | RejectReason::WrongTenant
                | RejectReason::Replayed
        )
    }
}

impl RejectReason {
    /// Every reason, in the order of the checks.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Returns its position in [`Self::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// Finds the reason with this code.
    #[must_use]
    pub fn find(code: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|reason| reason.explanation().code == code)
    }
}

/// Cuts client-supplied text to the length that evidence keeps.
fn bounded(text: &str) -> Box<str> {
    match text.char_indices().nth(EVIDENCE_LIMIT) {
        Some((end, _)) => text.get(..end).unwrap_or_default().into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests;
