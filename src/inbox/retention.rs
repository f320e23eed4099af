//! Gives back what need not be kept any longer: rounds of the store's own, at a pace that leaves it to the commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::model::clock::Now;
use crate::model::error::chain;
use crate::store::{Purged, Retention, Store};

/// Between two looks where nothing was to be done.
const PERIOD: Duration = Duration::from_secs(30);

/// Between two rounds where there was more to do: a round takes some milliseconds of the store's one writer. Short enough
/// that thousands of events in a second leave as fast as they come.
const PACE: Duration = Duration::from_millis(10);

/// What retention did so far.
#[derive(Debug, Default)]
pub struct Removed {
    /// Events that are gone.
    pub events: AtomicU64,
    /// Attempts that are gone, beside those of these events.
    pub attempts: AtomicU64,
    /// Claims whose window was over.
    pub claims: AtomicU64,
    /// Bytes given back to the file system.
    pub bytes: AtomicU64,
    /// Rounds that failed.
    pub failures: AtomicU64,
}

impl Removed {
    fn add(&self, purged: &Purged) {
        let counts = [
            (&self.events, purged.events),
            (&self.attempts, purged.attempts),
            (&self.claims, purged.claims),
            (&self.bytes, purged.bytes),
        ];
        for (count, more) in counts {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }
}

/// Keeps the store within its bounds until it is dropped.
pub async fn tend(store: Store, retention: Arc<ArcSwap<Retention>>, removed: Arc<Removed>) {
    loop {
        let kept = retention.load_full();
        let purged = store.purge(&kept, Now::read().unix_ms).await;
        match &purged {
            Ok(purged) => removed.add(purged),
            Err(_) => {
                removed.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        let pause = match purged {
            Ok(purged) if purged.is_more => PACE,
            Ok(purged) => {
                if purged.events > 0 {
                    tracing::debug!(events = purged.events, bytes = purged.bytes, "store purged");
                }
                PERIOD
            }
            Err(err) => {
                tracing::warn!(error = chain(&err), "store not purged");
                PERIOD
            }
        };
        tokio::time::sleep(pause).await;
    }
}
