//! Why a request was refused: one enum with typed evidence, and one table with what each reason means.
//!
//! `code` goes to the log, the metrics and the documents; the sender sees only `status` and a generic title.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};

use crate::criteria::json::JsonFault;
use crate::criteria::schema::Misfit;
use crate::gate::filter::Sieve;

/// Characters of a stranger's text that evidence keeps.
const EVIDENCE_LIMIT: usize = 256;

/// What a sender is told to wait for a copy of the same event that is still in flight.
const IN_FLIGHT_DELAY: Duration = Duration::from_secs(5);

/// What a sender is told to wait when load is shed.
const OVERLOAD_DELAY: Duration = Duration::from_secs(1);

/// What a sender is told to wait where its event could not be stored.
const STORE_DELAY: Duration = Duration::from_secs(10);

/// What a sender is told to wait where its key cannot be fetched: a source is asked again about that often.
const KEY_DELAY: Duration = Duration::from_secs(15);

/// A refusal with its evidence. Evidence never holds a secret or an expected signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reject {
    /// No route has this host and path; made by [`Reject::no_route`].
    NoRoute {
        /// The host asked for.
        host: Box<str>,
        /// The path asked for, without the query, which may hold a token.
        path: Box<str>,
    },
    /// The route does not take this method.
    Method {
        /// The method asked for.
        method: Method,
    },
    /// The route does not take this content type; made by [`Reject::content_type`].
    ContentType {
        /// The type that came; empty where there was none.
        found: Box<str>,
    },
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
    /// The source sends more unverified requests than `per_source_rate_limit` allows.
    SourceRate {
        /// When it may come again.
        retry_after: Duration,
    },
    /// The source has used up what it may cause before its requests are verified.
    SourceBudget {
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
    /// A user of this machine who may not post on the route's socket.
    UserNotAllowed {
        /// The user's number, as the kernel says it.
        user: u32,
    },
    /// The key that the signature needs cannot be fetched, and none is held.
    KeyUnavailable {
        /// Why.
        fault: Arc<str>,
    },
    /// The URL that confirms a subscription could not be opened.
    Unconfirmed {
        /// Why.
        fault: Arc<str>,
    },
    /// No secret of the route is current: all are past `until` or before `not_before`.
    NoCurrentSecret,
    /// The signature is right, and the event belongs to another customer of the sender.
    WrongTenant,
    /// The body cannot be read for the id or type that the route needs.
    Identity {
        /// What is wrong.
        fault: &'static str,
    },
    /// There is no event id, and the route says `missing_id = "reject"`.
    MissingId,
    /// The route filters by event type, and there is none that can be read for certain.
    MissingType,
    /// The route filters by version, and there is none that can be read for certain.
    MissingVersion,
    /// The route's filter keeps it from the app. Only a route in monitor mode says so: others answer with a 2xx.
    Filtered {
        /// What filters it.
        by: Sieve,
    },
    /// The route's `when` cannot be evaluated for it.
    Unjudged {
        /// Why.
        fault: Box<str>,
    },
    /// The route holds it against a schema, and the body is no JSON that can be relied on.
    NotJson {
        /// What is wrong.
        fault: JsonFault,
    },
    /// The body does not fit a schema of the route.
    Schema {
        /// The first places that do not fit.
        misfits: Box<[Misfit]>,
    },
    /// The route's own rate is used up.
    RouteRate {
        /// When it may come again.
        retry_after: Duration,
    },
    /// The app has taken this event already. Only a route in monitor mode says so: others answer with the first status.
    Duplicate {
        /// The status that the first one got.
        status: StatusCode,
    },
    /// The app has taken the same signed bytes as another event, and the route says `replay = "block"`.
    Replayed,
    /// The same event is in flight and did not end within the waiting time.
    InFlight,
    /// The first copy of this event, for which this one waited, failed.
    FirstFailed {
        /// The status that the first one got.
        status: StatusCode,
    },
    /// What an app of one's own posted says what cannot be.
    MalformedEvent {
        /// What is wrong.
        fault: Box<str>,
    },
    /// The event passed, and could not be stored: nothing was promised to its sender.
    NotStored {
        /// Why.
        fault: Box<str>,
    },
    /// Too much is in flight; the gate sheds load.
    Overload,
    /// A fault of ours: the request was given up, its claim released or left to expire.
    Internal,
}

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingFault {
    /// `CONNECT`, `TRACE`, or a target that is not a path.
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

impl FramingFault {
    /// The word for it in logs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::TransferEncoding => "transfer-encoding",
            Self::Host => "host",
            Self::Expect => "expect",
            Self::DuplicateHeader => "duplicate-header",
        }
    }
}

/// The kind of a refusal, without its evidence: what metrics count and documents explain.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[expect(
    missing_docs,
    reason = "each has the name of its `Reject` and an explanation below"
)]
pub enum Reason {
    NoRoute,
    Method,
    ContentType,
    Framing,
    BodyTooLarge,
    SourceNotAllowed,
    SourceRate,
    SourceBudget,
    MissingMaterial,
    MalformedMaterial,
    StaleTimestamp,
    BodyTimeout,
    BodyAborted,
    BadSignature,
    UserNotAllowed,
    KeyUnavailable,
    Unconfirmed,
    NoCurrentSecret,
    WrongTenant,
    Identity,
    MissingId,
    MissingType,
    MissingVersion,
    Filtered,
    Unjudged,
    NotJson,
    Schema,
    RouteRate,
    Duplicate,
    Replayed,
    InFlight,
    FirstFailed,
    MalformedEvent,
    NotStored,
    Overload,
    Internal,
}

/// What a reason means to the operator.
#[derive(Debug)]
pub struct Explanation {
    /// The word for it in logs, metrics and documents.
    pub code: &'static str,
    /// What the sender gets.
    pub status: StatusCode,
    /// What happened.
    pub means: &'static str,
    /// What is usually behind it.
    pub usually: &'static str,
    /// Where to look next.
    pub look_at: &'static str,
}

impl Reject {
    /// No route, with as much of host and path as a log line shows.
    #[must_use]
    pub fn no_route(host: &str, path: &str) -> Self {
        Self::NoRoute {
            host: bounded(host),
            path: bounded(path),
        }
    }

    /// A content type that the route does not take, with as much of it as a log line shows.
    #[must_use]
    pub fn content_type(found: &str) -> Self {
        Self::ContentType {
            found: bounded(found),
        }
    }

    /// The kind of this refusal.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoRoute { .. } => Reason::NoRoute,
            Self::Method { .. } => Reason::Method,
            Self::ContentType { .. } => Reason::ContentType,
            Self::Framing(_) => Reason::Framing,
            Self::BodyTooLarge { .. } => Reason::BodyTooLarge,
            Self::SourceNotAllowed { .. } => Reason::SourceNotAllowed,
            Self::SourceRate { .. } => Reason::SourceRate,
            Self::SourceBudget { .. } => Reason::SourceBudget,
            Self::MissingMaterial { .. } => Reason::MissingMaterial,
            Self::MalformedMaterial { .. } => Reason::MalformedMaterial,
            Self::StaleTimestamp { .. } => Reason::StaleTimestamp,
            Self::BodyTimeout => Reason::BodyTimeout,
            Self::BodyAborted => Reason::BodyAborted,
            Self::BadSignature => Reason::BadSignature,
            Self::UserNotAllowed { .. } => Reason::UserNotAllowed,
            Self::KeyUnavailable { .. } => Reason::KeyUnavailable,
            Self::Unconfirmed { .. } => Reason::Unconfirmed,
            Self::NoCurrentSecret => Reason::NoCurrentSecret,
            Self::WrongTenant => Reason::WrongTenant,
            Self::Identity { .. } => Reason::Identity,
            Self::MissingId => Reason::MissingId,
            Self::MissingType => Reason::MissingType,
            Self::MissingVersion => Reason::MissingVersion,
            Self::Filtered { .. } => Reason::Filtered,
            Self::Unjudged { .. } => Reason::Unjudged,
            Self::NotJson { .. } => Reason::NotJson,
            Self::Schema { .. } => Reason::Schema,
            Self::RouteRate { .. } => Reason::RouteRate,
            Self::Duplicate { .. } => Reason::Duplicate,
            Self::Replayed => Reason::Replayed,
            Self::InFlight => Reason::InFlight,
            Self::FirstFailed { .. } => Reason::FirstFailed,
            Self::MalformedEvent { .. } => Reason::MalformedEvent,
            Self::NotStored { .. } => Reason::NotStored,
            Self::Overload => Reason::Overload,
            Self::Internal => Reason::Internal,
        }
    }

    /// What it means, what is usually behind it, where to look.
    #[must_use]
    pub fn explanation(&self) -> &'static Explanation {
        self.reason().explanation()
    }

    /// The word for it in logs, metrics and documents.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.explanation().code
    }

    /// What the sender gets: always an error status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::FirstFailed { status }
                if status.is_client_error() || status.is_server_error() =>
            {
                *status
            }
            _ => self.explanation().status,
        }
    }

    /// When the sender may come again, where the answer says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::SourceRate { retry_after }
            | Self::SourceBudget { retry_after }
            | Self::RouteRate { retry_after } => Some(*retry_after),
            Self::InFlight => Some(IN_FLIGHT_DELAY),
            Self::KeyUnavailable { .. } | Self::Unconfirmed { .. } => Some(KEY_DELAY),
            Self::NotStored { .. } => Some(STORE_DELAY),
            Self::Overload => Some(OVERLOAD_DELAY),
            _ => None,
        }
    }

    /// Whether it is a security event: what a forger, a prober or a flood would cause.
    #[must_use]
    pub fn is_security(&self) -> bool {
        matches!(
            self.reason(),
            Reason::Framing
                | Reason::SourceNotAllowed
                | Reason::SourceRate
                | Reason::SourceBudget
                | Reason::MissingMaterial
                | Reason::MalformedMaterial
                | Reason::StaleTimestamp
                | Reason::BadSignature
                | Reason::UserNotAllowed
                | Reason::WrongTenant
                | Reason::Replayed
        )
    }
}

impl Reason {
    /// Every reason, in the order of the checks.
    pub const ALL: [Self; 36] = [
        Self::NoRoute,
        Self::Method,
        Self::ContentType,
        Self::Framing,
        Self::BodyTooLarge,
        Self::SourceNotAllowed,
        Self::SourceRate,
        Self::SourceBudget,
        Self::MissingMaterial,
        Self::MalformedMaterial,
        Self::StaleTimestamp,
        Self::BodyTimeout,
        Self::BodyAborted,
        Self::BadSignature,
        Self::UserNotAllowed,
        Self::KeyUnavailable,
        Self::Unconfirmed,
        Self::NoCurrentSecret,
        Self::WrongTenant,
        Self::Identity,
        Self::MissingId,
        Self::MissingType,
        Self::MissingVersion,
        Self::Filtered,
        Self::Unjudged,
        Self::NotJson,
        Self::Schema,
        Self::RouteRate,
        Self::Duplicate,
        Self::Replayed,
        Self::InFlight,
        Self::FirstFailed,
        Self::MalformedEvent,
        Self::NotStored,
        Self::Overload,
        Self::Internal,
    ];

    /// Its place in [`Self::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The reason with this code.
    #[must_use]
    pub fn find(code: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|reason| reason.explanation().code == code)
    }

    /// The table: what each reason means. All that concerns authentication has the same status, so that a stranger
    /// learns nothing about which part was wrong.
    #[must_use]
    pub fn explanation(self) -> &'static Explanation {
        match self {
            Self::NoRoute => &Explanation {
                code: "no-route",
                status: StatusCode::NOT_FOUND,
                means: "No route has this host and path.",
                usually: "A scanner, or an endpoint URL at the provider that differs from the route by a slash, a case or a host.",
                look_at: "`host` and `path` in the log line; paths are compared byte by byte.",
            },
            Self::Method => &Explanation {
                code: "method-not-allowed",
                status: StatusCode::METHOD_NOT_ALLOWED,
                means: "The route does not take this method.",
                usually: "A browser, a link checker, or a provider's URL check by GET.",
                look_at: "`method` in the log line, `methods` of the route.",
            },
            Self::ContentType => &Explanation {
                code: "content-type-not-allowed",
                status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
                means: "The route does not take this content type.",
                usually: "The endpoint is set to form encoding at the provider where JSON is expected.",
                look_at: "`found` in the log line, `content_types` of the route.",
            },
            Self::Framing => &Explanation {
                code: "malformed-head",
                status: StatusCode::BAD_REQUEST,
                means: "The head is not what an honest sender makes: its framing, host or target is ambiguous.",
                usually: "An attempt to smuggle a request, or a scanner.",
                look_at: "`fault` and `source` in the log line.",
            },
            Self::BodyTooLarge => &Explanation {
                code: "body-too-large",
                status: StatusCode::PAYLOAD_TOO_LARGE,
                means: "The body is larger than the route's `max_body`.",
                usually: "A large event (GitHub sends up to 25 MB), or a stranger who tries.",
                look_at: "`limit` in the log line, `max_body` of the route.",
            },
            Self::SourceNotAllowed => &Explanation {
                code: "source-not-allowed",
                status: StatusCode::FORBIDDEN,
                means: "The source address is not in the route's `allow_ips`.",
                usually: "A stranger, a provider with new addresses, or a proxy in front that is not in `trusted_proxies`.",
                look_at: "`source` and `peer` in the log line, the provider's published ranges, `trusted_proxies`.",
            },
            Self::SourceRate => &Explanation {
                code: "source-rate-limited",
                status: StatusCode::TOO_MANY_REQUESTS,
                means: "The source sends more unverified requests than `per_source_rate_limit` allows; verified ones do not count.",
                usually: "A flood, a provider's burst, or a proxy in front that is not in `trusted_proxies`, so that all senders count as one.",
                look_at: "`source` in the log line, `per_source_rate_limit`, `trusted_proxies`.",
            },
            Self::SourceBudget => &Explanation {
                code: "source-budget-spent",
                status: StatusCode::TOO_MANY_REQUESTS,
                means: "The source has caused as much as it may before its requests are verified: requests in flight, time of parsing, or keys to fetch.",
                usually: "An attack, or a proxy in front that is not in `trusted_proxies`, so that all senders count as one.",
                look_at: "`source` in the log line, `trusted_proxies`, and why earlier requests of this source were refused.",
            },
            Self::MissingMaterial => &Explanation {
                code: "missing-signature",
                status: StatusCode::UNAUTHORIZED,
                means: "A header or parameter that the scheme needs is not there.",
                usually: "No secret is set at the provider, another provider's endpoint, or a stranger.",
                look_at: "`name` in the log line, the secret's field at the provider.",
            },
            Self::MalformedMaterial => &Explanation {
                code: "malformed-signature",
                status: StatusCode::UNAUTHORIZED,
                means: "A header or parameter of the scheme is there, but not as the scheme writes it, or more than once.",
                usually: "The wrong `provider` or `scheme` for this sender, or a stranger.",
                look_at: "`name` and `fault` in the log line, the route's `provider` or `scheme`.",
            },
            Self::StaleTimestamp => &Explanation {
                code: "stale-timestamp",
                status: StatusCode::UNAUTHORIZED,
                means: "The signed timestamp is further from this machine's clock than the tolerance.",
                usually: "A replayed capture, a sender that retries with its first signature, or a wrong clock here.",
                look_at: "`age_seconds` and `tolerance` in the log line; `timedatectl` when every provider fails at once.",
            },
            Self::BodyTimeout => &Explanation {
                code: "body-timeout",
                status: StatusCode::REQUEST_TIMEOUT,
                means: "The body did not arrive within `body_timeout`, or came too slowly.",
                usually: "A slow-body attack, or a bad network.",
                look_at: "`bytes` and `body_us` in the log line, `body_timeout`.",
            },
            Self::BodyAborted => &Explanation {
                code: "body-aborted",
                status: StatusCode::BAD_REQUEST,
                means: "The body ended before its declared length, or its framing broke.",
                usually: "The sender hung up.",
                look_at: "`bytes` in the log line.",
            },
            Self::BadSignature => &Explanation {
                code: "bad-signature",
                status: StatusCode::UNAUTHORIZED,
                means: "No current secret of the route gives this signature.",
                usually: "The wrong secret (another endpoint's, test instead of live), a proxy in front that changes the body, or a forgery.",
                look_at: "The secret at the provider; `public_url` where the scheme signs the URL.",
            },
            Self::UserNotAllowed => &Explanation {
                code: "user-not-allowed",
                status: StatusCode::UNAUTHORIZED,
                means: "The user who posted on the route's Unix socket is not among its `users`.",
                usually: "An app that runs under another user, or a service with `PrivateUsers=yes`, for which most users have the number 65534.",
                look_at: "`user` in the log line, `socket` of the route, `PrivateUsers=` of the unit.",
            },
            Self::KeyUnavailable => &Explanation {
                code: "key-unavailable",
                status: StatusCode::SERVICE_UNAVAILABLE,
                means: "The key that verifies the signature stands at the sender, and cannot be fetched. Nothing is let through without it; the sender is asked to come again.",
                usually: "A firewall that lets no connection out, a name that is not resolved, an outage at the sender, or a wrong `jwks`.",
                look_at: "`fault` in the log line.",
            },
            Self::Unconfirmed => &Explanation {
                code: "unconfirmed",
                status: StatusCode::SERVICE_UNAVAILABLE,
                means: "The provider asks for a subscription to be confirmed, and the URL for it could not be opened. It asks again.",
                usually: "A firewall that lets no connection out, or a confirmation that is older than its token.",
                look_at: "`fault` in the log line; a new confirmation can be asked for at the provider.",
            },
            Self::NoCurrentSecret => &Explanation {
                code: "no-current-secret",
                status: StatusCode::UNAUTHORIZED,
                means: "Every secret of the route is past its `until`, or before its `not_before`.",
                usually: "A rotation that was begun and not finished.",
                look_at: "`secret` of the route; the clock of this machine.",
            },
            Self::WrongTenant => &Explanation {
                code: "wrong-tenant",
                status: StatusCode::UNAUTHORIZED,
                means: "The signature is right, but the event is one of another customer: the sender signs for all of them with one key.",
                usually: "An `audience` that lacks one of your own accounts, or someone who has the sender call your URL.",
                look_at: "`audience` of the route; `hookgate providers show` names the location that it is compared with.",
            },
            Self::Identity => &Explanation {
                code: "unreadable-event",
                status: StatusCode::BAD_REQUEST,
                means: "The signature is right, but the event id or type cannot be read for certain.",
                usually: "A body that is not the JSON or form that the provider documents, or holds a key twice.",
                look_at: "`fault` in the log line; `event_id` and `event_type` of the scheme.",
            },
            Self::MissingId => &Explanation {
                code: "missing-event-id",
                status: StatusCode::BAD_REQUEST,
                means: "The event lacks the key that names it, and the route says `missing_id = \"reject\"`.",
                usually: "A kind of event that has none.",
                look_at: "`dedup.missing_id` of the route: `accept` or `body` would let it pass.",
            },
            Self::MissingType => &Explanation {
                code: "missing-event-type",
                status: StatusCode::BAD_REQUEST,
                means: "The route chooses by event type, and the event has none that can be read for certain.",
                usually: "A kind of event without a type, or a body that holds its key twice.",
                look_at: "`events` and `upstreams` of the route; `event_type` of the scheme.",
            },
            Self::MissingVersion => &Explanation {
                code: "missing-event-version",
                status: StatusCode::BAD_REQUEST,
                means: "The route chooses by version, and the event has none that can be read for certain.",
                usually: "A kind of event without a version, or a body that holds its key twice.",
                look_at: "`versions` and `upstreams` of the route; `version` of the scheme.",
            },
            Self::Filtered => &Explanation {
                code: "filtered-event",
                status: StatusCode::FORBIDDEN,
                means: "The route's filter keeps this event from the app; the route is in monitor mode, so it got it all the same.",
                usually: "An event that the provider sends and the app does not want.",
                look_at: "`by`, `event_type` and `event_version` in the log line; with `enforce = \"block\"` it is answered 200 and goes nowhere.",
            },
            Self::Unjudged => &Explanation {
                code: "unjudged",
                status: StatusCode::UNPROCESSABLE_ENTITY,
                means: "The route's `when` is neither true nor false for this event, so nobody can say whether the app is to get it.",
                usually: "An expression that looks at what not every event has.",
                look_at: "`fault` in the log line; `has(body.x)` asks whether something is there.",
            },
            Self::NotJson => &Explanation {
                code: "unfit-json",
                status: StatusCode::UNPROCESSABLE_ENTITY,
                means: "The route holds the body against a schema, and it is no JSON that can be relied on.",
                usually: "An endpoint that is set to form encoding at the provider, or a body that holds a key twice.",
                look_at: "`fault` in the log line; `schemas` of the route.",
            },
            Self::Schema => &Explanation {
                code: "schema-mismatch",
                status: StatusCode::UNPROCESSABLE_ENTITY,
                means: "The body does not fit the schema that the route has for this type of event.",
                usually: "The provider changed its payload, or the schema is stricter than its documentation.",
                look_at: "`misfits` in the log line: the places in the body and the rules that they break.",
            },
            Self::RouteRate => &Explanation {
                code: "route-rate-limited",
                status: StatusCode::TOO_MANY_REQUESTS,
                means: "Verified requests come faster than the route's `rate_limit`.",
                usually: "A provider's burst: it will retry.",
                look_at: "`rate_limit` of the route, and what the app can take.",
            },
            Self::Duplicate => &Explanation {
                code: "duplicate-event",
                status: StatusCode::CONFLICT,
                means: "The app has taken this event already; the route is in monitor mode, so it got it again.",
                usually: "A provider's retry whose first answer was lost, or a replay.",
                look_at: "`event_id` in the log line; with `enforce = \"block\"` the first status is answered instead.",
            },
            Self::Replayed => &Explanation {
                code: "replayed-body",
                status: StatusCode::CONFLICT,
                means: "The app has taken the same signed bytes as another event, and the route says `replay = \"block\"`.",
                usually: "A captured request that is sent again under a new id, or a second event that looks the same as the first.",
                look_at: "`event_id` and `source` in the log line; `dedup.replay` of the route: `flag` would forward it, marked.",
            },
            Self::InFlight => &Explanation {
                code: "duplicate-in-flight",
                status: StatusCode::SERVICE_UNAVAILABLE,
                means: "The same event is in flight, and its outcome was not known within the waiting time.",
                usually: "An app that is slower than the provider's patience.",
                look_at: "`upstream_us` of the first copy, by its `event_id`; `timeout` of the route.",
            },
            Self::FirstFailed => &Explanation {
                code: "first-copy-failed",
                status: StatusCode::BAD_GATEWAY,
                means: "The first copy of this event, for which this one waited, failed; both got the same status.",
                usually: "The app failed or could not be reached.",
                look_at: "The line of the first copy, by its `event_id`.",
            },
            Self::MalformedEvent => &Explanation {
                code: "malformed-event",
                status: StatusCode::BAD_REQUEST,
                means: "An app of your own posted an event whose delay, priority or batch cannot be read.",
                usually: "A typing error in `Hookgate-Delay` or `Hookgate-Priority`, or a line that is no JSON object with `data`.",
                look_at: "`fault` in the log line; the app was told the same.",
            },
            Self::NotStored => &Explanation {
                code: "not-stored",
                status: StatusCode::SERVICE_UNAVAILABLE,
                means: "The event passed every check, and could not be committed to the store; nothing was promised, and the sender is asked to come again.",
                usually: "A full or failing disk, a limit of `[store]`, or more events than the disk can take.",
                look_at: "`fault` in the log line; `hookgate store stats`; the disk's own log.",
            },
            Self::Overload => &Explanation {
                code: "overload",
                status: StatusCode::SERVICE_UNAVAILABLE,
                means: "`max_in_flight` requests are being worked on; this one was shed.",
                usually: "An app that has become slow, or a flood.",
                look_at: "The `upstream` and `body` stages in the metrics; `max_in_flight`.",
            },
            Self::Internal => &Explanation {
                code: "internal-error",
                status: StatusCode::INTERNAL_SERVER_ERROR,
                means: "A fault of the gate: the request was given up, nothing more of it goes upstream.",
                usually: "A bug.",
                look_at: "The `panic` line with the same time; a report to the authors.",
            },
        }
    }
}

/// As much of a stranger's text as evidence keeps.
fn bounded(text: &str) -> Box<str> {
    match text.char_indices().nth(EVIDENCE_LIMIT) {
        Some((end, _)) => text.get(..end).unwrap_or_default().into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests;
