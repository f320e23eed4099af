//! The two signals that end connections: drain (finish requests in flight) and abort (end now).
//!
//! A connection registers once and then only reads an atomic. A turn of a busy connection therefore takes no lock that
//! it shares with all others.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU8, AtomicU64};
use std::task::Context;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

const DRAIN: u8 = 1;
const ABORT: u8 = 2;

/// The stop signal that all connections of one listener share.
#[derive(Default)]
pub(super) struct StopSignal {
    level: AtomicU8,
    /// Milliseconds for which idle connections stay open during a drain.
    idle_grace_ms: AtomicU64,
    drain: Notify,
    abort: Notify,
}

/// The stage of the stop: running, draining or aborted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct StopLevel(u8);

impl StopLevel {
    pub(super) fn is_drain(self) -> bool {
        self.0 >= DRAIN
    }

    pub(super) fn is_abort(self) -> bool {
        self.0 >= ABORT
    }
}

impl StopSignal {
    /// Begins a drain in which idle connections stay open for this time.
    pub(super) fn begin_drain(&self, idle_grace: Duration) {
        let millis = u64::try_from(idle_grace.as_millis()).unwrap_or(0);
        // Before the level, so that a connection that sees the drain also sees its grace.
        self.idle_grace_ms.store(millis, Relaxed);
        self.level.fetch_max(DRAIN, Release);
        self.drain.notify_waiters();
    }

    pub(super) fn begin_abort(&self) {
        // The level first: a task that registers between the two lines then sees it.
        self.level.fetch_max(ABORT, Relaxed);
        self.drain.notify_waiters();
        self.abort.notify_waiters();
    }

    pub(super) fn level(&self) -> StopLevel {
        StopLevel(self.level.load(Acquire))
    }

    /// Returns how long an idle connection stays open during the drain. A client may be sending a request on it, which
    /// an immediate close would lose.
    pub(super) fn idle_grace(&self) -> Duration {
        Duration::from_millis(self.idle_grace_ms.load(Relaxed))
    }

    /// Returns the notifications of a task, which the task itself must pin.
    pub(super) fn waits(&self) -> (Notified<'_>, Notified<'_>) {
        (self.drain.notified(), self.abort.notified())
    }

    /// Registers a task: it is woken when the level changes.
    pub(super) fn signals<'p, 's>(
        &'s self,
        drain: Pin<&'p mut Notified<'s>>,
        abort: Pin<&'p mut Notified<'s>>,
    ) -> StopRegistration<'p, 's> {
        StopRegistration {
            stop: self,
            drain,
            abort,
            is_registered: false,
        }
    }
}

/// The registration of one task.
pub(super) struct StopRegistration<'p, 's> {
    stop: &'s StopSignal,
    drain: Pin<&'p mut Notified<'s>>,
    abort: Pin<&'p mut Notified<'s>>,
    is_registered: bool,
}

impl StopRegistration<'_, '_> {
    /// Returns the current level. The first call registers the task; later calls only read.
    pub(super) fn poll_level(&mut self, context: &mut Context<'_>) -> StopLevel {
        if !self.is_registered {
            self.is_registered = true;
            // Polling a `Notified` registers the waker. The result does not matter, since the level is read afterward.
            let _ = self.drain.as_mut().poll(context);
            let _ = self.abort.as_mut().poll(context);
        }
        self.stop.level()
    }
}
