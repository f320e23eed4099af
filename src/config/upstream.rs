//! The keys of a route that say where verified requests go.

use std::time::Duration;

use crate::config::model::Upstream;
use crate::document::key::{Key, Kind};
use crate::document::table::Table;
use crate::document::value;

/// Reads the upstream of a route; none where its URL is absent or wrong.
pub(super) fn read(table: &mut Table<'_>) -> Option<Upstream> {
    let url = table.require(&UPSTREAM, value::http_url);
    let mut duration =
        |key: &Key, default: Duration| table.read(key, value::duration).unwrap_or(default);
    let connect_timeout = duration(&CONNECT_TIMEOUT, Duration::from_secs(5));
    let timeout = duration(&TIMEOUT, Duration::from_secs(30));
    let pool_idle_timeout = duration(&POOL_IDLE_TIMEOUT, Duration::from_secs(4));
    let pass_error_bodies = table.read(&PASS_ERROR_BODIES, value::boolean);
    let url = url?;
    Some(Upstream {
        url: url.value,
        span: url.span,
        connect_timeout,
        timeout,
        pool_idle_timeout,
        pass_error_bodies: pass_error_bodies.unwrap_or(false),
    })
}

pub(super) static UPSTREAM: Key = Key {
    name: "upstream",
    kind: Kind::Url,
    default: None,
    example: "\"http://127.0.0.1:8080/webhooks/stripe\"",
    doc: "The URL of the app. Under `prefix`, the rest of the path is appended to it; the query is passed on.",
};

// A machine nearby answers within milliseconds; 5 seconds outlast one lost packet and its repetition.
pub(super) static CONNECT_TIMEOUT: Key = Key {
    name: "connect_timeout",
    kind: Kind::Duration,
    default: Some("\"5s\""),
    example: "\"2s\"",
    doc: "From the start to an established connection to the app, TLS included; then 502.",
};

// Longer than the patience of most providers (Stripe 20 s, GitHub 10 s, Slack 3 s), so that the app is not the one cut off.
pub(super) static TIMEOUT: Key = Key {
    name: "timeout",
    kind: Kind::Duration,
    default: Some("\"30s\""),
    example: "\"10s\"",
    doc: "From the request to the head of the app's answer, and between two pieces of its body; then 504.",
};

// Below the 5 seconds after which Node and gunicorn close idle connections: a connection that the app is just closing is not used.
pub(super) static POOL_IDLE_TIMEOUT: Key = Key {
    name: "pool_idle_timeout",
    kind: Kind::Duration,
    default: Some("\"4s\""),
    example: "\"30s\"",
    doc: "How long an idle connection to the app is kept. Keep it below the app's own keep-alive timeout.",
};

// An error page of the app tells strangers about its inside.
pub(super) static PASS_ERROR_BODIES: Key = Key {
    name: "pass_error_bodies",
    kind: Kind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Whether the body of the app's 5xx answer reaches the sender; the status always does.",
};
