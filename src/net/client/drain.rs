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

use crate::net::client::Lease;

/// The beginning of a response, and how its body ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drained {
    /// The first bytes of the body.
    pub start: Bytes,
    /// The end of the body.
    pub ending: Ending,
}

/// The end of a response body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
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
pub(super) struct Bounds {
    keep: usize,
    read: usize,
}

impl Lease {
    /// Reads the body of the last exchange's response, until the deadline of that exchange. Returns the first `keep`
    /// bytes, and reads at most `read` bytes.
    pub async fn drain(self, body: Incoming, keep: usize, read: usize) -> Drained {
        let mut draining = Draining {
            lease: Some(self),
            body,
            kept: BytesMut::new(),
            count: 0,
            bounds: Bounds { keep, read },
        };
        let ending = poll_fn(|context| draining.poll(context)).await;
        Drained {
            start: draining.kept.freeze(),
            ending,
        }
    }
}

struct Draining {
    lease: Option<Lease>,
    body: Incoming,
    kept: BytesMut,
    count: usize,
    bounds: Bounds,
}

impl Draining {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ending> {
        let mut is_driven = false;
        loop {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers of a response have no use here.
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    self.count = self.count.saturating_add(data.len());
                    let room = self.bounds.keep.saturating_sub(self.kept.len());
                    self.kept
                        .extend_from_slice(data.get(..room.min(data.len())).unwrap_or(&[]));
                    if self.count > self.bounds.read {
                        return Poll::Ready(Ending::TooLong);
                    }
                    // After a frame, the socket may have more bytes.
                    is_driven = false;
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Ending::Cut),
                Poll::Ready(None) => {
                    if let Some(lease) = self.lease.take() {
                        lease.finish(context);
                    }
                    return Poll::Ready(Ending::Whole);
                }
                Poll::Pending => {
                    let Some(lease) = self.lease.as_mut().filter(|lease| !lease.is_ended()) else {
                        return Poll::Ready(Ending::Cut);
                    };
                    if is_driven {
                        let timer = lease.connection.timer.as_mut().poll(context);
                        return timer.map(|()| Ending::Late);
                    }
                    lease.drive(context);
                    is_driven = true;
                }
            }
        }
    }
}
