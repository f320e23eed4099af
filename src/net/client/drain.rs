//! Reads the rest of a response that no sender waits for.
//!
//! The beginning is kept for the record. The rest is read so that the connection can take the next request. Everything
//! happens within the deadline of the exchange.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use hyper::body::Incoming;

use crate::net::client::ConnectionLease;

/// The beginning of a response, and how its body ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DrainedBody {
    /// The first bytes of the body.
    pub start: Bytes,
    /// The end of the body.
    pub ending: BodyEnding,
}

/// The end of a response body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BodyEnding {
    /// The body was read whole. The connection is back in the pool, where it can take another request.
    Whole,
    /// The body was longer than the bound. The connection is closed.
    TooLong,
    /// The connection ended before the body did.
    Cut,
    /// The deadline passed before the end of the body. The connection is closed.
    Late,
}

/// Bounds of a drain: the bytes to keep, and the bytes to read at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct DrainBounds {
    prefix_bytes: usize,
    read: usize,
}

impl ConnectionLease {
    /// Reads the body of the last exchange's response, until the deadline of that exchange. Returns the first `keep`
    /// bytes, and reads at most `read` bytes.
    pub(crate) async fn drain(self, body: Incoming, keep: usize, read: usize) -> DrainedBody {
        let mut draining = BodyDrain {
            lease: Some(self),
            body,
            prefix: BytesMut::new(),
            count: 0,
            bounds: DrainBounds {
                prefix_bytes: keep,
                read,
            },
        };
        let ending = poll_fn(|context| draining.poll(context)).await;
        DrainedBody {
            start: draining.prefix.freeze(),
            ending,
        }
    }
}

struct BodyDrain {
    lease: Option<ConnectionLease>,
    body: Incoming,
    prefix: BytesMut,
    count: usize,
    bounds: DrainBounds,
}

impl BodyDrain {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<BodyEnding> {
        let mut is_driven = false;
        loop {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers of a response have no use here.
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    // Counts what was read and not what was kept: the bound limits the work for a response without an
                    // end.
                    self.count = self.count.saturating_add(data.len());
                    let room = self.bounds.prefix_bytes.saturating_sub(self.prefix.len());
                    self.prefix
                        .extend_from_slice(data.get(..room.min(data.len())).unwrap_or(&[]));
                    if self.count > self.bounds.read {
                        return Poll::Ready(BodyEnding::TooLong);
                    }
                    // After a frame, the socket may have more bytes.
                    is_driven = false;
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(BodyEnding::Cut),
                Poll::Ready(None) => {
                    // Only a body that was read to its end leaves a clean connection, so only this one goes back to the
                    // pool.
                    if let Some(lease) = self.lease.take() {
                        lease.finish(context);
                    }
                    return Poll::Ready(BodyEnding::Whole);
                }
                Poll::Pending => {
                    let Some(lease) = self.lease.as_mut().filter(|lease| !lease.is_ended()) else {
                        return Poll::Ready(BodyEnding::Cut);
                    };
                    // The timer comes last: bytes that have already arrived still count when the deadline has passed.
                    if is_driven {
                        let timer = lease.connection.timer.as_mut().poll(context);
                        return timer.map(|()| BodyEnding::Late);
                    }
                    lease.drive(context);
                    is_driven = true;
                }
            }
        }
    }
}
