//! Upstreams of a route that get requests while the sender waits.

use std::time::Duration;

use hookgate_verify::document::TextSpan;
use hookgate_verify::model::glob::PatternList;
use http::Uri;

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
