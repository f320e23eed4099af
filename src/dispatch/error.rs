//! The error of every request that hookgate sends to an app, a destination or a collector.

use http::StatusCode;

use crate::net::client::{ConnectError, ExchangeError};
use crate::net::response_check::ResponseFault;

/// Reason why a request got no response that can be used. The texts name no role: an upstream, a destination and a
/// collector fail in the same ways.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DispatchError {
    /// The joined target would be longer than a URI can be.
    #[error("cannot build the request target: it is too long")]
    Target,
    /// No connection could be opened.
    #[error("cannot connect")]
    Connect(#[source] ConnectError),
    /// No connection could be opened within `connect_timeout`.
    #[error("cannot connect within `connect_timeout`")]
    ConnectTimeout,
    /// A fresh connection was closed before anything was written.
    #[error("the connection was closed before the request was sent")]
    Unwritten,
    /// The connection ended before a response; the peer may have seen the request.
    #[error("the connection was closed without a response")]
    Closed(#[source] hyper::Error),
    /// No response within `timeout`; the peer may have seen the request, and may still be processing it.
    #[error("no response within `timeout`")]
    Deadline,
    /// The response is not HTTP.
    #[error("the response is not HTTP")]
    Garbage(#[source] hyper::Error),
    /// The response is HTTP, but cannot be relayed safely.
    #[error("the response is ambiguous: {0}")]
    Invalid(ResponseFault),
}

impl DispatchError {
    /// Returns the status of the response to the sender.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::ConnectTimeout | Self::Deadline => StatusCode::GATEWAY_TIMEOUT,
            Self::Target
            | Self::Connect(_)
            | Self::Unwritten
            | Self::Closed(_)
            | Self::Garbage(_)
            | Self::Invalid(_) => StatusCode::BAD_GATEWAY,
        }
    }

    /// Returns the kind of error for log and metrics, which is a word of a closed set.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Connect(_) => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Unwritten => "unwritten",
            Self::Closed(_) => "closed",
            Self::Deadline => "deadline",
            Self::Garbage(_) => "garbage",
            Self::Invalid(_) => "invalid",
        }
    }
}

impl From<ConnectError> for DispatchError {
    fn from(error: ConnectError) -> Self {
        match error {
            // A timeout gets 504, every other error to connect 502.
            ConnectError::Timeout => Self::ConnectTimeout,
            error => Self::Connect(error),
        }
    }
}

impl From<ExchangeError> for DispatchError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Unwritten(_) => Self::Unwritten,
            ExchangeError::Closed(error) => Self::Closed(error),
            ExchangeError::Garbage(error) => Self::Garbage(error),
            ExchangeError::Deadline => Self::Deadline,
        }
    }
}
