//! The deadline of one admin connection. A request that may take longer moves it; everything else ends by the first one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A deadline that can be moved while it is waited for.
#[derive(Debug)]
pub(super) struct Patience(Mutex<Instant>);

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self(Mutex::new(Instant::now() + limit))
    }

    /// So long from now, if that is later.
    pub(super) fn extend(&self, limit: Duration) {
        let mut deadline = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *deadline = (*deadline).max(Instant::now() + limit);
    }

    /// Returns when the deadline is over.
    pub(super) async fn is_over(&self) {
        loop {
            let deadline = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let patience = Patience::new(Duration::from_millis(10));
        let began = Instant::now();
        patience.extend(Duration::from_millis(60));
        patience.extend(Duration::from_millis(1));
        patience.is_over().await;
        assert!(began.elapsed() >= Duration::from_millis(60));
    }
}
