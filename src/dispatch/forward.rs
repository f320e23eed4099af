//! Forwards one request to the upstream while the sender waits, and relays the response.
//!
//! Dropping the future aborts the exchange and closes its connection, with an unknown outcome. Therefore the caller
//! runs it in a task that is detached from the sender's connection.

use std::time::Duration;

use http::{Request, StatusCode};

use crate::dispatch::endpoint::UpstreamTarget;
use crate::dispatch::error::DispatchError;
use crate::dispatch::exchange::exchange;
use crate::dispatch::request::{self, UpstreamRequestBody};
use crate::dispatch::response::{self, RelayOptions};
use crate::gate::event::{Event, UnverifiedRequest};
use crate::model::clock;
use crate::model::ids::RequestId;
use crate::net::response::{HttpResponse, ResponseBody};

/// Response of the upstream, ready for the sender.
pub(crate) struct UpstreamResponse {
    /// Response for the sender; its body may still be arriving.
    pub response: HttpResponse,
    /// Status of the upstream's response.
    pub status: StatusCode,
    /// Time from the call until the head of the upstream's response.
    pub head_time: Duration,
    /// Error page of the upstream, if it is withheld from the sender because it may expose internals.
    pub error_page: Option<Box<ResponseBody>>,
}

/// Sends a verified event to the upstream. With `takes_turn`, other ready tasks run between building the request and
/// sending it.
///
/// # Errors
///
/// If the upstream gave no response that can be relayed. A response with an error status is not an error here.
pub(crate) async fn forward(
    event: Event,
    target: &UpstreamTarget,
    request_id: RequestId,
    takes_turn: bool,
) -> Result<UpstreamResponse, DispatchError> {
    let request = request::verified(event, target, request_id)?;
    // On a busy worker other requests go on before this one waits for the upstream.
    if takes_turn {
        tokio::task::yield_now().await;
    }
    send(request, target, request_id).await
}

/// Sends a request that failed a check to the upstream of a route in monitor mode, marked with
/// `Hookgate-Verdict: monitored`.
pub(crate) async fn forward_unverified(
    request: UnverifiedRequest,
    target: &UpstreamTarget,
    request_id: RequestId,
) -> Result<UpstreamResponse, DispatchError> {
    let request = request::unverified(request, target, request_id)?;
    send(request, target, request_id).await
}

/// Sends a built request and relays the response.
pub(super) async fn send(
    request: Request<UpstreamRequestBody>,
    target: &UpstreamTarget,
    request_id: RequestId,
) -> Result<UpstreamResponse, DispatchError> {
    // Includes the time to connect, because an operator sees it as the time of the upstream.
    let began = clock::instant();
    let (response, lease) = exchange(&target.pool, request, target.grace).await?;
    let head_time = clock::instant().saturating_duration_since(began);
    let status = response.status();
    let rules = RelayOptions {
        request_id,
        timeout: target.pool.timeout(),
        pass_error_bodies: target.pass_error_bodies,
    };
    let (answer, error_page) = response::relay(response, lease, rules).await?;
    Ok(UpstreamResponse {
        response: answer,
        status,
        head_time,
        error_page,
    })
}
