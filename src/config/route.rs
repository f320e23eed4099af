//! `[routes.NAME]`: which requests a route matches, how it verifies them, and where they go.

use std::sync::Arc;

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{SpannedValue, TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::{TextSpan, value};
use hookgate_verify::scheme::public_url;
use http::Method;

use crate::config::destination::{self, DestinationBasis};
use crate::config::load_context::LoadContext;
use crate::config::model::{
    DeliveryOrder, DestinationSection, EnforceMode, PathRule, Route, RouteMode, UpstreamBranch,
};
use crate::config::scheme_origin::SchemeOrigin;
use crate::config::{
    audience, client_cert, dedup, filter, mode, schemas, secrets, sign_upstream, socket, upstream,
    upstreams, verification, watch,
};
use crate::criteria::json;
use crate::criteria::when::WhenExpression;
use crate::model::ids::RouteName;

/// A route with the span of its path, which later checks point at.
pub(super) struct SpannedRoute {
    pub(super) route: Route,
    pub(super) path_span: TextSpan,
    /// Where the route demands client certificates.
    pub(super) client_cert_span: Option<TextSpan>,
    /// Where the route shares its dedup over nodes.
    pub(super) shared_dedup_span: Option<TextSpan>,
}

/// 1 MiB: most senders stay far below; a provider file states the limit of the others.
const DEFAULT_MAX_BODY: usize = 1 << 20;

/// Largest `max_body`: a body is held in memory until it is verified.
const LARGEST_MAX_BODY: usize = 1 << 30;

/// Largest body of a stored event: a row of SQLite has at most a billion bytes.
const LARGEST_STORED: usize = 512 << 20;

/// Reads all routes, sorted by name.
pub(super) fn read_all(
    root: &mut TomlTable<'_>,
    key: &KeyDefinition,
    context: &LoadContext,
) -> Vec<SpannedRoute> {
    let tables = root.named_tables(key);
    if tables.is_empty() {
        root.absent(
            "the config has no routes",
            "add `[routes.NAME]` with `path`, `provider`, `secret` and `upstream`",
        );
    }
    tables
        .into_iter()
        .filter_map(|(name, mut table)| read(name, &mut table, context))
        .collect()
}

fn read(name: &str, table: &mut TomlTable<'_>, context: &LoadContext) -> Option<SpannedRoute> {
    destination::check_name(name, table);
    let host = table.read(&HOST, value::host);
    let path = path_rule(table);
    let methods = table.list(&METHODS, value::method);
    let content_types = table.list(&CONTENT_TYPES, media_type);
    let verification = verification::read(table, context);
    let client_cert = table
        .table(&client_cert::CLIENT_CERT)
        .and_then(|table| client_cert::read(table, context));
    let rate_limit = table.read(&RATE_LIMIT, value::rate);
    let max_body = table.read_placed(&MAX_BODY, max_body);
    let enforce = enforce(table);
    let continue_trace = table.read(&CONTINUE_TRACE, value::boolean);
    let continue_trace = continue_trace.unwrap_or(false);
    let quiet = watch::read_quiet(table);
    // The rest is read even without a valid origin, so that all errors of the route appear at once.
    let origin = verification.as_ref().map(|read| &read.origin);
    let filter = filter::read(table, origin);
    let when = filter::when(table, origin);
    let schemas = schemas::read(table, origin, context);
    // Before the destinations: the same keys sign deliveries to `upstream`.
    let sign_upstream = sign_upstream::read(table, origin, context);
    let mode = mode::read(table);
    let upstream = upstream::read(table, mode, context);
    let branches = upstreams::read(table, origin, upstream.as_ref(), context);
    let unverified_upstream = upstream::read_unverified(table, enforce, upstream.as_ref());
    let basis = DestinationBasis {
        origin,
        upstream: upstream.as_ref(),
        mode,
        resigns: mode::read_resign(table, mode, origin),
        keys: &sign_upstream,
    };
    let destinations = destination::read_all(table, &basis, context);
    // A condition, a schema or an order by JSON value needs the body as a parsed document, which has a lower limit.
    let names_body =
        |when: &Option<Arc<WhenExpression>>| when.as_ref().is_some_and(|when| when.names("body"));
    let parses = |destination: &Arc<DestinationSection>| {
        names_body(&destination.when) || matches!(destination.order, DeliveryOrder::FifoByJson(_))
    };
    let is_parsed = !schemas.is_empty() || names_body(&when) || destinations.iter().any(parses);
    // A provider's documented limit replaces the general default, so that its largest events pass.
    let usual_max = origin.map_or(DEFAULT_MAX_BODY, usual_max_body);
    let max_body = check_max_body(table, max_body, usual_max, is_parsed, mode);
    check_response(table, origin, mode);
    let socket = socket::read(table, mode, origin, context);
    check_mode(table, mode, enforce, &branches);
    // Every key was read by now; only the rest of this function may return early.
    table.deny_unknown();
    let (path, verification) = (path?, verification?);
    check_public_url(table, &path.value, verification.public_url.as_deref());
    let route = Route {
        name: RouteName::new(name),
        span: table.span(),
        place: table.place(table.span()),
        host,
        path: path.value,
        methods: methods.map_or(vec![Method::POST], values),
        content_types: content_types.map_or(Vec::new(), values),
        provider: verification.origin.provider,
        scheme: verification.origin.spec,
        secrets: verification.secrets,
        tolerance: verification.tolerance,
        public_url: verification.public_url,
        allow_ips: verification.allow_ips,
        client_cert: client_cert.as_ref().map(|one| Arc::clone(&one.rule)),
        rate_limit,
        max_body,
        dedup: verification.dedup,
        tenant: verification.tenant,
        enforce,
        continue_trace,
        quiet,
        verify_token: verification.verify_token,
        on_challenge: verification.on_challenge,
        events: filter.events,
        versions: filter.versions,
        when,
        schemas,
        sign_upstream,
        mode,
        upstream,
        branches,
        unverified_upstream,
        socket,
        destinations,
    };
    let is_shared = route
        .dedup
        .as_ref()
        .is_some_and(|dedup| dedup.shared.is_some());
    Some(SpannedRoute {
        route,
        path_span: path.span,
        client_cert_span: client_cert.map(|one| one.span),
        shared_dedup_span: table.name_span_of(&dedup::DEDUP).filter(|_| is_shared),
    })
}

fn values<T>(placed: Vec<SpannedValue<T>>) -> Vec<T> {
    placed.into_iter().map(|placed| placed.value).collect()
}

/// Warns about a `public_url` that ends with the route's own path, which each request already contains.
fn check_public_url(table: &TomlTable<'_>, path: &PathRule, public_url: Option<&str>) {
    let own = match path {
        PathRule::Exact(path) | PathRule::Prefix(path) => path.trim_end_matches('/'),
    };
    // Only the last part can repeat: a proxy removes the beginning of a path.
    let base = public_url.map_or("", public_url::base_path);
    let (Some(rest), false) = (base.strip_suffix(own), own.is_empty()) else {
        return;
    };
    let Some(span) = table.name_span_of(&verification::PUBLIC_URL) else {
        return;
    };
    let origin = public_url.and_then(|url| url.strip_suffix(base));
    let fault = ValueFault::new(
        "`public_url` ends with the path of the route, so the signed URL would contain the path twice",
        format!(
            "remove the path: `\"{}{rest}\"`, unless the sender really calls a URL with the path twice",
            origin.unwrap_or_default()
        ),
    );
    table.warning(span, fault);
}

fn path_rule(table: &mut TomlTable<'_>) -> Option<SpannedValue<PathRule>> {
    if table.has(&PATH) && table.has(&PREFIX) {
        // Reading both marks them as known, so that only this error is reported.
        let prefix = table.value(&PREFIX);
        table.value(&PATH);
        if let Some(prefix) = prefix {
            let fault = ValueFault::new(
                "`path` and `prefix` exclude each other",
                "remove one of them",
            );
            prefix.fault(fault);
        }
        return None;
    }
    if table.has(&PREFIX) {
        table.value(&PATH);
        return table.read_placed(&PREFIX, |value| {
            let text = raw_path(value)?;
            match text.strip_suffix('/') {
                // The prefix `/` is exempt, because nothing would be left of it.
                Some(shorter) if !shorter.is_empty() => Err(ValueFault::new(
                    format!("the prefix `{text}` ends with a slash"),
                    format!("write `\"{shorter}\"`: it matches itself and everything below it"),
                )),
                _ => Ok(PathRule::Prefix(text)),
            }
        });
    }
    table.value(&PREFIX);
    table.require(&PATH, |value| raw_path(value).map(PathRule::Exact))
}

/// Reads a path as it appears in a request line, because paths are compared byte by byte.
pub(super) fn raw_path(value: &TomlValue<'_>) -> Result<String, ValueFault> {
    let text = value::text(value)?;
    let wrong = |what: &str, help: &str| ValueFault::new(format!("the path `{text}` {what}"), help);
    if !text.starts_with('/') {
        return Err(wrong(
            "does not begin with `/`",
            "write it as in `\"/stripe\"`",
        ));
    }
    if text.contains(['?', '#']) {
        return Err(wrong(
            "contains a query or fragment",
            "write only the path: a route matches any query",
        ));
    }
    // RFC 3986 does not allow these bytes in a path, so a request has them only percent-encoded.
    let is_raw = |byte: u8| byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte);
    if !text.bytes().all(is_raw) {
        return Err(wrong(
            "contains a character that a request cannot contain",
            "write it percent-encoded, as the sender does",
        ));
    }
    if text.split('/').any(|step| step == "." || step == "..") {
        return Err(wrong(
            "contains a `.` or `..` segment, which senders resolve before they send",
            "write the resolved path",
        ));
    }
    Ok(text)
}

fn media_type(value: &TomlValue<'_>) -> Result<String, ValueFault> {
    let text = value::text(value)?;
    let lower = text.to_ascii_lowercase();
    let is_token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    match lower.split_once('/') {
        Some((kind, subtype)) if is_token(kind) && is_token(subtype) => Ok(lower),
        _ => Err(ValueFault::new(
            format!("`{text}` is not a media type"),
            "write type and subtype without parameters: `\"application/json\"`",
        )),
    }
}

fn max_body(value: &TomlValue<'_>) -> Result<usize, ValueFault> {
    let size = value::size(value)?;
    if size > LARGEST_MAX_BODY {
        return Err(ValueFault::new(
            "this limit is too high: a body is held in memory until it is verified",
            "set at most `\"1GiB\"`; GitHub sends up to 25 MiB, most others less than 1 MiB",
        ));
    }
    Ok(size)
}

/// Enforces the limit of `max_body`, which is lower for bodies that are parsed whole or stored than for others.
fn check_max_body(
    table: &TomlTable<'_>,
    max_body: Option<SpannedValue<usize>>,
    usual: usize,
    is_parsed: bool,
    mode: RouteMode,
) -> usize {
    let Some(max_body) = max_body else {
        // A default must never make a config invalid: a body that cannot be parsed or stored is rejected at run time.
        return match is_parsed {
            true => usual.min(json::MAX_BODY),
            false => usual.min(LARGEST_STORED),
        };
    };
    if is_parsed && max_body.value > json::MAX_BODY {
        let fault = ValueFault::new(
            "this limit is too high: `schemas`, `when` and `order` need the whole body parsed",
            "set at most `\"4MiB\"`, or remove them from this route",
        );
        table.error(max_body.span, fault);
    }
    if mode != RouteMode::Proxy && max_body.value > LARGEST_STORED {
        let fault = ValueFault::new(
            "this limit is too high: a row of the store cannot hold such a body",
            "set at most `\"512MiB\"`, or `mode = \"proxy\"`",
        );
        table.error(max_body.span, fault);
    }
    max_body.value
}

/// Returns the largest body that the sender documents, but never less than the general default.
fn usual_max_body(origin: &SchemeOrigin) -> usize {
    let provider = origin.provider.as_ref();
    let documented = provider.and_then(|provider| provider.identity.max_body.as_ref());
    documented.map_or(DEFAULT_MAX_BODY, |fact| fact.value.max(DEFAULT_MAX_BODY))
}

/// Warns if the sender uses the app's response but gets one from hookgate.
fn check_response(table: &TomlTable<'_>, origin: Option<&SchemeOrigin>, mode: RouteMode) {
    let provider = origin.and_then(|origin| origin.provider.as_deref());
    let Some(provider) = provider.filter(|provider| provider.uses_response()) else {
        return;
    };
    if mode == RouteMode::Queue
        && let Some(span) = table.name_span_of(&mode::MODE)
    {
        let fault = ValueFault::new(
            format!(
                "{} uses the body of the response, but in queue mode it gets an empty one",
                provider.name
            ),
            "set `mode = \"proxy\"` to return the app's own response; queue mode fits if only notifications come here",
        );
        table.warning(span, fault);
    }
}

fn enforce(table: &mut TomlTable<'_>) -> EnforceMode {
    let enforce = table.read_placed(&ENFORCE, |value| value::choice(value, &EnforceMode::ALL));
    let Some(enforce) = enforce else {
        return EnforceMode::Block;
    };
    // A warning on every load, so that a trial does not stay in production unnoticed.
    if enforce.value == EnforceMode::Monitor {
        let fault = ValueFault::new(
            "monitor mode is on: unverified requests of this route reach the app",
            "set `\"block\"` once the log shows that genuine requests pass",
        );
        table.warning(enforce.span, fault);
    }
    enforce.value
}

/// Reports settings that are not possible in queue and hybrid mode.
fn check_mode(
    table: &TomlTable<'_>,
    mode: RouteMode,
    enforce: EnforceMode,
    branches: &[UpstreamBranch],
) {
    if mode == RouteMode::Proxy {
        return;
    }
    if enforce == EnforceMode::Monitor
        && let Some(span) = table.name_span_of(&ENFORCE)
    {
        let fault = ValueFault::new(
            "monitor mode forwards unverified requests, but only verified events can be stored",
            "set `mode = \"proxy\"` while you try out the route",
        );
        table.error(span, fault);
    }
    if let Some(branch) = branches.first() {
        let fault = ValueFault::new(
            "`upstreams` requires `mode = \"proxy\"`",
            "use `mode = \"queue\"` and destinations with `events`",
        );
        table.error(branch.upstream.span, fault);
    }
}

/// Keys of the `[routes.NAME]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME",
    doc: "One webhook endpoint: which requests it matches, how they are verified, and where they go.",
    keys: &[
        &HOST,
        &PATH,
        &PREFIX,
        &METHODS,
        &CONTENT_TYPES,
        &verification::PROVIDER,
        &verification::SCHEME,
        &secrets::SECRET,
        &audience::AUDIENCE,
        &audience::CLAIMS,
        &audience::JWKS,
        &verification::TOLERANCE,
        &verification::PUBLIC_URL,
        &verification::ALLOW_IPS,
        &client_cert::CLIENT_CERT,
        &RATE_LIMIT,
        &MAX_BODY,
        &filter::EVENTS,
        &filter::VERSIONS,
        &filter::WHEN,
        &schemas::SCHEMAS,
        &dedup::DEDUP,
        &ENFORCE,
        &CONTINUE_TRACE,
        &watch::QUIET_AFTER,
        &mode::MODE,
        &mode::ANSWER_WITHIN,
        &mode::STORE_ON,
        &destination::DESTINATIONS,
        &mode::RESIGN,
        &socket::SOCKET,
        &verification::ON_CHALLENGE,
        &verification::VERIFY_TOKEN,
        &sign_upstream::SIGN_UPSTREAM,
        &upstream::UPSTREAM,
        &upstreams::UPSTREAMS,
        &upstream::UNVERIFIED_UPSTREAM,
        &upstream::UPSTREAM_GRACE,
        &upstream::CONNECT_TIMEOUT,
        &upstream::TIMEOUT,
        &upstream::POOL_IDLE_TIMEOUT,
        &upstream::PASS_ERROR_BODIES,
    ],
    required: &[],
    one_of: &[&["path", "prefix"], &["provider", "scheme"]],
};

pub(super) static HOST: KeyDefinition = KeyDefinition {
    name: "host",
    kind: ValueKind::Text,
    default: Some("every host"),
    example: "\"hooks.example.com\"",
    doc: "Host name that requests must have. A route with a host takes precedence over one without.",
};

pub(super) static PATH: KeyDefinition = KeyDefinition {
    name: "path",
    kind: ValueKind::Text,
    default: None,
    example: "\"/stripe\"",
    doc: "Path that requests must have, compared byte by byte. Set either `path` or `prefix`.",
};

pub(super) static PREFIX: KeyDefinition = KeyDefinition {
    name: "prefix",
    kind: ValueKind::Text,
    default: None,
    example: "\"/hooks\"",
    doc: "Matches this path and everything below it. The rest of the path is appended to the upstream's path. Paths that a server may read differently get 404: parent segments in any spelling, empty segments, encoded delimiters and control characters. An exact path takes precedence over a prefix, and a longer prefix over a shorter one.",
};

// Every provider sends events by POST.
pub(super) static METHODS: KeyDefinition = KeyDefinition {
    name: "methods",
    kind: ValueKind::List(&ValueKind::Text),
    default: Some("[\"POST\"]"),
    example: "[\"POST\", \"PUT\"]",
    doc: "Allowed methods. Requests with other methods get 405.",
};

pub(super) static CONTENT_TYPES: KeyDefinition = KeyDefinition {
    name: "content_types",
    kind: ValueKind::List(&ValueKind::Text),
    default: Some("every type"),
    example: "[\"application/json\"]",
    doc: "Allowed media types, without parameters. Requests with other types get 415.",
};

pub(super) static RATE_LIMIT: KeyDefinition = KeyDefinition {
    name: "rate_limit",
    kind: ValueKind::Rate,
    default: Some("no limit"),
    example: "\"100/s\"",
    doc: "Maximum rate of verified requests on this route. Further requests get 429, and the provider retries them later.",
};

pub(super) static MAX_BODY: KeyDefinition = KeyDefinition {
    name: "max_body",
    kind: ValueKind::Size,
    default: Some("the largest body that the provider documents, at least \"1MiB\""),
    example: "\"25MiB\"",
    doc: "Maximum size of the request body. A larger one gets 413.",
};

pub(super) static CONTINUE_TRACE: KeyDefinition = KeyDefinition {
    name: "continue_trace",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "With `[telemetry]`, continues the trace in the `traceparent` of a verified request. Otherwise each request begins a new trace, and the sender's `traceparent` is ignored.",
};

pub(super) static ENFORCE: KeyDefinition = KeyDefinition {
    name: "enforce",
    kind: ValueKind::Choice(&value::choice_words(&EnforceMode::ALL)),
    default: Some("\"block\""),
    example: "\"monitor\"",
    doc: "How to handle requests that fail a check. `block` rejects them. `monitor` records the reason and forwards them anyway: use it to try out a route in front of an app that still verifies signatures itself.",
};
