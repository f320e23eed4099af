//! Relays the upstream's response to the sender: checked, headers vetted, body streamed.
//!
//! A body that is complete when the head is read is sent as one piece and frees its connection at once. A longer body
//! is streamed with a timeout between two pieces. A body that breaks midway breaks the response: the sender must never
//! mistake a truncated body for the whole.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use http::{Response, StatusCode, response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use crate::dispatch::error::DispatchError;
use crate::model::ids::RequestId;
use crate::net::client::ConnectionLease;
use crate::net::headers::{HeaderOccurrence, single, vet_answer_headers};
use crate::net::problem;
use crate::net::response::{BodyError, HttpResponse, ResponseBody};
use crate::net::response_check::check_answer;

/// Error that breaks a response that has begun.
#[derive(Debug, thiserror::Error)]
enum BrokenBody {
    #[error("the upstream stopped sending its response body for longer than `timeout`")]
    Timeout,
    #[error("the upstream closed the connection in the middle of its response body")]
    Cut,
}

/// Returns the response for the sender, and the error page that is withheld from it.
pub(super) async fn relay(
    response: Response<Incoming>,
    lease: ConnectionLease,
    rules: RelayOptions,
) -> Result<(HttpResponse, Option<Box<ResponseBody>>), DispatchError> {
    let (mut head, body) = response.into_parts();
    // Before anything is relayed: an ambiguous response must not reach the sender.
    check_answer(&head).map_err(DispatchError::Invalid)?;
    let mut body = UpstreamResponseBody::new(body, lease, rules.timeout);
    let whole = body.take_if_complete().await;
    if head.status.is_server_error() && !rules.pass_error_bodies {
        // If the caller drops the page before it is complete, the connection closes: an error page is not worth waiting
        // for.
        let page = body_of(whole, body);
        return Ok((without_inside(&head, &rules), Some(Box::new(page))));
    }
    vet_answer_headers(&mut head.headers);
    if head.status == StatusCode::NO_CONTENT {
        // A 204 must not have a length (RFC 9110, section 8.6).
        head.headers.remove(CONTENT_LENGTH);
    }
    let mut answer = HttpResponse::new(body_of(whole, body));
    *answer.status_mut() = head.status;
    *answer.headers_mut() = head.headers;
    Ok((answer, None))
}

/// Returns the body as one piece if it is complete, else as a stream.
fn body_of(whole: Option<Bytes>, rest: UpstreamResponseBody) -> ResponseBody {
    match whole {
        Some(bytes) => ResponseBody::whole(bytes),
        None => ResponseBody::Stream(Box::pin(rest)),
    }
}

/// Settings of `relay`, from the route's target.
pub(super) struct RelayOptions {
    pub(super) request_id: RequestId,
    pub(super) timeout: Duration,
    pub(super) pass_error_bodies: bool,
}

/// Returns a response with the upstream's status and `Retry-After` only, so that an error page exposes no internals.
fn without_inside(head: &response::Parts, rules: &RelayOptions) -> HttpResponse {
    let mut answer = problem::answer(head.status, rules.request_id, None);
    let headers = answer.headers_mut();
    // Two values are ambiguous, so neither is relayed.
    if let HeaderOccurrence::One(delay) = single(&head.headers, &RETRY_AFTER) {
        headers.insert(RETRY_AFTER, delay.clone());
    }
    answer
}

/// Body of the upstream's response, which reads from the connection while it is polled.
struct UpstreamResponseBody {
    body: Incoming,
    /// Connection of the body; `None` once it went back to the pool or was closed.
    lease: Option<ConnectionLease>,
    /// Pieces that were read before the sender asked for them.
    ahead: VecDeque<Bytes>,
    timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// Set by the first error and never reset, because hyper's body reports a regular end after its error.
    is_broken: bool,
}

impl UpstreamResponseBody {
    fn new(body: Incoming, lease: ConnectionLease, timeout: Duration) -> Self {
        Self {
            body,
            lease: Some(lease),
            ahead: VecDeque::new(),
            timeout,
            timer: None,
            is_broken: false,
        }
    }

    /// Returns the whole body if it has already arrived in at most one piece. Never waits; otherwise the pieces that
    /// were read stay in `ahead`.
    async fn take_if_complete(&mut self) -> Option<Bytes> {
        poll_fn(|context| Poll::Ready(self.poll_complete(context))).await
    }

    fn poll_complete(&mut self, context: &mut Context<'_>) -> Option<Bytes> {
        let mut first = None;
        loop {
            if self.body.is_end_stream() {
                self.finish(context);
                return Some(first.unwrap_or_default());
            }
            match self.poll_piece(context) {
                Poll::Ready(None) => return Some(first.unwrap_or_default()),
                Poll::Ready(Some(Ok(piece))) if first.is_none() => first = Some(piece),
                Poll::Ready(Some(Ok(piece))) => {
                    self.ahead.extend(first);
                    self.ahead.push_back(piece);
                    return None;
                }
                // `is_broken` repeats an error when the stream is polled.
                Poll::Ready(Some(Err(_))) | Poll::Pending => {
                    self.ahead.extend(first);
                    return None;
                }
            }
        }
    }

    /// Polls the next piece of data and drops trailers. Drives the connection if the body has no data.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenBody>>> {
        let mut is_driven = false;
        loop {
            if self.is_broken {
                return Poll::Ready(Some(Err(BrokenBody::Cut)));
            }
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    // Empty pieces and trailers are skipped.
                    Ok(data) if !data.is_empty() => return Poll::Ready(Some(Ok(data))),
                    Ok(_) | Err(_) => {}
                },
                Poll::Ready(None) => {
                    self.finish(context);
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(_))) => self.give_up(),
                Poll::Pending => {
                    // The connection has ended before the body, so the body is broken.
                    let Some(lease) = self.lease.as_mut().filter(|lease| !lease.is_ended()) else {
                        self.give_up();
                        continue;
                    };
                    // Driven once per poll: the connection has registered its waker, and a second time would spin.
                    if is_driven {
                        return Poll::Pending;
                    }
                    lease.drive(context);
                    is_driven = true;
                }
            }
        }
    }

    /// Returns the connection to the pool.
    fn finish(&mut self, context: &mut Context<'_>) {
        if let Some(lease) = self.lease.take() {
            lease.finish(context);
        }
    }

    /// Closes the connection; from now on the body only yields the error.
    fn give_up(&mut self) {
        self.is_broken = true;
        self.lease = None;
    }

    /// Becomes ready once no piece has arrived within the timeout.
    fn poll_timeout(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let timeout = self.timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(timeout)));
        timer.as_mut().poll(context)
    }
}

impl Body for UpstreamResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(piece) = this.ahead.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match this.poll_piece(context) {
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Ok(piece))) => {
                if let Some(timer) = &mut this.timer {
                    timer.as_mut().reset(Instant::now() + this.timeout);
                }
                // The connection is free as soon as the last piece is read, not when the sender has taken it.
                if this.body.is_end_stream() {
                    this.finish(context);
                }
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            // The timeout runs only while the upstream has nothing to read, not while the sender is slow.
            Poll::Pending => this.poll_timeout(context).map(|()| {
                this.give_up();
                Some(Err(BrokenBody::Timeout.into()))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && !self.is_broken && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead: u64 = self.ahead.iter().map(|piece| piece.len() as u64).sum();
        match self.body.size_hint().exact() {
            // A known length becomes `Content-Length`, by which the sender detects a truncated body.
            Some(rest) => SizeHint::with_exact(rest.saturating_add(ahead)),
            None => SizeHint::default(),
        }
    }
}
