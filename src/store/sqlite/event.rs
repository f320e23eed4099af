//! Stored events: reading their rows and decrypting their content.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Connection;

use crate::model::ids::{EventId, RequestId, RouteName};
use crate::store::error::StoreError;
use crate::store::rows::StoredEvent;
use crate::store::sqlite::head::EventHead;
use crate::store::sqlite::names::NameTable;
use crate::store::sqlite::readers::PATIENCE;
use crate::store::sqlite::seal::{ContentSealer, SealedPart};
use crate::store::sqlite::store::Store;

/// An event with its content as the file holds it.
pub(super) struct StoredEventRow {
    id: i64,
    pub(super) uid: [u8; 16],
    kind: i64,
    pub(super) received_ms: i64,
    pub(super) event_id: Option<String>,
    pub(super) webhook_id: Option<String>,
    event_type: Option<String>,
    sealing_key: i64,
    head: Vec<u8>,
    body: Option<Vec<u8>>,
    names: Arc<NameTable>,
}

const COLUMNS: &str = "SELECT event.uid, event.kind, event.received_ms, event.event_id,
    event.webhook_id, event.event_type, content.sealing_key, content.head, content.body,
    event.id FROM event LEFT JOIN content ON content.event = event.id";

impl Store {
    /// Returns one event with its whole content.
    pub(crate) async fn event(&self, uid: RequestId) -> Result<Option<StoredEvent>, StoreError> {
        let look = self.shared.read(PATIENCE, move |look| {
            StoredEventRow::find(look.conn, &look.names, uid)
        });
        let stored = look.await?;
        Ok(stored.map(|stored| stored.open(&self.shared.sealer())))
    }
}

impl StoredEventRow {
    /// Returns the bytes of the content.
    pub(super) fn size(&self) -> usize {
        self.head.len() + self.body.as_ref().map_or(0, Vec::len)
    }

    /// Returns whether the row of its content was there.
    pub(super) fn has_content(&self) -> bool {
        !self.head.is_empty()
    }

    pub(super) fn read(
        conn: &Connection,
        names: &Arc<NameTable>,
        event: i64,
    ) -> rusqlite::Result<Option<Self>> {
        // A constant text, because this statement runs for every delivery.
        const SQL: &str = "SELECT event.uid, event.kind, event.received_ms, event.event_id,
            event.webhook_id, event.event_type, content.sealing_key, content.head, content.body,
            event.id FROM event LEFT JOIN content ON content.event = event.id WHERE event.id = ?1";
        let mut stmt = conn.prepare_cached(SQL)?;
        let mut rows = stmt.query([event])?;
        let row = rows.next()?;
        row.map(|row| Self::of(row, names)).transpose()
    }

    /// Reads the event row alone, for an event whose content cannot be read.
    pub(super) fn read_without_content(
        conn: &Connection,
        names: &Arc<NameTable>,
        event: i64,
    ) -> rusqlite::Result<Option<Self>> {
        let sql =
            "SELECT uid, kind, received_ms, event_id, webhook_id, event_type, NULL, NULL, NULL,
            id FROM event WHERE id = ?1";
        let mut stmt = conn.prepare_cached(sql)?;
        let mut rows = stmt.query([event])?;
        let row = rows.next()?;
        row.map(|row| Self::of(row, names)).transpose()
    }

    fn find(
        conn: &Connection,
        names: &Arc<NameTable>,
        uid: RequestId,
    ) -> rusqlite::Result<Option<Self>> {
        let sql = format!("{COLUMNS} WHERE event.uid = ?1");
        let mut stmt = conn.prepare_cached(&sql)?;
        let mut rows = stmt.query([&uid.as_bytes()[..]])?;
        let row = rows.next()?;
        row.map(|row| Self::of(row, names)).transpose()
    }

    fn of(row: &rusqlite::Row<'_>, names: &Arc<NameTable>) -> rusqlite::Result<Self> {
        Ok(Self {
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

    /// Decrypts the event. If that fails, the event looks like one without a stored body.
    pub(super) fn open(self, sealer: &ContentSealer) -> StoredEvent {
        self.open_or_not(sealer).0
    }

    /// Decrypts the event, and returns whether that succeeded.
    pub(super) fn open_or_not(mut self, sealer: &ContentSealer) -> (StoredEvent, bool) {
        match self.content(sealer) {
            Some((head, body)) => (self.with(head, body), true),
            None => (self.with(EventHead::unknown(), None), false),
        }
    }

    /// Returns whether the content is in clear although the store encrypts everything, so that the gate did not write
    /// it.
    pub(super) fn is_forged(&self, sealer: &ContentSealer) -> bool {
        !self.head.is_empty() && sealer.is_forged(self.sealing_key, self.id)
    }

    /// Decrypts the event. Returns `None` if that fails.
    pub(super) fn try_open(mut self, sealer: &ContentSealer) -> Option<StoredEvent> {
        let (head, body) = self.content(sealer)?;
        Some(self.with(head, body))
    }

    fn content(&mut self, sealer: &ContentSealer) -> Option<(EventHead, Option<Vec<u8>>)> {
        let (key, uid, id) = (self.sealing_key, self.uid, self.id);
        let open = |part, stored| sealer.open_part((key, id), &uid, part, stored).ok();
        let head = EventHead::decode(&open(SealedPart::Head, std::mem::take(&mut self.head))?)?;
        let body = match self.body.take() {
            None => None,
            Some(body) => Some(open(SealedPart::Body, body)?),
        };
        Some((head, body))
    }

    fn with(self, head: EventHead, body: Option<Vec<u8>>) -> StoredEvent {
        let uid = self.uid;
        let kind = self.names.kinds.get(&self.kind);
        // The event stores its type only if its kind is the shared one for all further types.
        let own_type = self.event_type.map(Into::into);
        let event_type = own_type.or_else(|| kind.and_then(|kind| kind.event_type.clone()));
        let route = kind.map_or_else(
            || RouteName::new(""),
            |kind| self.names.route_name(kind.route),
        );
        StoredEvent {
            uid: RequestId::from_bytes(uid),
            route,
            provider: kind.map(|kind| kind.provider.clone()).unwrap_or_default(),
            event_id: self.event_id.as_deref().and_then(EventId::parse),
            event_type,
            webhook_id: webhook_id(self.webhook_id, uid),
            received_ms: self.received_ms,
            source: head.source,
            is_tls: head.is_tls,
            method: head.method,
            target: head.target,
            host: head.host,
            headers: head.headers,
            body: body.map(Bytes::from),
            digest: head.digest,
        }
    }
}

/// Returns the id that destinations see for an event.
pub(super) fn webhook_id(stored: Option<String>, uid: [u8; 16]) -> String {
    stored.unwrap_or_else(|| RequestId::from_bytes(uid).to_string())
}
