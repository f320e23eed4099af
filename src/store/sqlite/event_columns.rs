//! Reading the columns of an event that lists and searches need.

use rusqlite::{Connection, OptionalExtension};

use crate::store::filter::ListedEvent;

impl ListedEvent {
    pub(super) const COLUMNS: &str = "event.id, event.uid, event.kind, event.received_ms,
        event.body_size, event.event_id, event.webhook_id, event.event_type";

    pub(super) fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            uid: row.get(1)?,
            kind: row.get(2)?,
            received_ms: row.get(3)?,
            body_size: row.get(4)?,
            event_id: row.get(5)?,
            webhook_id: row.get(6)?,
            event_type: row.get(7)?,
        })
    }

    pub(super) fn read(conn: &Connection, event: i64) -> rusqlite::Result<Option<Self>> {
        let sql = format!("SELECT {} FROM event WHERE id = ?1", Self::COLUMNS);
        let mut stmt = conn.prepare_cached(&sql)?;
        stmt.query_row([event], Self::of).optional()
    }
}
