//! The attempts that this process runs, beside the rows that say so.

use std::collections::HashMap;

use parking_lot::Mutex;

/// An attempt of this process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct RunningAttempt {
    pub(super) attempt: u32,
    pub(super) destination: i64,
    pub(super) order_key: Option<i64>,
    /// Inbox id of the event, from which the key of its response bytes is derived.
    pub(super) uid: [u8; 16],
}

/// The attempts of this process by delivery. A row in flight that is not here lost its taker on the way.
#[derive(Default)]
pub(super) struct RunningAttempts {
    attempts: Mutex<HashMap<i64, RunningAttempt>>,
}

impl RunningAttempts {
    pub(super) fn add(&self, delivery: i64, attempt: RunningAttempt) {
        self.attempts.lock().insert(delivery, attempt);
    }

    /// Sets the event of an attempt, which is read after the attempt has begun.
    pub(super) fn set_uid(&self, delivery: i64, attempt: u32, uid: [u8; 16]) {
        let mut attempts = self.attempts.lock();
        if let Some(known) = attempts.get_mut(&delivery)
            && known.attempt == attempt
        {
            known.uid = uid;
        }
    }

    pub(super) fn find(&self, delivery: i64, attempt: u32) -> Option<RunningAttempt> {
        let attempts = self.attempts.lock();
        attempts
            .get(&delivery)
            .filter(|known| known.attempt == attempt)
            .cloned()
    }

    /// Removes an attempt that has ended.
    pub(super) fn remove(&self, delivery: i64, attempt: u32) {
        let mut attempts = self.attempts.lock();
        // A later attempt of the same delivery may run by now.
        if attempts
            .get(&delivery)
            .is_some_and(|known| known.attempt == attempt)
        {
            attempts.remove(&delivery);
        }
    }

    pub(super) fn contains(&self, delivery: i64, attempt: u32) -> bool {
        self.find(delivery, attempt).is_some()
    }

    /// Forgets all attempts, because the node got a new number: their outcomes no longer count.
    pub(super) fn forget_all(&self) {
        self.attempts.lock().clear();
    }
}
