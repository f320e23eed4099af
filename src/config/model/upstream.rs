//! Upstreams of a route that get requests while the sender waits.

use std::time::Duration;

use hookgate_verify::document::TextSpan;
use hookgate_verify::document::table::SpannedValue;
use hookgate_verify::model::glob::PatternList;

use crate::net::app_url::AppUrl;
use crate::net::client::{PoolLimits, TlsFiles};

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
    /// Host or Unix socket, and a path; no query.
    pub url: AppUrl,
    /// Span of the URL in the config.
    pub span: TextSpan,
    /// Time limit from the start to an established connection, TLS included.
    pub connect_timeout: Duration,
    /// Time limit from the request to the response head, and between two pieces of its body.
    pub timeout: Duration,
    /// Lifetime of connections.
    pub keep: PoolLimits,
    /// CAs and client certificate of its own; `None`: the system's CAs.
    pub tls: Option<TlsFiles>,
    /// Passes the body of 5xx responses to the sender.
    pub pass_error_bodies: bool,
    /// Time for which a refused connection is retried before it is an error: the upstream may be restarting.
    pub grace: Duration,
}

impl UpstreamSettings {
    /// Returns the same settings for another app. The name in its certificate is that of its own URL.
    pub(crate) fn with_url(&self, url: SpannedValue<AppUrl>) -> Self {
        let tls = self.tls.clone().map(|tls| TlsFiles {
            server_name: None,
            ..tls
        });
        Self {
            url: url.value,
            span: url.span,
            tls,
            ..self.clone()
        }
    }
}
