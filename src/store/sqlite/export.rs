//! Export of events as JSON lines, each with its deliveries and their attempts.
//!
//! It reads the file in short transactions, so that a running gate can copy its log into the file meanwhile.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use hookgate_verify::model::secret::Secret;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::model::delivery::{DeliveryId, DeliveryState};
use crate::store::error::StoreError;
use crate::store::export_line::{attempt_value, event_fields};
use crate::store::names::NameTable;
use crate::store::seal::ContentSealer;
use crate::store::sqlite::list_numbers::numbers;
use crate::store::sqlite::lists::attempts;
use crate::store::sqlite::open::open_untrusted;
use crate::store::sqlite::time_index;
use crate::store::sqlite::{event_rows, load_names, sealing_keys};

/// Events that one transaction reads.
pub(super) const AT_ONCE: i64 = 256;

/// Writes the events of a store file that were received at `since_ms` or later, with their deliveries and attempts, as
/// one line of JSON each, oldest first. `progress` gets the number of written events and of all events. Fails with `Key`
/// if the keys do not decrypt an event. Blocks.
pub(crate) fn export(
    path: &Path,
    keys: &[Secret],
    since_ms: Option<i64>,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), StoreError> {
    let conn = open_untrusted(path)?;
    let read = StoreError::Read;
    let sealer = sealing_keys::open(&conn, keys, false).map_err(read)?;
    let (first, last) = match time_index::range(&conn, since_ms, None).map_err(read)? {
        None => (1, 0),
        Some(range) => {
            let sql = "SELECT last_event FROM total";
            let last = conn.query_row(sql, [], |row| row.get(0)).map_err(read)?;
            (range.first, i64::min(range.last, last))
        }
    };
    let sql = "SELECT count(*) FROM event WHERE id BETWEEN ?1 AND ?2";
    let count = |to| conn.query_row(sql, [first, to], |row| row.get::<_, i64>(0));
    let total = u64::try_from(count(last).map_err(read)?).unwrap_or(0);
    let mut export = EventExport {
        conn: &conn,
        sealer: &sealer,
        path,
        since_ms: since_ms.unwrap_or(i64::MIN),
    };
    let (mut seen, mut done) = (first - 1, 0);
    // The total is an estimate for the progress: the gate may add and delete events meanwhile.
    loop {
        // One short transaction per batch: a long one would keep the log from being copied into the file.
        conn.execute_batch("BEGIN").map_err(read)?;
        let written = export.write_some(seen, last, out);
        conn.execute_batch("ROLLBACK").map_err(read)?;
        let Some((to, count)) = written? else {
            return out.flush().map_err(StoreError::Output);
        };
        seen = to;
        done += count;
        progress(done, total.max(done));
    }
}

pub(super) struct EventExport<'a> {
    pub(super) conn: &'a Connection,
    pub(super) sealer: &'a ContentSealer,
    pub(super) path: &'a Path,
    pub(super) since_ms: i64,
}

impl EventExport<'_> {
    /// Writes some events. Returns the last one and their number, or `None` if no more are left.
    fn write_some(
        &mut self,
        seen: i64,
        last: i64,
        out: &mut dyn Write,
    ) -> Result<Option<(i64, u64)>, StoreError> {
        let sql = "SELECT id FROM event WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3";
        let ids = numbers(self.conn, sql, [seen, last, AT_ONCE]).map_err(StoreError::Read)?;
        let Some(to) = ids.last().copied() else {
            return Ok(None);
        };
        // The gate may add names while it runs, so read them in the same transaction as the events.
        let names = load_names::load_names(self.conn).map_err(StoreError::Read)?;
        let names = Arc::new(names);
        for id in &ids {
            let Some(line) = self.line(&names, *id)? else {
                continue;
            };
            writeln!(out, "{line}").map_err(StoreError::Output)?;
        }
        Ok(Some((to, u64::try_from(ids.len()).unwrap_or(0))))
    }

    fn line(&self, names: &Arc<NameTable>, id: i64) -> Result<Option<Value>, StoreError> {
        let stored = event_rows::read(self.conn, names, id).map_err(StoreError::Read)?;
        let Some(stored) = stored.filter(|stored| stored.received_ms >= self.since_ms) else {
            return Ok(None);
        };
        // The gate encrypts everything after its first key, so another program wrote this event.
        if stored.is_forged(self.sealer) {
            tracing::warn!(
                event = id,
                "an event is left out: it is unencrypted, but newer than the first encryption key"
            );
            return Ok(None);
        }
        let opened = stored.try_open(self.sealer);
        let event = opened.ok_or_else(|| StoreError::Key {
            path: self.path.to_owned(),
        })?;
        let mut line = event_fields(&event);
        let deliveries = self.deliveries(names, id).map_err(StoreError::Read)?;
        line.insert("deliveries".to_owned(), deliveries.into());
        Ok(Some(Value::Object(line)))
    }

    pub(super) fn deliveries(&self, names: &NameTable, event: i64) -> rusqlite::Result<Vec<Value>> {
        let sql = "SELECT id, lane, state, attempts, created_ms, ended_ms
            FROM delivery INDEXED BY delivery_event WHERE event = ?1 ORDER BY id";
        let mut stmt = self.conn.prepare_cached(sql)?;
        let rows = stmt.query_map([event], |row| {
            let id: i64 = row.get(0)?;
            let lane = names.lanes.get(&row.get::<_, i64>(1)?);
            let name = lane.and_then(|lane| names.destinations.get(&lane.destination));
            Ok(json!({
                "id": id,
                "destination": name.map(|destination| destination.name.as_str()),
                "state": DeliveryState::from_code(row.get(2)?).map(DeliveryState::word),
                "is_replay": lane.is_some_and(|lane| lane.is_replay),
                "attempt_count": row.get::<_, i64>(3)?,
                "created_ms": row.get::<_, i64>(4)?,
                "ended_ms": row.get::<_, Option<i64>>(5)?,
                "attempts": self.attempts(DeliveryId(id))?,
            }))
        })?;
        rows.collect()
    }

    fn attempts(&self, delivery: DeliveryId) -> rusqlite::Result<Vec<Value>> {
        let rows = attempts(self.conn, self.sealer, delivery)?;
        Ok(rows.into_iter().map(attempt_value).collect())
    }
}
