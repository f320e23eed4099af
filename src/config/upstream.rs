//! The keys of a route that say where verified requests go.

use std::time::Duration;

use crate::config::model::{Enforce, Mode, Upstream};
use crate::document::key::{Key, Kind};
use crate::document::table::{Fault, Table};
use crate::document::value;

/// Reads the upstream of a route; none where its URL is absent or wrong.
pub(super) fn read(table: &mut Table<'_>, mode: Mode) -> Option<Upstream> {
    // A queue may have destinations only.
    let url = match mode {
        Mode::Queue => table.read_placed(&UPSTREAM, value::http_url),
        Mode::Proxy | Mode::Hybrid { .. } => table.require(&UPSTREAM, value::http_url),
    };
    let mut duration =
        |key: &Key, default: Duration| table.read(key, value::duration).unwrap_or(default);
    let connect_timeout = duration(&CONNECT_TIMEOUT, Duration::from_secs(5));
    let timeout = duration(&TIMEOUT, Duration::from_secs(30));
    let pool_idle_timeout = duration(&POOL_IDLE_TIMEOUT, Duration::from_secs(4));
    let grace = table.read(&UPSTREAM_GRACE, value::duration);
    let pass_error_bodies = table.read(&PASS_ERROR_BODIES, value::boolean);
    let url = url?;
    Some(Upstream {
        url: url.value,
        span: url.span,
        connect_timeout,
        timeout,
        pool_idle_timeout,
        pass_error_bodies: pass_error_bodies.unwrap_or(false),
        grace: grace.unwrap_or_default(),
    })
}

/// Reads where monitor mode sends what failed; `None` for the app itself. All but the URL is as for `usual`.
pub(super) fn read_unverified(
    table: &mut Table<'_>,
    enforce: Enforce,
    usual: Option<&Upstream>,
) -> Option<Upstream> {
    let url = table.read_placed(&UNVERIFIED_UPSTREAM, value::http_url)?;
    if enforce != Enforce::Monitor {
        let fault = Fault::new(
            "this route forwards nothing that failed a check",
            "remove it, or add `enforce = \"monitor\"`",
        );
        table.warning(url.span, fault);
    }
    usual.map(|usual| Upstream {
        url: url.value,
        span: url.span,
        ..usual.clone()
    })
}

// Beside `upstream`, so that no app has to distinguish verified requests by a header.
pub(super) static UNVERIFIED_UPSTREAM: Key = Key {
    name: "unverified_upstream",
    kind: Kind::Url,
    default: Some("`upstream`"),
    example: "\"http://127.0.0.1:8080/unverified\"",
    doc: "Where `enforce = \"monitor\"` sends requests that failed a check, as for `upstream`. With `sign_upstream` beside it, the app takes nothing for verified that is not.",
};

pub(super) static UPSTREAM: Key = Key {
    name: "upstream",
    kind: Kind::Url,
    default: None,
    example: "\"http://127.0.0.1:8080/webhooks/stripe\"",
    doc: "The URL of the app. Under `prefix`, the rest of the path is appended to it; the query is passed on.",
};

// Off: most apps are seldom away, and each second here is one that the sender waits.
pub(super) static UPSTREAM_GRACE: Key = Key {
    name: "upstream_grace",
    kind: Kind::Duration,
    default: Some("a refused connection is an error at once"),
    example: "\"2s\"",
    doc: "How long a connection that the app's machine refuses is tried again: for an app that is restarted now and then.",
};

// A machine nearby answers within milliseconds; 5 seconds outlast one lost packet and its repetition.
pub(super) static CONNECT_TIMEOUT: Key = Key {
    name: "connect_timeout",
    kind: Kind::Duration,
    default: Some("\"5s\""),
    example: "\"2s\"",
    doc: "From the start to an established connection to the app, TLS included; then 502, or the attempt has failed.",
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
