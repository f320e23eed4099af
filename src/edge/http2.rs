//! Runs hyper on one HTTP/2 connection, with the deadlines that hyper lacks.
//!
//! These are deadlines for header blocks that never end, for connections without requests, and for responses that the
//! peer does not read. A flood of empty frames ends the connection.
//!
//! h2 itself bounds streams, header lists and continuation frames. After many requests, the peer is asked to open a new
//! connection, so that no state grows with the age of a connection.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::rt::{Executor, Read, ReadBufCursor, Write};
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use crate::edge::connection_shared::ConnectionShared;
use crate::edge::connection_watch::{ConnectionWatch, StallKind, WatchedBody, WriteWatch};
use crate::edge::frame_watch::{FrameStatus, FrameWatch};
use crate::edge::handler::RequestHandler;
use crate::edge::request_check::check_h2;
use crate::edge::stop_signal::StopSignal;
use crate::edge::transport::ConnectionTransport;

/// Maximum number of concurrent requests per connection. Memory is bounded by this times the stream window, and by the
/// connection window.
const MAX_STREAMS: u32 = 64;
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;
const SEND_BUFFER: usize = 64 * 1024;
/// Maximum number of streams that the peer reset before they were accepted (CVE-2023-44487, rapid reset), and of
/// streams that the gate had to reset (CVE-2025-8671, made you reset).
const MAX_PENDING_RESETS: usize = 20;
const MAX_OWN_RESETS: usize = 64;
const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// Number of requests after which the peer is asked to open a new connection.
const MAX_REQUESTS: u64 = 10_000;

/// The reason why driving a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Http2Outcome {
    Over,
    Idle,
    Flood,
    Stalled(StallKind),
    Aborted,
}

/// Spawns the streams of a connection as tasks that a drain waits for.
#[derive(Clone)]
pub(super) struct StreamExecutor(pub(super) TaskTracker);

impl<F> Executor<F> for StreamExecutor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}

/// Returns hyper's settings for HTTP/2.
fn builder(streams: StreamExecutor, max_header_size: usize) -> Builder<StreamExecutor> {
    let mut builder = Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(max_header_size).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_OWN_RESETS)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN);
    builder
}

/// Serves the streams of a connection until it ends.
pub(super) async fn drive<H: RequestHandler>(
    transport: ConnectionTransport,
    shared: &Arc<ConnectionShared<H>>,
    stop: &StopSignal,
    tracker: TaskTracker,
    first_head_by: Instant,
) -> Http2Outcome {
    let settings = &shared.settings;
    let watch = ConnectionWatch::new();
    let paced = WatchedTransport::new(
        transport,
        Arc::clone(&watch),
        settings.header_timeout,
        settings.write_timeout,
    );
    let is_flood = Arc::clone(&paced.is_flood);
    let service = service_fn({
        let (shared, watch) = (Arc::clone(shared), Arc::clone(&watch));
        move |request: Request<Incoming>| {
            watch.served.fetch_add(1, Relaxed);
            let open = watch.begin_request();
            // A bad request costs its own stream only, unlike HTTP/1, where the framing is in doubt.
            let fault = check_h2(&request).err();
            let shared = Arc::clone(&shared);
            async move {
                let answer = match fault {
                    Some(fault) => shared.refuse(fault),
                    None => Box::pin(shared.answer(request)).await,
                };
                Ok::<_, Infallible>(answer.map(|body| WatchedBody::new(body, open)))
            }
        }
    });
    let mut connection = pin!(
        builder(StreamExecutor(tracker), settings.max_header_size).serve_connection(paced, service)
    );

    let mut lookout = Http2Deadlines::new(&watch, settings.idle_timeout, settings.write_timeout);
    lookout.first_head_by = Some(first_head_by);
    let mut timer = pin!(sleep_until(
        first_head_by.min(Instant::now() + lookout.tick)
    ));
    let (drain, abort) = stop.waits();
    let (drain, abort) = (pin!(drain), pin!(abort));
    let mut signals = stop.signals(drain, abort);
    let mut is_closing = false;
    poll_fn(|context| {
        let level = signals.poll_level(context);
        if level.is_abort() {
            return Poll::Ready(Http2Outcome::Aborted);
        }
        let is_spent = watch.served.load(Relaxed) >= MAX_REQUESTS;
        // `graceful_shutdown` sends GOAWAY: open streams finish, and new ones are refused.
        if (level.is_drain() || is_spent) && !is_closing {
            is_closing = true;
            connection.as_mut().graceful_shutdown();
        }
        if connection.as_mut().poll(context).is_ready() {
            // The watched transport ends a flood with a read error, which hyper does not distinguish from others.
            let is_flood = is_flood.load(Relaxed);
            return Poll::Ready(if is_flood {
                Http2Outcome::Flood
            } else {
                Http2Outcome::Over
            });
        }
        match ready!(lookout.poll(timer.as_mut(), context)) {
            // The first time with GOAWAY and a grace, the second time without.
            Http2Outcome::Idle if !is_closing => {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
                lookout.begin_grace(settings.header_timeout);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            end => Poll::Ready(end),
        }
    })
    .await
}

/// The timer of a driver: checks deadlines, idleness and progress.
struct Http2Deadlines<'a> {
    watch: &'a ConnectionWatch,
    tick: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
    armed: u64,
    served: u64,
    /// Deadline of the first request; `None` once it has arrived.
    first_head_by: Option<Instant>,
    idle_since: Instant,
    progress: u64,
    progress_at: Instant,
}

impl<'a> Http2Deadlines<'a> {
    fn new(watch: &'a ConnectionWatch, idle_timeout: Duration, write_timeout: Duration) -> Self {
        // A quarter, so that a deadline is missed by at most 25 %; bounded, so that short timeouts do not spin.
        let tick = idle_timeout.min(write_timeout) / 4;
        let now = Instant::now();
        Self {
            watch,
            tick: tick.clamp(Duration::from_millis(20), Duration::from_secs(5)),
            idle_timeout,
            write_timeout,
            armed: u64::MAX,
            served: 0,
            first_head_by: None,
            idle_since: now,
            progress: 0,
            progress_at: now,
        }
    }

    /// Starts the time that the peer has to react to GOAWAY.
    fn begin_grace(&mut self, grace: Duration) {
        self.idle_timeout = grace;
        self.idle_since = Instant::now();
    }

    fn poll(
        &mut self,
        mut timer: Pin<&mut tokio::time::Sleep>,
        context: &mut Context<'_>,
    ) -> Poll<Http2Outcome> {
        self.watch.arm_earlier(&mut self.armed, timer.as_mut());
        while timer.as_mut().poll(context).is_ready() {
            if let Some(stall) = self.watch.stall() {
                return Poll::Ready(Http2Outcome::Stalled(stall));
            }
            let now = Instant::now();
            if let Some(end) = self.check_deadlines(now) {
                return Poll::Ready(end);
            }
            self.armed = u64::MAX;
            let mut next = now + self.tick;
            if let Some(at) = self.watch.instant(self.watch.deadline()) {
                next = next.min(at);
            }
            if let Some(at) = self.first_head_by {
                next = next.min(at);
            }
            timer.as_mut().reset(next);
        }
        Poll::Pending
    }

    fn check_deadlines(&mut self, now: Instant) -> Option<Http2Outcome> {
        let served = self.watch.served.load(Relaxed);
        if served > 0 {
            self.first_head_by = None;
        }
        if self.first_head_by.is_some_and(|at| now >= at) {
            return Some(Http2Outcome::Stalled(StallKind::Head));
        }
        // A connection is idle only while no request is open or has begun since the last tick.
        if self.watch.open.load(Relaxed) > 0 || served != self.served {
            (self.served, self.idle_since) = (served, now);
        } else if now.duration_since(self.idle_since) >= self.idle_timeout {
            return Some(Http2Outcome::Idle);
        }
        let progress = self.watch.progress.load(Relaxed);
        // A response that waits for the upstream is not counted in `answering`, so only the peer can cause this stall.
        if self.watch.responding.load(Relaxed) == 0 || progress != self.progress {
            (self.progress, self.progress_at) = (progress, now);
        } else if now.duration_since(self.progress_at) >= self.write_timeout {
            return Some(Http2Outcome::Stalled(StallKind::Write));
        }
        None
    }
}

/// The transport of a connection, with its frames watched on the way to hyper.
struct WatchedTransport {
    transport: ConnectionTransport,
    watch: Arc<ConnectionWatch>,
    frames: FrameWatch,
    writes: WriteWatch,
    head_timeout: Duration,
    start: Instant,
    is_flood: Arc<std::sync::atomic::AtomicBool>,
}

impl WatchedTransport {
    fn new(
        transport: ConnectionTransport,
        watch: Arc<ConnectionWatch>,
        head_timeout: Duration,
        write_timeout: Duration,
    ) -> Self {
        Self {
            transport,
            watch,
            frames: FrameWatch::default(),
            writes: WriteWatch::new(write_timeout),
            head_timeout,
            start: Instant::now(),
            is_flood: Arc::default(),
        }
    }
}

impl Read for WatchedTransport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut space: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let bytes = ready!(this.transport.poll_fill(context))?;
        let bytes = bytes.get(..space.remaining()).unwrap_or(bytes);
        let has_streams = this.watch.open.load(Relaxed) > 0;
        let now_ms = || u64::try_from(this.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Checked before hyper sees the bytes, so that a flood costs no response.
        match this.frames.see(bytes, has_streams, now_ms) {
            FrameStatus::Whole => this.watch.end_head(),
            FrameStatus::Partial => this.watch.begin_head(this.head_timeout),
            FrameStatus::BadTrailers => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            FrameStatus::Flood => {
                this.is_flood.store(true, Relaxed);
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
        let count = bytes.len();
        space.put_slice(bytes);
        this.transport.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl Write for WatchedTransport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = this.transport.poll_write(context, bytes);
        this.writes
            .track_progress(&this.watch, &result, |count| Some(*count));
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = this.transport.poll_write_vectored(context, slices);
        this.writes
            .track_progress(&this.watch, &result, |count| Some(*count));
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = this.transport.poll_flush(context);
        this.writes.track_progress(&this.watch, &result, |()| None);
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = this.transport.poll_shutdown(context);
        this.writes.track_progress(&this.watch, &result, |()| None);
        result
    }
}
