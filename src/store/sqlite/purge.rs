//! Retention: deleting events, attempts and claims after their time, and returning space to the file system.
//!
//! A reader looks for rows in sweeps that remember their position from round to round. The writer checks each row again
//! and deletes it, in bounded groups. So neither many old events that must stay nor many that may go hold up a commit
//! for more than some milliseconds.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::model::clock;
use crate::model::delivery::DeliveryState;
use crate::store::error::StoreError;
use crate::store::filter::EventColumns;
use crate::store::options::{PurgeResult, RetentionLimits};
use crate::store::purge_sweeps::{PurgeSweep, PurgeSweeps, REST_MS};
use crate::store::sqlite::group_work::{GroupWork, TaskFailure};
use crate::store::sqlite::limits::pages;
use crate::store::sqlite::queue::TaskUrgency;
use crate::store::sqlite::readers::{LONG_PATIENCE, ReadTransaction};
use crate::store::sqlite::store::SqliteStore;
use crate::store::sqlite::{fifo, id_index, time_index};

/// Rows that one round deletes at most.
const EVENTS: usize = 200;
const ATTEMPTS: usize = 500;
const CLAIMS: usize = 2000;

/// How long a round looks for each kind of row.
const LOOK: Duration = Duration::from_millis(20);

/// Unused pages that stay in the file, and pages that one round returns.
const SPARE: u64 = 64;
const GIVEN_BACK: u64 = 256;

/// Shortest pause of the sweep of claims, which reads all of them.
const CLAIMS_REST_MS: i64 = 5 * 1000;

/// Estimated bytes of an event's rows beside its body.
const OVERHEAD: u64 = 1024;

/// A delivery that is deleted with its event.
struct DeletedDelivery {
    id: i64,
    lane: i64,
    state: i64,
    destination: i64,
    order_key: Option<i64>,
}

impl DeletedDelivery {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            lane: row.get(1)?,
            state: row.get(2)?,
            destination: row.get(3)?,
            order_key: row.get(4)?,
        })
    }
}

/// The times by which a round decides.
#[derive(Clone, Copy)]
struct PurgeCutoffs {
    /// Time of the wall clock, for ended rows.
    ended_ms: i64,
    /// Time of the store's clock, for claims.
    claims_ms: i64,
}

/// Rows that may be deleted.
#[derive(Default)]
struct PurgeCandidates {
    by_age: Vec<i64>,
    by_size: Vec<i64>,
    /// Deliveries whose attempts may be deleted.
    attempts: Vec<i64>,
    claims: Vec<(i64, Vec<u8>)>,
    is_more: bool,
}

/// Looks for rows that may be deleted, and advances the sweeps.
fn find_purgeable(
    look: &ReadTransaction<'_>,
    sweeps: &mut PurgeSweeps,
    retention: &RetentionLimits,
    times: PurgeCutoffs,
) -> rusqlite::Result<PurgeCandidates> {
    let now_ms = times.ended_ms;
    let mut found = PurgeCandidates::default();
    find_by_age(look.conn, &mut sweeps.age, retention, now_ms, &mut found)?;
    find_by_size(look.conn, &mut sweeps.size, retention, now_ms, &mut found)?;
    find_attempts(
        look.conn,
        &mut sweeps.attempts,
        retention,
        now_ms,
        &mut found,
    )?;
    let now_ms = times.claims_ms;
    find_claims(look.conn, &mut sweeps.claims, retention, now_ms, &mut found)?;
    Ok(found)
}

fn find_by_age(
    conn: &Connection,
    sweep: &mut PurgeSweep,
    retention: &RetentionLimits,
    now_ms: i64,
    found: &mut PurgeCandidates,
) -> rusqlite::Result<()> {
    // The shorter age bounds the search. `is_over` then applies the age that belongs to each state.
    let kept = retention.delivered_ms.into_iter().chain(retention.dead_ms);
    let Some(kept_ms) = kept.min().filter(|_| !sweep.is_resting(now_ms)) else {
        return Ok(());
    };
    // The span table bounds the search, so young events are not even read.
    let before = now_ms.saturating_sub(kept_ms).saturating_add(1);
    let last = time_index::range(conn, None, Some(before))?.map_or(0, |range| range.last);
    let began = clock::instant();
    let sql = "SELECT id, received_ms FROM event WHERE id > ?1 AND id <= ?2 ORDER BY id";
    let mut stmt = conn.prepare_cached(sql)?;
    let mut rows = stmt.query([sweep.position, last])?;
    while let Some(row) = rows.next()? {
        let event = row.get(0)?;
        if is_over(conn, event, row.get(1)?, retention, now_ms)? {
            found.by_age.push(event);
        }
        sweep.position = event;
        if found.by_age.len() >= EVENTS || began.elapsed() > LOOK {
            found.is_more = true;
            return Ok(());
        }
    }
    sweep.end(now_ms, kept_ms);
    Ok(())
}

/// Returns whether an event and all its deliveries are past their time.
fn is_over(
    conn: &Connection,
    event: i64,
    received_ms: i64,
    retention: &RetentionLimits,
    now_ms: i64,
) -> rusqlite::Result<bool> {
    let is_past = |end_ms: i64, kept_ms: Option<i64>| {
        kept_ms.is_some_and(|kept_ms| now_ms.saturating_sub(end_ms) >= kept_ms)
    };
    // An event without deliveries counts as delivered at the time of its reception.
    let mut is_alone = true;
    for (state, ended_ms) in ends(conn, event)? {
        is_alone = false;
        let kept_ms = match state {
            Some(DeliveryState::Delivered | DeliveryState::Cancelled) => retention.delivered_ms,
            Some(DeliveryState::Dead) => retention.dead_ms,
            _ => return Ok(false),
        };
        if !is_past(ended_ms.unwrap_or(received_ms), kept_ms) {
            return Ok(false);
        }
    }
    Ok(!is_alone || is_past(received_ms, retention.delivered_ms))
}

type DeliveryEnd = (Option<DeliveryState>, Option<i64>);

fn ends(conn: &Connection, event: i64) -> rusqlite::Result<Vec<DeliveryEnd>> {
    let sql = "SELECT state, ended_ms FROM delivery INDEXED BY delivery_event WHERE event = ?1";
    let mut stmt = conn.prepare_cached(sql)?;
    let rows = stmt.query_map([event], |row| {
        Ok((DeliveryState::from_code(row.get(0)?), row.get(1)?))
    })?;
    rows.collect()
}

/// Returns whether all deliveries of an event have ended.
fn has_ended(conn: &Connection, event: i64) -> rusqlite::Result<bool> {
    let ends = ends(conn, event)?;
    Ok(ends
        .iter()
        .all(|(state, _)| state.is_some_and(|state| !state.is_open())))
}

/// Returns the used bytes beyond the size limit.
fn excess(conn: &Connection, retention: &RetentionLimits) -> rusqlite::Result<u64> {
    let Some(most) = retention.size else {
        return Ok(0);
    };
    let pages = pages(conn)?;
    let used = pages.count.saturating_sub(pages.spare);
    Ok(used.saturating_mul(pages.size).saturating_sub(most))
}

fn find_by_size(
    conn: &Connection,
    sweep: &mut PurgeSweep,
    retention: &RetentionLimits,
    now_ms: i64,
    found: &mut PurgeCandidates,
) -> rusqlite::Result<()> {
    let mut left = excess(conn, retention)?;
    if left == 0 || sweep.is_resting(now_ms) {
        return Ok(());
    }
    let began = clock::instant();
    let sql = "SELECT id, body_size FROM event WHERE id > ?1 ORDER BY id";
    let mut stmt = conn.prepare_cached(sql)?;
    let mut rows = stmt.query([sweep.position])?;
    while let Some(row) = rows.next()? {
        let event = row.get(0)?;
        if has_ended(conn, event)? {
            found.by_size.push(event);
            let body = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
            // An estimate is enough here, because the next round measures again.
            left = left.saturating_sub(body.saturating_add(OVERHEAD));
        }
        sweep.position = event;
        if found.by_size.len() >= EVENTS || left == 0 || began.elapsed() > LOOK {
            found.is_more = true;
            return Ok(());
        }
    }
    sweep.end(now_ms, REST_MS);
    Ok(())
}

fn find_attempts(
    conn: &Connection,
    sweep: &mut PurgeSweep,
    retention: &RetentionLimits,
    now_ms: i64,
    found: &mut PurgeCandidates,
) -> rusqlite::Result<()> {
    let Some(kept_ms) = retention.attempts_ms.filter(|_| !sweep.is_resting(now_ms)) else {
        return Ok(());
    };
    let began = clock::instant();
    let sql = "SELECT attempt.delivery, delivery.ended_ms FROM attempt
        CROSS JOIN delivery ON delivery.id = attempt.delivery
        WHERE attempt.delivery > ?1 ORDER BY attempt.delivery";
    let mut stmt = conn.prepare_cached(sql)?;
    let mut rows = stmt.query([sweep.position])?;
    while let Some(row) = rows.next()? {
        let delivery: i64 = row.get(0)?;
        let ended_ms: Option<i64> = row.get(1)?;
        let is_past = ended_ms.is_some_and(|end| now_ms.saturating_sub(end) >= kept_ms);
        if is_past && found.attempts.last() != Some(&delivery) {
            found.attempts.push(delivery);
        }
        sweep.position = delivery;
        if found.attempts.len() >= ATTEMPTS || began.elapsed() > LOOK {
            found.is_more = true;
            return Ok(());
        }
    }
    sweep.end(now_ms, kept_ms);
    Ok(())
}

fn find_claims(
    conn: &Connection,
    sweep: &mut PurgeSweep,
    retention: &RetentionLimits,
    now_ms: i64,
    found: &mut PurgeCandidates,
) -> rusqlite::Result<()> {
    if sweep.is_resting(now_ms) {
        return Ok(());
    }
    let began = clock::instant();
    // Claims have no index by expiry, because it would cost each commit another random write.
    let sql = "SELECT route, key, expires_ms FROM claim WHERE (route, key) > (?1, ?2)
        ORDER BY route, key";
    let mut stmt = conn.prepare_cached(sql)?;
    let mut rows = stmt.query(params![sweep.position, sweep.key])?;
    while let Some(row) = rows.next()? {
        let (route, key): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        sweep.position = route;
        sweep.key.clone_from(&key);
        if row.get::<_, i64>(2)? <= now_ms {
            found.claims.push((route, key));
        }
        if found.claims.len() >= CLAIMS || began.elapsed() > LOOK {
            found.is_more = true;
            return Ok(());
        }
    }
    let kept_ms = retention.claims_ms.unwrap_or(i64::MAX);
    sweep.end(now_ms, kept_ms.max(CLAIMS_REST_MS * 16));
    Ok(())
}

impl SqliteStore {
    /// Runs one bounded round of retention, and returns unused pages to the file system.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(in crate::store) async fn purge(
        &self,
        retention: &RetentionLimits,
        now_ms: i64,
    ) -> Result<PurgeResult, StoreError> {
        let (shared, wanted) = (Arc::clone(&self.shared), retention.clone());
        let skew_ms = self.shared.clock().skew_ms();
        // End times come from the wall clock. If that clock runs ahead of the store's clock, rows must not look too
        // old.
        let times = PurgeCutoffs {
            ended_ms: now_ms.saturating_add(skew_ms.min(0)),
            claims_ms: now_ms.saturating_add(skew_ms),
        };
        // Search on a reader and delete on the writer, which checks each row again. So a long search holds up no
        // commit.
        let look = self.shared.read(LONG_PATIENCE, move |look| {
            // Locked during the whole search, so that two rounds do not advance the same sweep.
            let mut sweeps = shared.sweeps.lock();
            find_purgeable(look, &mut sweeps, &wanted, times)
        });
        let (found, retention) = (look.await?, retention.clone());
        let run = move |work: &mut GroupWork| work.purge(&found, &retention, times);
        self.write(TaskUrgency::Outcome, 0, run).await
    }
}

impl GroupWork {
    fn purge(
        &mut self,
        found: &PurgeCandidates,
        retention: &RetentionLimits,
        times: PurgeCutoffs,
    ) -> Result<PurgeResult, TaskFailure> {
        let now_ms = times.ended_ms;
        let mut purged = PurgeResult {
            is_more: found.is_more,
            ..PurgeResult::default()
        };
        for event in &found.by_age {
            // Time has passed since the reader looked: an operator may have retried a delivery of the event.
            let received_ms = self.received_ms(*event)?;
            let is_over = match received_ms {
                None => false,
                Some(received_ms) => is_over(&self.conn, *event, received_ms, retention, now_ms)?,
            };
            if is_over {
                self.delete_event(*event)?;
                purged.events += 1;
            }
        }
        for event in &found.by_size {
            if self.received_ms(*event)?.is_some() && has_ended(&self.conn, *event)? {
                self.delete_event(*event)?;
                purged.events += 1;
            }
        }
        for delivery in &found.attempts {
            purged.attempts += self.delete_attempts(*delivery)?;
        }
        for (route, key) in &found.claims {
            // A newer event may have renewed the claim since the search, hence the check of its expiry.
            let sql = "DELETE FROM claim WHERE route = ?1 AND key = ?2 AND expires_ms <= ?3";
            let values = params![route, key, times.claims_ms];
            let count = self.conn.prepare_cached(sql)?.execute(values)?;
            purged.claims += u64::try_from(count).unwrap_or(0);
        }
        let claims = i64::try_from(purged.claims).unwrap_or(0);
        self.add_total(|total| total.claims -= claims);
        self.give_back(&mut purged)?;
        Ok(purged)
    }

    fn received_ms(&self, event: i64) -> rusqlite::Result<Option<i64>> {
        let sql = "SELECT received_ms FROM event WHERE id = ?1";
        let mut stmt = self.conn.prepare_cached(sql)?;
        stmt.query_row([event], |row| row.get(0)).optional()
    }

    /// Deletes the attempts of a delivery, unless it was retried meanwhile.
    fn delete_attempts(&self, delivery: i64) -> rusqlite::Result<u64> {
        let sql = "DELETE FROM attempt WHERE delivery = ?1
            AND (SELECT ended_ms FROM delivery WHERE id = ?1) IS NOT NULL";
        let count = self.conn.prepare_cached(sql)?.execute([delivery])?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Deletes an event with all its rows except its claims, which expire on their own.
    pub(super) fn delete_event(&mut self, event: i64) -> rusqlite::Result<()> {
        let sql = "SELECT id, lane, state, destination, order_key
            FROM delivery INDEXED BY delivery_event WHERE event = ?1";
        let mut stmt = self.conn.prepare_cached(sql)?;
        let rows = stmt.query_map([event], DeletedDelivery::read)?;
        let deliveries: Vec<DeletedDelivery> = rows.collect::<rusqlite::Result<_>>()?;
        drop(stmt);
        // Foreign keys are enforced, so rows that refer to others are deleted first.
        for one in deliveries {
            for sql in [
                "DELETE FROM attempt WHERE delivery = ?1",
                "DELETE FROM delivery WHERE id = ?1",
            ] {
                self.conn.prepare_cached(sql)?.execute([one.id])?;
            }
            if let Some(state) = DeliveryState::from_code(one.state) {
                self.count(one.lane, state, -1);
                // A delivery that was open may have held back others of its order key.
                if let Some(key) = one.order_key.filter(|_| state.is_open()) {
                    fifo::settle(&self.conn, one.destination, key)?;
                }
            }
        }
        if let Some(line) = EventColumns::read(&self.conn, event)? {
            let (event_id, webhook_id) = (line.event_id.as_deref(), line.webhook_id.as_deref());
            id_index::forget(&self.conn, event, event_id, webhook_id)?;
        }
        for sql in [
            "DELETE FROM content WHERE event = ?1",
            "DELETE FROM event WHERE id = ?1",
        ] {
            self.conn.prepare_cached(sql)?.execute([event])?;
        }
        self.add_total(|total| total.events -= 1);
        Ok(())
    }

    /// Cuts unused pages off the end of the file. The file shrinks at the next checkpoint.
    fn give_back(&mut self, purged: &mut PurgeResult) -> rusqlite::Result<()> {
        if purged.events > 0 {
            let sql = "SELECT min(id) FROM event";
            let first: Option<i64> = self
                .conn
                .prepare_cached(sql)?
                .query_row([], |row| row.get(0))?;
            time_index::forget_before(&self.conn, first.unwrap_or(self.total.last_event))?;
        }
        let before = pages(&self.conn)?;
        let Some(count) = before.spare.checked_sub(SPARE).filter(|count| *count > 0) else {
            return Ok(());
        };
        let sql = format!("PRAGMA incremental_vacuum({})", count.min(GIVEN_BACK));
        let mut stmt = self.conn.prepare(&sql)?;
        let mut rows = stmt.query([])?;
        // Each row of this statement returns one page.
        while rows.next()?.is_some() {}
        let after = pages(&self.conn)?;
        let given_back = before.count.saturating_sub(after.count);
        purged.bytes = given_back.saturating_mul(before.size);
        purged.is_more |= after.spare > SPARE && given_back > 0;
        self.wants_checkpoint = !purged.is_more;
        Ok(())
    }
}
