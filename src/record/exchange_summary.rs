//! The summary of one exchange, for reports.

use std::time::Duration;

use http::StatusCode;

/// Result of a request beyond the gate's verdict: the response, the upstream call and the time.
#[derive(Clone, Debug)]
pub(crate) struct ExchangeSummary {
    /// Status of the response to the sender.
    pub response_status: StatusCode,
    /// Status of the upstream's response; `None` without a response.
    pub upstream_status: Option<StatusCode>,
    /// Time from forwarding the request until the upstream's response head; zero where nothing was forwarded.
    pub upstream_time: Duration,
    /// Cause of a failed forward: the kind of error, and its text with all causes.
    pub forward_error: Option<(&'static str, String)>,
    /// True if the event was committed to the store.
    pub is_stored: bool,
    /// Time from reading the request head to the end of the response.
    pub total: Duration,
}
