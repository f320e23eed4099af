//! Event -> upstream -> answer, while the sender waits.
//!
//! Takes what the gate has verified, builds a new request from it (`request`), sends it on a pooled connection (`retry`)
//! and relays the answer (`response`). Decides nothing about the event: whether its id is spent or released is told by
//! the status and by `ForwardError::may_have_been_seen`.
//!
//! Dropping the future gives the exchange up and closes its connection, with an unknown outcome; so the caller runs it in
//! a task that does not end with the sender's connection.

mod request;
mod response;
mod retry;
mod stamp;
mod target;

use std::time::Duration;

use http::{Request, StatusCode};

use crate::forward::request::OutBody;
use crate::forward::response::Relay;
pub use crate::forward::target::{Target, TargetError, Targets};
use crate::gate::event::{Event, Unverified};
use crate::model::clock;
use crate::model::ids::RequestId;
use crate::net::answer::{Answer, AnswerBody};
use crate::net::client::{ConnectError, ExchangeError};
use crate::net::sound::AnswerFault;

/// What came back from the app.
pub struct Forwarded {
    /// The answer for the sender; its body may still be on its way.
    pub answer: Answer,
    /// The app's status.
    pub status: StatusCode,
    /// From the call to the head of the app's answer.
    pub head_time: Duration,
    /// The app's own page, where the answer does not hold it since it tells of the inside.
    pub error_page: Option<Box<AnswerBody>>,
}

/// Why the app gave no answer that can be passed on.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The target would be longer than a URI can be.
    #[error("the target for the upstream cannot be built")]
    Target,
    /// No connection.
    #[error("no connection to the upstream")]
    Connect(#[source] ConnectError),
    /// No connection within `connect_timeout`.
    #[error("no connection to the upstream in time")]
    ConnectTimeout,
    /// A fresh connection was closed before anything was written.
    #[error("the upstream closed the connection at once")]
    Unwritten,
    /// The connection ended before an answer; the app may have seen the request.
    #[error("the upstream closed the connection without an answer")]
    Closed(#[source] hyper::Error),
    /// No answer within `timeout`; the app may have seen the request, and may still work on it.
    #[error("the upstream did not answer in time")]
    Deadline,
    /// The answer is not HTTP.
    #[error("the upstream's answer is not HTTP")]
    Garbage(#[source] hyper::Error),
    /// The answer is none that can be passed on.
    #[error("the upstream's answer cannot be passed on: {0}")]
    Invalid(AnswerFault),
}

/// Sends a verified event to the app. Where it `takes_turn`, those who are ready are let by between making the request
/// and sending it.
///
/// # Errors
///
/// Where the app gave no answer that can be passed on. An answer with an error status is an answer.
pub async fn forward(
    event: Event,
    target: &Target,
    request_id: RequestId,
    takes_turn: bool,
) -> Result<Forwarded, ForwardError> {
    let request = request::verified(event.into_parts(), target, request_id)?;
    if takes_turn {
        tokio::task::yield_now().await;
    }
    exchange(request, target, request_id).await
}

/// Sends what failed a check to the app of a route in monitor mode, marked with `Hookgate-Verdict: monitored`.
///
/// # Errors
///
/// As `forward`.
pub async fn forward_unverified(
    request: Unverified,
    target: &Target,
    request_id: RequestId,
) -> Result<Forwarded, ForwardError> {
    let request = request::unverified(request.into_parts(), target, request_id)?;
    exchange(request, target, request_id).await
}

async fn exchange(
    request: Request<OutBody>,
    target: &Target,
    request_id: RequestId,
) -> Result<Forwarded, ForwardError> {
    let began = clock::instant();
    let (response, lease) = retry::send(&target.pool, request, target.grace).await?;
    let head_time = clock::instant().saturating_duration_since(began);
    let status = response.status();
    let rules = Relay {
        request_id,
        timeout: target.pool.timeout(),
        pass_error_bodies: target.pass_error_bodies,
    };
    let (answer, error_page) = response::relay(response, lease, rules).await?;
    Ok(Forwarded {
        answer,
        status,
        head_time,
        error_page,
    })
}

impl ForwardError {
    /// What the sender gets.
    #[must_use]
    pub fn status(&self) -> StatusCode {
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

    /// Whether a byte of the request may have reached the app: then nobody knows what it did.
    #[must_use]
    pub fn may_have_been_seen(&self) -> bool {
        match self {
            Self::Target | Self::Connect(_) | Self::ConnectTimeout | Self::Unwritten => false,
            Self::Closed(_) | Self::Deadline | Self::Garbage(_) | Self::Invalid(_) => true,
        }
    }

    /// Whether sending it again cannot make the app act twice.
    #[must_use]
    pub fn is_safe_to_retry(&self) -> bool {
        !self.may_have_been_seen()
    }

    /// For log and metrics: a closed set.
    #[must_use]
    pub fn kind(&self) -> &'static str {
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

impl From<ConnectError> for ForwardError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Timeout => Self::ConnectTimeout,
            error => Self::Connect(error),
        }
    }
}

impl From<ExchangeError> for ForwardError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Unwritten(_) => Self::Unwritten,
            ExchangeError::Closed(error) => Self::Closed(error),
            ExchangeError::Garbage(error) => Self::Garbage(error),
            ExchangeError::Deadline => Self::Deadline,
        }
    }
}

#[cfg(test)]
mod tests;
