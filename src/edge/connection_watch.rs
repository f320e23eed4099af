//! Shared state of one connection between its reader and its driver: deadlines and open requests.
//!
//! Both run in the same task, one inside the other with hyper between them. They therefore share atomics, and neither
//! waits. A request whose head arrives at once and whose response is read at once needs no clock and no timer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::net::response::{BodyError, ResponseBody};

/// Number of bytes that must be written within the write deadline.
const WRITE_STEP: usize = 64 * 1024;
const NEVER: u64 = u64::MAX;

/// The state that guard, responses and driver of one connection share.
pub(super) struct ConnectionWatch {
    start: Instant,
    read_deadline: AtomicU64,
    write_deadline: AtomicU64,
    /// Number of requests that have begun.
    pub(super) served: AtomicU64,
    /// Number of requests whose response was not yet passed to hyper completely.
    pub(super) open: AtomicUsize,
    /// Number of responses that have begun and not ended, and do not wait for the upstream.
    pub(super) responding: AtomicUsize,
    /// A number that grows whenever a frame of a response moves.
    pub(super) progress: AtomicU64,
    /// True where a response was passed on completely since the last `take_answered`.
    has_responded: AtomicBool,
    /// True from the head of a request until its response is flushed.
    pub(super) is_busy: AtomicBool,
}

/// The kind of deadline that passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StallKind {
    Head,
    Write,
}

impl ConnectionWatch {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            read_deadline: AtomicU64::new(NEVER),
            write_deadline: AtomicU64::new(NEVER),
            served: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            responding: AtomicUsize::new(0),
            progress: AtomicU64::new(0),
            has_responded: AtomicBool::new(false),
            is_busy: AtomicBool::new(false),
        })
    }

    /// Starts the deadline of a head. Further bytes of the head do not move it, or a slow client could extend it
    /// forever.
    pub(super) fn begin_head(&self, within: Duration) {
        self.set(&self.read_deadline, within);
    }

    /// Ends the deadline, since the head is complete.
    pub(super) fn end_head(&self) {
        self.read_deadline.store(NEVER, Relaxed);
    }

    fn set(&self, deadline: &AtomicU64, within: Duration) {
        if deadline.load(Relaxed) == NEVER {
            // The first call sets the deadline; later calls must not move it.
            let at = self.start.elapsed().saturating_add(within);
            let millis = u64::try_from(at.as_millis()).unwrap_or(NEVER);
            deadline.store(millis, Relaxed);
        }
    }

    /// Returns the next deadline, in milliseconds since the start.
    pub(super) fn deadline(&self) -> u64 {
        let read = self.read_deadline.load(Relaxed);
        read.min(self.write_deadline.load(Relaxed))
    }

    pub(super) fn instant(&self, millis: u64) -> Option<Instant> {
        self.start.checked_add(Duration::from_millis(millis))
    }

    /// Moves a timer to the next deadline if that is earlier than `armed`, and returns the deadline.
    ///
    /// A later deadline moves nothing: it is found when the timer fires.
    pub(super) fn arm_earlier(&self, armed: &mut u64, timer: Pin<&mut Sleep>) -> u64 {
        let deadline = self.deadline();
        if deadline < *armed {
            *armed = deadline;
            if let Some(at) = self.instant(deadline)
                && at < timer.deadline()
            {
                timer.reset(at);
            }
        }
        deadline
    }

    /// Returns the kind of deadline that has passed, if any.
    pub(super) fn stall(&self) -> Option<StallKind> {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(NEVER);
        if self.read_deadline.load(Relaxed) <= now {
            Some(StallKind::Head)
        } else if self.write_deadline.load(Relaxed) <= now {
            Some(StallKind::Write)
        } else {
            None
        }
    }

    /// Returns true where a response was passed on since the last call.
    pub(super) fn take_answered(&self) -> bool {
        self.has_responded.load(Relaxed) && self.has_responded.swap(false, Relaxed)
    }

    /// Counts a request as open until the returned guard is dropped.
    pub(super) fn begin_request(self: &Arc<Self>) -> OpenRequest {
        self.open.fetch_add(1, Relaxed);
        OpenRequest(Arc::clone(self))
    }
}

/// The write deadline: a peer must read 64 KiB, or all that is left, within it.
pub(super) struct WriteWatch {
    within: Duration,
    since: Option<usize>,
}

impl WriteWatch {
    pub(super) fn new(within: Duration) -> Self {
        Self {
            within,
            since: None,
        }
    }

    pub(super) fn track_progress<T>(
        &mut self,
        watch: &ConnectionWatch,
        result: &Poll<io::Result<T>>,
        written: impl FnOnce(&T) -> Option<usize>,
    ) {
        match result {
            // The deadline starts with the first write that blocks, and not with each.
            Poll::Pending if self.since.is_none() => {
                self.since = Some(0);
                watch.set(&watch.write_deadline, self.within);
            }
            Poll::Ready(Ok(done)) => {
                let Some(so_far) = self.since else {
                    return;
                };
                let so_far = written(done).map(|count| so_far.saturating_add(count));
                // `None` is a completed flush: all bytes are out.
                if so_far.is_none_or(|count| count >= WRITE_STEP) {
                    watch.write_deadline.store(NEVER, Relaxed);
                    self.since = None;
                } else {
                    self.since = so_far;
                }
            }
            _ => {}
        }
    }
}

/// An open request. It is dropped when its response is out, or when it was abandoned.
pub(super) struct OpenRequest(Arc<ConnectionWatch>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
        self.0.has_responded.store(true, Relaxed);
    }
}

/// The body of a response, with its progress watched.
pub(super) struct WatchedBody {
    body: ResponseBody,
    request: OpenRequest,
    /// True where the next frame must come from the upstream, so that a delay is not the peer's fault.
    is_waiting: bool,
}

impl WatchedBody {
    pub(super) fn new(body: ResponseBody, request: OpenRequest) -> Self {
        request.0.responding.fetch_add(1, Relaxed);
        Self {
            body,
            request,
            is_waiting: false,
        }
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        // A body that waits for the upstream has already been taken out of the count.
        if !self.is_waiting {
            self.request.0.responding.fetch_sub(1, Relaxed);
        }
        self.request.0.progress.fetch_add(1, Relaxed);
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let watch = &this.request.0;
        watch.progress.fetch_add(1, Relaxed);
        let frame = Pin::new(&mut this.body).poll_frame(context);
        match (frame.is_pending(), this.is_waiting) {
            (true, false) => watch.responding.fetch_sub(1, Relaxed),
            (false, true) => watch.responding.fetch_add(1, Relaxed),
            _ => 0,
        };
        this.is_waiting = frame.is_pending();
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
