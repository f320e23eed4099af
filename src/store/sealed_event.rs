//! Events with encrypted content, as a commit writes them.

use hookgate_verify::identity::event_id::EventId;

use crate::model::ids::RouteName;
use crate::store::head;
use crate::store::rows::{ClaimRow, NewDelivery, NewEvent};
use crate::store::seal::{ContentSealer, SealedPart, UnsealError};

/// An event whose content is already encrypted.
pub(in crate::store) struct SealedEvent {
    pub(in crate::store) uid: [u8; 16],
    pub(in crate::store) route: RouteName,
    pub(in crate::store) provider: String,
    pub(in crate::store) event_id: Option<String>,
    pub(in crate::store) event_type: Option<Box<str>>,
    /// `None` if it is the uid as text.
    pub(in crate::store) webhook_id: Option<String>,
    pub(in crate::store) received_ms: i64,
    pub(in crate::store) body_size: i64,
    pub(in crate::store) sealing_key: i64,
    pub(in crate::store) head: Vec<u8>,
    pub(in crate::store) body: bytes::Bytes,
    pub(in crate::store) claims: Vec<ClaimRow>,
    pub(in crate::store) status: u16,
    pub(in crate::store) deliveries: Vec<NewDelivery>,
}

/// Encrypts the private parts of an event on the caller's thread.
pub(in crate::store) fn seal(
    sealer: &ContentSealer,
    new: NewEvent,
) -> Result<SealedEvent, UnsealError> {
    let event = new.event;
    let uid = *event.uid.as_bytes();
    let plain = event.body.clone().unwrap_or_default();
    let (sealing_key, head) = sealer.seal(&uid, SealedPart::Head, &head::encode(&event))?;
    let body = match sealer.is_clear() {
        // Without a key the body is shared with the request and not copied.
        true => plain.clone(),
        false => sealer.seal(&uid, SealedPart::Body, &plain)?.1.into(),
    };
    // An event without an id of its own uses its uid. A null column represents that.
    let is_uid = event.webhook_id == event.uid.to_string();
    Ok(SealedEvent {
        uid,
        route: event.route,
        provider: event.provider,
        event_id: event.event_id.as_ref().map(EventId::as_str).map(Into::into),
        event_type: event.event_type,
        webhook_id: (!is_uid).then_some(event.webhook_id),
        received_ms: event.received_ms,
        body_size: i64::try_from(plain.len()).unwrap_or(i64::MAX),
        sealing_key,
        head,
        body,
        claims: new.claims,
        status: new.status,
        deliveries: new.deliveries,
    })
}
