//! Formats and response body of live tails.
//!
//! The body extends the deadline of its connection only while the client reads it.

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

use crate::admin::connection_context::ConnectionContext;

/// Time without an event after which a tail sends a heartbeat, so that both ends notice a dead connection.
pub(super) const BEAT: Duration = Duration::from_secs(15);

/// A tail is closed if its client reads nothing for this long.
const UNREAD: Duration = Duration::from_secs(60);

/// Pieces of text that may wait for the client to read them.
pub(super) const QUEUE: usize = 4;

/// Header with the last id that a browser received (`EventSource`), sent when it reconnects.
static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The format of a tail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TailFormat {
    /// One JSON document in each line (NDJSON).
    Lines,
    /// Server-sent events, as browsers read them.
    Events,
}

impl TailFormat {
    /// Chooses the format by the `Accept` header; lines by default.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT);
        let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or("");
        // Browsers send `text/event-stream` alone, so quality values need no attention.
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

    /// Returns the first bytes of a tail. They go out at once, so that the client gets the response head at once.
    pub(super) fn start(self) -> BytesMut {
        BytesMut::from(match self {
            Self::Lines => &b"\n"[..],
            Self::Events => b"retry: 2000\n\n",
        })
    }

    /// Appends a heartbeat.
    pub(super) fn beat(self, text: &mut BytesMut) {
        text.put_slice(match self {
            Self::Lines => b"\n",
            Self::Events => b": alive\n\n",
        });
    }

    /// Appends a notice that the tail left out some items.
    pub(super) fn missed(self, text: &mut BytesMut) {
        text.put_slice(match self {
            Self::Lines => b"{\"missed\":true}\n",
            Self::Events => b"event: missed\ndata: {\"missed\":true}\n\n",
        });
    }

    /// Appends one document. A client that reconnects sends the last `id` back in `Last-Event-ID`.
    pub(super) fn put(self, text: &mut BytesMut, kind: &str, id: &str, document: &impl Serialize) {
        // Compact JSON contains no line break, so a line or a `data:` field holds a whole document.
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

/// Parses the two numbers of the id after which a client that reconnects wants to continue.
pub(super) fn parse_last_event_id(headers: &HeaderMap) -> Option<(i64, i64)> {
    let id = headers.get(&LAST_EVENT_ID)?.to_str().ok()?;
    let (first, second) = id.split_once('-')?;
    Some((first.parse().ok()?, second.parse().ok()?))
}

/// Builds the response that streams the pieces from `lines`. It holds the slot until it ends.
pub(super) fn answer(
    format: TailFormat,
    lines: mpsc::Receiver<Bytes>,
    visit: ConnectionContext,
    slot: OwnedSemaphorePermit,
) -> Response {
    visit.deadline.extend(UNREAD);
    let mut answer = Response::new(Body::new(TailBody {
        lines,
        visit,
        _slot: slot,
    }));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, format.media_type());
    answer
}

/// A response body made of the pieces of a tail.
struct TailBody {
    lines: mpsc::Receiver<Bytes>,
    visit: ConnectionContext,
    _slot: OwnedSemaphorePermit,
}

impl http_body::Body for TailBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let line = self.lines.poll_recv(context);
        // hyper polls for a piece only while its write buffer has space, which takes a client that reads.
        if line.is_ready() {
            self.visit.deadline.extend(UNREAD);
        }
        line.map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
