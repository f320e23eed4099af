//! Taking due deliveries: they go in flight, with their attempt counted, before a worker sees them.

use std::sync::{Arc, Weak};

use rusqlite::params;

use crate::model::delivery::{DeliveryId, DeliveryState, DeliveryStep};
use crate::store::error::StoreError;
use crate::store::event::StoredEventRow;
use crate::store::rows::{DestinationId, DueDelivery, INTERRUPTED, INTERRUPTED_DETAIL};
use crate::store::sqlite::event_rows;
use crate::store::sqlite::fifo;
use crate::store::sqlite::group_work::{DeliveryForUpdate, GroupWork, TaskFailure, UndoEntry};
use crate::store::sqlite::queue::{TaskUrgency, enqueue_task};
use crate::store::sqlite::readers::{PATIENCE, ReadTransaction};
use crate::store::sqlite::shared::StoreShared;
use crate::store::sqlite::store::SqliteStore;
use crate::store::take::{TakeRequest, TakeResult};

/// Largest total size of the events that one task takes. Commits wait while it reads them.
const MAX_TAKEN: usize = 16 << 20;

/// Deliveries that were taken. If the caller is gone when this is dropped, they return to the queue: otherwise they
/// would stay in flight until a restart.
struct TakenDeliveries {
    taken: Vec<TakenDelivery>,
    shared: Weak<StoreShared>,
}

struct TakenDelivery {
    delivery: DeliveryId,
    attempt: u32,
    round: u32,
    round_began_ms: i64,
    is_replay: bool,
    stored: StoredEventRow,
}

impl TakenDeliveries {
    /// Decrypts the events on the caller's thread, so that it does not hold up the writer.
    fn open(mut self, shared: &StoreShared) -> Vec<DueDelivery> {
        let taken = std::mem::take(&mut self.taken);
        let sealer = shared.sealer();
        let open = |one: TakenDelivery| {
            if one.stored.is_forged(&sealer) {
                tracing::error!(
                    delivery = one.delivery.0,
                    "not delivered: the event is unencrypted, but newer than the first encryption key, so \
                     hookgate did not write it"
                );
            }
            DueDelivery {
                delivery: one.delivery,
                attempt: one.attempt,
                round: one.round,
                round_began_ms: one.round_began_ms,
                is_replay: one.is_replay,
                event: one.stored.open(&sealer),
            }
        };
        taken.into_iter().map(open).collect()
    }
}

impl Drop for TakenDeliveries {
    fn drop(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        let Some(shared) = self.shared.upgrade().filter(|_| !taken.is_empty()) else {
            return;
        };
        let (task, _) = enqueue_task(move |work| {
            for one in &taken {
                work.interrupt(one.delivery, one.attempt)?;
            }
            Ok(())
        });
        // If the store is closed, the next start returns them.
        let _ = shared.queue.push(task, 0, TaskUrgency::Outcome);
    }
}

impl SqliteStore {
    /// Takes up to `limit` due deliveries of a destination. They are in flight from then on, and their attempt is
    /// counted.
    ///
    /// Higher priority goes first, then the earliest due time. Of the deliveries with one order key only the oldest
    /// open one is taken. A paused destination or route yields no delivery. If the caller goes away before it gets the
    /// deliveries, they return to the queue.
    ///
    /// `now_ms` is a time of the store's clock. An event that no key decrypts comes without its body and headers.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(in crate::store) async fn begin(
        &self,
        destination: DestinationId,
        limit: usize,
        now_ms: i64,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let shared = Arc::clone(&self.shared);
        let destination = self.shared.resolve(destination);
        let run = move |work: &mut GroupWork| work.begin(destination, limit, now_ms, &shared);
        let taken = self.write(TaskUrgency::Outcome, 0, run).await?;
        Ok(taken.open(&self.shared))
    }

    /// Takes due deliveries for a request. One process enforces concurrency, rate and breaker itself, so only due times
    /// decide here.
    pub(in crate::store) async fn take(
        &self,
        request: TakeRequest,
    ) -> Result<TakeResult, StoreError> {
        let due = self.begin(request.destination, request.limit, request.as_of_ms);
        Ok(TakeResult {
            due: due.await?,
            hold: None,
        })
    }

    /// Returns when the next delivery of a destination is due, by the store's clock. Returns `None` if no delivery
    /// waits or the destination is paused.
    pub(crate) async fn next_due(
        &self,
        destination: DestinationId,
    ) -> Result<Option<i64>, StoreError> {
        let destination = self.shared.resolve(destination);
        let look = move |look: &ReadTransaction<'_>| next_due(look, destination);
        self.shared.read(PATIENCE, look).await
    }
}

fn next_due(look: &ReadTransaction<'_>, destination: i64) -> rusqlite::Result<Option<i64>> {
    if look.names.is_held(destination) {
        return Ok(None);
    }
    let sql = "SELECT min(due_ms) FROM delivery INDEXED BY delivery_due
        WHERE destination = ?1 AND priority = ?2 AND state IN (0, 2) AND is_behind = 0";
    let mut stmt = look.conn.prepare_cached(sql)?;
    // One query per priority, because the index is sorted by priority first.
    let mut next: Option<i64> = None;
    for priority in [1, 0, -1] {
        let due: Option<i64> = stmt.query_row([destination, priority], |row| row.get(0))?;
        next = match (next, due) {
            (Some(next), Some(due)) => Some(next.min(due)),
            (next, due) => next.or(due),
        };
    }
    Ok(next)
}

impl GroupWork {
    fn begin(
        &mut self,
        destination: i64,
        limit: usize,
        now_ms: i64,
        shared: &Arc<StoreShared>,
    ) -> Result<TakenDeliveries, TaskFailure> {
        let mut taken = TakenDeliveries {
            taken: Vec::new(),
            shared: Weak::new(),
        };
        // Checked inside the transaction, so that nothing is taken after a pause was reported as done.
        if self.names.is_held(destination) {
            return Ok(taken);
        }
        let mut ids = Vec::new();
        // Higher priority first. Within one priority, `find_due` sorts by due time.
        for priority in [1, 0, -1] {
            let left = limit.saturating_sub(ids.len());
            self.find_due(destination, priority, now_ms, left, &mut ids)?;
        }
        let mut size = 0;
        for id in ids {
            if size > MAX_TAKEN {
                break;
            }
            if let Some(one) = self.begin_one(DeliveryId(id), now_ms)? {
                size += one.stored.size();
                // If the group is reported as failed but is in the file, the delivery must not stay in flight.
                self.ghosts
                    .push(UndoEntry::Taken(one.delivery, one.attempt));
                taken.taken.push(one);
            }
        }
        // From here on a dropped result has deliveries to return.
        taken.shared = Arc::downgrade(shared);
        Ok(taken)
    }

    fn find_due(
        &self,
        destination: i64,
        priority: i64,
        now_ms: i64,
        limit: usize,
        ids: &mut Vec<i64>,
    ) -> rusqlite::Result<()> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        if limit == 0 {
            return Ok(());
        }
        // Naming the index makes a query that cannot use it an error instead of a slow scan.
        let sql = "SELECT id FROM delivery INDEXED BY delivery_due
            WHERE destination = ?1 AND priority = ?2 AND due_ms <= ?3
            AND state IN (0, 2) AND is_behind = 0 ORDER BY due_ms, id LIMIT ?4";
        let mut stmt = self.conn.prepare_cached(sql)?;
        let mut rows = stmt.query([destination, priority, now_ms, limit])?;
        while let Some(row) = rows.next()? {
            ids.push(row.get(0)?);
        }
        Ok(())
    }

    fn begin_one(
        &mut self,
        id: DeliveryId,
        now_ms: i64,
    ) -> Result<Option<TakenDelivery>, TaskFailure> {
        let Some(found) = self.find(id)? else {
            return Ok(None);
        };
        // Before any write: a delivery without its event stays where it is, and `check` reports it.
        let Some(stored) = event_rows::read(&self.conn, &self.names, found.event)? else {
            return Ok(None);
        };
        let Some(next) = self.step(&found, DeliveryStep::Begin) else {
            return Ok(None);
        };
        let (attempt, round) = (found.attempts + 1, found.round + 1);
        let sql = "UPDATE delivery SET state = ?2, attempts = ?3, round = ?4, due_ms = ?5
            WHERE id = ?1";
        let values = params![id.0, next.code(), attempt, round, now_ms];
        self.conn.prepare_cached(sql)?.execute(values)?;
        let lane = self.names.lanes.get(&found.lane);
        Ok(Some(TakenDelivery {
            delivery: id,
            attempt,
            round,
            round_began_ms: found.round_began_ms,
            is_replay: lane.is_some_and(|lane| lane.is_replay),
            stored,
        }))
    }

    /// Returns a delivery whose attempt ended with an unknown outcome.
    pub(super) fn interrupt(&mut self, id: DeliveryId, attempt: u32) -> Result<bool, TaskFailure> {
        // A later attempt may be in flight by now. It must not be interrupted.
        let Some(found) = self.find(id)?.filter(|found| found.attempts == attempt) else {
            return Ok(false);
        };
        let Some(next) = self.step(&found, DeliveryStep::Interrupt) else {
            return Ok(false);
        };
        self.record_interrupted(&found, next)?;
        if let Some(key) = found.order_key {
            fifo::settle(&self.conn, found.destination, key)?;
        }
        Ok(true)
    }

    fn record_interrupted(
        &self,
        found: &DeliveryForUpdate,
        next: DeliveryState,
    ) -> rusqlite::Result<()> {
        let sql = "INSERT INTO attempt (delivery, number, started_ms, duration_ms, error, detail,
            sealing_key, answer) VALUES (?1, ?2, ?3, 0, ?4, ?5, 0, x'') ON CONFLICT DO NOTHING";
        self.conn.prepare_cached(sql)?.execute(params![
            found.id,
            found.attempts,
            found.due_ms.saturating_sub(self.clock.skew_ms()),
            INTERRUPTED,
            INTERRUPTED_DETAIL
        ])?;
        let sql =
            "UPDATE delivery SET state = ?3, last_status = NULL, last_error = ?2 WHERE id = ?1";
        self.conn
            .prepare_cached(sql)?
            .execute(params![found.id, INTERRUPTED, next.code()])
            .map(drop)
    }

    /// Returns all deliveries that ended processes had in flight.
    pub(super) fn interrupt_all(&mut self) -> Result<(), TaskFailure> {
        let lanes: Vec<i64> = self.names.lanes.keys().copied().collect();
        for lane in lanes {
            let sql = "SELECT id, attempts FROM delivery INDEXED BY delivery_lane
                WHERE lane = ?1 AND state = 1";
            let mut stmt = self.conn.prepare_cached(sql)?;
            let rows = stmt.query_map([lane], |row| Ok((row.get(0)?, row.get(1)?)))?;
            // Collect the rows first, because `interrupt` changes the index that the query walks through.
            let in_flight: Vec<(i64, u32)> = rows.collect::<rusqlite::Result<_>>()?;
            drop(stmt);
            for (id, attempt) in in_flight {
                if self.own.contains(&id) {
                    continue;
                }
                self.interrupt(DeliveryId(id), attempt)?;
            }
        }
        Ok(())
    }
}
