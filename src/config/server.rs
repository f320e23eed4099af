//! `[server]`: listening, and the limits towards strangers.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::model::{ProxyProtocol, Server};
use crate::config::route::raw_path;
use crate::document::Span;
use crate::document::key::{Key, Kind, Section};
use crate::document::table::{Fault, Table, Value};
use crate::document::value;
use crate::model::rate::Rate;

/// `[server]` with the places that later checks point at.
pub(super) struct ReadServer {
    pub(super) server: Server,
    pub(super) listen_spans: Vec<Span>,
    pub(super) health_span: Option<Span>,
}

const SECOND: Duration = Duration::from_secs(1);

/// The default idle timeout of AWS ALB, and nginx's `keepalive_timeout` towards upstreams. Google's is 10 minutes.
const BALANCER_IDLE: Duration = Duration::from_secs(60);

const DEFAULT_SOURCE_RATE: Option<(NonZeroU32, NonZeroU32)> =
    match (NonZeroU32::new(50), NonZeroU32::new(100)) {
        (Some(per_second), Some(burst)) => Some((per_second, burst)),
        _ => None,
    };

/// Reads the section; without it every default holds.
pub(super) fn read(table: Option<Table<'_>>) -> ReadServer {
    let Some(mut table) = table else {
        return ReadServer {
            server: defaults(),
            listen_spans: Vec::new(),
            health_span: None,
        };
    };
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
    table.deny_unknown();
    ReadServer {
        server,
        listen_spans,
        health_span,
    }
}

fn read_sources(table: &mut Table<'_>, server: &mut Server) {
    let insecure_http = table.read(&INSECURE_HTTP, value::boolean);
    server.insecure_http = insecure_http.unwrap_or(server.insecure_http);
    let proxies = table.list(&TRUSTED_PROXIES, value::network);
    for placed in proxies.iter().flatten() {
        if placed.value.prefix_len() == 0 {
            let fault = Fault::new(
                format!(
                    "`{}` believes everybody's word about the sender's address",
                    placed.value
                ),
                "name the addresses of your load balancers",
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
        if protocol.value == ProxyProtocol::Required && server.trusted_proxies.is_empty() {
            table.error(
                protocol.span,
                Fault::new(
                    "`proxy_protocol` is required, but no proxy is trusted, so that every connection would be closed",
                    "add `trusted_proxies = [\"10.0.0.7\"]` with the addresses of your load balancers",
                ),
            );
        }
    }
}

fn read_limits(table: &mut Table<'_>, server: &mut Server) {
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
    let rate = table.read(&PER_SOURCE_RATE_LIMIT, |value| {
        value::false_or(value, value::rate)
    });
    server.per_source_rate_limit = rate.unwrap_or(server.per_source_rate_limit);
    let size = table.read(&MAX_HEADER_SIZE, |value| {
        let size = value::size(value)?;
        if (1 << 10..=1 << 20).contains(&size) {
            Ok(size)
        } else {
            Err(Fault::new(
                "a head of this size makes no sense",
                "from `\"1KiB\"` to `\"1MiB\"`",
            ))
        }
    });
    server.max_header_size = size.unwrap_or(server.max_header_size);
}

/// Warns where a load balancer in front may send a request on a connection that is being closed: what keeps connections for
/// later has to give them up first.
fn check_idle_timeout(table: &Table<'_>, server: &Server) {
    let Some(span) = table.name_span_of(&IDLE_TIMEOUT) else {
        return;
    };
    if server.trusted_proxies.is_empty() || server.idle_timeout > BALANCER_IDLE {
        return;
    }
    let fault = Fault::new(
        "a proxy is trusted, and load balancers keep idle connections for 60 seconds (AWS ALB, nginx) or longer: what is sent on one that is just being closed is lost",
        "longer than the balancer's own idle timeout, for example `\"75s\"`",
    );
    table.warning(span, fault);
}

/// Often enough to follow a sender, seldom enough not to be a burden to it.
fn refresh_period(value: &Value<'_>) -> Result<Option<Duration>, Fault> {
    let Some(period) = value::false_or(value, value::duration)? else {
        return Ok(None);
    };
    if (LEAST_REFRESH..=MOST_REFRESH).contains(&period) {
        return Ok(Some(period));
    }
    Err(Fault::new(
        "lists that change a few times a year are not asked for at this pace",
        "from `\"1m\"` to `\"30d\"`; `\"24h\"` is usual",
    ))
}

fn absolute_path(value: &Value<'_>) -> Result<PathBuf, Fault> {
    let path = value::path(value)?;
    if path.is_absolute() {
        return Ok(path);
    }
    Err(Fault::new(
        "the folder does not begin with `/`",
        "for example `\"/var/lib/hookgate\"`",
    ))
}

/// The defaults; each number is argued for beside its key.
fn defaults() -> Server {
    Server {
        listen: Vec::new(),
        insecure_http: false,
        trusted_proxies: Vec::new(),
        proxy_protocol: ProxyProtocol::Off,
        max_connections: 10_000,
        max_connections_per_source: 256,
        max_in_flight: 1024,
        per_source_rate_limit: DEFAULT_SOURCE_RATE.map(|(per_second, burst)| Rate {
            count: per_second,
            period: SECOND,
            burst,
        }),
        handshake_timeout: 10 * SECOND,
        header_timeout: 10 * SECOND,
        body_timeout: 30 * SECOND,
        idle_timeout: 75 * SECOND,
        shutdown_timeout: 30 * SECOND,
        max_header_size: 16 << 10,
        health: None,
        refresh_ranges: None,
        state_dir: None,
        keep_verdicts: 1000,
        keep_rejected: 100,
    }
}

/// `[server]`.
pub(super) static SECTION: Section = Section {
    path: "server",
    doc: "Where to listen, and the limits towards strangers.",
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
        &SHUTDOWN_TIMEOUT,
        &MAX_HEADER_SIZE,
        &HEALTH,
        &REFRESH_RANGES,
        &STATE_DIR,
        &KEEP_VERDICTS,
        &KEEP_REJECTED,
    ],
    required: &[],
    one_of: &[],
};

static LISTEN: Key = Key {
    name: "listen",
    kind: Kind::List(&Kind::Address),
    default: Some("only the sockets that systemd hands over"),
    example: "[\"0.0.0.0:443\", \"[::]:443\"]",
    doc: "Addresses to listen on. `[::]` takes IPv4 too, unless an IPv4 address with the same port is listed. Sockets handed over by systemd take their place.",
};

static INSECURE_HTTP: Key = Key {
    name: "insecure_http",
    kind: Kind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Allows plain HTTP on an address that is not loopback: whoever sits in between reads and replays every event.",
};

static TRUSTED_PROXIES: Key = Key {
    name: "trusted_proxies",
    kind: Kind::List(&Kind::Network),
    default: Some("[]"),
    example: "[\"10.0.0.0/8\"]",
    doc: "Peers whose `X-Forwarded-For` and PROXY protocol header are believed; everybody else's are dropped. Where a PROXY header names no address, the peer is the source, and no `X-Forwarded-For` is believed.",
};

static PROXY_PROTOCOL: Key = Key {
    name: "proxy_protocol",
    kind: Kind::Choice(&value::choice_words(&ProxyProtocol::ALL)),
    default: Some("\"off\""),
    example: "\"required\"",
    doc: "Whether each connection begins with a PROXY protocol header (version 1 or 2) from a trusted proxy; one that does not is closed.",
};

// About 200 MiB of connection state at the most; an idle TLS connection takes some 20 KiB.
static MAX_CONNECTIONS: Key = Key {
    name: "max_connections",
    kind: Kind::Count,
    default: Some("10000"),
    example: "10000",
    doc: "Connections in all; more are closed at once. The process needs as many file descriptors and some more.",
};

// A provider's pool opens a few dozen; 256 lets forty sources at once reach the total and none of them alone.
static MAX_CONNECTIONS_PER_SOURCE: Key = Key {
    name: "max_connections_per_source",
    kind: Kind::Count,
    default: Some("256"),
    example: "256",
    doc: "Connections from one source, an IPv4 address or the /64 of an IPv6 address.",
};

// With 1 MiB of body each this bounds memory at 1 GiB, and no app that answers in 50 ms needs more than 1024 to take 20,000 a second.
static MAX_IN_FLIGHT: Key = Key {
    name: "max_in_flight",
    kind: Kind::Count,
    default: Some("1024"),
    example: "1024",
    doc: "Exchanges with apps at the same time: a verified request holds one, and more are answered 503 with `Retry-After`. As many requests again, at least 256, may wait to be verified, of which one source has a fourth at most. Times the largest `max_body` these bound the memory for bodies.",
};

// What verifies is given back at once, so this is room for probes and mistakes, far below what a flood needs to hurt.
static PER_SOURCE_RATE_LIMIT: Key = Key {
    name: "per_source_rate_limit",
    kind: Kind::FalseOr(&Kind::Rate),
    default: Some("{ per_second = 50, burst = 100 }"),
    example: "\"50/s\"",
    doc: "Unverified requests from one source; more are answered 429 before anything of the body is read. A request whose signature is right is given back at once. `false`: no limit.",
};

// A handshake takes three round trips and a few milliseconds; a phone on a bad line needs 2 seconds.
static HANDSHAKE_TIMEOUT: Key = Key {
    name: "handshake_timeout",
    kind: Kind::Duration,
    default: Some("\"10s\""),
    example: "\"10s\"",
    doc: "From accept to the end of the TLS handshake, PROXY protocol header included.",
};

// Senders write the head in one piece; who drips it is holding the connection.
static HEADER_TIMEOUT: Key = Key {
    name: "header_timeout",
    kind: Kind::Duration,
    default: Some("\"10s\""),
    example: "\"10s\"",
    doc: "From the first byte of a head to its end; for the first head of a connection from the end of the handshake.",
};

// Providers give up on an answer after 5 to 30 seconds: a body that takes longer is nobody's.
static BODY_TIMEOUT: Key = Key {
    name: "body_timeout",
    kind: Kind::Duration,
    default: Some("\"30s\""),
    example: "\"30s\"",
    doc: "For the whole body, not for each piece of it.",
};

// Longer than the pause between two bursts of events, so that a sender's pool stays warm, and than a load balancer keeps a
// connection by default (60 s), so that the balancer is the one that closes it.
static IDLE_TIMEOUT: Key = Key {
    name: "idle_timeout",
    kind: Kind::Duration,
    default: Some("\"75s\""),
    example: "\"75s\"",
    doc: "How long a connection is kept after its last request. Behind a load balancer longer than the balancer's own idle timeout.",
};

// As long as the default `timeout` of a route, so that each exchange under way can end.
static SHUTDOWN_TIMEOUT: Key = Key {
    name: "shutdown_timeout",
    kind: Kind::Duration,
    default: Some("\"30s\""),
    example: "\"30s\"",
    doc: "From the signal to stop to the end of the process; requests under way are finished within it.",
};

// The longest heads of providers (JWTs, B3 and W3C tracing) stay below 8 KiB.
static MAX_HEADER_SIZE: Key = Key {
    name: "max_header_size",
    kind: Kind::Size,
    default: Some("\"16KiB\""),
    example: "\"16KiB\"",
    doc: "Bytes of a request's head; a longer one is answered 431.",
};

static HEALTH: Key = Key {
    name: "health",
    kind: Kind::Text,
    default: None,
    example: "\"/healthz\"",
    doc: "A path that is answered 200 on every host, for load balancers. Absent: there is none.",
};
// The shortest is for trying it out; the longest, a month, is how late a change that was announced would be noticed.
const LEAST_REFRESH: Duration = Duration::from_secs(60);
const MOST_REFRESH: Duration = Duration::from_secs(30 * 86_400);

static REFRESH_RANGES: Key = Key {
    name: "refresh_ranges",
    kind: Kind::FalseOr(&Kind::Duration),
    default: Some("false"),
    example: "\"24h\"",
    doc: "How often the ranges of `allow_ips = [\"provider\"]` are read anew where the provider publishes them for programs. An answer that fails, is empty or differs absurdly changes nothing and is told in the log.",
};

static STATE_DIR: Key = Key {
    name: "state_dir",
    kind: Kind::Path,
    default: Some("what systemd names in `STATE_DIRECTORY`, else \"/var/lib/hookgate\""),
    example: "\"/var/lib/hookgate\"",
    doc: "The folder for what is learnt while running: refreshed ranges, fetched keys and certificates. A change takes a restart.",
};

// Some 70 MB at the usual 700 bytes each.
const MOST_VERDICTS: usize = 50_000;

// An hour of an account that sends a quarter of an event a second; 1.4 MB.
static KEEP_VERDICTS: Key = Key {
    name: "keep_verdicts",
    kind: Kind::Amount,
    default: Some("1000"),
    example: "1000",
    doc: "How many of the last verdicts are held in memory for lists, live tails and searches by request id, and as many again about requests that no signature vouches for. 0: none.",
};

// Each refusal looks through all of them.
const MOST_REJECTED: usize = 1000;

// A handful for each of the troubles that a gate has at once; their bodies take 8 MiB at most.
static KEEP_REJECTED: Key = Key {
    name: "keep_rejected",
    kind: Kind::Amount,
    default: Some("100"),
    example: "100",
    doc: "How many refused requests are held in memory, to be looked into: head with tokens masked, the first 64 KiB of the body, and why. 0: none.",
};
