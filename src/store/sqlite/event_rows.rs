//! Reading the rows of stored events.

use std::sync::Arc;

use rusqlite::Connection;

use crate::model::ids::RequestId;
use crate::store::error::StoreError;
use crate::store::event::StoredEventRow;
use crate::store::names::NameTable;
use crate::store::rows::StoredEvent;
use crate::store::sqlite::readers::PATIENCE;
use crate::store::sqlite::store::SqliteStore;

const COLUMNS: &str = "SELECT event.uid, event.kind, event.received_ms, event.event_id,
    event.webhook_id, event.event_type, content.sealing_key, content.head, content.body,
    event.id FROM event LEFT JOIN content ON content.event = event.id";

impl SqliteStore {
    /// Returns one event with its whole content.
    pub(crate) async fn event(&self, uid: RequestId) -> Result<Option<StoredEvent>, StoreError> {
        let look = self
            .shared
            .read(PATIENCE, move |look| find(look.conn, &look.names, uid));
        let stored = look.await?;
        Ok(stored.map(|stored| stored.open(&self.shared.sealer())))
    }
}

pub(super) fn read(
    conn: &Connection,
    names: &Arc<NameTable>,
    event: i64,
) -> rusqlite::Result<Option<StoredEventRow>> {
    // A constant text, because this statement runs for every delivery.
    const SQL: &str = "SELECT event.uid, event.kind, event.received_ms, event.event_id,
        event.webhook_id, event.event_type, content.sealing_key, content.head, content.body,
        event.id FROM event LEFT JOIN content ON content.event = event.id WHERE event.id = ?1";
    let mut stmt = conn.prepare_cached(SQL)?;
    let mut rows = stmt.query([event])?;
    let row = rows.next()?;
    row.map(|row| of(row, names)).transpose()
}

/// Reads the event row alone, for an event whose content cannot be read.
pub(super) fn read_without_content(
    conn: &Connection,
    names: &Arc<NameTable>,
    event: i64,
) -> rusqlite::Result<Option<StoredEventRow>> {
    let sql = "SELECT uid, kind, received_ms, event_id, webhook_id, event_type, NULL, NULL, NULL,
        id FROM event WHERE id = ?1";
    let mut stmt = conn.prepare_cached(sql)?;
    let mut rows = stmt.query([event])?;
    let row = rows.next()?;
    row.map(|row| of(row, names)).transpose()
}

fn find(
    conn: &Connection,
    names: &Arc<NameTable>,
    uid: RequestId,
) -> rusqlite::Result<Option<StoredEventRow>> {
    let sql = format!("{COLUMNS} WHERE event.uid = ?1");
    let mut stmt = conn.prepare_cached(&sql)?;
    let mut rows = stmt.query([&uid.as_bytes()[..]])?;
    let row = rows.next()?;
    row.map(|row| of(row, names)).transpose()
}

fn of(row: &rusqlite::Row<'_>, names: &Arc<NameTable>) -> rusqlite::Result<StoredEventRow> {
    Ok(StoredEventRow {
        id: row.get(9)?,
        uid: row.get(0)?,
        kind: row.get(1)?,
        received_ms: row.get(2)?,
        event_id: row.get(3)?,
        webhook_id: row.get(4)?,
        event_type: row.get(5)?,
        sealing_key: row.get::<_, Option<i64>>(6)?.unwrap_or(0),
        head: row.get::<_, Option<Vec<u8>>>(7)?.unwrap_or_default(),
        body: row.get(8)?,
        names: Arc::clone(names),
    })
}
