//! Returning deliveries to the queue whose attempt has an unknown outcome: their node ended, or lost them on the way.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Row;

use crate::model::delivery::DeliveryState;
use crate::store::error::StoreError;
use crate::store::postgres::order::{self, OrderedKey};
use crate::store::postgres::session::Session;
use crate::store::postgres::sessions::{SessionSlot, transaction};
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::tally::{self, TallyChanges};
use crate::store::rows::{INTERRUPTED, INTERRUPTED_DETAIL};

/// Pause between two rounds that look for deliveries of ended nodes.
const ROUND: Duration = Duration::from_secs(2);

/// Rounds between two comparisons of this node's own rows with its attempts.
const ROUNDS_TO_RECONCILE: u32 = 15;

/// Deliveries that one transaction returns.
const AT_ONCE: i64 = 200;

/// Interruptions of a delivery without a longer pause. From then on it waits longer each time: an event that crashes its
/// node must not crash all nodes one after the other.
const FREE_INTERRUPTIONS: i16 = 3;

/// An attempt in the database.
type AttemptRef = (i64, u32);

/// Returns deliveries of ended nodes to the queue, again and again, and those that this node lost.
pub(super) async fn run(shared: Arc<NodeShared>) {
    let slot = SessionSlot::new(&shared.settings, "takeover");
    let mut suspects: Vec<AttemptRef> = Vec::new();
    let mut round = 0_u32;
    loop {
        tokio::time::sleep(ROUND).await;
        // While the database is away, the other sessions of this node fail to connect, and one more would not help.
        if !shared.is_healthy() {
            continue;
        }
        round = round.wrapping_add(1);
        let done = async {
            release_ended(&shared, &slot).await?;
            if round.is_multiple_of(ROUNDS_TO_RECONCILE) {
                // Every 30 seconds: that is much longer than a take may last, so a row found twice is not one on its
                // way.
                suspects = reconcile(&shared, &slot, &suspects).await?;
            }
            Ok::<(), StoreError>(())
        };
        if let Err(err) = done.await {
            tracing::debug!(error = %crate::model::error::chain(&err), "a round of takeovers failed");
        }
    }
}

/// Returns the deliveries of processes that are known to be gone.
///
/// A node enters again after a failover, and its other sessions may hang on the dead server until their deadlines. So
/// this has a session of its own, or the node would wait for them.
pub(super) async fn release_gone(shared: &Arc<NodeShared>) -> Result<(), StoreError> {
    let slot = SessionSlot::new(&shared.settings, "takeover");
    let sql = "SELECT o.id, o.attempts FROM open_delivery o JOIN node n ON n.id = o.node
        WHERE o.node IS NOT NULL AND n.is_gone ORDER BY o.id LIMIT $1";
    release(shared, &slot, sql, None).await
}

/// Returns the deliveries of ended nodes. An attempt of a node that was declared dead may still run until its own limit,
/// so its delivery waits for that: two attempts of one delivery never overlap.
async fn release_ended(shared: &NodeShared, slot: &SessionSlot) -> Result<(), StoreError> {
    let sql = "SELECT o.id, o.attempts FROM open_delivery o JOIN node n ON n.id = o.node
        WHERE o.node IS NOT NULL AND (n.is_gone OR (n.ended_ms IS NOT NULL AND o.until_ms < $2))
        ORDER BY o.id LIMIT $1";
    let now_ms = shared.clock.now().unix_ms;
    release(shared, slot, sql, Some(now_ms)).await
}

async fn release(
    shared: &NodeShared,
    slot: &SessionSlot,
    sql: &str,
    now_ms: Option<i64>,
) -> Result<(), StoreError> {
    loop {
        // In a block of its own: `interrupt_on` opens the same slot, and would wait for this guard forever.
        let found = {
            let guard = slot.open().await?;
            let session = guard.session()?;
            let rows = match &now_ms {
                None => session.query(sql, &[&AT_ONCE]).await,
                Some(now_ms) => session.query(sql, &[&AT_ONCE, now_ms]).await,
            };
            let rows = rows.map_err(StoreError::Postgres)?;
            guard.keep();
            rows.iter().map(attempt_ref).collect::<Vec<_>>()
        };
        if found.is_empty() {
            return Ok(());
        }
        let count = found.len();
        // The rows leave the search with this, so the loop ends.
        interrupt_on(shared, slot, &found, false).await?;
        tracing::warn!(
            deliveries = count,
            "deliveries of a node that ended return to the queue"
        );
    }
}

fn attempt_ref(row: &Row) -> AttemptRef {
    (row.get(0), u32::try_from(row.get::<_, i32>(1)).unwrap_or(0))
}

/// Returns rows of this node to the queue that no attempt of this process belongs to: the answer of a take was lost with
/// its connection. A row counts only if it was found twice, since a take may just be on its way.
async fn reconcile(
    shared: &NodeShared,
    slot: &SessionSlot,
    suspects: &[AttemptRef],
) -> Result<Vec<AttemptRef>, StoreError> {
    let guard = slot.open().await?;
    let session = guard.session()?;
    // The bound limits memory. Rows beyond it follow when the attempts of lower ones have ended.
    let sql = "SELECT id, attempts FROM open_delivery WHERE node = $1 ORDER BY id LIMIT 10000";
    let rows = session.query(sql, &[&shared.node()]).await;
    let rows = rows.map_err(StoreError::Postgres)?;
    // Gives the slot back before `interrupt_on` opens it.
    guard.keep();
    let unknown: Vec<AttemptRef> = rows
        .iter()
        .map(attempt_ref)
        .filter(|(delivery, attempt)| !shared.attempts.contains(*delivery, *attempt))
        .collect();
    let (lost, new): (Vec<_>, Vec<_>) = unknown
        .into_iter()
        .partition(|unknown| suspects.contains(unknown));
    for some in lost.chunks(200) {
        interrupt_on(shared, slot, some, true).await?;
    }
    // Only rows that were found for the first time are suspects. The others are back in the queue.
    Ok(new)
}

/// Returns deliveries of this node to the queue, with an attempt of unknown outcome on record.
pub(super) async fn interrupt(
    shared: &NodeShared,
    attempts: &[AttemptRef],
) -> Result<(), StoreError> {
    // First: if this fails, the rows belong to no attempt of this process, and are reconciled.
    for (delivery, attempt) in attempts {
        shared.attempts.remove(*delivery, *attempt);
    }
    interrupt_on(shared, shared.sessions().operator(), attempts, true).await
}

async fn interrupt_on(
    shared: &NodeShared,
    slot: &SessionSlot,
    attempts: &[AttemptRef],
    is_own: bool,
) -> Result<(), StoreError> {
    if attempts.is_empty() {
        return Ok(());
    }
    transaction(slot, async |session| {
        interrupt_rows(shared, session, attempts, is_own)
            .await
            .map_err(StoreError::Postgres)
    })
    .await
}

async fn interrupt_rows(
    shared: &NodeShared,
    session: &Session,
    attempts: &[AttemptRef],
    is_own: bool,
) -> Result<(), tokio_postgres::Error> {
    let ids: Vec<i64> = attempts.iter().map(|(delivery, _)| *delivery).collect();
    let numbers: Vec<i32> = attempts
        .iter()
        .map(|(_, attempt)| i32::try_from(*attempt).unwrap_or(i32::MAX))
        .collect();
    // The locks of order keys come before those of rows, in every transaction.
    let sql = "SELECT destination, order_key FROM open_delivery
        WHERE id = ANY($1) AND order_key IS NOT NULL";
    let keys: Vec<OrderedKey> = session
        .query(sql, &[&ids])
        .await?
        .iter()
        .map(|row| OrderedKey {
            destination: row.get(0),
            key: row.get(1),
        })
        .collect();
    order::lock(session, &shared.settings.schema, &keys).await?;
    // Only the attempt that was found: a later one may be in flight by now, on any node.
    // `locked` keeps the node and the start of the attempt, which the update overwrites, for the record. After some
    // free interruptions the pause grows from 5 seconds to 10 minutes; the inner `least` keeps the power in range.
    let sql = "WITH x AS MATERIALIZED (
            SELECT * FROM unnest($1::bigint[], $2::integer[]) AS x (id, attempt)
        ), locked AS MATERIALIZED (
            SELECT o.id, o.node, o.due_ms FROM open_delivery o JOIN x ON x.id = o.id AND x.attempt = o.attempts
            WHERE o.node IS NOT NULL AND (NOT $3 OR o.node = $4) ORDER BY o.id FOR UPDATE OF o
        ), back AS (
            UPDATE open_delivery o SET state = 0, node = NULL, turn = NULL, until_ms = NULL,
                last_status = NULL, last_error = $5, interruptions = least(interruptions + 1, 1000),
                due_ms = CASE WHEN interruptions < $6 THEN o.due_ms
                    ELSE greatest(o.due_ms, $7) + least(5000 * 4 ^ least(interruptions - $6, 8), 600000)::bigint END
            FROM locked WHERE o.id = locked.id
            RETURNING o.id, o.attempts, o.lane, locked.node, locked.due_ms
        ), noted AS (
            INSERT INTO attempt (delivery, number, node, started_ms, duration_ms, error, detail, sealing_key, answer)
            SELECT id, attempts, node, due_ms - $8, 0, $5, $9, 0, '' FROM back ON CONFLICT DO NOTHING
        )
        SELECT lane FROM back";
    let now_ms = shared.clock.now().unix_ms;
    let skew_ms = shared.clock.skew_ms();
    let node = shared.node();
    let rows = session
        .query(
            sql,
            &[
                &ids,
                &numbers,
                &is_own,
                &node,
                &INTERRUPTED,
                &FREE_INTERRUPTIONS,
                &now_ms,
                &skew_ms,
                &INTERRUPTED_DETAIL,
            ],
        )
        .await?;
    let mut changes = TallyChanges::default();
    for row in &rows {
        changes.add(row.get(0), DeliveryState::InFlight, -1);
        changes.add(row.get(0), DeliveryState::Pending, 1);
    }
    tally::record(session, &changes).await?;
    // After the update: as long as the rows are in flight, nothing else of their order keys may go.
    order::settle(session, &keys).await
}
