//! The app's answer on its way back to the sender: checked, its headers vetted, its body streamed.
//!
//! A body that is complete when the head is read goes on as one piece and frees its connection at once. A longer one is
//! streamed under a deadline between two pieces. A body that breaks midway breaks the answer: the sender must never
//! take a shortened one for the whole.

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

use crate::forward::ForwardError;
use crate::model::ids::RequestId;
use crate::net::answer::{Answer, AnswerBody, BodyError};
use crate::net::client::Lease;
use crate::net::headers::{Occurrence, single, vet_answer_headers};
use crate::net::problem;
use crate::net::sound::check_answer;

/// What breaks an answer that has begun.
#[derive(Debug, thiserror::Error)]
enum BrokenBody {
    #[error("the upstream sent no further piece of its answer in time")]
    Timeout,
    #[error("the upstream broke off its answer")]
    Cut,
}

/// The answer for the sender, and the error page that it does not get.
pub(super) async fn relay(
    response: Response<Incoming>,
    lease: Lease,
    rules: Relay,
) -> Result<(Answer, Option<Box<AnswerBody>>), ForwardError> {
    let (mut head, body) = response.into_parts();
    check_answer(&head).map_err(ForwardError::Invalid)?;
    let mut body = AppBody::new(body, lease, rules.timeout);
    let whole = body.take_if_complete().await;
    if head.status.is_server_error() && !rules.pass_error_bodies {
        // Dropped before it has come it closes the connection: an error page is not worth waiting for.
        let page = body_of(whole, body);
        return Ok((without_inside(&head, &rules), Some(Box::new(page))));
    }
    vet_answer_headers(&mut head.headers);
    if head.status == StatusCode::NO_CONTENT {
        head.headers.remove(CONTENT_LENGTH);
    }
    let mut answer = Answer::new(body_of(whole, body));
    *answer.status_mut() = head.status;
    *answer.headers_mut() = head.headers;
    Ok((answer, None))
}

fn body_of(whole: Option<Bytes>, rest: AppBody) -> AnswerBody {
    match whole {
        Some(bytes) => AnswerBody::whole(bytes),
        None => AnswerBody::Stream(Box::pin(rest)),
    }
}

/// What `relay` goes by.
pub(super) struct Relay {
    pub(super) request_id: RequestId,
    pub(super) timeout: Duration,
    pub(super) pass_error_bodies: bool,
}

/// The app's status without what an error page tells about the inside.
fn without_inside(head: &response::Parts, rules: &Relay) -> Answer {
    let mut answer = problem::answer(head.status, rules.request_id, None);
    let headers = answer.headers_mut();
    if let Occurrence::One(delay) = single(&head.headers, &RETRY_AFTER) {
        headers.insert(RETRY_AFTER, delay.clone());
    }
    answer
}

/// The body of the app's answer, which reads from the connection while it is polled.
struct AppBody {
    body: Incoming,
    /// None once the body has ended or broken; put back into the pool, or closed.
    lease: Option<Lease>,
    /// Pieces that were read ahead of the sender.
    ahead: VecDeque<Bytes>,
    timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// Set for good by the first error: hyper's body says after its error that it has ended.
    is_broken: bool,
}

impl AppBody {
    fn new(body: Incoming, lease: Lease, timeout: Duration) -> Self {
        Self {
            body,
            lease: Some(lease),
            ahead: VecDeque::new(),
            timeout,
            timer: None,
            is_broken: false,
        }
    }

    /// The whole body, where it is there already in at most one piece; does not wait. Otherwise what was read stays in
    /// `ahead`.
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
                // An error stands again when the stream is polled.
                Poll::Ready(Some(Err(_))) | Poll::Pending => {
                    self.ahead.extend(first);
                    return None;
                }
            }
        }
    }

    /// The next piece of data; trailers are dropped. Lets the connection read where the body has nothing to give.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenBody>>> {
        let mut is_driven = false;
        loop {
            if self.is_broken {
                return Poll::Ready(Some(Err(BrokenBody::Cut)));
            }
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Poll::Ready(Some(Ok(data))),
                    Ok(_) | Err(_) => {}
                },
                Poll::Ready(None) => {
                    self.finish(context);
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(_))) => self.give_up(),
                Poll::Pending => {
                    let Some(lease) = self.lease.as_mut().filter(|lease| !lease.is_ended()) else {
                        self.give_up();
                        continue;
                    };
                    if is_driven {
                        return Poll::Pending;
                    }
                    lease.drive(context);
                    is_driven = true;
                }
            }
        }
    }

    fn finish(&mut self, context: &mut Context<'_>) {
        if let Some(lease) = self.lease.take() {
            lease.finish(context);
        }
    }

    /// Closes the connection; from now on the body gives nothing but the error.
    fn give_up(&mut self) {
        self.is_broken = true;
        self.lease = None;
    }

    /// Ready once no piece has come for too long.
    fn poll_timeout(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let timeout = self.timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(timeout)));
        timer.as_mut().poll(context)
    }
}

impl Body for AppBody {
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
                if this.body.is_end_stream() {
                    this.finish(context);
                }
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
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
            Some(rest) => SizeHint::with_exact(rest.saturating_add(ahead)),
            None => SizeHint::default(),
        }
    }
}
