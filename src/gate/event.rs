//! The event: a webhook that passed every check of the gate.
//!
//! Its field is private to `gate`, so that only the gate can create one and a function that takes an `Event` takes a
//! verified request. The parts are boxed: they are large, and a request is moved many times.

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};

use crate::gate::route::RouteIndex;
use crate::model::ids::EventId;
use crate::model::source::RequestSource;
use crate::net::event_headers::EventMarks;
use crate::scheme::RequestHead;

/// One verified webhook, in a type that only the gate can create.
pub(crate) struct Event {
    pub(in crate::gate) parts: Box<EventParts>,
}

/// The parts of a request, taken apart by `forward` or reported with a reject.
pub(crate) struct EventParts {
    /// Index of the route in its configuration snapshot.
    pub route: RouteIndex,
    /// The method, byte for byte as received.
    pub method: Method,
    /// The target, as received: path and query are the bytes that were checked.
    pub uri: Uri,
    /// The headers as received, except those that could mislead the app about what the gate has verified.
    pub headers: HeaderMap,
    /// The body, byte for byte as received.
    pub body: Bytes,
    /// The decompressed body, for code that reads bodies. It is never forwarded.
    pub plain: Option<Bytes>,
    /// The headers renamed to the names that the scheme reads, where the sender used its alternative names.
    pub own_names: Option<Box<HeaderMap>>,
    /// Source address of the request.
    pub source: RequestSource,
    /// The event id that the provider assigned.
    pub event_id: Option<EventId>,
    /// The event type that the provider assigned.
    pub event_type: Option<Box<str>>,
    /// Digest of the signed bytes; zeros if the request is not verified.
    pub digest: [u8; 32],
    /// The findings of dedup, for headers to the app.
    pub marks: EventMarks,
}

impl EventParts {
    /// Returns a copy to keep while the event is being forwarded. The body is shared, not copied.
    pub(crate) fn to_stored(&self) -> Self {
        Self {
            route: self.route,
            method: self.method.clone(),
            uri: self.uri.clone(),
            headers: self.headers.clone(),
            body: self.body.clone(),
            plain: self.plain.clone(),
            own_names: None,
            source: self.source,
            event_id: self.event_id.clone(),
            event_type: self.event_type.clone(),
            digest: self.digest,
            marks: self.marks,
        }
    }

    /// Returns the head as schemes and challenges read it, with the scheme's own header names.
    pub(super) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            uri: &self.uri,
            headers: self.own_names.as_deref().unwrap_or(&self.headers),
        }
    }

    /// Returns the decompressed body, or the body as received if it was not compressed.
    pub(crate) fn text(&self) -> &[u8] {
        self.plain.as_ref().unwrap_or(&self.body)
    }
}

impl Event {
    /// Takes the parts, for forwarding.
    pub(crate) fn into_parts(self) -> Box<EventParts> {
        self.parts
    }

    /// Returns the headers for adding trace context. They are verified: do not change a header of the sender.
    pub(crate) fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.parts.headers
    }

    /// Borrows the parts of the verified request.
    pub(crate) fn parts(&self) -> &EventParts {
        &self.parts
    }
}

/// A request that failed a check of a route in monitor mode. A type of its own, so that it cannot be passed to a
/// function that takes verified events.
pub(crate) struct UnverifiedRequest {
    pub(in crate::gate) parts: Box<EventParts>,
}

impl UnverifiedRequest {
    /// Takes the parts, for `forward_unverified` only.
    pub(crate) fn into_parts(self) -> Box<EventParts> {
        self.parts
    }

    /// Borrows the parts, which nothing has verified.
    pub(crate) fn parts(&self) -> &EventParts {
        &self.parts
    }
}
