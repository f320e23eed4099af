//! The checked config: what the rest of the program sees. Every value is ready to use; nothing here can be "not set by
//! then". Made by `config::load`, read by `app` when it builds a generation.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Uri};
use ipnet::IpNet;

use crate::criteria::schema::Schema;
use crate::criteria::when::When;
use crate::document::Span;
use crate::document::value::choice_word;
use crate::model::glob::{Glob, Patterns};
use crate::model::ids::{DestinationName, RouteName};
use crate::model::rate::Rate;
use crate::model::secret::Secret;
use crate::providers::Provider;
use crate::providers::challenge::OnChallenge;
use crate::scheme::spec::{Field, IdentityKey, Spec};
use crate::scheme::standard::SigningKey;

/// One whole config file.
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[tls]`; without it every listener speaks plain HTTP.
    pub tls: Option<Tls>,
    /// `[admin]`.
    pub admin: Option<Admin>,
    /// `[store]`; there where a route needs it.
    pub store: Option<Store>,
    /// `[log]`.
    pub log: Log,
    /// `[telemetry]`; none: nothing is traced.
    pub telemetry: Option<Telemetry>,
    /// `[routes.NAME]`, sorted by name.
    pub routes: Vec<Route>,
}

/// `[server]`.
pub struct Server {
    /// Addresses to listen on; not used where systemd hands sockets over.
    pub listen: Vec<SocketAddr>,
    /// Plain HTTP on an address that is not loopback is allowed.
    pub insecure_http: bool,
    /// Peers whose `X-Forwarded-For` and PROXY protocol are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether each connection must begin with a PROXY protocol header.
    pub proxy_protocol: ProxyProtocol,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections from one source (IPv4 address or IPv6 /64).
    pub max_connections_per_source: usize,
    /// Requests that are worked on at the same time.
    pub max_in_flight: usize,
    /// Requests from one source, before the body is read.
    pub per_source_rate_limit: Option<Rate>,
    /// From accept to the end of the TLS handshake, PROXY header included.
    pub handshake_timeout: Duration,
    /// From the first byte of a head to its end.
    pub header_timeout: Duration,
    /// For the whole body.
    pub body_timeout: Duration,
    /// A connection without a request.
    pub idle_timeout: Duration,
    /// From the signal to stop to the end of the process.
    pub shutdown_timeout: Duration,
    /// Bytes of one head.
    pub max_header_size: usize,
    /// The path that is answered 200 to load balancers, on every host; none: no such path.
    pub health: Option<String>,
    /// How often published ranges of addresses are asked for; none: never.
    pub refresh_ranges: Option<Duration>,
    /// Where what is learnt while running is kept; none: where systemd or the system says.
    pub state_dir: Option<PathBuf>,
    /// How many verdicts are held in memory, of each kind; 0: none.
    pub keep_verdicts: usize,
    /// How many refused requests are held in memory; 0: none.
    pub keep_rejected: usize,
}

impl Server {
    /// Returns whether an IPv6 listener leaves IPv4 alone: where another one has an IPv4 address on the same port. By itself
    /// `[::]` takes both.
    #[must_use]
    pub(crate) fn is_v6_only(&self, address: SocketAddr) -> bool {
        let is_v4 = |other: &SocketAddr| other.ip().to_canonical().is_ipv4();
        let mut others = self.listen.iter();
        !is_v4(&address)
            && address.port() != 0
            && others.any(|other| is_v4(other) && other.port() == address.port())
    }
}

/// `proxy_protocol`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyProtocol {
    /// None is expected; one that comes is a bad TLS record and ends the connection.
    Off,
    /// Each connection begins with one, from a trusted proxy, or is closed.
    Required,
}

impl ProxyProtocol {
    /// Each with its word in a config.
    pub const ALL: [(&'static str, Self); 2] = [("off", Self::Off), ("required", Self::Required)];

    /// Returns its word in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// `[tls]`.
pub struct Tls {
    /// `cert` and `key` first, then each of `[[tls.certificates]]`; the first serves names that no other covers.
    pub certificates: Vec<CertificateFiles>,
    /// PEM file of the authorities that client certificates must come from; none: no client certificates are asked for.
    pub client_ca: Option<(PathBuf, Span)>,
    /// The lowest TLS version.
    pub min_version: TlsVersion,
}

/// One certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Where `cert` stands in the config.
    pub cert_span: Span,
    /// Where `key` stands in the config.
    pub key_span: Span,
}

/// `min_version`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsVersion {
    /// `"1.2"`.
    Tls12,
    /// `"1.3"`.
    Tls13,
}

impl TlsVersion {
    /// Each with its word in a config.
    pub const ALL: [(&'static str, Self); 2] = [("1.2", Self::Tls12), ("1.3", Self::Tls13)];

    /// Returns its word in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// `[admin]`.
pub struct Admin {
    /// `listen`: an address or `unix:/path`.
    pub listen: AdminListen,
    /// `token` and `[[admin.tokens]]`: one of them is needed as `Authorization: Bearer TOKEN`, where there is any.
    pub tokens: Vec<AdminToken>,
    /// `[admin.tls]`; there where `listen` is not loopback.
    pub tls: Option<CertificateFiles>,
    /// `host`: names under which browsers may ask, beside loopback, addresses and those of the certificate.
    pub hosts: Vec<String>,
}

/// Who may use the admin listener.
#[derive(Clone)]
pub struct AdminToken {
    /// What the audit log calls it.
    pub name: Arc<str>,
    /// What it may do.
    pub role: Role,
    /// What is shown.
    pub secret: Arc<Secret>,
}

/// `role` of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Looks.
    Viewer,
    /// Looks and acts.
    Operator,
}

impl Role {
    /// Each with its word in a config.
    pub const ALL: [(&'static str, Self); 2] =
        [("viewer", Self::Viewer), ("operator", Self::Operator)];

    /// Returns its word in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// Where the admin listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminListen {
    /// A TCP address; one that is not loopback has TLS and a token.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// `[log]`.
pub struct Log {
    /// `format`.
    pub format: LogFormat,
    /// `level`: `error`, `warn`, `info`, `debug` or `trace`.
    pub level: tracing::Level,
    /// Whether accepted requests get a line.
    pub accepted: bool,
}

/// `[telemetry]`.
#[derive(Clone, PartialEq)]
pub struct Telemetry {
    /// `otlp`, with the path of traces.
    pub url: Uri,
    /// `sample`.
    pub sample: f64,
    /// `service_name`.
    pub service: String,
    /// `headers`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// `format`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// Text on a terminal; journald where stderr is its stream; JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Each with its word in a config.
    pub const ALL: [(&'static str, Self); 3] = [
        ("auto", Self::Auto),
        ("text", Self::Text),
        ("json", Self::Json),
    ];

    /// Returns its word in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// `allow_ips`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AllowIps {
    /// The ranges that are written out.
    pub nets: Vec<IpNet>,
    /// Whether the ranges that the provider publishes count as well.
    pub is_provider: bool,
}

/// `[routes.NAME]`.
pub struct Route {
    /// NAME.
    pub name: RouteName,
    /// Where the table's name stands.
    pub span: Span,
    /// `host`, lower-case, without port; none: every host.
    pub host: Option<String>,
    /// `path` or `prefix`.
    pub path: PathRule,
    /// Allowed methods; default POST.
    pub methods: Vec<Method>,
    /// Allowed media types, lower-case, without parameters; empty: every one.
    pub content_types: Vec<String>,
    /// The provider, where the route names one.
    pub provider: Option<Arc<Provider>>,
    /// The provider's scheme, or the route's own.
    pub scheme: Spec,
    /// The secrets that may have signed, in the order of the config.
    pub secrets: Vec<SecretEntry>,
    /// How far a signed timestamp may be from now.
    pub tolerance: Duration,
    /// Scheme, host and port under which the sender knows this route, without a slash at the end.
    pub public_url: Option<String>,
    /// Source addresses that may send; none: every one.
    pub allow_ips: Option<AllowIps>,
    /// After verification.
    pub rate_limit: Option<Rate>,
    /// Bytes of the body.
    pub max_body: usize,
    /// None: `dedup = false`.
    pub dedup: Option<Dedup>,
    /// Whose events it takes; none where the signing key belongs to one customer.
    pub tenant: Option<TenantRule>,
    /// `enforce`.
    pub enforce: Enforce,
    /// `continue_trace`.
    pub continue_trace: bool,
    /// What shows that it is the provider who makes its URL check, where the check is not signed.
    pub verify_token: Option<Secret>,
    /// What is done with the provider's URL checks; none where they are requests like any other.
    pub on_challenge: Option<OnChallenge>,
    /// Which events the app gets, by type; none: all of them.
    pub events: Option<Patterns>,
    /// Which events the app gets, by version; none: all of them.
    pub versions: Option<Patterns>,
    /// The condition under which the app gets an event; none: under any.
    pub when: Option<Arc<When>>,
    /// What bodies must be like, by event type; each whose pattern matches counts.
    pub schemas: Vec<(Glob, Arc<Schema>)>,
    /// Keys that sign what is forwarded; none: it is not signed.
    pub sign_upstream: Vec<Arc<SigningKey>>,
    /// What is done with a verified request.
    pub mode: Mode,
    /// Where verified requests are forwarded to while the sender waits; there in proxy and hybrid mode.
    pub upstream: Option<Upstream>,
    /// Where some of them go instead: the first that matches counts.
    pub branches: Vec<Branch>,
    /// Where monitor mode sends what failed a check; none: to `upstream`.
    pub unverified_upstream: Option<Upstream>,
    /// Where apps of this machine post without a secret; none: nowhere.
    pub socket: Option<LocalSocket>,
    /// Where stored events are delivered to; there in queue and hybrid mode, where it holds at least one.
    pub destinations: Vec<Arc<Destination>>,
}

/// `mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Forwarded while the sender waits.
    Proxy,
    /// Committed to the inbox, answered at once, delivered from there.
    Queue,
    /// Forwarded, and committed where the app does not take it within `answer_within`.
    Hybrid {
        /// How long the app may take for its answer.
        answer_within: Duration,
        /// Whether a 4xx of the app is not passed on but tried again from the inbox (`store_on = ["4xx"]`).
        stores_4xx: bool,
    },
}

impl Mode {
    /// Returns the mode without its settings.
    #[must_use]
    pub fn name(self) -> ModeName {
        match self {
            Self::Proxy => ModeName::Proxy,
            Self::Queue => ModeName::Queue,
            Self::Hybrid { .. } => ModeName::Hybrid,
        }
    }
}

/// A mode without its settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModeName {
    /// See [`Mode::Proxy`].
    Proxy,
    /// See [`Mode::Queue`].
    Queue,
    /// See [`Mode::Hybrid`].
    Hybrid,
}

impl ModeName {
    /// Each with its word in a config.
    pub const ALL: [(&'static str, Self); 3] = [
        ("proxy", Self::Proxy),
        ("queue", Self::Queue),
        ("hybrid", Self::Hybrid),
    ];

    /// Returns its word in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// `socket` of a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalSocket {
    /// The Unix socket.
    pub path: PathBuf,
    /// The numbers of the users who may post.
    pub users: Vec<u32>,
}

/// `[store]`.
pub struct Store {
    /// The file of `sqlite:PATH`.
    pub path: PathBuf,
    /// Bytes that stay free on the disk.
    pub min_free: u64,
    /// Bytes of the file; none: no limit of its own.
    pub max_size: Option<u64>,
    /// Events in the file; none: no limit.
    pub max_events: Option<u64>,
    /// How long what has ended is kept.
    pub retention: Retention,
    /// Whether the body of an event is kept after its deliveries.
    pub keep_body: bool,
    /// What payloads are sealed with: the first seals, all open. Empty: stored in clear.
    pub encryption_keys: Vec<Arc<Secret>>,
}

/// `[store] retention`. None: for ever.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Events whose deliveries were all delivered or cancelled.
    pub delivered: Option<Duration>,
    /// Dead letters.
    pub dead: Option<Duration>,
    /// Attempts of deliveries that have ended.
    pub attempts: Option<Duration>,
    /// Bytes of the file above which the oldest events that have ended go.
    pub size: Option<u64>,
}

/// `[routes.NAME.destinations.NAME]`, or the `upstream` of a queue or hybrid route, under the name `upstream`.
pub struct Destination {
    /// NAME.
    pub name: DestinationName,
    /// Where the table's name stands.
    pub span: Span,
    /// `http://` or `https://`, host, optional port, path, optional query.
    pub url: Uri,
    /// Where the URL stands in the config.
    pub url_span: Span,
    /// Whether what stands behind the route's prefix, and the query, are appended as in proxy mode: for the `upstream` of a route.
    pub appends_rest: bool,
    /// Which events it gets, by type; none: all of them.
    pub events: Option<Patterns>,
    /// The condition under which it gets an event; none: under any.
    pub when: Option<Arc<When>>,
    /// Whether deliveries are attempted; they are made in any case.
    pub active: bool,
    /// From the start to an established connection, TLS included.
    pub connect_timeout: Duration,
    /// From the request to the end of the answer.
    pub timeout: Duration,
    /// How long an idle connection is kept.
    pub pool_idle_timeout: Duration,
    /// Attempts at the same time.
    pub concurrency: usize,
    /// Attempts in a time.
    pub rate_limit: Option<Rate>,
    /// When a failed attempt is repeated.
    pub retry: Retry,
    /// Whether one waits for the one before it.
    pub order: Order,
    /// Headers to add to each attempt, instead of those of the same name.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Keys that sign each attempt as Standard Webhooks have it; none: it is not signed.
    pub secrets: Vec<Arc<SigningKey>>,
    /// Whether each attempt is signed anew in the sender's own scheme (`resign = "provider"` of the route).
    pub resign: bool,
    /// Its own authorities and client certificate; none: the system's authorities.
    pub tls: Option<DestinationTls>,
    /// Whether it is out on the internet: https only, and no special address.
    pub external: bool,
    /// Whether attempts carry `Repr-Digest`.
    pub repr_digest: bool,
    /// After how many failures in a row attempts pause; none: never.
    pub breaker: Option<u32>,
}

/// `tls` of a destination. The files are read when the config is loaded.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DestinationTls {
    /// PEM file of the authorities that its certificate must come from.
    pub ca: Option<PathBuf>,
    /// PEM files of the certificate chain to show and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// `retry`.
#[derive(Clone, PartialEq, Debug)]
pub struct Retry {
    /// The pauses after the first, second, ... failed attempt.
    pub pauses: Pauses,
    /// Attempts in all, the first one included.
    pub max_attempts: u32,
    /// Since the delivery was made: no attempt later than that; none: no such bound.
    pub max_age: Option<Duration>,
    /// The part of each pause by which it may be longer, at random: 0.0 to 1.0.
    pub jitter: f64,
}

/// How long the pauses are.
#[derive(Clone, PartialEq, Debug)]
pub enum Pauses {
    /// One after the other; the last one counts for all that follow.
    List(Vec<Duration>),
    /// `base`, then each `factor` times the one before, never more than `cap`.
    Exponential {
        /// The first.
        base: Duration,
        /// At least 1.0.
        factor: f64,
        /// The longest.
        cap: Duration,
    },
}

/// `order`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// As it comes.
    None,
    /// One after the other, in the order of acceptance.
    Fifo,
    /// One after the other where the value of this header is the same.
    FifoByHeader(HeaderName),
    /// One after the other where the value at this JSON pointer is the same.
    FifoByJson(String),
}

/// `path` or `prefix`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PathRule {
    /// The raw path equals this text.
    Exact(String),
    /// The raw path is this text, or begins with it at a `/`; the rest is appended to the upstream's path. No slash at the end, but for `/` itself.
    Prefix(String),
}

impl PathRule {
    /// The prefix, where it is one.
    #[must_use]
    pub fn prefix(&self) -> Option<&str> {
        match self {
            Self::Exact(_) => None,
            Self::Prefix(prefix) => Some(prefix),
        }
    }
}

/// One secret of a route.
pub struct SecretEntry {
    /// `name`, or its position as `"1"`, `"2"`, ...: what the verdict says.
    pub label: Arc<str>,
    /// The text as the provider shows it.
    pub secret: Secret,
    /// Milliseconds since the epoch before which it does not count.
    pub not_before_ms: Option<i64>,
    /// Milliseconds since the epoch from which on it does not count.
    pub until_ms: Option<i64>,
    /// Where it stands in the config.
    pub span: Span,
}

impl SecretEntry {
    /// Whether it counts at this time.
    #[must_use]
    pub fn is_current(&self, unix_ms: i64) -> bool {
        self.not_before_ms.is_none_or(|from| from <= unix_ms)
            && self.until_ms.is_none_or(|until| unix_ms < until)
    }
}

/// `dedup = { window, by, missing_id, replay, max_entries }`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dedup {
    /// How long a spent key is remembered.
    pub window: Duration,
    /// The key that names an event; nothing: no request has one.
    pub key: IdentityKey,
    /// The key counts only together with the digest of the body, since the signature does not cover all of it.
    pub binds_body: bool,
    /// The digest of the signed bytes counts by itself: the operator asked for it.
    pub by_body: bool,
    /// What happens where the key is missing.
    pub missing_id: MissingId,
    /// What happens to signed bytes that the app has taken, under another key or none.
    pub replay: ReplayRule,
    /// Keys remembered at least.
    pub max_entries: u64,
}

/// `replay`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplayRule {
    /// Forward, marked with `Hookgate-Replayed-Body: true`.
    Flag,
    /// Refuse with 409.
    Block,
    /// Do not look.
    Off,
}

impl ReplayRule {
    /// Each with its word in a config.
    pub const ALL: [(&'static str, Self); 3] = [
        ("flag", Self::Flag),
        ("block", Self::Block),
        ("off", Self::Off),
    ];

    /// Returns its word in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// The customers whose events a route takes, where the sender signs for all of them with one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TenantRule {
    /// The signed locations that name customers; every one that holds a value counts.
    pub place: Vec<Field>,
    /// The customers.
    pub allowed: Vec<String>,
}

/// `missing_id`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MissingId {
    /// Forward without dedup.
    Accept,
    /// Refuse.
    Reject,
    /// The digest of the signed bytes takes the id's place.
    Body,
}

impl MissingId {
    /// Each with its word in a config.
    pub const ALL: [(&'static str, Self); 3] = [
        ("accept", Self::Accept),
        ("reject", Self::Reject),
        ("body", Self::Body),
    ];

    /// Returns its word in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// `enforce`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Enforce {
    /// What fails a check is refused.
    Block,
    /// What fails a check is recorded and forwarded all the same.
    Monitor,
}

impl Enforce {
    /// Each with its word in a config.
    pub const ALL: [(&'static str, Self); 2] = [("block", Self::Block), ("monitor", Self::Monitor)];

    /// Returns its word in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// Another app for some of a route's events.
pub struct Branch {
    /// Their types; none: every type.
    pub events: Option<Patterns>,
    /// Their versions; none: every version.
    pub versions: Option<Patterns>,
    /// Where they go.
    pub upstream: Upstream,
}

/// Where verified requests go.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// `http://` or `https://`, host, optional port, path; no query, no fragment, no user.
    pub url: Uri,
    /// Where the URL stands in the config.
    pub span: Span,
    /// From the start to an established connection, TLS included.
    pub connect_timeout: Duration,
    /// From the request to the head of the answer, and between two pieces of its body.
    pub timeout: Duration,
    /// How long an idle connection is kept.
    pub pool_idle_timeout: Duration,
    /// Whether the body of an app's 5xx answer is passed on.
    pub pass_error_bodies: bool,
    /// How long a refused connection is tried again before it is an error: the app may be restarting.
    pub grace: Duration,
}

impl Server {
    /// Whether a peer's word about the sender's address is believed.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}
