//! Response bodies: bytes of the gate itself, or the upstream's response as a stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The response to one request.
pub(crate) type HttpResponse = http::Response<ResponseBody>;

/// The error of a response body that fails while it is streamed.
///
/// The connection is then closed early, so that the sender sees a broken response and never a shortened one that looks
/// whole.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a response.
pub(crate) enum ResponseBody {
    /// Bytes in one piece, from the gate or from a small response of the upstream. `None` once they are sent, or where
    /// the body is empty.
    Whole(Option<Bytes>),
    /// The upstream's body, frame by frame, under the deadline that `forward` sets.
    Stream(Pin<Box<dyn Body<Data = Bytes, Error = BodyError> + Send>>),
}

impl ResponseBody {
    /// Creates a body without bytes.
    pub(crate) fn empty() -> Self {
        Self::Whole(None)
    }

    /// Creates a body from bytes in one piece.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(body) => body.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Stream(body) => body.size_hint(),
        }
    }
}
