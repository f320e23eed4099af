//! The rest of an answer that nobody is waiting for: its beginning is kept, the rest is read so that the connection can
//! take the next request, all within the deadline of the exchange.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use hyper::body::Incoming;

use crate::net::client::Lease;

/// The beginning of an answer, and how its body ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drained {
    /// Its first bytes.
    pub start: Bytes,
    /// How it ended.
    pub ending: Ending,
}

/// How the body of an answer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// As it should; the connection is back in the pool where it can take another request.
    Whole,
    /// It was longer than anybody reads. The connection is closed.
    TooLong,
    /// It broke off.
    Cut,
    /// It was not there in time. The connection is closed.
    Late,
}

/// How much of an answer is kept, and how much is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bounds {
    keep: usize,
    read: usize,
}

impl Lease {
    /// Reads the body of the answer to the last exchange until the deadline of that exchange: the first `keep` bytes are
    /// given back, up to `read` bytes are read.
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
                    // A fresh piece is worth another look at the socket.
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
