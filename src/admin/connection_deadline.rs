//! Deadline of one admin connection, which a slow request may extend.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// A deadline that can be extended while a task waits for it.
#[derive(Debug)]
pub(super) struct ConnectionDeadline(Mutex<Instant>);

impl ConnectionDeadline {
    pub(super) fn new(limit: Duration) -> Self {
        Self(Mutex::new(Instant::now() + limit))
    }

    /// Extends the deadline to `limit` from now. Never shortens it.
    pub(super) fn extend(&self, limit: Duration) {
        let mut deadline = self.0.lock();
        *deadline = (*deadline).max(Instant::now() + limit);
    }

    /// Waits until the deadline is over.
    pub(super) async fn is_over(&self) {
        // The deadline may have moved during the sleep, so look again after each one.
        loop {
            let deadline = *self.0.lock();
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_moved_deadline_is_waited_for() {
        let patience = ConnectionDeadline::new(Duration::from_millis(10));
        let began = Instant::now();
        patience.extend(Duration::from_millis(60));
        patience.extend(Duration::from_millis(1));
        patience.is_over().await;
        assert!(began.elapsed() >= Duration::from_millis(60));
    }
}
