//! State of one key source: held keys, the last outcome, and the pace of fetches.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::{DefaultDirectRateLimiter, Quota};
use hookgate_verify::scheme::remote_keys::{KeyNeed, RemoteKeys};
use parking_lot::Mutex;

use crate::keys::fault::{HELD, KeyFault};

/// Fetches of a source that are allowed at once: enough for a sender that rotates its keys twice right after our start.
const TRIES: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);

/// Interval at which one more fetch is allowed.
const RETRY: Duration = Duration::from_secs(15);

/// One key source with its keys and its rate limit.
pub(super) struct KeySlot {
    /// Lock held by the task that fetches the source.
    pub(super) fetch_lock: Arc<tokio::sync::Mutex<()>>,
    pace: DefaultDirectRateLimiter,
    state: Mutex<KeySlotState>,
}

#[derive(Default)]
struct KeySlotState {
    held: Option<FetchedKeys>,
    /// Number of fetches that have ended.
    tries: u64,
    /// Error of the last fetch, if it failed.
    fault: Option<Arc<str>>,
}

/// Fetched keys and the time of their fetch.
#[derive(Clone)]
pub(super) struct FetchedKeys {
    pub(super) keys: Arc<RemoteKeys>,
    since: Instant,
}

impl FetchedKeys {
    /// Returns whether the keys are still valid and contain the needed one.
    pub(super) fn answers(&self, need: &KeyNeed, now: Instant) -> bool {
        !self.is_older(HELD, now) && self.keys.answer(need)
    }

    /// Returns whether the keys were fetched at least `age` ago.
    pub(super) fn is_older(&self, age: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= age
    }
}

impl KeySlot {
    /// Returns the slot of a source that was never fetched.
    pub(super) fn new() -> Arc<Self> {
        // The period is a constant above zero, so the fallback is never used.
        let quota = Quota::with_period(RETRY).unwrap_or(Quota::per_minute(TRIES));
        Arc::new(Self {
            fetch_lock: Arc::default(),
            pace: DefaultDirectRateLimiter::direct(quota.allow_burst(TRIES)),
            state: Mutex::default(),
        })
    }

    /// Takes one of the allowed fetches; returns false if all are used up.
    pub(super) fn may_try(&self) -> bool {
        self.pace.check().is_ok()
    }

    /// Returns the number of fetches that have ended.
    pub(super) fn tries(&self) -> u64 {
        self.state.lock().tries
    }

    /// Returns the keys of the last successful fetch.
    pub(super) fn held(&self) -> Option<FetchedKeys> {
        self.state.lock().held.clone()
    }

    /// Returns the reason why there is no key: the outcome of the last fetch.
    pub(super) fn fault(&self) -> KeyFault {
        match &self.state.lock().fault {
            Some(fault) => KeyFault::Unavailable(Arc::clone(fault)),
            None => KeyFault::Unknown,
        }
    }

    /// Records a successful fetch and its keys.
    pub(super) fn store_keys(&self, keys: Arc<RemoteKeys>, now: Instant) {
        let mut state = self.state.lock();
        state.tries += 1;
        state.fault = None;
        // New keys replace all old ones, so a withdrawn key is no longer valid.
        state.held = Some(FetchedKeys { keys, since: now });
    }

    /// Records a failed fetch. Held keys stay.
    pub(super) fn fail(&self, fault: Arc<str>) {
        let mut state = self.state.lock();
        state.tries += 1;
        state.fault = Some(fault);
    }
}
