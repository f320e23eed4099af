//! Gives back what need not be kept any longer: rounds of the store's own, at a pace that leaves it to the commits.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::model::clock::Now;
use crate::model::error::chain;
use crate::store::{Retention, Store};

/// Between two looks where nothing was to be done.
const PERIOD: Duration = Duration::from_secs(30);

/// Between two rounds where there was more to do: a round takes some milliseconds of the store's one writer.
const PACE: Duration = Duration::from_millis(50);

/// Keeps the store within its bounds until it is dropped.
pub async fn tend(store: Store, retention: Arc<ArcSwap<Retention>>) {
    loop {
        let kept = retention.load_full();
        let pause = match store.purge(&kept, Now::read().unix_ms).await {
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
