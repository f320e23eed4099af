//! `[server]`: listeners, and limits for clients.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use hookgate_verify::document::TextSpan;
use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value;
use hookgate_verify::model::rate::RateLimit;

use crate::config::http_listener;
use crate::config::model::{ProxyProtocol, ServerSection};
use crate::config::route::raw_path;

/// `[server]` with the spans that later checks point at.
pub(super) struct SpannedServerSection {
    pub(super) server: ServerSection,
    pub(super) listen_spans: Vec<TextSpan>,
    pub(super) health_span: Option<TextSpan>,
    /// Spans of the addresses of `[server.http]`.
    pub(super) http_spans: Vec<TextSpan>,
}

const SECOND: Duration = Duration::from_secs(1);

/// The default idle timeout of AWS ALB, and nginx's `keepalive_timeout` to upstreams. Google's is 10 minutes.
const BALANCER_IDLE: Duration = Duration::from_secs(60);

const DEFAULT_SOURCE_RATE: Option<(NonZeroU32, NonZeroU32)> =
    match (NonZeroU32::new(50), NonZeroU32::new(100)) {
        (Some(per_second), Some(burst)) => Some((per_second, burst)),
        _ => None,
    };

/// Reads the section; without it every default applies.
pub(super) fn read(table: Option<TomlTable<'_>>) -> SpannedServerSection {
    let Some(mut table) = table else {
        return SpannedServerSection {
            server: defaults(),
            listen_spans: Vec::new(),
            health_span: None,
            http_spans: Vec::new(),
        };
    };
    // Each key that is absent or wrong keeps its default, so that the other sections can be checked.
    let mut server = defaults();
    let listen = table.list(&LISTEN, value::socket_address);
    let listen_spans = listen.iter().flatten().map(|placed| placed.span).collect();
    server.listen = listen
        .into_iter()
        .flatten()
        .map(|placed| placed.value)
        .collect();
    read_sources(&mut table, &mut server);
    read_limits(&mut table, &mut server);
    // Needs the proxies and the timeout, so it follows both.
    check_idle_timeout(&table, &server);
    let health = table.read_placed(&HEALTH, raw_path);
    let health_span = health.as_ref().map(|placed| placed.span);
    server.health = health.map(|placed| placed.value);
    server.refresh_ranges = table.read(&REFRESH_RANGES, refresh_period).flatten();
    server.state_dir = table.read(&STATE_DIR, absolute_path);
    let keep_verdicts = table.read(&KEEP_VERDICTS, |value| value::amount(value, MOST_VERDICTS));
    server.keep_verdicts = keep_verdicts.unwrap_or(server.keep_verdicts);
    let keep_rejected = table.read(&KEEP_REJECTED, |value| value::amount(value, MOST_REJECTED));
    server.keep_rejected = keep_rejected.unwrap_or(server.keep_rejected);
    let http = table.table(&HTTP).and_then(http_listener::read);
    let (http, http_spans) = http.unzip();
    server.http = http;
    table.deny_unknown();
    SpannedServerSection {
        server,
        listen_spans,
        health_span,
        http_spans: http_spans.unwrap_or_default(),
    }
}

fn read_sources(table: &mut TomlTable<'_>, server: &mut ServerSection) {
    let insecure_http = table.read(&INSECURE_HTTP, value::boolean);
    server.insecure_http = insecure_http.unwrap_or(server.insecure_http);
    let proxies = table.list(&TRUSTED_PROXIES, value::network);
    for placed in proxies.iter().flatten() {
        // A /0 range trusts every client to name any source address, which defeats source limits and `allow_ips`.
        if placed.value.prefix_len() == 0 {
            let fault = ValueFault::new(
                format!(
                    "`{}` trusts every client to state its own source address",
                    placed.value
                ),
                "list only the addresses of your load balancers",
            );
            table.warning(placed.span, fault);
        }
    }
    server.trusted_proxies = proxies
        .into_iter()
        .flatten()
        .map(|placed| placed.value)
        .collect();
    let protocol = table.read_placed(&PROXY_PROTOCOL, |value| {
        value::choice(value, &ProxyProtocol::ALL)
    });
    if let Some(protocol) = protocol {
        server.proxy_protocol = protocol.value;
        // Headers count only from trusted proxies, and connections without a header are closed.
        if protocol.value == ProxyProtocol::Required && server.trusted_proxies.is_empty() {
            table.error(
                protocol.span,
                ValueFault::new(
                    "`proxy_protocol` is required but no proxy is trusted, so every connection would be closed",
                    "add `trusted_proxies = [\"10.0.0.7\"]` with the addresses of your load balancers",
                ),
            );
        }
    }
}

fn read_limits(table: &mut TomlTable<'_>, server: &mut ServerSection) {
    for (key, slot) in [
        (&MAX_CONNECTIONS, &mut server.max_connections),
        (
            &MAX_CONNECTIONS_PER_SOURCE,
            &mut server.max_connections_per_source,
        ),
        (&MAX_IN_FLIGHT, &mut server.max_in_flight),
    ] {
        if let Some(count) = table.read(key, value::size_count) {
            *slot = count;
        }
    }
    for (key, slot) in [
        (&HANDSHAKE_TIMEOUT, &mut server.handshake_timeout),
        (&HEADER_TIMEOUT, &mut server.header_timeout),
        (&BODY_TIMEOUT, &mut server.body_timeout),
        (&IDLE_TIMEOUT, &mut server.idle_timeout),
        (&SHUTDOWN_TIMEOUT, &mut server.shutdown_timeout),
    ] {
        if let Some(duration) = table.read(key, value::duration) {
            *slot = duration;
        }
    }
    server.shutdown_delay = table.read(&SHUTDOWN_DELAY, value::duration);
    let rate = table.read(&PER_SOURCE_RATE_LIMIT, |value| {
        value::false_or(value, value::rate)
    });
    server.per_source_rate_limit = rate.unwrap_or(server.per_source_rate_limit);
    let size = table.read(&MAX_HEADER_SIZE, |value| {
        let size = value::size(value)?;
        // Below 1 KiB no provider's head fits; above 1 MiB one connection takes too much memory.
        if (1 << 10..=1 << 20).contains(&size) {
            Ok(size)
        } else {
            Err(ValueFault::new(
                "this limit for the request head is out of range",
                "set a size from `\"1KiB\"` to `\"1MiB\"`",
            ))
        }
    });
    server.max_header_size = size.unwrap_or(server.max_header_size);
}

/// Warns if a load balancer in front may send a request on a connection that is being closed. The side that reuses
/// connections must close idle ones first.
fn check_idle_timeout(table: &TomlTable<'_>, server: &ServerSection) {
    let Some(span) = table.name_span_of(&IDLE_TIMEOUT) else {
        return;
    };
    // Without a trusted proxy, hookgate cannot know of a load balancer in front, and a short timeout may be intended.
    if server.trusted_proxies.is_empty() || server.idle_timeout > BALANCER_IDLE {
        return;
    }
    let fault = ValueFault::new(
        "load balancers keep idle connections for 60 seconds (AWS ALB, nginx) or longer: a request on a connection that hookgate is closing is lost",
        "set `idle_timeout` longer than the idle timeout of the load balancer, for example `\"75s\"`",
    );
    table.warning(span, fault);
}

/// Reads an interval that is short enough to follow a sender's changes and long enough not to burden it.
fn refresh_period(value: &TomlValue<'_>) -> Result<Option<Duration>, ValueFault> {
    let Some(period) = value::false_or(value, value::duration)? else {
        return Ok(None);
    };
    if (LEAST_REFRESH..=MOST_REFRESH).contains(&period) {
        return Ok(Some(period));
    }
    Err(ValueFault::new(
        "this interval is out of range: published ranges change a few times a year",
        "set an interval from `\"1m\"` to `\"30d\"`; `\"24h\"` is usual",
    ))
}

fn absolute_path(value: &TomlValue<'_>) -> Result<PathBuf, ValueFault> {
    let path = value::path(value)?;
    // systemd starts services in `/`, so a relative path would not be where the operator expects it.
    if path.is_absolute() {
        return Ok(path);
    }
    Err(ValueFault::new(
        "the folder is not an absolute path",
        "write it as in `\"/var/lib/hookgate\"`",
    ))
}

/// Returns the defaults. A comment at each key gives the reason for its value.
fn defaults() -> ServerSection {
    ServerSection {
        listen: Vec::new(),
        insecure_http: false,
        trusted_proxies: Vec::new(),
        proxy_protocol: ProxyProtocol::Off,
        max_connections: 10_000,
        max_connections_per_source: 256,
        max_in_flight: 1024,
        per_source_rate_limit: DEFAULT_SOURCE_RATE.map(|(per_second, burst)| RateLimit {
            count: per_second,
            period: SECOND,
            burst,
        }),
        handshake_timeout: 10 * SECOND,
        header_timeout: 10 * SECOND,
        body_timeout: 30 * SECOND,
        idle_timeout: 75 * SECOND,
        shutdown_delay: None,
        shutdown_timeout: 30 * SECOND,
        max_header_size: 16 << 10,
        health: None,
        refresh_ranges: None,
        state_dir: None,
        keep_verdicts: 1000,
        keep_rejected: 100,
        http: None,
    }
}

/// Keys of the `[server]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "server",
    doc: "Addresses to listen on, and limits for clients.",
    keys: &[
        &LISTEN,
        &INSECURE_HTTP,
        &TRUSTED_PROXIES,
        &PROXY_PROTOCOL,
        &MAX_CONNECTIONS,
        &MAX_CONNECTIONS_PER_SOURCE,
        &MAX_IN_FLIGHT,
        &PER_SOURCE_RATE_LIMIT,
        &HANDSHAKE_TIMEOUT,
        &HEADER_TIMEOUT,
        &BODY_TIMEOUT,
        &IDLE_TIMEOUT,
        &SHUTDOWN_DELAY,
        &SHUTDOWN_TIMEOUT,
        &MAX_HEADER_SIZE,
        &HEALTH,
        &REFRESH_RANGES,
        &STATE_DIR,
        &KEEP_VERDICTS,
        &KEEP_REJECTED,
        &HTTP,
    ],
    required: &[],
    one_of: &[],
};

pub(super) static LISTEN: KeyDefinition = KeyDefinition {
    name: "listen",
    kind: ValueKind::List(&ValueKind::Address),
    default: Some("only the sockets that systemd hands over"),
    example: "[\"0.0.0.0:443\", \"[::]:443\"]",
    doc: "Addresses to listen on. `[::]` accepts IPv4 as well, unless an IPv4 address with the same port is listed. Sockets that systemd passes replace these addresses.",
};

pub(super) static INSECURE_HTTP: KeyDefinition = KeyDefinition {
    name: "insecure_http",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Allows plain HTTP on an address other than loopback. Anyone on the network path can then read and replay every event.",
};

pub(super) static TRUSTED_PROXIES: KeyDefinition = KeyDefinition {
    name: "trusted_proxies",
    kind: ValueKind::List(&ValueKind::Network),
    default: Some("[]"),
    example: "[\"10.0.0.0/8\"]",
    doc: "Proxies and load balancers whose `X-Forwarded-For` and PROXY protocol headers are trusted. Headers from other clients are dropped. If a PROXY header names no address, the peer is the source, and `X-Forwarded-For` is ignored.",
};

pub(super) static PROXY_PROTOCOL: KeyDefinition = KeyDefinition {
    name: "proxy_protocol",
    kind: ValueKind::Choice(&value::choice_words(&ProxyProtocol::ALL)),
    default: Some("\"off\""),
    example: "\"required\"",
    doc: "With `required`, each connection must begin with a PROXY protocol header (version 1 or 2) from a trusted proxy, or is closed.",
};

// At most about 200 MiB of connection state; an idle TLS connection takes some 20 KiB.
pub(super) static MAX_CONNECTIONS: KeyDefinition = KeyDefinition {
    name: "max_connections",
    kind: ValueKind::Count,
    default: Some("10000"),
    example: "10000",
    doc: "Maximum number of connections. Further ones are closed at once. The process needs somewhat more file descriptors than this.",
};

// A provider's pool opens a few dozen connections. With 256, only forty sources together reach the total, and no single
// one can.
pub(super) static MAX_CONNECTIONS_PER_SOURCE: KeyDefinition = KeyDefinition {
    name: "max_connections_per_source",
    kind: ValueKind::Count,
    default: Some("256"),
    example: "256",
    doc: "Maximum number of connections from one source, which is an IPv4 address or the /64 network of an IPv6 address.",
};

// With bodies of 1 MiB this bounds memory at 1 GiB. An app that responds in 50 ms takes 20,000 requests a second with
// 1024 in flight.
pub(super) static MAX_IN_FLIGHT: KeyDefinition = KeyDefinition {
    name: "max_in_flight",
    kind: ValueKind::Count,
    default: Some("1024"),
    example: "1024",
    doc: "Maximum number of requests in flight to apps. Each verified request takes one permit; further requests get 503 with `Retry-After`. In addition, as many requests (at least 256) may wait for verification, at most a fourth of them from one source. The memory for bodies is bounded by these numbers times the largest `max_body`.",
};

// Verified requests are refunded, so this leaves room for probes and mistakes, far below a harmful flood.
pub(super) static PER_SOURCE_RATE_LIMIT: KeyDefinition = KeyDefinition {
    name: "per_source_rate_limit",
    kind: ValueKind::FalseOr(&ValueKind::Rate),
    default: Some("{ per_second = 50, burst = 100 }"),
    example: "\"50/s\"",
    doc: "Maximum rate of unverified requests from one source. Further requests get 429 before their body is read. A request with a valid signature does not count. `false` disables the limit.",
};

// A handshake takes three round trips and a few milliseconds; a phone on a bad connection needs 2 seconds.
pub(super) static HANDSHAKE_TIMEOUT: KeyDefinition = KeyDefinition {
    name: "handshake_timeout",
    kind: ValueKind::Duration,
    default: Some("\"10s\""),
    example: "\"10s\"",
    doc: "Maximum time from the start of a connection to the end of its TLS handshake, including the PROXY protocol header.",
};

// Senders write the head in one piece; a client that sends it slowly only occupies the connection.
pub(super) static HEADER_TIMEOUT: KeyDefinition = KeyDefinition {
    name: "header_timeout",
    kind: ValueKind::Duration,
    default: Some("\"10s\""),
    example: "\"10s\"",
    doc: "Maximum time from the first byte of a request head to its end. For the first request of a connection, it begins at the end of the handshake.",
};

// Providers wait 5 to 30 seconds for a response, so no provider still waits for one whose body takes longer.
pub(super) static BODY_TIMEOUT: KeyDefinition = KeyDefinition {
    name: "body_timeout",
    kind: ValueKind::Duration,
    default: Some("\"30s\""),
    example: "\"30s\"",
    doc: "Maximum time for the whole request body, not for each piece of it.",
};

// Longer than the pause between two bursts of events, so that a sender's pool stays warm. Also longer than load
// balancers keep a connection by default (60 s), so that the balancer closes it first.
pub(super) static IDLE_TIMEOUT: KeyDefinition = KeyDefinition {
    name: "idle_timeout",
    kind: ValueKind::Duration,
    default: Some("\"75s\""),
    example: "\"75s\"",
    doc: "How long a connection is kept open after its last request. Behind a load balancer, set it longer than the balancer's own idle timeout.",
};

// As long as the default `timeout` of a route, so that each request in flight can end.
pub(super) static SHUTDOWN_TIMEOUT: KeyDefinition = KeyDefinition {
    name: "shutdown_timeout",
    kind: ValueKind::Duration,
    default: Some("\"30s\""),
    example: "\"30s\"",
    doc: "Maximum time from the stop signal, or from the end of `shutdown_delay`, to the end of the process. Requests in flight can finish within it.",
};

pub(super) static SHUTDOWN_DELAY: KeyDefinition = KeyDefinition {
    name: "shutdown_delay",
    kind: ValueKind::Duration,
    default: None,
    example: "\"10s\"",
    doc: "Time from the stop signal to the end of accepting connections. Health checks fail at once, and everything else is served. Set it to the time that a load balancer needs to notice. A second signal ends it. A restart or upgrade in which a new process takes over does without it.",
};

// The longest heads of providers (with JWTs, B3 and W3C trace headers) stay below 8 KiB.
pub(super) static MAX_HEADER_SIZE: KeyDefinition = KeyDefinition {
    name: "max_header_size",
    kind: ValueKind::Size,
    default: Some("\"16KiB\""),
    example: "\"16KiB\"",
    doc: "Maximum size of a request head. A larger one gets 431.",
};

pub(super) static HEALTH: KeyDefinition = KeyDefinition {
    name: "health",
    kind: ValueKind::Text,
    default: None,
    example: "\"/healthz\"",
    doc: "Path of a health check for load balancers, which gets 200 on every host. Without it there is no health check on these listeners.",
};
// The shortest interval is for trials. The longest, a month, is the longest time by which an announced change may be
// noticed late.
const LEAST_REFRESH: Duration = Duration::from_secs(60);
const MOST_REFRESH: Duration = Duration::from_secs(30 * 86_400);

pub(super) static REFRESH_RANGES: KeyDefinition = KeyDefinition {
    name: "refresh_ranges",
    kind: ValueKind::FalseOr(&ValueKind::Duration),
    default: Some("false"),
    example: "\"24h\"",
    doc: "How often to fetch the ranges of `allow_ips = [\"provider\"]` from providers that publish them in machine-readable form. A response that fails, is empty or differs implausibly is logged and changes nothing.",
};

pub(super) static STATE_DIR: KeyDefinition = KeyDefinition {
    name: "state_dir",
    kind: ValueKind::Path,
    default: Some("`STATE_DIRECTORY` of systemd, else \"/var/lib/hookgate\""),
    example: "\"/var/lib/hookgate\"",
    doc: "Folder for state that hookgate fetches: address ranges, keys and certificates. A change requires a restart.",
};

// About 35 MB at the usual 700 bytes each, and as much again for unverified requests.
const MOST_VERDICTS: usize = 50_000;

// An hour for an account that sends an event every four seconds; 1.4 MB.
pub(super) static KEEP_VERDICTS: KeyDefinition = KeyDefinition {
    name: "keep_verdicts",
    kind: ValueKind::Amount,
    default: Some("1000"),
    example: "1000",
    doc: "Number of recent verdicts to hold in memory for lists, live tails and searches by request id. As many again are held for unverified requests. `0` disables it.",
};

// Each rejection searches all of them, so their number is bounded.
const MOST_REJECTED: usize = 1000;

// Room for a few examples of each problem that a gate has at one time; their bodies take 8 MiB at most.
pub(super) static KEEP_REJECTED: KeyDefinition = KeyDefinition {
    name: "keep_rejected",
    kind: ValueKind::Amount,
    default: Some("100"),
    example: "100",
    doc: "Number of rejected requests to hold in memory for troubleshooting: the head with masked tokens, the first 64 KiB of the body, and the reason. `0` disables it.",
};

pub(super) static HTTP: KeyDefinition = KeyDefinition {
    name: "http",
    kind: ValueKind::Table(&http_listener::SECTION),
    default: None,
    example: "{ listen = [\"0.0.0.0:80\", \"[::]:80\"] }",
    doc: "Listener for plain HTTP, usually on port 80. It serves no route: it answers the challenge `http-01` of `[tls.acme]`, and redirects or refuses every other request.",
};
