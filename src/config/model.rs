//! The checked config: typed values for the rest of the program.
//!
//! Every value is ready to use, so no later stage has to handle a missing or invalid setting. `config::load` makes it;
//! `app` reads it when it builds a configuration snapshot.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::document::TextSpan;
use hookgate_verify::document::value::choice_word;
use hookgate_verify::model::glob::{GlobPattern, PatternList};
use hookgate_verify::model::rate::RateLimit;
use hookgate_verify::model::secret::Secret;
use hookgate_verify::providers::Provider;
use hookgate_verify::providers::challenge::OnChallenge;
use hookgate_verify::scheme::spec::{FieldLocation, IdentityKey, SchemeSpec};
use hookgate_verify::scheme::standard_webhooks::SigningKey;
use hookgate_verify::signature::DatedSecret;
use http::{HeaderName, HeaderValue, Method, Uri};
use ipnet::IpNet;

use crate::criteria::schema::EventSchema;
use crate::criteria::when::WhenExpression;
use crate::model::ids::{DestinationName, RouteName};

/// The contents of one config file.
pub struct GateConfig {
    /// Settings of the `[server]` section.
    pub server: ServerSection,
    /// Settings of the `[tls]` section; `None`: every listener speaks plain HTTP.
    pub tls: Option<TlsSection>,
    /// Settings of the `[admin]` section.
    pub admin: Option<AdminSection>,
    /// Settings of the `[store]` section; always present if a route needs a store.
    pub store: Option<StoreSection>,
    /// Settings of the `[log]` section.
    pub log: LogSection,
    /// Settings of the `[telemetry]` section; `None`: no traces.
    pub telemetry: Option<TelemetrySection>,
    /// The `[routes.NAME]` tables, sorted by name.
    pub routes: Vec<Route>,
}

/// Settings of `[server]`: listeners and their limits.
pub struct ServerSection {
    /// Addresses to listen on; ignored if systemd passes sockets.
    pub listen: Vec<SocketAddr>,
    /// Allows plain HTTP on addresses other than loopback.
    pub insecure_http: bool,
    /// Peers whose `X-Forwarded-For` and PROXY protocol headers are trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Policy for the PROXY protocol header at the start of a connection.
    pub proxy_protocol: ProxyProtocol,
    /// Limit of open connections in total.
    pub max_connections: usize,
    /// Limit of open connections per source (IPv4 address or IPv6 /64).
    pub max_connections_per_source: usize,
    /// Limit of requests in flight to upstreams.
    pub max_in_flight: usize,
    /// Limit of unverified requests per source, applied before the body is read.
    pub per_source_rate_limit: Option<RateLimit>,
    /// Time limit from accept to the end of the TLS handshake, PROXY header included.
    pub handshake_timeout: Duration,
    /// Time limit from the first byte of a request head to its end.
    pub header_timeout: Duration,
    /// Time limit for the whole request body.
    pub body_timeout: Duration,
    /// Time limit for a connection without a request.
    pub idle_timeout: Duration,
    /// Time limit from the stop signal to the end of the process.
    pub shutdown_timeout: Duration,
    /// Limit of the request head, in bytes.
    pub max_header_size: usize,
    /// The path of the health check for load balancers, on every host; `None`: no health check.
    pub health: Option<String>,
    /// Interval at which published address ranges are fetched; `None`: never.
    pub refresh_ranges: Option<Duration>,
    /// Folder for state that hookgate fetches or learns; `None`: as systemd says, else the default.
    pub state_dir: Option<PathBuf>,
    /// Number of verdicts of each kind to hold in memory; 0 disables it.
    pub keep_verdicts: usize,
    /// Number of rejected requests to hold in memory; 0 disables it.
    pub keep_rejected: usize,
}

impl ServerSection {
    /// Returns whether an IPv6 listener must not accept IPv4, because another listener has an IPv4 address on the same
    /// port. By default `[::]` accepts both.
    pub(crate) fn is_v6_only(&self, address: SocketAddr) -> bool {
        let is_v4 = |other: &SocketAddr| other.ip().to_canonical().is_ipv4();
        let mut others = self.listen.iter();
        !is_v4(&address)
            && address.port() != 0
            && others.any(|other| is_v4(other) && other.port() == address.port())
    }
}

/// Policy for the PROXY protocol header (`proxy_protocol`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyProtocol {
    /// No header is expected. One that arrives is not a TLS record, so the connection is closed.
    Off,
    /// Each connection must begin with a header from a trusted proxy, or is closed.
    Required,
}

impl ProxyProtocol {
    /// All values with their words in a config.
    pub const ALL: [(&'static str, Self); 2] = [("off", Self::Off), ("required", Self::Required)];

    /// Returns the word for the value in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// Settings of `[tls]`: certificates and protocol versions.
pub struct TlsSection {
    /// `cert` and `key` first, then each of `[[tls.certificates]]`; the first serves names that no other certificate
    /// covers.
    pub certificates: Vec<CertificateFiles>,
    /// PEM file of the CAs that client certificates must chain to; `None`: clients need no certificate.
    pub client_ca: Option<(PathBuf, TextSpan)>,
    /// The lowest TLS version to accept.
    pub min_version: TlsVersion,
}

/// Files of one certificate chain and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate chain, leaf certificate first.
    pub cert: PathBuf,
    /// The private key of the leaf certificate.
    pub key: PathBuf,
    /// Span of `cert` in the config.
    pub cert_span: TextSpan,
    /// Span of `key` in the config.
    pub key_span: TextSpan,
}

/// Lowest TLS version to accept (`min_version`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsVersion {
    /// TLS 1.2 and later, `"1.2"`.
    Tls12,
    /// TLS 1.3 and later, `"1.3"`.
    Tls13,
}

impl TlsVersion {
    /// All values with their words in a config.
    pub const ALL: [(&'static str, Self); 2] = [("1.2", Self::Tls12), ("1.3", Self::Tls13)];

    /// Returns the word for the value in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// Settings of `[admin]`: the admin listener.
pub struct AdminSection {
    /// `listen`: a TCP address or `unix:/path`.
    pub listen: AdminListen,
    /// `token` and `[[admin.tokens]]`. If there are any, requests need one of them as `Authorization: Bearer TOKEN`.
    pub tokens: Vec<AdminToken>,
    /// `[admin.tls]`; always present if `listen` is not loopback.
    pub tls: Option<CertificateFiles>,
    /// `host`: names that browsers may use, in addition to loopback, addresses and the names of the certificate.
    pub hosts: Vec<String>,
}

/// Credentials and role of one user of the admin listener.
#[derive(Clone)]
pub struct AdminToken {
    /// Name of the token in the audit log.
    pub name: Arc<str>,
    /// Role that decides which actions are allowed.
    pub role: AdminRole,
    /// The token that the client must send.
    pub secret: Arc<Secret>,
}

/// Role of an admin token (`role`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AdminRole {
    /// May read everything except the audit log.
    Viewer,
    /// May read and change everything.
    Operator,
}

impl AdminRole {
    /// All values with their words in a config.
    pub const ALL: [(&'static str, Self); 2] =
        [("viewer", Self::Viewer), ("operator", Self::Operator)];

    /// Returns the word for the role in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// Address of the admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminListen {
    /// A TCP address; if it is not loopback, TLS and a token are required.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// Settings of `[log]`: format and level.
pub struct LogSection {
    /// `format`: the format of log lines.
    pub format: LogFormat,
    /// `level`: `error`, `warn`, `info`, `debug` or `trace`.
    pub level: tracing::Level,
    /// Logs a line for each accepted request.
    pub accepted: bool,
}

/// Settings of `[telemetry]`: the trace exporter.
#[derive(Clone, PartialEq)]
pub struct TelemetrySection {
    /// `otlp`, with the path for traces appended.
    pub url: Uri,
    /// `sample`: share of traced requests, 0.0 to 1.0.
    pub sample: f64,
    /// `service_name`: the name of the service in traces.
    pub service: String,
    /// `headers`: extra headers for the collector.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Format of log lines (`format`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// Text on a terminal; journald if stderr is its stream; else JSON.
    Auto,
    /// Text for people to read.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// All values with their words in a config.
    pub const ALL: [(&'static str, Self); 3] = [
        ("auto", Self::Auto),
        ("text", Self::Text),
        ("json", Self::Json),
    ];

    /// Returns the word for the value in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// Source addresses that may send (`allow_ips`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AllowIps {
    /// The ranges that the config lists.
    pub nets: Vec<IpNet>,
    /// Adds the ranges that the provider publishes (`"provider"`).
    pub is_provider: bool,
}

/// Settings of one route: `[routes.NAME]`.
pub struct Route {
    /// NAME of the route's table.
    pub name: RouteName,
    /// Span of the table's name in the config.
    pub span: TextSpan,
    /// `host` in lower case, without port; `None`: every host.
    pub host: Option<String>,
    /// The rule for the request path: `path` or `prefix`.
    pub path: PathRule,
    /// Methods that the route accepts; default POST.
    pub methods: Vec<Method>,
    /// Allowed media types, in lower case, without parameters; empty: all.
    pub content_types: Vec<String>,
    /// The provider, if the route names one.
    pub provider: Option<Arc<Provider>>,
    /// The provider's signature scheme, or the route's own.
    pub scheme: SchemeSpec,
    /// Secrets that may verify a request, in config order.
    pub secrets: Vec<SecretEntry>,
    /// Largest difference between a signed timestamp and now.
    pub tolerance: Duration,
    /// Scheme, host and port by which the sender knows this route, without a slash at the end.
    pub public_url: Option<String>,
    /// Source addresses that may send; `None`: all.
    pub allow_ips: Option<AllowIps>,
    /// Limit of verified requests per time.
    pub rate_limit: Option<RateLimit>,
    /// Limit of the request body, in bytes.
    pub max_body: usize,
    /// Deduplication settings; `None`: `dedup = false`.
    pub dedup: Option<DedupRule>,
    /// Customers whose events it accepts; `None` if each customer has a signing key.
    pub tenant: Option<TenantRule>,
    /// `enforce`: block or monitor failed checks.
    pub enforce: EnforceMode,
    /// `continue_trace`: continues the sender's trace.
    pub continue_trace: bool,
    /// Token that proves that a URL check comes from the provider, if the check is not signed.
    pub verify_token: Option<Secret>,
    /// Handling of the provider's URL checks; `None`: like any other request.
    pub on_challenge: Option<OnChallenge>,
    /// Event types that the upstream gets; `None`: all.
    pub events: Option<PatternList>,
    /// Event versions that the upstream gets; `None`: all.
    pub versions: Option<PatternList>,
    /// Condition for an event to reach the upstream; `None`: always.
    pub when: Option<Arc<WhenExpression>>,
    /// JSON Schemas by pattern of event type; a body must fit every schema whose pattern matches.
    pub schemas: Vec<SchemaRule>,
    /// Keys that sign forwarded requests; empty: no signature.
    pub sign_upstream: Vec<Arc<SigningKey>>,
    /// Handling of verified requests: forward, store or both.
    pub mode: RouteMode,
    /// Upstream that gets verified requests while the sender waits; always present in proxy and hybrid mode.
    pub upstream: Option<UpstreamSettings>,
    /// Other upstreams for some of the events; the first match counts.
    pub branches: Vec<UpstreamBranch>,
    /// Upstream for requests that failed a check in monitor mode; `None`: `upstream`.
    pub unverified_upstream: Option<UpstreamSettings>,
    /// Unix socket on which local apps post without a secret; `None`: no socket.
    pub socket: Option<LocalSocket>,
    /// Destinations of stored events; at least one in queue and hybrid mode, empty otherwise.
    pub destinations: Vec<Arc<DestinationSection>>,
}

/// One JSON Schema of a route (`schemas`).
#[derive(Clone)]
pub struct SchemaRule {
    /// Pattern of the event types that it applies to.
    pub pattern: GlobPattern,
    /// The file of the schema.
    pub path: PathBuf,
    /// The compiled schema.
    pub schema: Arc<EventSchema>,
}

/// Handling of verified requests (`mode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteMode {
    /// Forwards the request while the sender waits.
    Proxy,
    /// Commits the event to the inbox, responds at once and delivers it from there.
    Queue,
    /// Forwards the request, and commits the event if the upstream does not accept it within `answer_within`.
    Hybrid {
        /// Time limit for the upstream's response.
        answer_within: Duration,
        /// Stores the event on a 4xx of the upstream instead of passing that on (`store_on = ["4xx"]`).
        stores_4xx: bool,
    },
}

impl RouteMode {
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
    /// See [`RouteMode::Proxy`].
    Proxy,
    /// See [`RouteMode::Queue`].
    Queue,
    /// See [`RouteMode::Hybrid`].
    Hybrid,
}

impl ModeName {
    /// All values with their words in a config.
    pub const ALL: [(&'static str, Self); 3] = [
        ("proxy", Self::Proxy),
        ("queue", Self::Queue),
        ("hybrid", Self::Hybrid),
    ];

    /// Returns the word for the value in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// Unix socket for local apps (`socket` of a route).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalSocket {
    /// The path of the Unix socket.
    pub path: PathBuf,
    /// User ids that may post events.
    pub users: Vec<u32>,
}

/// Settings of `[store]`: location, limits and retention.
pub struct StoreSection {
    /// The database file of `sqlite:PATH`.
    pub path: PathBuf,
    /// Bytes to leave free on the disk.
    pub min_free: u64,
    /// Limit of the file in bytes; `None`: only `min_free` applies.
    pub max_size: Option<u64>,
    /// Limit of stored events; `None`: no limit.
    pub max_events: Option<u64>,
    /// Retention of events and attempts that have ended.
    pub retention: RetentionSection,
    /// Keeps the body of an event after its deliveries.
    pub keep_body: bool,
    /// Keys that encrypt payloads: the first one seals, all of them open. Empty: payloads are stored unencrypted.
    pub encryption_keys: Vec<Arc<Secret>>,
}

/// Retention (`[store] retention`). `None` in a field: forever.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetentionSection {
    /// Age limit of events whose deliveries were all delivered or cancelled.
    pub delivered: Option<Duration>,
    /// Age limit of dead letters.
    pub dead: Option<Duration>,
    /// Age limit of attempts whose deliveries have ended.
    pub attempts: Option<Duration>,
    /// File size in bytes above which the oldest ended events are deleted.
    pub size: Option<u64>,
}

/// One destination: `[routes.NAME.destinations.NAME]`, or the `upstream` of a queue or hybrid route under the name
/// `upstream`.
pub struct DestinationSection {
    /// NAME of the destination's table.
    pub name: DestinationName,
    /// Span of the table's name in the config.
    pub span: TextSpan,
    /// `http://` or `https://`, host, optional port, path, optional query.
    pub url: Uri,
    /// Span of the URL in the config.
    pub url_span: TextSpan,
    /// Appends the path behind the route's prefix, and the query, as in proxy mode. True for the `upstream` of a route.
    pub appends_rest: bool,
    /// Event types that it gets; `None`: all.
    pub events: Option<PatternList>,
    /// Condition for an event to be delivered; `None`: always.
    pub when: Option<Arc<WhenExpression>>,
    /// Attempts deliveries now. Deliveries are created in any case.
    pub active: bool,
    /// Time limit from the start to an established connection, TLS included.
    pub connect_timeout: Duration,
    /// Time limit from the request to the end of the response.
    pub timeout: Duration,
    /// Time for which an idle connection is kept.
    pub pool_idle_timeout: Duration,
    /// Limit of attempts at the same time.
    pub concurrency: usize,
    /// Limit of attempts per time.
    pub rate_limit: Option<RateLimit>,
    /// Schedule for retries of failed attempts.
    pub retry: RetryPolicy,
    /// Order in which deliveries are attempted.
    pub order: DeliveryOrder,
    /// Headers to set on each attempt; they replace headers of the same name.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Keys that sign each attempt as Standard Webhooks; empty: no signature.
    pub secrets: Vec<Arc<SigningKey>>,
    /// Signs each attempt again in the sender's own scheme (`resign = "provider"` of the route).
    pub resign: bool,
    /// CAs and client certificate of its own; `None`: the system's CAs.
    pub tls: Option<DestinationTls>,
    /// Treats the destination as a host on the internet: https only, and no special addresses.
    pub external: bool,
    /// Adds `Repr-Digest` to each attempt.
    pub repr_digest: bool,
    /// Failures in a row after which attempts pause; `None`: never.
    pub breaker: Option<u32>,
}

/// Outgoing TLS of a destination (`tls`). The files are read when the config is loaded.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DestinationTls {
    /// PEM file of the CAs that the server certificate must chain to.
    pub ca: Option<PathBuf>,
    /// PEM files of the client certificate chain and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Retry schedule of a destination (`retry`).
#[derive(Clone, PartialEq, Debug)]
pub struct RetryPolicy {
    /// Pauses after the first, second, ... failed attempt.
    pub pauses: RetryPauses,
    /// Limit of attempts, the first one included.
    pub max_attempts: u32,
    /// Age of a delivery after which no attempt begins; `None`: no limit.
    pub max_age: Option<Duration>,
    /// Largest share by which each pause grows at random: 0.0 to 1.0.
    pub jitter: f64,
}

/// Lengths of the pauses between attempts.
#[derive(Clone, PartialEq, Debug)]
pub enum RetryPauses {
    /// One after the other; the last one is used for all later attempts.
    List(Vec<Duration>),
    /// Begins with `base`; each pause is `factor` times the one before, but at most `cap`.
    Exponential {
        /// Length of the first pause.
        base: Duration,
        /// Growth per pause; at least 1.0.
        factor: f64,
        /// Length of the longest pause.
        cap: Duration,
    },
}

/// Order of the deliveries to a destination (`order`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeliveryOrder {
    /// No order: deliveries do not wait for each other.
    None,
    /// One delivery after the other, in the order of acceptance.
    Fifo,
    /// One after the other among events with the same value of this header.
    FifoByHeader(HeaderName),
    /// One after the other among events with the same value at this JSON pointer.
    FifoByJson(String),
}

/// Rule for the request path (`path` or `prefix`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PathRule {
    /// The raw path must equal this text.
    Exact(String),
    /// The raw path must equal this text or continue it with a `/`; the rest is appended to the upstream's path. The
    /// text has no slash at the end, except for `/` itself.
    Prefix(String),
}

impl PathRule {
    /// Returns the prefix, if the rule is one.
    #[must_use]
    pub fn prefix(&self) -> Option<&str> {
        match self {
            Self::Exact(_) => None,
            Self::Prefix(prefix) => Some(prefix),
        }
    }
}

/// One secret of a route, and when it is valid.
pub struct SecretEntry {
    /// `name`, or its position as `"1"`, `"2"`, ...; the verdict names the secret by it.
    pub label: Arc<str>,
    /// The kind of place that the config names for it.
    pub source: SecretSource,
    /// The secret as the provider shows it.
    pub secret: Secret,
    /// Start of its validity, in milliseconds since the epoch.
    pub not_before_ms: Option<i64>,
    /// End of its validity (exclusive), in milliseconds since the epoch.
    pub until_ms: Option<i64>,
    /// Span of the secret in the config.
    pub span: TextSpan,
}

/// Source of a secret's text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecretSource {
    /// The config file itself, or the command line of a tool.
    Literal,
    /// An environment variable (`env`).
    Variable,
    /// A file (`file`).
    File,
    /// A systemd credential (`credential`).
    Credential,
    /// The sender: it publishes its keys, so the config sets no secret.
    Sender,
}

impl<'s> From<&'s SecretEntry> for DatedSecret<'s> {
    fn from(entry: &'s SecretEntry) -> Self {
        // The verifier needs neither the place of the secret nor its span.
        Self {
            label: Arc::clone(&entry.label),
            secret: &entry.secret,
            not_before_ms: entry.not_before_ms,
            until_ms: entry.until_ms,
        }
    }
}

impl SecretEntry {
    /// Creates a literal secret that is always valid.
    pub fn new(label: impl Into<Arc<str>>, secret: Secret) -> Self {
        Self {
            label: label.into(),
            source: SecretSource::Literal,
            secret,
            not_before_ms: None,
            until_ms: None,
            span: TextSpan::default(),
        }
    }

    /// Returns whether the secret is valid at this time.
    #[must_use]
    pub fn is_current(&self, unix_ms: i64) -> bool {
        self.not_before_ms.is_none_or(|from| from <= unix_ms)
            && self.until_ms.is_none_or(|until| unix_ms < until)
    }
}

/// Deduplication: `dedup = { window, by, missing_id, replay, max_entries }`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DedupRule {
    /// Time for which a spent key is remembered.
    pub window: Duration,
    /// The key that identifies an event; empty: requests have no key.
    pub key: IdentityKey,
    /// Combines the key with the digest of the body, because the signature does not cover the whole key.
    pub binds_body: bool,
    /// Treats equal signed bytes as duplicates; only if the operator asked for it.
    pub by_body: bool,
    /// Handling of requests without the key.
    pub missing_id: MissingId,
    /// Handling of signed bytes that the upstream has already taken under another key, or under no key.
    pub replay: ReplayRule,
    /// Number of keys that are remembered at least.
    pub max_entries: u64,
}

/// Handling of repeated signed bytes (`replay`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplayRule {
    /// Forwards the request with `Hookgate-Replayed-Body: true`.
    Flag,
    /// Rejects the request with 409.
    Block,
    /// Does not check for replays.
    Off,
}

impl ReplayRule {
    /// All values with their words in a config.
    pub const ALL: [(&'static str, Self); 3] = [
        ("flag", Self::Flag),
        ("block", Self::Block),
        ("off", Self::Off),
    ];

    /// Returns the word for the rule in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// Customers whose events a route accepts, for senders that sign for all customers with one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TenantRule {
    /// The signed locations that name customers; each one with a value counts.
    pub location: Vec<FieldLocation>,
    /// Ids of the customers to accept.
    pub allowed: Vec<String>,
}

/// Handling of requests without an event key (`missing_id`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MissingId {
    /// Forwards the request without dedup.
    Accept,
    /// Rejects the request with 400.
    Reject,
    /// Uses the digest of the signed bytes as the key.
    Body,
}

impl MissingId {
    /// All values with their words in a config.
    pub const ALL: [(&'static str, Self); 3] = [
        ("accept", Self::Accept),
        ("reject", Self::Reject),
        ("body", Self::Body),
    ];

    /// Returns the word for the value in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// Handling of failed checks (`enforce`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EnforceMode {
    /// Rejects requests that fail a check.
    Block,
    /// Records requests that fail a check, and forwards them.
    Monitor,
}

impl EnforceMode {
    /// All values with their words in a config.
    pub const ALL: [(&'static str, Self); 2] = [("block", Self::Block), ("monitor", Self::Monitor)];

    /// Returns the word for the value in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// Another upstream for some of a route's events.
pub struct UpstreamBranch {
    /// Types of these events; `None`: all.
    pub events: Option<PatternList>,
    /// Versions of these events; `None`: all.
    pub versions: Option<PatternList>,
    /// Upstream that gets these events.
    pub upstream: UpstreamSettings,
}

/// Endpoint that gets verified requests, and its time limits.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// `http://` or `https://`, host, optional port, path; no query, no fragment, no user info.
    pub url: Uri,
    /// Span of the URL in the config.
    pub span: TextSpan,
    /// Time limit from the start to an established connection, TLS included.
    pub connect_timeout: Duration,
    /// Time limit from the request to the response head, and between two pieces of its body.
    pub timeout: Duration,
    /// Time for which an idle connection is kept.
    pub pool_idle_timeout: Duration,
    /// Passes the body of 5xx responses to the sender.
    pub pass_error_bodies: bool,
    /// Time for which a refused connection is retried before it is an error: the upstream may be restarting.
    pub grace: Duration,
}

impl ServerSection {
    /// Returns whether the peer's statement about the client's address is trusted.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}
