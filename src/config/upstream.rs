//! Keys of a route for its upstream: URL, time limits and error bodies.

use std::time::Duration;

use hookgate_verify::document::key::{KeyDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, ValueFault};
use hookgate_verify::document::value;

use crate::config::model::{EnforceMode, RouteMode, UpstreamSettings};

/// Reads the upstream of a route; returns `None` if its URL is absent or wrong.
pub(super) fn read(table: &mut TomlTable<'_>, mode: RouteMode) -> Option<UpstreamSettings> {
    // A route in queue mode may have only destinations.
    let url = match mode {
        RouteMode::Queue => table.read_placed(&UPSTREAM, value::http_url),
        RouteMode::Proxy | RouteMode::Hybrid { .. } => table.require(&UPSTREAM, value::http_url),
    };
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
        pool_idle_timeout,
        pass_error_bodies: pass_error_bodies.unwrap_or(false),
        grace: grace.unwrap_or_default(),
    })
}

/// Reads the upstream for requests that failed a check in monitor mode. All settings except the URL are those of
/// `usual`.
pub(super) fn read_unverified(
    table: &mut TomlTable<'_>,
    enforce: EnforceMode,
    usual: Option<&UpstreamSettings>,
) -> Option<UpstreamSettings> {
    let url = table.read_placed(&UNVERIFIED_UPSTREAM, value::http_url)?;
    if enforce != EnforceMode::Monitor {
        let fault = ValueFault::new(
            "`unverified_upstream` has no effect: this route rejects requests that fail a check",
            "remove it, or set `enforce = \"monitor\"`",
        );
        table.warning(url.span, fault);
    }
    // Without a valid `upstream` the route has an error already.
    usual.map(|usual| UpstreamSettings {
        url: url.value,
        span: url.span,
        ..usual.clone()
    })
}

// A URL of its own, so that no app has to detect verified requests by a header.
pub(super) static UNVERIFIED_UPSTREAM: KeyDefinition = KeyDefinition {
    name: "unverified_upstream",
    kind: ValueKind::Url,
    default: Some("`upstream`"),
    example: "\"http://127.0.0.1:8080/unverified\"",
    doc: "URL for requests that failed a check, with `enforce = \"monitor\"`. Together with `sign_upstream` the app can reliably tell verified requests from unverified ones.",
};

pub(super) static UPSTREAM: KeyDefinition = KeyDefinition {
    name: "upstream",
    kind: ValueKind::Url,
    default: None,
    example: "\"http://127.0.0.1:8080/webhooks/stripe\"",
    doc: "URL of the app. With `prefix`, the rest of the request path is appended. The query is passed on.",
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
