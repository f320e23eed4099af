//! Work that one node does for all: adding up counts, forgetting nodes that ended, and measuring whether the store is
//! full.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Error;

use crate::model::clock;
use crate::model::error::chain;
use crate::store::error::StoreError;
use crate::store::postgres::event_list::LONG_PATIENCE;
use crate::store::postgres::session::Session;
use crate::store::postgres::sessions::{SessionSlot, transaction};
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::{limits, tally};

/// Pause between two rounds.
const ROUND: Duration = Duration::from_secs(10);

/// Pause while the database is away.
const AWAY: Duration = Duration::from_millis(500);

/// Shortest pause between two measurements, as a multiple of the duration of one.
const MEASURED_SHARE: u32 = 50;

/// Time for which the row of a node that ended stays, so that operators see it.
const ENDED_MS: i64 = 24 * 3600 * 1000;

/// Runs until the store is closed.
pub(super) async fn run(shared: Arc<NodeShared>) {
    let slot = SessionSlot::new(&shared.settings, "duty");
    let mut pause = Duration::ZERO;
    loop {
        if !shared.is_healthy() {
            tokio::time::sleep(AWAY).await;
            continue;
        }
        // The first measurement comes at once, so that a full store accepts nothing after a restart.
        if pause.is_zero() {
            let began = clock::instant();
            if let Err(err) = measure(&shared).await {
                tracing::debug!(error = %chain(&err), "the size of the store was not measured");
            }
            // Adding up the sizes of many events takes long, so it must be rare.
            pause = began.elapsed().saturating_mul(MEASURED_SHARE).max(ROUND);
        }
        if let Err(err) = round(&shared, &slot).await {
            tracing::debug!(error = %chain(&err), "a round of duties failed");
        }
        tokio::time::sleep(ROUND).await;
        pause = pause.saturating_sub(ROUND);
    }
}

/// Takes the lock of a duty until the end of the transaction, unless another node has it.
pub(super) async fn try_lock(session: &Session, duty: &str) -> Result<bool, Error> {
    // Locks span the whole database, so the schema is part of the number.
    let sql = "SELECT pg_try_advisory_xact_lock(hashtextextended(
        'hookgate duty ' || $1::text || ' ' || current_schema(), 0))";
    Ok(session.query_one(sql, &[&duty]).await?.get(0))
}

/// Measures whether the store is full.
async fn measure(shared: &NodeShared) -> Result<(), StoreError> {
    let reached = shared.sessions().read(LONG_PATIENCE, async |session| {
        limits::reached(shared, session).await
    });
    *shared.is_full.lock() = reached.await?;
    Ok(())
}

async fn round(shared: &NodeShared, slot: &SessionSlot) -> Result<(), StoreError> {
    let now_ms = shared.clock.now().unix_ms;
    loop {
        // Many short transactions instead of a long one, whose snapshot would keep dead rows in all tables.
        let is_more = transaction(slot, async |session| {
            let folded = fold(session, now_ms).await;
            folded.map_err(StoreError::Postgres)
        });
        if !is_more.await? {
            return Ok(());
        }
    }
}

/// Adds up counts and forgets nodes, unless another node does just now. Returns whether more is left.
async fn fold(session: &Session, now_ms: i64) -> Result<bool, Error> {
    if !try_lock(session, "fold").await? {
        return Ok(false);
    }
    // Lost with a crash, the changes are still there and are added again.
    session.batch("SET LOCAL synchronous_commit = off").await?;
    // A node with deliveries in flight stays, because a takeover finds them by its row.
    let sql = "DELETE FROM node WHERE ended_ms < $1
        AND NOT EXISTS (SELECT 1 FROM open_delivery WHERE open_delivery.node = node.id)";
    let before_ms = now_ms.saturating_sub(ENDED_MS);
    session.execute(sql, &[&before_ms]).await?;
    tally::fold(session).await
}
