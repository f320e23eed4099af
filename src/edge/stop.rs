//! The two words that end connections: drain (finish what is in flight) and abort (end now).
//!
//! A connection registers for them once and then only reads an atomic, so that a turn of a busy connection takes no lock
//! that it shares with all others.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::Context;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

const DRAIN: u8 = 1;
const ABORT: u8 = 2;

/// Shared by all connections of one listener.
#[derive(Default)]
pub(super) struct Stop {
    level: AtomicU8,
    drain: Notify,
    abort: Notify,
}

/// How far the end has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Level(u8);

impl Level {
    pub(super) fn is_drain(self) -> bool {
        self.0 >= DRAIN
    }

    pub(super) fn is_abort(self) -> bool {
        self.0 >= ABORT
    }
}

impl Stop {
    pub(super) fn begin_drain(&self) {
        self.level.fetch_max(DRAIN, Relaxed);
        self.drain.notify_waiters();
    }

    pub(super) fn begin_abort(&self) {
        self.level.fetch_max(ABORT, Relaxed);
        self.drain.notify_waiters();
        self.abort.notify_waiters();
    }

    pub(super) fn level(&self) -> Level {
        Level(self.level.load(Relaxed))
    }

    /// What a task registers with, pinned by the task itself.
    pub(super) fn waits(&self) -> (Notified<'_>, Notified<'_>) {
        (self.drain.notified(), self.abort.notified())
    }

    /// Wakes the task that polls it when the level changes.
    pub(super) fn signals<'p, 's>(
        &'s self,
        drain: Pin<&'p mut Notified<'s>>,
        abort: Pin<&'p mut Notified<'s>>,
    ) -> Signals<'p, 's> {
        Signals {
            stop: self,
            drain,
            abort,
            is_registered: false,
        }
    }
}

/// One task's registration.
pub(super) struct Signals<'p, 's> {
    stop: &'s Stop,
    drain: Pin<&'p mut Notified<'s>>,
    abort: Pin<&'p mut Notified<'s>>,
    is_registered: bool,
}

impl Signals<'_, '_> {
    /// The level now. The first call registers the task, all further ones only read.
    pub(super) fn poll_level(&mut self, context: &mut Context<'_>) -> Level {
        if !self.is_registered {
            self.is_registered = true;
            let _ = self.drain.as_mut().poll(context);
            let _ = self.abort.as_mut().poll(context);
        }
        self.stop.level()
    }
}
