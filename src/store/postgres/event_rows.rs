//! Reading the rows of stored events.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::{Error, Row};

use crate::store::event::StoredEventRow;
use crate::store::names::NameTable;
use crate::store::postgres::session::Session;

/// Reads events with their contents, by their numbers.
pub(super) const READ_MANY: &str =
    "SELECT event.id, event.uid, event.kind, event.received_ms, event.event_id,
    event.webhook_id, event.event_type, content.sealing_key, content.head, content.body
    FROM event LEFT JOIN content ON content.event = event.id WHERE event.id = ANY($1)";

/// Reads events with their contents, by their numbers.
pub(super) async fn read_many(
    session: &Session,
    names: &Arc<NameTable>,
    events: &[i64],
) -> Result<HashMap<i64, StoredEventRow>, Error> {
    let rows = session.query(READ_MANY, &[&events]).await?;
    Ok(by_number(&rows, names))
}

/// Parses the rows of [`READ_MANY`].
pub(super) fn by_number(rows: &[Row], names: &Arc<NameTable>) -> HashMap<i64, StoredEventRow> {
    rows.iter()
        .map(|row| (row.get(0), of(row, names)))
        .collect()
}

/// Reads a row with the columns of [`READ_MANY`], in their order.
pub(super) fn of(row: &Row, names: &Arc<NameTable>) -> StoredEventRow {
    let uid: &[u8] = row.get(1);
    StoredEventRow {
        id: row.get(0),
        uid: uid.first_chunk::<16>().copied().unwrap_or_default(),
        kind: row.get(2),
        received_ms: row.get(3),
        event_id: row.get(4),
        webhook_id: row.get(5),
        event_type: row.get(6),
        sealing_key: row.get::<_, Option<i64>>(7).unwrap_or(0),
        head: row.get::<_, Option<Vec<u8>>>(8).unwrap_or_default(),
        body: row.get(9),
        names: Arc::clone(names),
    }
}
