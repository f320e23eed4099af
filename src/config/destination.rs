//! `[routes.NAME.destinations.NAME]`: where stored events are delivered to, and how.
//!
//! The `upstream` of a route in queue or hybrid mode is a destination too, under the name `upstream`; a table of that
//! name without `url` says how it is delivered to.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::config::model::{Destination, Mode, Order, Upstream};
use crate::config::verification::Origin;
use crate::config::{Context, destination_tls, filter, retry, secrets, sign_upstream, upstream};
use crate::document::key::{Key, Kind, Section};
use crate::document::table::{Fault, Placed, Table, Value};
use crate::document::{Span, value};
use crate::model::ids::DestinationName;
use crate::model::secret::Secret;
use crate::net::host;
use crate::net::special::is_public;
use crate::scheme::standard::SigningKey;

/// The name of the destination that the route's `upstream` is.
pub(super) const UPSTREAM_NAME: &str = "upstream";

/// Above this a destination is meant to be two.
const MAX_CONCURRENCY: usize = 1024;

/// What destinations depend on.
pub(super) struct Basis<'a> {
    pub(super) origin: Option<&'a Origin>,
    pub(super) upstream: Option<&'a Upstream>,
    pub(super) mode: Mode,
    pub(super) resigns: bool,
    /// Keys that sign what the route hands to its app.
    pub(super) keys: &'a [Arc<SigningKey>],
}

/// Reads the destinations of a route: none in proxy mode.
pub(super) fn read_all(
    table: &mut Table<'_>,
    basis: &Basis<'_>,
    context: &Context,
) -> Vec<Arc<Destination>> {
    let tables = table.named_tables(&DESTINATIONS);
    if basis.mode == Mode::Proxy {
        if let Some(span) = table.name_span_of(&DESTINATIONS) {
            let fault = Fault::new(
                "a route in proxy mode delivers nothing from a store",
                "add `mode = \"queue\"`, or remove `destinations`",
            );
            table.error(span, fault);
        }
        return Vec::new();
    }
    let is_unnamed = tables.is_empty();
    let mut destinations = Vec::new();
    for (name, mut own) in tables {
        check_name(name, &own);
        if basis.mode != Mode::Queue && name != UPSTREAM_NAME {
            let fault = Fault::new(
                "a route in hybrid mode delivers to its `upstream` only",
                "use `mode = \"queue\"` for several destinations",
            );
            own.error(own.span(), fault);
        }
        if let Some(destination) = read(name, &mut own, basis, context) {
            destinations.push(Arc::new(destination));
        }
    }
    let has_own = destinations
        .iter()
        .any(|destination| destination.name.as_str() == UPSTREAM_NAME);
    if let Some(upstream) = basis.upstream.filter(|_| !has_own) {
        destinations.push(Arc::new(of_upstream(upstream, basis, table)));
    }
    if destinations.is_empty() && is_unnamed {
        table.absent(
            format!("`[{}]` does not say where its events go", table.path()),
            "add `upstream`, or `[routes.NAME.destinations.NAME]` with `url`",
        );
    }
    destinations
}

/// A route, or a destination: both names stand in the same places.
pub(super) fn check_name(name: &str, table: &Table<'_>) {
    let is_fit = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if !is_fit {
        let fault = Fault::new(
            "this name cannot stand in headers, logs and metrics",
            "up to 64 letters, digits, `_` and `-`",
        );
        table.error(table.span(), fault);
    }
}

/// The defaults for the upstream of a route.
fn of_upstream(upstream: &Upstream, basis: &Basis<'_>, table: &Table<'_>) -> Destination {
    Destination {
        name: DestinationName::new(UPSTREAM_NAME),
        span: table.span(),
        url: upstream.url.clone(),
        url_span: upstream.span,
        appends_rest: true,
        events: None,
        when: None,
        active: true,
        connect_timeout: upstream.connect_timeout,
        timeout: upstream.timeout,
        pool_idle_timeout: upstream.pool_idle_timeout,
        concurrency: DEFAULT_CONCURRENCY,
        rate_limit: None,
        retry: retry::default(),
        order: Order::None,
        headers: Vec::new(),
        secrets: basis.keys.to_vec(),
        resign: basis.resigns,
        tls: None,
        external: false,
        repr_digest: false,
        breaker: Some(DEFAULT_BREAKER),
    }
}

fn read(
    name: &str,
    table: &mut Table<'_>,
    basis: &Basis<'_>,
    context: &Context,
) -> Option<Destination> {
    let is_upstream = name == UPSTREAM_NAME && basis.upstream.is_some();
    let url = url(table, basis, is_upstream);
    let usual = basis.upstream;
    let filter = filter::read_events(table, basis.origin);
    let when = filter::when(table, basis.origin);
    let active = table.read(&ACTIVE, value::boolean);
    let mut duration = |key: &Key| table.read(key, value::duration);
    let connect_timeout = duration(&upstream::CONNECT_TIMEOUT);
    let timeout = duration(&TIMEOUT);
    let pool_idle_timeout = duration(&upstream::POOL_IDLE_TIMEOUT);
    let concurrency = table.read(&CONCURRENCY, concurrency);
    let rate_limit = table.read(&RATE_LIMIT, value::rate);
    let retry = retry::read(table);
    let order = table.read(&ORDER, order);
    let headers = headers(table, context);
    let mut secrets = sign_upstream::read_keys(table, &SECRET, basis.origin, context);
    if is_upstream && secrets.is_empty() {
        secrets = basis.keys.to_vec();
    }
    let tls = table
        .table(&TLS)
        .map(|tls| destination_tls::read(tls, context));
    let external = table.read(&EXTERNAL, value::boolean).unwrap_or(false);
    let repr_digest = table.read(&REPR_DIGEST, value::boolean);
    let breaker = table.read(&BREAKER, |value| value::false_or(value, value::count));
    if basis.mode != Mode::Queue {
        refuse_in_hybrid(table, order.as_ref());
    }
    table.deny_unknown();
    let (url, appends_rest) = match (url, usual.filter(|_| is_upstream)) {
        (Some(url), _) => ((url.value, url.span), false),
        (None, Some(upstream)) => ((upstream.url.clone(), upstream.span), !external),
        (None, None) => return None,
    };
    if external {
        check_external(table, &url.0, url.1);
    }
    let or = |own: Option<Duration>, of: fn(&Upstream) -> Duration, default: u64| {
        let usual = usual.filter(|_| is_upstream).map(of);
        own.or(usual).unwrap_or(Duration::from_secs(default))
    };
    Some(Destination {
        name: DestinationName::new(name),
        span: table.span(),
        url: url.0,
        url_span: url.1,
        appends_rest,
        events: filter,
        when,
        active: active.unwrap_or(true),
        connect_timeout: or(connect_timeout, |upstream| upstream.connect_timeout, 5),
        timeout: or(timeout, |upstream| upstream.timeout, 30),
        pool_idle_timeout: or(pool_idle_timeout, |upstream| upstream.pool_idle_timeout, 4),
        concurrency: concurrency.unwrap_or(DEFAULT_CONCURRENCY),
        rate_limit,
        retry,
        order: order.unwrap_or(Order::None),
        headers,
        secrets,
        resign: basis.resigns,
        tls,
        external,
        repr_digest: repr_digest.unwrap_or(false),
        breaker: breaker
            .unwrap_or(Some(u64::from(DEFAULT_BREAKER)))
            .map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
    })
}

fn check_external(table: &Table<'_>, url: &http::Uri, span: Span) {
    if url.scheme_str() != Some("https") {
        let fault = Fault::new(
            "an external destination is reached over the internet, in clear",
            "an `https://` URL",
        );
        table.error(span, fault);
    }
    let host = url.host().unwrap_or_default();
    let literal = host::bare(host).parse();
    let is_inside = literal.map_or(host == "localhost", |ip| !is_public(ip));
    if is_inside {
        let fault = Fault::new(
            format!(
                "`{host}` is not on the internet, and an external destination is never connected to there"
            ),
            "remove `external` where it is one of your own",
        );
        table.warning(span, fault);
    }
}

/// The first attempt of hybrid mode is made while the sender waits, by the keys of the route: what it does not know of
/// would hold for some attempts only.
fn refuse_in_hybrid(table: &Table<'_>, order: Option<&Order>) {
    let is_ordered = order.is_some_and(|order| *order != Order::None);
    let ordered = is_ordered.then_some(&ORDER);
    let unknown = [
        &filter::EVENTS,
        &filter::WHEN,
        &ACTIVE,
        &HEADERS,
        &SECRET,
        &TLS,
        &EXTERNAL,
        &REPR_DIGEST,
    ];
    for key in unknown.into_iter().chain(ordered) {
        if let Some(span) = table.name_span_of(key) {
            let fault = Fault::new(
                format!(
                    "in hybrid mode the first attempt knows nothing of `{}`",
                    key.name
                ),
                "use `mode = \"queue\"`, or the keys of the route (`events`, `when`, `sign_upstream`)",
            );
            table.error(span, fault);
        }
    }
}

fn url(table: &mut Table<'_>, basis: &Basis<'_>, is_upstream: bool) -> Option<Placed<http::Uri>> {
    if !is_upstream {
        return table.require(&URL, value::destination_url);
    }
    let url = table.read_placed(&URL, value::destination_url);
    if let (Some(url), Some(_)) = (&url, basis.upstream) {
        let fault = Fault::new(
            "the route's `upstream` says where this destination is",
            "remove `url`, or give the destination another name",
        );
        table.error(url.span, fault);
    }
    None
}

fn concurrency(value: &Value<'_>) -> Result<usize, Fault> {
    let count = value::size_count(value)?;
    if count > MAX_CONCURRENCY {
        return Err(Fault::new(
            format!("{count} attempts at the same time are more than a destination wants"),
            format!("at most {MAX_CONCURRENCY}"),
        ));
    }
    Ok(count)
}

fn order(value: &Value<'_>) -> Result<Order, Fault> {
    const HELP: &str =
        "`\"none\"`, `\"fifo\"`, `\"fifo:header:X-Account\"` or `\"fifo:json:/data/account\"`";
    let text = value::text(value)?;
    let fault = || Fault::new(format!("`{text}` is not an order"), HELP);
    match text.as_str() {
        "none" => return Ok(Order::None),
        "fifo" => return Ok(Order::Fifo),
        _ => {}
    }
    if let Some(name) = text.strip_prefix("fifo:header:") {
        let name = name.parse::<HeaderName>();
        return name.map(Order::FifoByHeader).map_err(|_| fault());
    }
    match text.strip_prefix("fifo:json:") {
        Some(pointer) if pointer.starts_with('/') => Ok(Order::FifoByJson(pointer.to_owned())),
        _ => Err(fault()),
    }
}

fn headers(table: &mut Table<'_>, context: &Context) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (name, value) in table.named_values(&HEADERS) {
        let Some(secret) = secrets::read_header(name, &value, context) else {
            continue;
        };
        let checked = value.check(|_| header(name, &secret));
        headers.extend(checked.map(|placed| placed.value));
    }
    headers
}

fn header(name: &str, secret: &Secret) -> Result<(HeaderName, HeaderValue), Fault> {
    let help = "a header of the app's own, such as `Authorization = \"Bearer ...\"`";
    let wrong = |what: &str| Fault::new(format!("`{name}` {what}"), help);
    let parsed: HeaderName = name.parse().map_err(|_| wrong("is not a header's name"))?;
    let lower = parsed.as_str();
    let is_ours = lower.starts_with("hookgate-")
        || lower.starts_with("webhook-")
        || [
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
            "te",
            "upgrade",
        ]
        .contains(&lower);
    if is_ours {
        return Err(wrong("is set by hookgate itself"));
    }
    let value = HeaderValue::from_bytes(secret.expose());
    let mut value = value.map_err(|_| wrong("has a value that no header can have"))?;
    value.set_sensitive(true);
    Ok((parsed, value))
}

// What an app nearby answers side by side without trouble; a slow one is held back by its own answers.
const DEFAULT_CONCURRENCY: usize = 16;

// Fewer are the noise of a network; each more is a timeout's worth of waiting for nothing.
const DEFAULT_BREAKER: u32 = 10;

pub(super) static DESTINATIONS: Key = Key {
    name: "destinations",
    kind: Kind::Named(&SECTION),
    default: None,
    example: "{ ci = { url = \"http://127.0.0.1:9000/ci\" } }",
    doc: "Where stored events are delivered to, each on its own.",
};

/// `[routes.NAME.destinations.NAME]`.
pub(super) static SECTION: Section = Section {
    path: "routes.NAME.destinations.NAME",
    doc: "One endpoint to which a route in queue mode delivers. A table named `upstream`, without `url`, says how the route's `upstream` is delivered to.",
    keys: &[
        &URL,
        &filter::EVENTS,
        &filter::WHEN,
        &ACTIVE,
        &upstream::CONNECT_TIMEOUT,
        &TIMEOUT,
        &upstream::POOL_IDLE_TIMEOUT,
        &CONCURRENCY,
        &RATE_LIMIT,
        &retry::RETRY,
        &ORDER,
        &HEADERS,
        &SECRET,
        &TLS,
        &EXTERNAL,
        &REPR_DIGEST,
        &BREAKER,
    ],
    required: &[],
    one_of: &[],
};

static URL: Key = Key {
    name: "url",
    kind: Kind::Url,
    default: None,
    example: "\"http://127.0.0.1:9000/ci\"",
    doc: "Where events go; may have a query.",
};

static ACTIVE: Key = Key {
    name: "active",
    kind: Kind::Bool,
    default: Some("true"),
    example: "false",
    doc: "Without it deliveries are made and wait.",
};

// As long as an app may take that works on an event before it answers.
static TIMEOUT: Key = Key {
    name: "timeout",
    kind: Kind::Duration,
    default: Some("\"30s\""),
    example: "\"10s\"",
    doc: "From the request to the end of the answer; then the attempt has failed.",
};

static CONCURRENCY: Key = Key {
    name: "concurrency",
    kind: Kind::Count,
    default: Some("16"),
    example: "4",
    doc: "Attempts at the same time, and events of it in memory. Where the app can take thousands a second, 256.",
};

static RATE_LIMIT: Key = Key {
    name: "rate_limit",
    kind: Kind::Rate,
    default: Some("no limit"),
    example: "\"20/s\"",
    doc: "Attempts in a time.",
};

static ORDER: Key = Key {
    name: "order",
    kind: Kind::Text,
    default: Some("\"none\""),
    example: "\"fifo:json:/data/account\"",
    doc: "`\"fifo\"` delivers one event after the other, in the order of acceptance: one that waits, for another attempt or for the end of its delay, holds up those behind it until it is delivered or dead, whatever their priority. `\"fifo:header:NAME\"` and `\"fifo:json:/pointer\"` do so where the value is the same.",
};

static HEADERS: Key = Key {
    name: "headers",
    kind: Kind::Map(&secrets::HEADER_VALUE),
    default: None,
    example: "{ Authorization = { credential = \"app\" } }",
    doc: "Headers that each attempt has, instead of those of the same name: each a text, or where it stands, as for a secret.",
};

static SECRET: Key = Key {
    name: "secret",
    kind: sign_upstream::SIGN_UPSTREAM.kind,
    default: None,
    example: "{ credential = \"to-partner\" }",
    doc: "Keys that sign each attempt as Standard Webhooks have it, at the time of the attempt: `whsec_` keys give `v1`, Ed25519 keys `whsk_` give `v1a`. Several while a key is changed: all sign.",
};

static TLS: Key = Key {
    name: "tls",
    kind: Kind::Table(&destination_tls::SECTION),
    default: None,
    example: "{ ca = \"partner-ca.pem\" }",
    doc: "Authorities and client certificate of its own.",
};

static EXTERNAL: Key = Key {
    name: "external",
    kind: Kind::Bool,
    default: Some("false"),
    example: "true",
    doc: "For endpoints on the internet that others may name: `https` only, and no address of this machine, of a private network or of a cloud's metadata is ever connected to, whatever its name resolves to.",
};

static REPR_DIGEST: Key = Key {
    name: "repr_digest",
    kind: Kind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Adds `Repr-Digest` (RFC 9530), the SHA-256 of the body that was taken when the event was accepted, for apps that check it by themselves. `Hookgate-Body-Digest` says the same and is always there.",
};

static BREAKER: Key = Key {
    name: "breaker",
    kind: Kind::FalseOr(&Kind::Count),
    default: Some("10"),
    example: "5",
    doc: "After so many failures in a row attempts pause, and single ones find out when it is back; `false`: never.",
};
