//! What live tails share: server-sent events, and a body whose deadline moves only while it is read.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::Frame;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::admin::Visit;

/// Something is said after so long without an event, so that both ends know that the other is there.
pub(super) const BEAT: Duration = Duration::from_secs(15);

/// Without anything taken for so long the tail is cut.
const UNREAD: Duration = Duration::from_secs(60);

/// Pieces that wait to be taken.
pub(super) const QUEUE: usize = 4;

/// What browsers come back with (`EventSource`).
static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How a tail writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// One JSON document a line.
    Lines,
    /// Server-sent events.
    Events,
}

impl Format {
    /// What whoever asks takes: lines, unless they ask for the other.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT);
        let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or("");
        let mut kinds = accept.split(',');
        match kinds.any(|kind| kind.trim_start().starts_with("text/event-stream")) {
            true => Self::Events,
            false => Self::Lines,
        }
    }

    fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        })
    }

    /// Goes out at once, so that the head of the answer does.
    pub(super) fn start(self) -> BytesMut {
        BytesMut::from(match self {
            Self::Lines => &b"\n"[..],
            Self::Events => b"retry: 2000\n\n",
        })
    }

    /// Says that the tail lives.
    pub(super) fn beat(self, text: &mut BytesMut) {
        text.put_slice(match self {
            Self::Lines => b"\n",
            Self::Events => b": alive\n\n",
        });
    }

    /// Says that more came than is shown.
    pub(super) fn missed(self, text: &mut BytesMut) {
        text.put_slice(match self {
            Self::Lines => b"{\"missed\":true}\n",
            Self::Events => b"event: missed\ndata: {\"missed\":true}\n\n",
        });
    }

    /// One document; `id` is what whoever breaks off comes back with.
    pub(super) fn put(self, text: &mut BytesMut, kind: &str, id: &str, document: &impl Serialize) {
        // JSON holds no line end of its own.
        let Ok(json) = serde_json::to_vec(document) else {
            return;
        };
        if self == Self::Events {
            text.put_slice(format!("id: {id}\nevent: {kind}\ndata: ").as_bytes());
        }
        text.put_slice(&json);
        text.put_slice(match self {
            Self::Lines => b"\n",
            Self::Events => b"\n\n",
        });
    }
}

/// The two numbers of the id after which whoever broke off wants to go on.
pub(super) fn last_seen(headers: &HeaderMap) -> Option<(i64, i64)> {
    let id = headers.get(&LAST_EVENT_ID)?.to_str().ok()?;
    let (first, second) = id.split_once('-')?;
    Some((first.parse().ok()?, second.parse().ok()?))
}

/// The answer that sends what comes through `lines`.
pub(super) fn answer(
    format: Format,
    lines: mpsc::Receiver<Bytes>,
    visit: Visit,
    slot: OwnedSemaphorePermit,
) -> Response {
    visit.patience.extend(UNREAD);
    let mut answer = Response::new(Body::new(Lines {
        lines,
        visit,
        _slot: slot,
    }));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, format.media_type());
    answer
}

/// The pieces as a body.
struct Lines {
    lines: mpsc::Receiver<Bytes>,
    visit: Visit,
    _slot: OwnedSemaphorePermit,
}

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let line = self.lines.poll_recv(context);
        if line.is_ready() {
            self.visit.patience.extend(UNREAD);
        }
        line.map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
