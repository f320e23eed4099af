//! Which connection a request goes out on, and the only case in which it goes out twice.
//!
//! A connection that was idle may have been closed by the app at any moment. Where that is seen before a byte of the
//! request was written, the request is sent on a fresh connection, once. From the first written byte on the app may have
//! acted on it: whatever fails then is answered 502 or 504, and the sender decides whether to send it again.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::forward::ForwardError;
use crate::forward::request::OutBody;
use crate::model::clock;
use crate::net::client::{ConnectError, ExchangeError, Lease, Pool};

/// Between two tries of a connection that was refused.
const PAUSE: Duration = Duration::from_millis(100);

/// Sends the request and waits for the head of the answer. The lease carries the answer's body.
pub(super) async fn send(
    pool: &Arc<Pool>,
    request: Request<OutBody>,
    grace: Duration,
) -> Result<(Response<Incoming>, Lease), ForwardError> {
    let Some(mut lease) = pool.idle() else {
        // Boxed: most requests find an idle connection, and a handshake needs much room.
        return Box::pin(send_fresh(pool, request, grace)).await;
    };
    match lease.exchange(request).await {
        Ok(response) => Ok((response, lease)),
        Err(ExchangeError::Unwritten(request)) => {
            drop(lease);
            Box::pin(send_fresh(pool, *request, grace)).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn send_fresh(
    pool: &Arc<Pool>,
    request: Request<OutBody>,
    grace: Duration,
) -> Result<(Response<Incoming>, Lease), ForwardError> {
    let mut lease = connect(pool, grace).await?;
    let response = lease.exchange(request).await?;
    Ok((response, lease))
}

/// Tries again for as long as nobody listens at the app's address, which is how an app looks that is restarting: nothing
/// of the request was written yet.
async fn connect(pool: &Arc<Pool>, grace: Duration) -> Result<Lease, ConnectError> {
    let began = clock::instant();
    loop {
        let error = match pool.connect().await {
            Ok(lease) => return Ok(lease),
            Err(error) => error,
        };
        let waited = clock::instant().saturating_duration_since(began);
        if !error.is_refused() || waited >= grace {
            return Err(error);
        }
        tokio::time::sleep(PAUSE.min(grace.saturating_sub(waited))).await;
    }
}
