//! Stored events as rows, and decrypting their content.

use std::sync::Arc;

use bytes::Bytes;
use hookgate_verify::identity::event_id::EventId;

use crate::model::ids::{RequestId, RouteName};
use crate::store::head::EventHead;
use crate::store::names::NameTable;
use crate::store::rows::StoredEvent;
use crate::store::seal::{ContentSealer, SealedPart};

/// An event with its content as the file holds it.
#[derive(Clone)]
pub(in crate::store) struct StoredEventRow {
    pub(in crate::store) id: i64,
    pub(in crate::store) uid: [u8; 16],
    pub(in crate::store) kind: i64,
    pub(in crate::store) received_ms: i64,
    pub(in crate::store) event_id: Option<String>,
    pub(in crate::store) webhook_id: Option<String>,
    pub(in crate::store) event_type: Option<String>,
    pub(in crate::store) sealing_key: i64,
    pub(in crate::store) head: Vec<u8>,
    pub(in crate::store) body: Option<Vec<u8>>,
    pub(in crate::store) names: Arc<NameTable>,
}

impl StoredEventRow {
    /// Returns the bytes of the content.
    pub(in crate::store) fn size(&self) -> usize {
        self.head.len() + self.body.as_ref().map_or(0, Vec::len)
    }

    /// Returns whether the row of its content was there.
    pub(in crate::store) fn has_content(&self) -> bool {
        !self.head.is_empty()
    }

    /// Decrypts the event. If that fails, the event looks like one without a stored body.
    pub(in crate::store) fn open(self, sealer: &ContentSealer) -> StoredEvent {
        self.open_or_not(sealer).0
    }

    /// Decrypts the event, and returns whether that succeeded.
    pub(in crate::store) fn open_or_not(mut self, sealer: &ContentSealer) -> (StoredEvent, bool) {
        match self.content(sealer) {
            Some((head, body)) => (self.with(head, body), true),
            None => (self.with(EventHead::unknown(), None), false),
        }
    }

    /// Returns whether the content is in clear although the store encrypts everything, so that the gate did not write
    /// it.
    pub(in crate::store) fn is_forged(&self, sealer: &ContentSealer) -> bool {
        !self.head.is_empty() && sealer.is_forged(self.sealing_key, self.id)
    }

    /// Decrypts the event. Returns `None` if that fails.
    pub(in crate::store) fn try_open(mut self, sealer: &ContentSealer) -> Option<StoredEvent> {
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
pub(in crate::store) fn webhook_id(stored: Option<String>, uid: [u8; 16]) -> String {
    stored.unwrap_or_else(|| RequestId::from_bytes(uid).to_string())
}
