//! Runs hyper on one HTTP/1 connection while it has requests.
//!
//! An idle connection needs no hyper. After a short pause between requests, hyper's part is dropped and only the TLS
//! state is kept (`Http1Outcome::Parked`), which halves the memory of the many connections that senders keep open. One timer
//! serves both the pause and the deadlines.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, sleep_until};

use crate::edge::connection_shared::ConnectionShared;
use crate::edge::connection_watch::{ConnectionWatch, StallKind, WatchedBody};
use crate::edge::handler::RequestHandler;
use crate::edge::head_check::HeadFault;
use crate::edge::head_guard::{HeadGuard, IdleCarryover};
use crate::edge::stop_signal::StopSignal;
use crate::edge::transport::ConnectionTransport;

/// Time that a connection without a request keeps its hyper state. Long enough for a sender that sends requests one
/// after the other.
const PAUSE: Duration = Duration::from_millis(250);

/// The reason why driving a connection ended.
pub(super) enum Http1Outcome {
    /// The connection is idle and can be parked.
    Parked {
        transport: ConnectionTransport,
        has_served: bool,
        /// Number of empty lines since the last request.
        empty_lines: u8,
    },
    /// The last response is out, or the peer has closed the connection.
    Over {
        transport: ConnectionTransport,
        fault: Option<HeadFault>,
        is_peer_gone: bool,
    },
    /// A deadline passed: of a head, or of writing.
    Stalled(ConnectionTransport, StallKind),
    /// The shutdown timeout is over.
    Aborted,
}

/// The result of one turn of the driver.
enum Http1Turn {
    Over,
    Pause,
    Stalled(StallKind),
    Aborted,
}

/// Returns the length of a pause. It is bounded, so that parking does not use up a short `idle_timeout`.
pub(super) fn pause(idle_timeout: Duration) -> Duration {
    PAUSE.min(idle_timeout / 4)
}

/// Serves requests until the connection ends or pauses.
pub(super) async fn drive<H: RequestHandler>(
    transport: ConnectionTransport,
    shared: &Arc<ConnectionShared<H>>,
    stop: &StopSignal,
    waited: IdleCarryover,
) -> Http1Outcome {
    let settings = &shared.settings;
    let watch = ConnectionWatch::new();
    let guard = HeadGuard::new(
        transport,
        Arc::clone(&watch),
        settings.max_header_size,
        settings.header_timeout,
        settings.write_timeout,
        waited,
    );
    let service = service_fn({
        let (shared, watch) = (Arc::clone(shared), Arc::clone(&watch));
        move |request: Request<Incoming>| {
            let open = watch.begin_request();
            // Boxed, since hyper moves the future of a request around, and it is large.
            let answer = Box::pin(shared.answer(request));
            async move { Ok::<_, Infallible>(answer.await.map(|body| WatchedBody::new(body, open))) }
        }
    });
    let mut connection = settings.http1.serve_connection(guard, service);

    let pause = pause(settings.idle_timeout);
    let mut timer = pin!(sleep_until(Instant::now() + pause));
    let (drain, abort) = stop.waits();
    let (drain, abort) = (pin!(drain), pin!(abort));
    let mut signals = stop.signals(drain, abort);
    let mut lookout = Http1Deadlines::new(&watch, pause);
    let mut is_draining = false;
    let has_begun = || watch.served.load(Relaxed) > 0;
    // With a grace for idle connections, hyper must not close one between two requests. It is parked instead, and waits there.
    let may_drain = || {
        let is_busy = watch.is_busy.load(Relaxed);
        has_begun() && (is_busy || stop.idle_grace().is_zero())
    };
    let turn = poll_fn(|context| {
        let level = signals.poll_level(context);
        if level.is_abort() {
            return Poll::Ready(Http1Turn::Aborted);
        }
        // Not before the request that woke the connection has begun: hyper closes a connection of which it has read no
        // head.
        if level.is_drain() && !is_draining && may_drain() {
            is_draining = true;
            // hyper finishes the request in flight, and then closes the connection.
            Pin::new(&mut connection).graceful_shutdown();
        }
        // On an error, the peer closed the connection or broke the protocol. The connection ends the same way as
        // without an error.
        if Pin::new(&mut connection).poll(context).is_ready() {
            return Poll::Ready(Http1Turn::Over);
        }
        // The first head began during this very poll, so the drain has to start in another turn.
        if level.is_drain() && !is_draining {
            if may_drain() {
                context.waker().wake_by_ref();
            } else if has_begun() && watch.deadline() == u64::MAX {
                // Nothing of a further request has arrived.
                return Poll::Ready(Http1Turn::Pause);
            }
        }
        lookout.poll(timer.as_mut(), context)
    })
    .await;

    let parts = connection.into_parts();
    // Bytes that hyper has read but not used would be lost by parking, so such a connection is closed instead.
    let is_whole = parts.read_buf.is_empty() && parts.io.is_between_messages();
    let empty_lines = parts.io.empty_lines();
    let (transport, fault, is_peer_gone) = parts.io.into_parts();
    match turn {
        Http1Turn::Aborted => Http1Outcome::Aborted,
        Http1Turn::Stalled(stall) => Http1Outcome::Stalled(transport, stall),
        Http1Turn::Pause if is_whole => Http1Outcome::Parked {
            transport,
            has_served: watch.served.load(Relaxed) > 0,
            empty_lines,
        },
        Http1Turn::Pause | Http1Turn::Over => Http1Outcome::Over {
            transport,
            fault,
            is_peer_gone,
        },
    }
}

/// The timer of a driver: checks the deadlines when one may have passed, and checks for a pause once per tick.
struct Http1Deadlines<'a> {
    watch: &'a ConnectionWatch,
    pause: Duration,
    armed: u64,
    served: u64,
    /// True once the timer wakes the task of the connection at its deadline.
    is_registered: bool,
}

impl<'a> Http1Deadlines<'a> {
    fn new(watch: &'a ConnectionWatch, pause: Duration) -> Self {
        Self {
            watch,
            pause,
            armed: u64::MAX,
            served: u64::MAX,
            is_registered: false,
        }
    }

    fn poll(
        &mut self,
        mut timer: Pin<&mut tokio::time::Sleep>,
        context: &mut Context<'_>,
    ) -> Poll<Http1Turn> {
        // Each read and write may have set an earlier deadline than the one for which the timer is armed.
        let armed = self.armed;
        let deadline = self.watch.arm_earlier(&mut self.armed, timer.as_mut());
        // A busy connection has several turns for each request, and the timer already knows its task.
        if self.is_registered && armed == self.armed && !timer.is_elapsed() {
            return Poll::Pending;
        }
        while timer.as_mut().poll(context).is_ready() {
            if let Some(stall) = self.watch.stall() {
                return Poll::Ready(Http1Turn::Stalled(stall));
            }
            let served = self.watch.served.load(Relaxed);
            let is_idle = !self.watch.is_busy.load(Relaxed) && deadline == u64::MAX;
            // No request since the last tick, and no request in progress: a whole pause has passed.
            if is_idle && served == self.served {
                return Poll::Ready(Http1Turn::Pause);
            }
            self.served = served;
            self.armed = u64::MAX;
            let mut next = Instant::now() + self.pause;
            if let Some(at) = self.watch.instant(self.watch.deadline()) {
                next = next.min(at);
            }
            timer.as_mut().reset(next);
        }
        // With its budget used up, the task is woken for another turn, and the timer has not seen it.
        self.is_registered = has_budget_remaining();
        Poll::Pending
    }
}
