//! `[routes.NAME.destinations.NAME]`: where stored events are delivered, and how.
//!
//! The `upstream` of a route in queue or hybrid mode is a destination too, under the name `upstream`. A table of that
//! name without `url` sets how it is delivered to.

use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{SpannedValue, TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::{TextSpan, value};
use hookgate_verify::model::secret::Secret;
use hookgate_verify::net::host;
use hookgate_verify::net::special_addresses::is_public;
use hookgate_verify::scheme::standard_webhooks::SigningKey;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

use crate::config::app_url::destination_url;
use crate::config::load_context::LoadContext;
use crate::config::model::{DeliveryOrder, DestinationSection, RouteMode, UpstreamSettings};
use crate::config::scheme_origin::SchemeOrigin;
use crate::config::{
    egress_proxy, filter, oauth2, outgoing_tls, pooling, retry, secrets, sign_upstream, upstream,
};
use crate::model::ids::DestinationName;
use crate::net::app_url::AppUrl;
use crate::net::client::PoolLimits;
use crate::net::egress_proxy::EgressProxy;

/// Name of the destination for the route's `upstream`.
pub(super) const UPSTREAM_NAME: &str = "upstream";

/// Largest `concurrency`. More is probably meant for several destinations.
const MAX_CONCURRENCY: usize = 1024;

/// Facts about a route that its destinations depend on.
pub(super) struct DestinationBasis<'a> {
    pub(super) origin: Option<&'a SchemeOrigin>,
    pub(super) upstream: Option<&'a UpstreamSettings>,
    pub(super) mode: RouteMode,
    pub(super) resigns: bool,
    /// Keys that sign requests of the route to its upstream.
    pub(super) keys: &'a [Arc<SigningKey>],
}

/// Reads the destinations of a route; returns an empty list in proxy mode.
pub(super) fn read_all(
    table: &mut TomlTable<'_>,
    basis: &DestinationBasis<'_>,
    context: &LoadContext,
) -> Vec<Arc<DestinationSection>> {
    // Before the mode is looked at: reading the key marks it as known, so that a proxy route gets only the error below.
    let tables = table.named_tables(&DESTINATIONS);
    if basis.mode == RouteMode::Proxy {
        if let Some(span) = table.name_span_of(&DESTINATIONS) {
            let fault = ValueFault::new(
                "a route in proxy mode has no destinations: it forwards requests without a store",
                "add `mode = \"queue\"`, or remove `destinations`",
            );
            table.error(span, fault);
        }
        return Vec::new();
    }
    // A table that is present but wrong has an error of its own, so the route is not reported as one without
    // destinations.
    let is_unnamed = tables.is_empty();
    let mut destinations = Vec::new();
    for (name, mut own) in tables {
        check_name(name, &own);
        // The first attempt of hybrid mode uses the route's `upstream`, so a retry must go to the same place.
        if basis.mode != RouteMode::Queue && name != UPSTREAM_NAME {
            let fault = ValueFault::new(
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
    // The route's `upstream` gets stored events too, even without a table of its own.
    if let Some(upstream) = basis.upstream.filter(|_| !has_own) {
        destinations.push(Arc::new(of_upstream(upstream, basis, table)));
    }
    if destinations.is_empty() && is_unnamed {
        table.absent(
            format!("`[{}]` has no destination for its events", table.path()),
            "add `upstream`, or `[routes.NAME.destinations.NAME]` with `url`",
        );
    }
    destinations
}

/// Rejects a route or destination name that is unfit for headers, logs and metrics.
pub(super) fn check_name(name: &str, table: &TomlTable<'_>) {
    let is_fit = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if !is_fit {
        let fault = ValueFault::new(
            "this name cannot be used in headers, logs and metrics",
            "use 1 to 64 letters, digits, `_` and `-`",
        );
        table.error(table.span(), fault);
    }
}

/// Returns the destination for a route's `upstream`, with default settings.
fn of_upstream(
    upstream: &UpstreamSettings,
    basis: &DestinationBasis<'_>,
    table: &TomlTable<'_>,
) -> DestinationSection {
    DestinationSection {
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
        keep: upstream.keep,
        concurrency: DEFAULT_CONCURRENCY,
        rate_limit: None,
        retry: retry::default(),
        order: DeliveryOrder::None,
        headers: Vec::new(),
        secrets: basis.keys.to_vec(),
        resign: basis.resigns,
        oauth2: None,
        tls: upstream.tls.clone(),
        external: false,
        egress_proxy: None,
        repr_digest: false,
        breaker: Some(DEFAULT_BREAKER),
    }
}

fn read(
    name: &str,
    table: &mut TomlTable<'_>,
    basis: &DestinationBasis<'_>,
    context: &LoadContext,
) -> Option<DestinationSection> {
    // In queue mode a route may lack `upstream`; a destination of that name is then an ordinary one with its own `url`.
    let is_upstream = name == UPSTREAM_NAME && basis.upstream.is_some();
    let url = url(table, basis, is_upstream);
    let usual = basis.upstream;
    let filter = filter::read_events(table, basis.origin);
    let when = filter::when(table, basis.origin);
    let active = table.read(&ACTIVE, value::boolean);
    let mut duration = |key: &KeyDefinition| table.read(key, value::duration);
    let connect_timeout = duration(&upstream::CONNECT_TIMEOUT);
    let timeout = duration(&TIMEOUT);
    let pool_idle_timeout = duration(&upstream::POOL_IDLE_TIMEOUT);
    let concurrency = table.read(&CONCURRENCY, concurrency);
    let rate_limit = table.read(&RATE_LIMIT, value::rate);
    let retry = retry::read(table);
    let order = table.read(&ORDER, order);
    let headers = headers(table, context);
    let mut secrets = sign_upstream::read_keys(table, &SECRET, basis.origin, context);
    // The upstream of a signing route gets signed deliveries, as it gets signed requests in proxy mode.
    if is_upstream && secrets.is_empty() {
        secrets = basis.keys.to_vec();
    }
    let pool = pooling::read(table);
    let tls_span = table.name_span_of(&outgoing_tls::DESTINATION_TLS);
    let tls = table
        .table(&outgoing_tls::DESTINATION_TLS)
        .map(|tls| outgoing_tls::read(tls, context));
    let mut oauth2 = table
        .table(&OAUTH2)
        .and_then(|oauth2| oauth2::read(oauth2, context));
    let own_proxy = egress_proxy::read_own(table, context);
    let external = table.read(&EXTERNAL, value::boolean).unwrap_or(false);
    let repr_digest = table.read(&REPR_DIGEST, value::boolean);
    let breaker = table.read(&BREAKER, |value| value::false_or(value, value::count));
    if basis.mode != RouteMode::Queue {
        refuse_in_hybrid(table, order.as_ref());
    }
    table.deny_unknown();
    // An external destination never gets the path and query of the request, which the client chose.
    let (url, appends_rest) = match (url, usual.filter(|_| is_upstream)) {
        (Some(url), _) => ((url.value, url.span), false),
        (None, Some(upstream)) => ((upstream.url.clone(), upstream.span), !external),
        (None, None) => return None,
    };
    if external {
        check_external(table, &url.0, url.1);
        if let Some(oauth2) = &oauth2 {
            // The token server is reached in the same way, so it must not be inside either.
            check_external(table, &oauth2.credentials.token_url, oauth2.url_span);
        }
    }
    if oauth2.is_some()
        && let Some((name, _)) = headers.iter().find(|(name, _)| *name == AUTHORIZATION)
    {
        let fault = ValueFault::new(
            format!("`oauth2` sets `{name}`, and so does `headers`"),
            "remove one of them",
        );
        table.error(table.name_span_of(&HEADERS).unwrap_or(table.span()), fault);
    }
    // The settings apply to the token server too, so they may have an effect there only.
    let token_tls = oauth2.as_ref().map(|oauth2| &oauth2.credentials.token_url);
    if !token_tls.is_some_and(AppUrl::is_tls) {
        outgoing_tls::check(table, tls_span, &url.0);
    }
    // Without an own key, the proxy of the file is for hosts on the internet only.
    let egress_proxy = own_proxy.unwrap_or_else(|| {
        let usual = context.egress_proxy.as_ref();
        usual.filter(|_| external).cloned()
    });
    let proxy_for = |url: &AppUrl| {
        let reaches =
            |proxy: &&Arc<EgressProxy>| url.host().is_some_and(|host| !proxy.spares(host));
        egress_proxy.as_ref().filter(reaches).cloned()
    };
    if let Some(oauth2) = &mut oauth2 {
        oauth2.credentials.egress_proxy = proxy_for(&oauth2.credentials.token_url);
    }
    let egress_proxy = proxy_for(&url.0);
    // A route's timeouts and connection settings apply to its `upstream` only; other destinations have defaults of their
    // own.
    let inherited = usual.filter(|_| is_upstream);
    let or = |own: Option<Duration>, of: fn(&UpstreamSettings) -> Duration, default: u64| {
        let usual = usual.filter(|_| is_upstream).map(of);
        own.or(usual).unwrap_or(Duration::from_secs(default))
    };
    Some(DestinationSection {
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
        keep: PoolLimits {
            idle_timeout: or(pool_idle_timeout, |upstream| upstream.keep.idle_timeout, 4),
            max_age: pool
                .max_age
                .or(inherited.and_then(|upstream| upstream.keep.max_age)),
            reuse: pool
                .reuse
                .unwrap_or(inherited.is_none_or(|upstream| upstream.keep.reuse)),
        },
        concurrency: concurrency.unwrap_or(DEFAULT_CONCURRENCY),
        rate_limit,
        retry,
        order: order.unwrap_or(DeliveryOrder::None),
        headers,
        secrets,
        resign: basis.resigns,
        oauth2: oauth2.map(|oauth2| oauth2.credentials),
        tls: tls.or(inherited.and_then(|upstream| upstream.tls.clone())),
        external,
        egress_proxy,
        repr_digest: repr_digest.unwrap_or(false),
        breaker: breaker
            .unwrap_or(Some(u64::from(DEFAULT_BREAKER)))
            .map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
    })
}

fn check_external(table: &TomlTable<'_>, url: &AppUrl, span: TextSpan) {
    if url.socket().is_some() {
        let fault = ValueFault::new(
            "an external destination is on the internet, and a Unix socket is on this machine",
            "remove `external`, or use an `https://` URL",
        );
        table.error(span, fault);
        return;
    }
    if !url.is_tls() {
        let fault = ValueFault::new(
            "an external destination is on the internet, and `http://` is not encrypted",
            "use an `https://` URL",
        );
        table.error(span, fault);
    }
    let host = url.host().unwrap_or_default();
    // Only literal addresses can be checked here; names are checked when they are resolved, at each connection.
    let literal = host::bare(host).parse();
    let is_inside = literal.map_or(host == "localhost", |ip| !is_public(ip));
    if is_inside {
        let fault = ValueFault::new(
            format!(
                "`{host}` is not public, so hookgate never connects to it for an external destination"
            ),
            "remove `external` if the destination is in your own network",
        );
        table.warning(span, fault);
    }
}

/// Rejects keys that the first attempt of hybrid mode ignores. It is made while the sender waits, with the keys of the
/// route, so such a key would apply to retries only.
fn refuse_in_hybrid(table: &TomlTable<'_>, order: Option<&DeliveryOrder>) {
    let is_ordered = order.is_some_and(|order| *order != DeliveryOrder::None);
    let ordered = is_ordered.then_some(&ORDER);
    let unknown = [
        &filter::EVENTS,
        &filter::WHEN,
        &ACTIVE,
        &HEADERS,
        &SECRET,
        &OAUTH2,
        &outgoing_tls::DESTINATION_TLS,
        &pooling::MAX_AGE,
        &pooling::REUSE,
        &EXTERNAL,
        &egress_proxy::DESTINATION_PROXY,
        &REPR_DIGEST,
    ];
    for key in unknown.into_iter().chain(ordered) {
        if let Some(span) = table.name_span_of(key) {
            let fault = ValueFault::new(
                format!("in hybrid mode the first attempt ignores `{}`", key.name),
                "use `mode = \"queue\"`, or the keys of the route (`events`, `when`, `sign_upstream`)",
            );
            table.error(span, fault);
        }
    }
}

fn url(
    table: &mut TomlTable<'_>,
    basis: &DestinationBasis<'_>,
    is_upstream: bool,
) -> Option<SpannedValue<AppUrl>> {
    if !is_upstream {
        return table.require(&URL, destination_url);
    }
    let url = table.read_placed(&URL, destination_url);
    // Even after this error the result is `None`, for which the caller uses the URL of `upstream` and checks the rest.
    if let (Some(url), Some(_)) = (&url, basis.upstream) {
        let fault = ValueFault::new(
            "the route's `upstream` is the URL of this destination",
            "remove `url`, or give the destination another name",
        );
        table.error(url.span, fault);
    }
    None
}

fn concurrency(value: &TomlValue<'_>) -> Result<usize, ValueFault> {
    let count = value::size_count(value)?;
    if count > MAX_CONCURRENCY {
        return Err(ValueFault::new(
            format!("{count} attempts at the same time are too many"),
            format!("set at most {MAX_CONCURRENCY}"),
        ));
    }
    Ok(count)
}

fn order(value: &TomlValue<'_>) -> Result<DeliveryOrder, ValueFault> {
    const HELP: &str =
        "use `\"none\"`, `\"fifo\"`, `\"fifo:header:X-Account\"` or `\"fifo:json:/data/account\"`";
    let text = value::text(value)?;
    let fault = || ValueFault::new(format!("`{text}` is not an order"), HELP);
    // The two words first: all other orders have an argument.
    match text.as_str() {
        "none" => return Ok(DeliveryOrder::None),
        "fifo" => return Ok(DeliveryOrder::Fifo),
        _ => {}
    }
    if let Some(name) = text.strip_prefix("fifo:header:") {
        let name = name.parse::<HeaderName>();
        return name.map(DeliveryOrder::FifoByHeader).map_err(|_| fault());
    }
    match text.strip_prefix("fifo:json:") {
        Some(pointer) if pointer.starts_with('/') => {
            Ok(DeliveryOrder::FifoByJson(pointer.to_owned()))
        }
        _ => Err(fault()),
    }
}

fn headers(table: &mut TomlTable<'_>, context: &LoadContext) -> Vec<(HeaderName, HeaderValue)> {
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

fn header(name: &str, secret: &Secret) -> Result<(HeaderName, HeaderValue), ValueFault> {
    let help = "name a header of your app, such as `Authorization = \"Bearer ...\"`";
    let wrong = |what: &str| ValueFault::new(format!("`{name}` {what}"), help);
    let parsed: HeaderName = name
        .parse()
        .map_err(|_| wrong("is not a valid header name"))?;
    let lower = parsed.as_str();
    // These headers frame the request or carry hookgate's own statements, so an operator's value must not replace them.
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
    let value = secrets::header_value(secret);
    let value =
        value.ok_or_else(|| wrong("has a value with characters that no header may contain"))?;
    Ok((parsed, value))
}

// An app in the same network handles this many requests side by side; a slow one delays the next attempts by itself.
const DEFAULT_CONCURRENCY: usize = 16;

// Fewer failures in a row are network noise; each further one costs a whole timeout in vain.
const DEFAULT_BREAKER: u32 = 10;

pub(super) static DESTINATIONS: KeyDefinition = KeyDefinition {
    name: "destinations",
    kind: ValueKind::Named(&SECTION),
    default: None,
    example: "{ ci = { url = \"http://127.0.0.1:9000/ci\" } }",
    doc: "Destinations of stored events, by name. Each event is delivered to each of them independently.",
};

/// Keys of the `[routes.NAME.destinations.NAME]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.destinations.NAME",
    doc: "An endpoint to which a route in queue mode delivers its events. A table named `upstream`, without `url`, sets how events are delivered to the route's `upstream`.",
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
        &OAUTH2,
        &outgoing_tls::DESTINATION_TLS,
        &pooling::MAX_AGE,
        &pooling::REUSE,
        &EXTERNAL,
        &egress_proxy::DESTINATION_PROXY,
        &REPR_DIGEST,
        &BREAKER,
    ],
    required: &[],
    one_of: &[],
};

pub(super) static URL: KeyDefinition = KeyDefinition {
    name: "url",
    kind: ValueKind::AppUrl,
    default: None,
    example: "\"http://127.0.0.1:9000/ci\"",
    doc: "URL to which events are delivered: `http://`, `https://`, or a Unix socket such as `unix:/run/app.sock:/ci`. May contain a query.",
};

pub(super) static ACTIVE: KeyDefinition = KeyDefinition {
    name: "active",
    kind: ValueKind::Bool,
    default: Some("true"),
    example: "false",
    doc: "Attempts deliveries to this destination. `false` creates deliveries, which wait until it is active again.",
};

// Long enough for an app that processes an event before it responds.
pub(super) static TIMEOUT: KeyDefinition = KeyDefinition {
    name: "timeout",
    kind: ValueKind::Duration,
    default: Some("\"30s\""),
    example: "\"10s\"",
    doc: "Maximum time from the request to the end of the response. After that the attempt fails.",
};

pub(super) static CONCURRENCY: KeyDefinition = KeyDefinition {
    name: "concurrency",
    kind: ValueKind::Count,
    default: Some("16"),
    example: "4",
    doc: "Maximum number of attempts at the same time. As many events of this destination are held in memory. For an app that handles thousands of events a second, use 256.",
};

pub(super) static RATE_LIMIT: KeyDefinition = KeyDefinition {
    name: "rate_limit",
    kind: ValueKind::Rate,
    default: Some("no limit"),
    example: "\"20/s\"",
    doc: "Maximum rate of attempts.",
};

pub(super) static ORDER: KeyDefinition = KeyDefinition {
    name: "order",
    kind: ValueKind::Text,
    default: Some("\"none\""),
    example: "\"fifo:json:/data/account\"",
    doc: "Order of deliveries. `\"none\"` delivers events independently of each other. `\"fifo\"` delivers one event after the other, in the order of acceptance: an event that waits for a retry or for the end of its delay blocks all later ones, whatever their priority, until it is delivered or becomes a dead letter. `\"fifo:header:NAME\"` and `\"fifo:json:/pointer\"` keep this order among events with the same value.",
};

pub(super) static HEADERS: KeyDefinition = KeyDefinition {
    name: "headers",
    kind: ValueKind::Map(&secrets::HEADER_VALUE),
    default: None,
    example: "{ Authorization = { credential = \"app\" } }",
    doc: "Headers to set on each attempt. They replace headers of the same name. Each value is a string, or a table with its source, as for a secret.",
};

pub(super) static SECRET: KeyDefinition = KeyDefinition {
    name: "secret",
    kind: sign_upstream::SIGN_UPSTREAM.kind,
    default: None,
    example: "{ credential = \"to-partner\" }",
    doc: "Keys that sign each attempt according to Standard Webhooks, with the time of the attempt. `whsec_` keys make `v1` signatures; Ed25519 keys (`whsk_`) make `v1a` signatures. To rotate a key, list the old and the new one: all of them sign.",
};

pub(super) static OAUTH2: KeyDefinition = KeyDefinition {
    name: "oauth2",
    kind: ValueKind::Table(&oauth2::SECTION),
    default: None,
    example: "{ token_url = \"https://login.example.com/oauth2/token\", client_id = \"hookgate\", client_secret = { credential = \"partner-oauth\" } }",
    doc: "Client credentials for access tokens of this destination (OAuth 2.0).",
};

pub(super) static EXTERNAL: KeyDefinition = KeyDefinition {
    name: "external",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Protects against SSRF for endpoints on the internet whose URL your users may choose. Requires `https`, and never connects to an address of this machine, of a private network or of a cloud metadata service, whatever the host name resolves to.",
};

pub(super) static REPR_DIGEST: KeyDefinition = KeyDefinition {
    name: "repr_digest",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Adds `Repr-Digest` (RFC 9530), the SHA-256 of the body at the time the event was accepted, for apps that check it themselves. `Hookgate-Body-Digest` has the same digest and is always sent.",
};

pub(super) static BREAKER: KeyDefinition = KeyDefinition {
    name: "breaker",
    kind: ValueKind::FalseOr(&ValueKind::Count),
    default: Some("10"),
    example: "5",
    doc: "Circuit breaker: after this many failures in a row, attempts pause, and single attempts probe until the destination is back. `false` disables it.",
};
