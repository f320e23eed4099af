//! The reject reasons: one enum with typed evidence, and one table that explains each reason.
//!
//! The `code` of a reason goes to the log, the metrics and the docs. The client sees only the status and a generic
//! title.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::VerifyError;
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

impl From<VerifyError> for Reject {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::NoCurrentSecret => Self::NoCurrentSecret,
            VerifyError::MissingMaterial { name } => Self::MissingMaterial { name },
            VerifyError::MalformedMaterial { name, fault } => {
                Self::MalformedMaterial { name, fault }
            }
            VerifyError::StaleTimestamp {
                age_seconds,
                tolerance,
            } => Self::StaleTimestamp {
                age_seconds,
                tolerance,
            },
            VerifyError::BadSignature => Self::BadSignature,
            VerifyError::BodyTooLarge { limit } => Self::BodyTooLarge { limit },
            VerifyError::WrongTenant => Self::WrongTenant,
            // The gate fetches keys itself, so it never gets this one.
            VerifyError::KeyNeeded { url } => Self::KeyUnavailable {
                fault: format!("the key at {url} was not fetched").into(),
            },
            VerifyError::Identity { fault } => Self::Identity { fault },
        }
    }
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

    /// Returns the explanation from the one table of reasons. All authentication failures have the same status, so that
    /// an untrusted client cannot learn which part was wrong.
    #[must_use]
    pub fn explanation(self) -> &'static ReasonMeaning {
        match self {
            Self::NoRoute => &ReasonMeaning {
                code: "no-route",
                status: StatusCode::NOT_FOUND,
                means: "No route has this host and path.",
                usually: "A scanner, or an endpoint URL at the provider whose host or path differs from the route, often by a slash or by upper case.",
                look_at: "`host` and `path` in the log line; hosts ignore case, paths are compared byte by byte.",
            },
            Self::Method => &ReasonMeaning {
                code: "method-not-allowed",
                status: StatusCode::METHOD_NOT_ALLOWED,
                means: "The route does not allow this method.",
                usually: "A browser, a link checker, or a provider that checks the URL with GET.",
                look_at: "`method` in the log line, `methods` of the route.",
            },
            Self::ContentType => &ReasonMeaning {
                code: "content-type-not-allowed",
                status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
                means: "The route does not allow this content type.",
                usually: "The endpoint at the provider is set to form encoding, and the route expects JSON.",
                look_at: "`found` in the log line, `content_types` of the route.",
            },
            Self::Framing => &ReasonMeaning {
                code: "malformed-head",
                status: StatusCode::BAD_REQUEST,
                means: "The request head is ambiguous or invalid: its framing, host or target.",
                usually: "An attempt to smuggle a request, or a scanner.",
                look_at: "`fault` and `source` in the log line.",
            },
            Self::BodyTooLarge => &ReasonMeaning {
                code: "body-too-large",
                status: StatusCode::PAYLOAD_TOO_LARGE,
                means: "The body is larger than the route's `max_body`.",
                usually: "A large event (GitHub sends up to 25 MB), or an untrusted client.",
                look_at: "`limit` in the log line, `max_body` of the route.",
            },
            Self::SourceNotAllowed => &ReasonMeaning {
                code: "source-not-allowed",
                status: StatusCode::FORBIDDEN,
                means: "The source address is not in the route's `allow_ips`.",
                usually: "An untrusted client, a provider with new addresses, or a proxy in front that is not in `trusted_proxies`.",
                look_at: "`source` and `peer` in the log line, the provider's published ranges, `trusted_proxies`.",
            },
            Self::SourceRate => &ReasonMeaning {
                code: "source-rate-limited",
                status: StatusCode::TOO_MANY_REQUESTS,
                means: "The source sends more unverified requests than `per_source_rate_limit` allows; verified ones do not count.",
                usually: "A flood, a provider's burst, or a proxy in front that is not in `trusted_proxies`, so that all senders share one address.",
                look_at: "`source` in the log line, `per_source_rate_limit`, `trusted_proxies`.",
            },
            Self::SourceBudget => &ReasonMeaning {
                code: "source-budget-spent",
                status: StatusCode::TOO_MANY_REQUESTS,
                means: "The source has used up its budget for unverified requests: requests in flight, bytes of bodies, parsing time, or keys to fetch.",
                usually: "An attack, or a proxy in front that is not in `trusted_proxies`, so that all senders share one address.",
                look_at: "`source` in the log line, `trusted_proxies`, and the reasons of earlier rejects from this source.",
            },
            Self::ClientCertMissing => &ReasonMeaning {
                code: "client-cert-missing",
                status: StatusCode::UNAUTHORIZED,
                means: "The route demands a client certificate, and the client did not show any.",
                usually: "A sender that is not set up for mutual TLS, a proxy in front that terminates TLS, or a connection that was opened for another host.",
                look_at: "`client_cert` of the route; the setting for mutual TLS at the provider.",
            },
            Self::ClientCertInvalid => &ReasonMeaning {
                code: "client-cert-invalid",
                status: StatusCode::UNAUTHORIZED,
                means: "The client certificate is not valid for this route.",
                usually: "A certificate of another authority than those in `ca`, an expired one, or a sender that leaves out an intermediate certificate.",
                look_at: "`fault` in the log line; `ca` in `client_cert` of the route.",
            },
            Self::ClientCertRevoked => &ReasonMeaning {
                code: "client-cert-revoked",
                status: StatusCode::UNAUTHORIZED,
                means: "The client certificate, or one of its authorities, is on a revocation list of the route.",
                usually: "A sender that still uses a certificate after it was replaced, or a stolen key.",
                look_at: "`crl` in `client_cert` of the route; the sender's notice about its certificates.",
            },
            Self::ClientCertNotAllowed => &ReasonMeaning {
                code: "client-cert-not-allowed",
                status: StatusCode::UNAUTHORIZED,
                means: "The client certificate is valid, but neither `names` nor `fingerprints` of the route admit its client.",
                usually: "A new certificate of the sender, or another customer of the same authority.",
                look_at: "`subject` and `fingerprint` in the log line; `names` and `fingerprints` in `client_cert` of the route.",
            },
            Self::ClientCertUnchecked => &ReasonMeaning {
                code: "client-cert-unchecked",
                status: StatusCode::SERVICE_UNAVAILABLE,
                means: "The revocation lists of the route cannot say whether the client certificate is still good. Nothing passes without an answer; `Retry-After` asks the sender to retry.",
                usually: "A list past its end because the timer that fetches it fails, or an authority without a list.",
                look_at: "`fault` in the log line; `crl` and `expired_crl` in `client_cert` of the route.",
            },
            Self::MissingMaterial => &ReasonMeaning {
                code: "missing-signature",
                status: StatusCode::UNAUTHORIZED,
                means: "A header or parameter that the scheme needs is missing.",
                usually: "No secret is set at the provider, the endpoint belongs to another provider, or the request is from an untrusted client.",
                look_at: "`name` in the log line, the secret's field at the provider.",
            },
            Self::MalformedMaterial => &ReasonMeaning {
                code: "malformed-signature",
                status: StatusCode::UNAUTHORIZED,
                means: "A header or parameter of the scheme does not have the form that the scheme requires, or occurs more than once.",
                usually: "The wrong `provider` or `scheme` for this sender, or an untrusted client.",
                look_at: "`name` and `fault` in the log line, the route's `provider` or `scheme`.",
            },
            Self::StaleTimestamp => &ReasonMeaning {
                code: "stale-timestamp",
                status: StatusCode::UNAUTHORIZED,
                means: "The signed timestamp differs from this machine's clock by more than `tolerance`.",
                usually: "A captured request that is replayed, a sender that retries with its first signature, or a wrong clock on this machine.",
                look_at: "`age_seconds` and `tolerance` in the log line; run `timedatectl` if all providers fail at once.",
            },
            Self::BodyTimeout => &ReasonMeaning {
                code: "body-timeout",
                status: StatusCode::REQUEST_TIMEOUT,
                means: "The body did not arrive within `body_timeout`, or arrived too slowly.",
                usually: "A slow-body attack, or a bad network.",
                look_at: "`bytes` and `body_us` in the log line, `body_timeout`.",
            },
            Self::BodyAborted => &ReasonMeaning {
                code: "body-aborted",
                status: StatusCode::BAD_REQUEST,
                means: "The body ended before its declared length, or its framing broke.",
                usually: "The sender closed the connection.",
                look_at: "`bytes` in the log line.",
            },
            Self::BadSignature => &ReasonMeaning {
                code: "bad-signature",
                status: StatusCode::UNAUTHORIZED,
                means: "The signature matches no current secret of the route.",
                usually: "The wrong secret (of another endpoint, or test instead of live), a proxy in front that changes the body, or a forgery.",
                look_at: "The secret at the provider; `public_url` where the scheme signs the URL.",
            },
            Self::UserNotAllowed => &ReasonMeaning {
                code: "user-not-allowed",
                status: StatusCode::UNAUTHORIZED,
                means: "The user who posted on the route's Unix socket is not among its `users`.",
                usually: "An app that runs under another user, or a service with `PrivateUsers=yes`, which maps most users to the id 65534.",
                look_at: "`user` in the log line, `socket` of the route, `PrivateUsers=` of the systemd unit.",
            },
            Self::KeyUnavailable => &ReasonMeaning {
                code: "key-unavailable",
                status: StatusCode::SERVICE_UNAVAILABLE,
                means: "The key that verifies the signature is published by the sender and cannot be fetched. Nothing passes without it; `Retry-After` asks the sender to retry.",
                usually: "A firewall that blocks outgoing connections, a DNS failure, an outage at the sender, or a wrong `jwks`.",
                look_at: "`fault` in the log line; `jwks` of the scheme.",
            },
            Self::Unconfirmed => &ReasonMeaning {
                code: "unconfirmed",
                status: StatusCode::SERVICE_UNAVAILABLE,
                means: "The provider asks to confirm a subscription, and the confirmation URL could not be opened. The provider will ask again.",
                usually: "A firewall that blocks outgoing connections, or a confirmation whose token has expired.",
                look_at: "`fault` in the log line; request a new confirmation at the provider.",
            },
            Self::NoCurrentSecret => &ReasonMeaning {
                code: "no-current-secret",
                status: StatusCode::UNAUTHORIZED,
                means: "Every secret of the route is past its `until` or before its `not_before`.",
                usually: "A secret rotation that was started and not finished.",
                look_at: "`secret` of the route; the clock of this machine.",
            },
            Self::WrongTenant => &ReasonMeaning {
                code: "wrong-tenant",
                status: StatusCode::UNAUTHORIZED,
                means: "The signature is right, but the event belongs to another customer: the sender signs for all customers with one key.",
                usually: "An `audience` that lacks one of your own accounts, or another customer who registered your URL at the sender.",
                look_at: "`audience` of the route; `hookgate providers show` names the location that it is compared with.",
            },
            Self::Identity => &ReasonMeaning {
                code: "unreadable-event",
                status: StatusCode::BAD_REQUEST,
                means: "The signature is right, but the event id or type cannot be read unambiguously.",
                usually: "A body that is not the JSON or form that the provider documents, or that contains a key twice.",
                look_at: "`fault` in the log line; `event_id` and `event_type` of the scheme.",
            },
            Self::MissingId => &ReasonMeaning {
                code: "missing-event-id",
                status: StatusCode::BAD_REQUEST,
                means: "The event has no dedup key, and the route says `missing_id = \"reject\"`.",
                usually: "An event type without an id.",
                look_at: "`dedup.missing_id` of the route: set it to `accept` or `body` to let such events pass.",
            },
            Self::MissingType => &ReasonMeaning {
                code: "missing-event-type",
                status: StatusCode::BAD_REQUEST,
                means: "The route selects by event type, and no type can be read unambiguously from the event.",
                usually: "An event without a type, or a body that contains the key of the type twice.",
                look_at: "`events` and `upstreams` of the route; `event_type` of the scheme.",
            },
            Self::MissingVersion => &ReasonMeaning {
                code: "missing-event-version",
                status: StatusCode::BAD_REQUEST,
                means: "The route selects by version, and no version can be read unambiguously from the event.",
                usually: "An event without a version, or a body that contains the key of the version twice.",
                look_at: "`versions` and `upstreams` of the route; `version` of the scheme.",
            },
            Self::Filtered => &ReasonMeaning {
                code: "filtered-event",
                status: StatusCode::FORBIDDEN,
                means: "The route's filter excludes this event. The route is in monitor mode, so the app received it anyway.",
                usually: "An event that the provider sends and the app does not want.",
                look_at: "`by`, `event_type` and `event_version` in the log line; with `enforce = \"block\"` the gate responds with 200 and does not forward it.",
            },
            Self::Unjudged => &ReasonMeaning {
                code: "unjudged",
                status: StatusCode::UNPROCESSABLE_ENTITY,
                means: "The route's `when` is neither true nor false for this event, so it is not known whether the app wants it.",
                usually: "An expression that reads a field that some events do not have.",
                look_at: "`fault` in the log line; use `has(body.x)` to test that a field exists.",
            },
            Self::NotJson => &ReasonMeaning {
                code: "unfit-json",
                status: StatusCode::UNPROCESSABLE_ENTITY,
                means: "The route has a schema for this event, and the body is not valid, unambiguous JSON.",
                usually: "An endpoint that is set to form encoding at the provider, or a body that contains a key twice.",
                look_at: "`fault` in the log line; `schemas` of the route.",
            },
            Self::Schema => &ReasonMeaning {
                code: "schema-mismatch",
                status: StatusCode::UNPROCESSABLE_ENTITY,
                means: "The body does not match the route's schema for this event type.",
                usually: "The provider changed its payload, or the schema is stricter than its documentation.",
                look_at: "`misfits` in the log line: the locations in the body and the rules that they break.",
            },
            Self::RouteRate => &ReasonMeaning {
                code: "route-rate-limited",
                status: StatusCode::TOO_MANY_REQUESTS,
                means: "Verified requests arrive faster than the route's `rate_limit`.",
                usually: "A burst from the provider, which will retry.",
                look_at: "`rate_limit` of the route, and the load that the app can handle.",
            },
            Self::Duplicate => &ReasonMeaning {
                code: "duplicate-event",
                status: StatusCode::CONFLICT,
                means: "The app has already accepted this event. The route is in monitor mode, so the app received it again.",
                usually: "A retry by a provider that did not receive the first response, or a replay.",
                look_at: "`event_id` in the log line; with `enforce = \"block\"` the gate responds with the first status instead.",
            },
            Self::Replayed => &ReasonMeaning {
                code: "replayed-body",
                status: StatusCode::CONFLICT,
                means: "The app has already accepted the same signed bytes as another event, and the route says `replay = \"block\"`.",
                usually: "A captured request that is sent again under a new id, or a second event with the same content.",
                look_at: "`event_id` and `source` in the log line; `dedup.replay` of the route: set it to `flag` to forward such events with a mark.",
            },
            Self::InFlight => &ReasonMeaning {
                code: "duplicate-in-flight",
                status: StatusCode::SERVICE_UNAVAILABLE,
                means: "The same event is in flight, and its outcome was not known within the waiting time.",
                usually: "An app that responds more slowly than the provider's timeout.",
                look_at: "`upstream_us` in the log line of the first copy, found by `event_id`; `timeout` of the route.",
            },
            Self::FirstFailed => &ReasonMeaning {
                code: "first-copy-failed",
                status: StatusCode::BAD_GATEWAY,
                means: "The first copy of this event failed while this one waited for it. Both got the same status.",
                usually: "The app failed or could not be reached.",
                look_at: "The log line of the first copy, found by `event_id`.",
            },
            Self::MalformedEvent => &ReasonMeaning {
                code: "malformed-event",
                status: StatusCode::BAD_REQUEST,
                means: "An app of your own posted an event whose delay, priority or batch cannot be read.",
                usually: "A typing error in `Hookgate-Delay` or `Hookgate-Priority`, or a line of a batch that is not a JSON object with `data`.",
                look_at: "`fault` in the log line; the response to the app holds the same text.",
            },
            Self::NotStored => &ReasonMeaning {
                code: "not-stored",
                status: StatusCode::SERVICE_UNAVAILABLE,
                means: "The event passed every check but could not be committed to the store. The sender got no 2xx; `Retry-After` asks it to retry.",
                usually: "A full or failing disk, a limit of `[store]`, or more events than the disk can write.",
                look_at: "`fault` in the log line; `hookgate store stats`; the system log for disk errors.",
            },
            Self::Overload => &ReasonMeaning {
                code: "overload",
                status: StatusCode::SERVICE_UNAVAILABLE,
                means: "`max_in_flight` requests are already in flight, so this one was shed.",
                usually: "An app that has become slow, or a flood.",
                look_at: "The `upstream` and `body` stages in the metrics; `max_in_flight`.",
            },
            Self::Internal => &ReasonMeaning {
                code: "internal-error",
                status: StatusCode::INTERNAL_SERVER_ERROR,
                means: "An internal error of hookgate: the request was dropped, and nothing more of it goes upstream.",
                usually: "A bug.",
                look_at: "The `panic` line with the same time; please report it to the authors.",
            },
        }
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
