//! One source of keys: what is held from it, how the last try ended, and when it may be tried again.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::{DefaultDirectRateLimiter, Quota};

use crate::keys::{HELD, KeyFault};
use crate::scheme::remote::{KeyNeed, RemoteKeys};

/// Tries that a source may have at once: a sender that changes its keys twice right after our start is followed still.
const TRIES: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);

/// And then one in this time.
const RETRY: Duration = Duration::from_secs(15);

/// One source.
pub(super) struct Slot {
    /// Held by whoever asks the source.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    pace: DefaultDirectRateLimiter,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// Tries that have ended.
    tries: u64,
    /// How the last one failed, where it did.
    fault: Option<Arc<str>>,
}

/// Keys and when they were fetched.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) keys: Arc<RemoteKeys>,
    since: Instant,
}

impl Held {
    /// Whether they count still, and the one that is needed is among them.
    pub(super) fn answers(&self, need: &KeyNeed, now: Instant) -> bool {
        !self.is_older(HELD, now) && self.keys.answer(need)
    }

    /// Whether they were fetched so long ago.
    pub(super) fn is_older(&self, age: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= age
    }
}

impl Slot {
    /// A source that was never asked.
    pub(super) fn new() -> Arc<Self> {
        let quota = Quota::with_period(RETRY).unwrap_or(Quota::per_minute(TRIES));
        Arc::new(Self {
            turn: Arc::default(),
            pace: DefaultDirectRateLimiter::direct(quota.allow_burst(TRIES)),
            state: Mutex::default(),
        })
    }

    /// Takes one of the tries, where there is one.
    pub(super) fn may_try(&self) -> bool {
        self.pace.check().is_ok()
    }

    /// Tries that have ended.
    pub(super) fn tries(&self) -> u64 {
        self.state().tries
    }

    /// What is held.
    pub(super) fn held(&self) -> Option<Held> {
        self.state().held.clone()
    }

    /// Why there is no key: how the last try ended.
    pub(super) fn fault(&self) -> KeyFault {
        match &self.state().fault {
            Some(fault) => KeyFault::Unavailable(Arc::clone(fault)),
            None => KeyFault::Unknown,
        }
    }

    /// A try gave keys.
    pub(super) fn keep(&self, keys: Arc<RemoteKeys>, now: Instant) {
        let mut state = self.state();
        state.tries += 1;
        state.fault = None;
        state.held = Some(Held { keys, since: now });
    }

    /// A try gave none. What is held stays.
    pub(super) fn fail(&self, fault: Arc<str>) {
        let mut state = self.state();
        state.tries += 1;
        state.fault = Some(fault);
    }

    /// A panic while it is locked leaves it whole: no step in between can be seen.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
