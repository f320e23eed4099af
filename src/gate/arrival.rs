//! A request on its way through the checks: its head, then its body, then both in one.
//!
//! Owned by `admit` and not by the checks, so that a reject can report what had arrived when they ended.

use bytes::Bytes;
use hookgate_verify::scheme::RequestHead;
use http::request::Parts;
use http::{HeaderMap, Request};
use http_body::Body;

use crate::gate::budget;
use crate::gate::event::EventParts;
use crate::gate::reject::Reject;
use crate::gate::verdict::Verdict;
use crate::net::event_headers::EventMarks;
use crate::net::read_body::{BodyFault, BodyHead, BodyLimits, read_body};

/// A request whose checks have begun.
pub(super) struct ArrivingRequest<B> {
    /// `None` once the request is assembled.
    pub(super) head: Option<Parts>,
    /// `None` once the body is read, or while it is being read.
    pub(super) body: Option<B>,
    /// The body, once it was read whole.
    pub(super) read: Option<Bytes>,
    /// Head and body, once both are known.
    pub(super) parts: Option<Box<EventParts>>,
}

impl<B: Body<Data = Bytes>> ArrivingRequest<B> {
    /// Begins with the head. The body has not been read.
    pub(super) fn new(request: Request<B>) -> Self {
        let (head, body) = request.into_parts();
        Self {
            head: Some(head),
            body: Some(body),
            read: None,
            parts: None,
        }
    }

    /// Returns the head, which is there until the request is assembled.
    pub(super) fn head(&self) -> Result<&Parts, Reject> {
        self.head.as_ref().ok_or(Reject::Internal)
    }

    /// Reads the body, and passes each chunk to `consume` as it arrives. `consume` ends the reading with `false`.
    pub(super) async fn read(
        &mut self,
        head: BodyHead,
        limits: BodyLimits,
        consume: impl FnMut(&[u8]) -> bool,
        verdict: &mut Verdict,
    ) -> Result<&Bytes, Reject> {
        read_into(
            &mut self.body,
            &mut self.read,
            head,
            limits,
            consume,
            verdict,
        )
        .await
    }

    /// Joins head and body. Identity, digest and marks are still empty: nothing is verified yet.
    pub(super) fn assemble(&mut self, verdict: &Verdict) -> Result<&mut Box<EventParts>, Reject> {
        let head = self.head.take().ok_or(Reject::Internal)?;
        let body = self.read.take().unwrap_or_default();
        Ok(self.parts.insert(Box::new(EventParts {
            method: head.method,
            uri: head.uri,
            headers: head.headers,
            body,
            plain: None,
            own_names: None,
            source: verdict.source,
            event_id: None,
            event_type: None,
            digest: [0; 32],
            marks: EventMarks::default(),
        })))
    }

    /// Returns all that has arrived; without a body if it was not read whole.
    pub(super) fn into_parts(mut self, verdict: &Verdict) -> Option<Box<EventParts>> {
        if self.parts.is_none() {
            self.assemble(verdict).ok()?;
        }
        self.parts
    }
}

/// Reads a body out of `body` and into `read`. The head may be borrowed meanwhile.
pub(super) async fn read_into<'r, B: Body<Data = Bytes>>(
    body: &mut Option<B>,
    read: &'r mut Option<Bytes>,
    head: BodyHead,
    limits: BodyLimits,
    consume: impl FnMut(&[u8]) -> bool,
    verdict: &mut Verdict,
) -> Result<&'r Bytes, Reject> {
    let body = body.take().ok_or(Reject::Internal)?;
    let whole = read_body(body, head, limits, consume).await;
    let whole = whole.map_err(|fault| body_reject(fault, limits.max))?;
    verdict.body_bytes = whole.len() as u64;
    Ok(read.insert(whole))
}

/// Returns the head as schemes read it, with these headers.
pub(super) fn scheme_head<'p>(head: &'p Parts, headers: &'p HeaderMap) -> RequestHead<'p> {
    RequestHead {
        method: &head.method,
        uri: &head.uri,
        headers,
    }
}

fn body_reject(fault: BodyFault, limit: usize) -> Reject {
    match fault {
        BodyFault::TooLarge => Reject::BodyTooLarge { limit },
        BodyFault::Timeout | BodyFault::TooSlow => Reject::BodyTimeout,
        BodyFault::Aborted => Reject::BodyAborted,
        BodyFault::NoRoom => Reject::SourceBudget {
            retry_after: budget::SHARE_DELAY,
        },
    }
}
