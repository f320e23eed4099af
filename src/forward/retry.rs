//! Which connection a request goes out on, and the only case in which it goes out twice.
//!
//! A connection that was idle may have been closed by the app at any moment. Where that is seen before a byte of the
//! request was written, the request is sent on a fresh connection, once. From the first written byte on the app may have
//! acted on it: whatever fails then is answered 502 or 504, and the sender decides whether to send it again.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::forward::ForwardError;
use crate::forward::request::OutBody;
use crate::net::client::{ExchangeError, Lease, Pool};

/// Sends the request and waits for the head of the answer. The lease carries the answer's body.
pub(super) async fn send(
    pool: &Arc<Pool>,
    request: Request<OutBody>,
) -> Result<(Response<Incoming>, Lease), ForwardError> {
    let Some(mut lease) = pool.idle() else {
        // Boxed: most requests find an idle connection, and a handshake needs much room.
        return Box::pin(send_fresh(pool, request)).await;
    };
    match lease.exchange(request).await {
        Ok(response) => Ok((response, lease)),
        Err(ExchangeError::Unwritten(request)) => {
            drop(lease);
            Box::pin(send_fresh(pool, *request)).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn send_fresh(
    pool: &Arc<Pool>,
    request: Request<OutBody>,
) -> Result<(Response<Incoming>, Lease), ForwardError> {
    let mut lease = pool.connect().await?;
    let response = lease.exchange(request).await?;
    Ok((response, lease))
}
