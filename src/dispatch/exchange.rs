//! The exchange of one request and the head of its response, with every host that hookgate sends requests to.
//!
//! A host may close an idle connection at any moment. If that is noticed before a byte of the request was written, the
//! request is sent once more, on a fresh connection. From the first written byte on the host may have acted on it, so
//! that only the caller can decide about another attempt.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::dispatch::error::DispatchError;
use crate::model::clock;
use crate::net::client::{ConnectError, ConnectionLease, ConnectionPool, ExchangeError};

/// Pause between two attempts to connect while the host refuses connections.
const PAUSE: Duration = Duration::from_millis(100);

/// Sends the request and waits for the head of the response. The lease carries the response's body. A refused
/// connection is an error once it was refused for `grace`.
pub(crate) async fn exchange(
    pool: &Arc<ConnectionPool>,
    request: Request<Full<Bytes>>,
    grace: Duration,
) -> Result<(Response<Incoming>, ConnectionLease), DispatchError> {
    let Some(mut lease) = pool.idle() else {
        // Boxed, because most requests find an idle connection and the future of a handshake is large.
        return Box::pin(send_fresh(pool, request, grace)).await;
    };
    match lease.exchange(request).await {
        Ok(response) => Ok((response, lease)),
        // The request comes back whole, so nothing was sent.
        Err(ExchangeError::Unwritten(request)) => {
            drop(lease);
            Box::pin(send_fresh(pool, *request, grace)).await
        }
        Err(error) => Err(error.into()),
    }
}

/// Sends the request on a new connection. An error is final here, also if nothing was written.
async fn send_fresh(
    pool: &Arc<ConnectionPool>,
    request: Request<Full<Bytes>>,
    grace: Duration,
) -> Result<(Response<Incoming>, ConnectionLease), DispatchError> {
    let mut lease = connect(pool, grace).await?;
    let response = lease.exchange(request).await?;
    Ok((response, lease))
}

/// Connects, and retries within `grace` while the connection is refused, as it is when an app restarts. That is safe,
/// because nothing of the request was written yet.
async fn connect(
    pool: &Arc<ConnectionPool>,
    grace: Duration,
) -> Result<ConnectionLease, ConnectError> {
    let began = clock::instant();
    loop {
        let error = match pool.connect().await {
            Ok(lease) => return Ok(lease),
            Err(error) => error,
        };
        let waited = clock::instant().saturating_duration_since(began);
        // Only a refused connection means that no process listens yet; other errors are reported at once.
        if !error.is_refused() || waited >= grace {
            return Err(error);
        }
        tokio::time::sleep(PAUSE.min(grace.saturating_sub(waited))).await;
    }
}
