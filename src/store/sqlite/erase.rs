//! Erasing events so that no byte of them is left in the files of the store.
//!
//! Deleting a row leaves its bytes in unused parts of pages and in the log. So the deletion overwrites what it frees, then
//! every unused page leaves the file, and then the log is copied and emptied.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use crate::model::clock;
use crate::model::delivery::DeliveryState;
use crate::model::ids::RequestId;
use crate::store::erase::{ERASED_AT_ONCE, EraseResult, EventExtent};
use crate::store::error::StoreError;
use crate::store::rows::DestinationId;
use crate::store::sqlite::connect::OVERWRITE_CELLS;
use crate::store::sqlite::group_work::{GroupWork, TaskFailure};
use crate::store::sqlite::limits::pages;
use crate::store::sqlite::queue::TaskUrgency;
use crate::store::sqlite::readers::PATIENCE;
use crate::store::sqlite::store::SqliteStore;

/// Unused pages that one group cuts off the file.
const GIVEN_BACK: u64 = 1024;

/// Longest duration of a scrub: readers may hold the log, and commits go first.
const LONG: Duration = Duration::from_secs(30);

/// Pause between two tries to empty the log.
const PAUSE: Duration = Duration::from_millis(50);

impl SqliteStore {
    /// Erases events with all their rows except their claims, in bounded groups.
    pub(in crate::store) async fn erase(
        &self,
        events: &[RequestId],
    ) -> Result<EraseResult, StoreError> {
        let mut erased = EraseResult::default();
        for some in events.chunks(ERASED_AT_ONCE) {
            let some = some.to_vec();
            let run = move |work: &mut GroupWork| work.erase(&some);
            erased.add(self.write(TaskUrgency::Outcome, 0, run).await?);
        }
        Ok(erased)
    }

    /// Removes the bytes of deleted rows from the file and its log. Returns `false` if a reader was in the way: the
    /// writer then goes on trying.
    pub(in crate::store) async fn scrub(&self) -> Result<bool, StoreError> {
        let began = clock::instant();
        let is_over = || clock::instant().saturating_duration_since(began) > LONG;
        // Pages that were freed earlier may hold bodies that `keep_body` removed, so all of them have to go.
        loop {
            let run = |work: &mut GroupWork| Ok(work.cut_unused()?);
            let is_more = self.write(TaskUrgency::Outcome, 0, run).await?;
            if !is_more {
                break;
            }
            if is_over() {
                return Ok(false);
            }
        }
        let before = self.shared.truncations.load(Ordering::Acquire);
        while !is_over() {
            let run = |work: &mut GroupWork| {
                work.wants_empty_log = true;
                Ok(())
            };
            self.write(TaskUrgency::Outcome, 0, run).await?;
            // The writer empties the log after it has replied, so a later look sees it.
            tokio::time::sleep(PAUSE).await;
            if self.shared.truncations.load(Ordering::Acquire) > before {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the numbers of the first and the last event.
    pub(in crate::store) async fn extent(&self) -> Result<EventExtent, StoreError> {
        let look = self.shared.read(PATIENCE, |look| {
            let edge = |sql: &str| -> rusqlite::Result<Option<i64>> {
                look.conn.query_row(sql, [], |row| row.get(0))
            };
            Ok(EventExtent {
                first: edge("SELECT min(id) FROM event")?.unwrap_or(0),
                last: edge("SELECT max(id) FROM event")?.unwrap_or(0),
            })
        });
        look.await
    }
}

impl GroupWork {
    fn erase(&mut self, events: &[RequestId]) -> Result<EraseResult, TaskFailure> {
        // Only here: overwriting each freed page would double what retention writes.
        self.conn.pragma_update(None, "secure_delete", true)?;
        let erased = self.erase_each(events);
        self.conn
            .pragma_update(None, "secure_delete", OVERWRITE_CELLS)?;
        erased
    }

    fn erase_each(&mut self, events: &[RequestId]) -> Result<EraseResult, TaskFailure> {
        let mut erased = EraseResult::default();
        for uid in events {
            let Some(event) = number_of(&self.conn, *uid)? else {
                // Retention was faster.
                continue;
            };
            let mut one = EraseResult {
                events: 1,
                ..EraseResult::default()
            };
            for (state, destination) in open_deliveries(&self.conn, event)? {
                match state {
                    Some(DeliveryState::InFlight) => one.in_flight += 1,
                    Some(DeliveryState::Pending | DeliveryState::Waiting) => one.cancelled += 1,
                    _ => continue,
                }
                one.destinations.push(DestinationId(destination));
            }
            self.delete_event(event)?;
            erased.add(one);
        }
        Ok(erased)
    }

    /// Cuts unused pages off the file. Returns whether there are more of them.
    fn cut_unused(&mut self) -> rusqlite::Result<bool> {
        let before = pages(&self.conn)?.spare;
        if before == 0 {
            return Ok(false);
        }
        let sql = format!("PRAGMA incremental_vacuum({})", before.min(GIVEN_BACK));
        let mut stmt = self.conn.prepare(&sql)?;
        let mut rows = stmt.query([])?;
        // Each row of this statement returns one page.
        while rows.next()?.is_some() {}
        let after = pages(&self.conn)?.spare;
        // Without progress the loop of the caller would not end.
        Ok(after > 0 && after < before)
    }
}

fn number_of(conn: &Connection, uid: RequestId) -> rusqlite::Result<Option<i64>> {
    let mut stmt = conn.prepare_cached("SELECT id FROM event WHERE uid = ?1")?;
    stmt.query_row([&uid.as_bytes()[..]], |row| row.get(0))
        .optional()
}

fn open_deliveries(
    conn: &Connection,
    event: i64,
) -> rusqlite::Result<Vec<(Option<DeliveryState>, i64)>> {
    let sql = "SELECT state, destination FROM delivery INDEXED BY delivery_event WHERE event = ?1";
    let mut stmt = conn.prepare_cached(sql)?;
    let rows = stmt.query_map([event], |row| {
        Ok((DeliveryState::from_code(row.get(0)?), row.get(1)?))
    })?;
    rows.collect()
}
