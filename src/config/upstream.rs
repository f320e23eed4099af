//! Keys of a route for its upstream: URL, TLS, connections, time limits and error bodies.

use std::time::Duration;

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{SpannedValue, TomlTable, ValueFault};
use hookgate_verify::document::value;

use crate::config::app_url::upstream_url;
use crate::config::load_context::LoadContext;
use crate::config::model::{EnforceMode, RouteMode, UpstreamSettings};
use crate::config::{outgoing_tls, pooling};
use crate::net::app_url::AppUrl;
use crate::net::client::{PoolLimits, TlsFiles};

/// The values of `upstream`: a URL, or a table with it.
#[derive(Default)]
struct UpstreamKeys {
    url: Option<SpannedValue<AppUrl>>,
    tls: Option<TlsFiles>,
    max_age: Option<Duration>,
    reuse: Option<bool>,
}

/// Reads the upstream of a route; returns `None` if its URL is absent or wrong.
pub(super) fn read(
    table: &mut TomlTable<'_>,
    mode: RouteMode,
    context: &LoadContext,
) -> Option<UpstreamSettings> {
    // A route in queue mode may have only destinations.
    if mode != RouteMode::Queue && !table.has(&UPSTREAM) {
        table.missing(&UPSTREAM);
    }
    let UpstreamKeys {
        url,
        tls,
        max_age,
        reuse,
    } = keys(table, context);
    let mut duration = |key: &KeyDefinition, default: Duration| {
        table.read(key, value::duration).unwrap_or(default)
    };
    let connect_timeout = duration(&CONNECT_TIMEOUT, Duration::from_secs(5));
    let timeout = duration(&TIMEOUT, Duration::from_secs(30));
    let pool_idle_timeout = duration(&POOL_IDLE_TIMEOUT, Duration::from_secs(4));
    let grace = table.read(&UPSTREAM_GRACE, value::duration);
    let pass_error_bodies = table.read(&PASS_ERROR_BODIES, value::boolean);
    let url = url?;
    Some(UpstreamSettings {
        url: url.value,
        span: url.span,
        connect_timeout,
        timeout,
        keep: PoolLimits {
            idle_timeout: pool_idle_timeout,
            max_age,
            reuse: reuse.unwrap_or(true),
        },
        tls,
        pass_error_bodies: pass_error_bodies.unwrap_or(false),
        grace: grace.unwrap_or_default(),
    })
}

/// Reads `upstream`: a URL, or a table with the URL and settings of the connection.
fn keys(table: &mut TomlTable<'_>, context: &LoadContext) -> UpstreamKeys {
    let path = format!("{}.upstream", table.path());
    let Some(value) = table.value(&UPSTREAM) else {
        return UpstreamKeys::default();
    };
    let name_span = table.name_span_of(&UPSTREAM);
    let Some(mut own) = value.table(name_span.unwrap_or(value.span()), path) else {
        return UpstreamKeys {
            url: value.check(upstream_url),
            ..UpstreamKeys::default()
        };
    };
    let url = own.require(&UPSTREAM_URL, upstream_url);
    let tls_span = own.name_span_of(&outgoing_tls::UPSTREAM_TLS);
    let tls = own.table(&outgoing_tls::UPSTREAM_TLS);
    let tls = tls.map(|tls| outgoing_tls::read(tls, context));
    let pool = pooling::read(&mut own);
    own.deny_unknown();
    if let Some(url) = &url {
        outgoing_tls::check(&own, tls_span, &url.value);
    }
    UpstreamKeys {
        url,
        tls,
        max_age: pool.max_age,
        reuse: pool.reuse,
    }
}

/// Reads the upstream for requests that failed a check in monitor mode. All settings except the URL are those of
/// `usual`.
pub(super) fn read_unverified(
    table: &mut TomlTable<'_>,
    enforce: EnforceMode,
    usual: Option<&UpstreamSettings>,
) -> Option<UpstreamSettings> {
    let url = table.read_placed(&UNVERIFIED_UPSTREAM, upstream_url)?;
    if enforce != EnforceMode::Monitor {
        let fault = ValueFault::new(
            "`unverified_upstream` has no effect: this route rejects requests that fail a check",
            "remove it, or set `enforce = \"monitor\"`",
        );
        table.warning(url.span, fault);
    }
    // Without a valid `upstream` the route has an error already.
    usual.map(|usual| usual.with_url(url))
}

// A URL of its own, so that no app has to detect verified requests by a header.
pub(super) static UNVERIFIED_UPSTREAM: KeyDefinition = KeyDefinition {
    name: "unverified_upstream",
    kind: ValueKind::AppUrl,
    default: Some("`upstream`"),
    example: "\"http://127.0.0.1:8080/unverified\"",
    doc: "URL for requests that failed a check, with `enforce = \"monitor\"`. Together with `sign_upstream` the app can reliably tell verified requests from unverified ones.",
};

pub(super) static UPSTREAM: KeyDefinition = KeyDefinition {
    name: "upstream",
    kind: ValueKind::Either(&ValueKind::AppUrl, &ValueKind::Table(&SECTION)),
    default: None,
    example: "\"http://127.0.0.1:8080/webhooks/stripe\"",
    doc: "URL of the app, or a table with it. `unix:/run/app.sock` is a Unix socket, `unix:/run/app.sock:/hooks` one with a path. With `prefix`, the rest of the request path is appended. The query is passed on.",
};

/// Keys of the `[routes.NAME.upstream]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.upstream",
    doc: "The app of a route as a table, for TLS settings and the lifetime of connections. `upstream = \"URL\"` is the same as a table with `url` only. Time limits are keys of the route.",
    keys: &[
        &UPSTREAM_URL,
        &outgoing_tls::UPSTREAM_TLS,
        &pooling::MAX_AGE,
        &pooling::REUSE,
    ],
    required: &["url"],
    one_of: &[],
};

pub(super) static UPSTREAM_URL: KeyDefinition = KeyDefinition {
    name: "url",
    kind: ValueKind::AppUrl,
    default: None,
    example: "\"https://app.internal:8443/hooks\"",
    doc: "URL of the app: `http://`, `https://` or `unix:`.",
};

// Off by default: most apps are seldom away, and the sender waits during this time.
pub(super) static UPSTREAM_GRACE: KeyDefinition = KeyDefinition {
    name: "upstream_grace",
    kind: ValueKind::Duration,
    default: Some("a refused connection fails at once"),
    example: "\"2s\"",
    doc: "How long to retry a refused connection to the app. Use it for apps that are restarted from time to time.",
};

// A machine in the same network responds within milliseconds; 5 seconds outlast one lost packet and its retransmission.
pub(super) static CONNECT_TIMEOUT: KeyDefinition = KeyDefinition {
    name: "connect_timeout",
    kind: ValueKind::Duration,
    default: Some("\"5s\""),
    example: "\"2s\"",
    doc: "Maximum time to connect to the app, including TLS. After that the request gets 502, or the attempt fails.",
};

// Longer than most providers wait (Stripe 20 s, GitHub 10 s, Slack 3 s), so that the sender gives up first, not
// hookgate.
pub(super) static TIMEOUT: KeyDefinition = KeyDefinition {
    name: "timeout",
    kind: ValueKind::Duration,
    default: Some("\"30s\""),
    example: "\"10s\"",
    doc: "Maximum time from the request to the head of the app's response, and between two pieces of its body. After that the request gets 504.",
};

// Below the 5 seconds after which Node and gunicorn close idle connections, so that hookgate does not use a connection
// that the app is closing.
pub(super) static POOL_IDLE_TIMEOUT: KeyDefinition = KeyDefinition {
    name: "pool_idle_timeout",
    kind: ValueKind::Duration,
    default: Some("\"4s\""),
    example: "\"30s\"",
    doc: "How long to keep an idle connection to the app. Set it below the app's own keep-alive timeout.",
};

// Off by default: an error page of the app may show its internals to the client.
pub(super) static PASS_ERROR_BODIES: KeyDefinition = KeyDefinition {
    name: "pass_error_bodies",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Passes the body of the app's 5xx responses to the sender. The status is always passed.",
};
