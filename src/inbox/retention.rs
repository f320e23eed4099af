//! Retention: it runs rounds that delete old rows, at a pace that does not disturb commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::model::clock::ClockReading;
use crate::model::error::chain;
use crate::store::{PurgeResult, RetentionLimits, Store};

/// Pause after a round that had nothing more to do.
const PERIOD: Duration = Duration::from_secs(30);

/// Pause after a round that left work. A round takes the store's writer for some milliseconds. The pause is short
/// enough that thousands of events per second are deleted as fast as they arrive.
const PACE: Duration = Duration::from_millis(10);

/// Totals of what retention deleted since the start.
#[derive(Debug, Default)]
pub(crate) struct RetentionCounters {
    /// Number of events that were deleted.
    pub events: AtomicU64,
    /// Number of deleted attempts, without those of deleted events.
    pub attempts: AtomicU64,
    /// Number of deleted claims whose window was over.
    pub claims: AtomicU64,
    /// Bytes that were returned to the file system.
    pub bytes: AtomicU64,
    /// Number of rounds that failed.
    pub failures: AtomicU64,
}

impl RetentionCounters {
    fn add(&self, purged: &PurgeResult) {
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

/// Runs retention rounds until the future is dropped.
pub(crate) async fn tend(
    store: Store,
    retention: Arc<ArcSwap<RetentionLimits>>,
    removed: Arc<RetentionCounters>,
) {
    loop {
        let kept = retention.load_full();
        let purged = store.purge(&kept, ClockReading::read().unix_ms).await;
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
                // Wait the full period, because the store may be recovering from a failed write.
                tracing::warn!(
                    error = chain(&err),
                    "store not purged: old events stay until a later round succeeds"
                );
                PERIOD
            }
        };
        tokio::time::sleep(pause).await;
    }
}
