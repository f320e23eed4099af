//! The event: a webhook that passed every check of the gate.
//!
//! All fields are private to `gate`, so that only the gate can make an `Event`, and a function that takes one takes a
//! verified request. The three types of this file hold the same parts: what may be done with a request depends on its
//! type. The parts are boxed: they are large, and a request is moved many times.

use bytes::Bytes;
use hookgate_verify::identity::event_id::EventId;
use hookgate_verify::scheme::RequestHead;
use http::{HeaderMap, Method, Uri};
use sha2::{Digest as _, Sha256};

use crate::model::ids::RequestId;
use crate::model::source::RequestSource;
use crate::net::event_headers::EventMarks;

/// One verified webhook, in a type that only the gate can create.
pub(crate) struct Event {
    pub(in crate::gate) parts: Box<EventParts>,
}

/// A request that failed a check of a route in monitor mode. A type of its own, so that it cannot be passed to a
/// function that takes verified events.
pub(crate) struct UnverifiedRequest {
    pub(in crate::gate) parts: Box<EventParts>,
}

/// A rejected request, for reports only: nothing can forward or store it.
pub(crate) struct RefusedRequest {
    pub(in crate::gate) parts: Box<EventParts>,
}

/// The parts of a request inside the gate.
pub(in crate::gate) struct EventParts {
    /// The method, byte for byte as received.
    pub(in crate::gate) method: Method,
    /// The target, as received: path and query are the bytes that were checked.
    pub(in crate::gate) uri: Uri,
    /// The headers as received, except those that could mislead the app about what the gate has verified.
    pub(in crate::gate) headers: HeaderMap,
    /// The body, byte for byte as received.
    pub(in crate::gate) body: Bytes,
    /// The decompressed body, for code that reads bodies. It is never forwarded.
    pub(in crate::gate) plain: Option<Bytes>,
    /// The headers renamed to the names that the scheme reads, where the sender used its alternative names.
    pub(in crate::gate) own_names: Option<Box<HeaderMap>>,
    /// Source address of the request.
    pub(in crate::gate) source: RequestSource,
    /// The event id that the provider assigned.
    pub(in crate::gate) event_id: Option<EventId>,
    /// The event type that the provider assigned.
    pub(in crate::gate) event_type: Option<Box<str>>,
    /// Digest of the signed bytes; zeros if the request is not verified.
    pub(in crate::gate) digest: [u8; 32],
    /// The findings of dedup, for headers to the app.
    pub(in crate::gate) marks: EventMarks,
}

/// The received parts of a request, borrowed.
#[derive(Clone, Copy)]
pub(crate) struct BorrowedRequest<'a> {
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    pub body: &'a Bytes,
}

/// The received parts of a request, owned, from which the request to the app is built.
pub(crate) struct OwnedRequest {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub source: RequestSource,
}

/// Findings of the gate about an event.
pub(crate) struct EventFacts {
    /// The event id that the provider assigned.
    pub event_id: Option<EventId>,
    /// The event type that the provider assigned.
    pub event_type: Option<Box<str>>,
    /// Digest of the signed bytes.
    pub digest: [u8; 32],
    /// The findings of dedup, for headers to the app.
    pub marks: EventMarks,
}

impl EventParts {
    /// Returns the head as schemes and challenges read it, with the scheme's own header names.
    pub(in crate::gate) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            uri: &self.uri,
            headers: self.own_names.as_deref().unwrap_or(&self.headers),
        }
    }

    /// Returns the decompressed body, or the body as received if it was not compressed.
    pub(in crate::gate) fn text(&self) -> &[u8] {
        self.plain.as_ref().unwrap_or(&self.body)
    }

    fn received(&self) -> BorrowedRequest<'_> {
        BorrowedRequest {
            method: &self.method,
            uri: &self.uri,
            headers: &self.headers,
            body: &self.body,
        }
    }

    fn into_request(self) -> (OwnedRequest, EventFacts) {
        let request = OwnedRequest {
            method: self.method,
            uri: self.uri,
            headers: self.headers,
            body: self.body,
            source: self.source,
        };
        let facts = EventFacts {
            event_id: self.event_id,
            event_type: self.event_type,
            digest: self.digest,
            marks: self.marks,
        };
        (request, facts)
    }
}

impl Event {
    /// Takes the event apart, for forwarding.
    pub(crate) fn into_request(self) -> (OwnedRequest, EventFacts) {
        self.parts.into_request()
    }

    /// Returns a copy for the store, while the event itself is being forwarded. The body is shared, not copied.
    pub(crate) fn to_stored(&self) -> Self {
        let parts = &self.parts;
        Self {
            parts: Box::new(EventParts {
                method: parts.method.clone(),
                uri: parts.uri.clone(),
                headers: parts.headers.clone(),
                body: parts.body.clone(),
                plain: parts.plain.clone(),
                own_names: None,
                source: parts.source,
                event_id: parts.event_id.clone(),
                event_type: parts.event_type.clone(),
                digest: parts.digest,
                marks: parts.marks.clone(),
            }),
        }
    }

    /// Returns one event of this verified batch. `data` must be a part of the batch's body: it is delivered byte for
    /// byte, without a copy.
    pub(crate) fn to_element(
        &self,
        data: &[u8],
        event_id: Option<EventId>,
        event_type: Option<Box<str>>,
    ) -> Self {
        let mut element = self.to_stored();
        let parts = &mut element.parts;
        parts.body = parts.body.slice_ref(data);
        parts.event_id = event_id;
        parts.event_type = event_type;
        element
    }

    /// Gives the event a digest of its own. Apps post events with equal data, and each of them is delivered.
    pub(crate) fn make_unique(&mut self, id: &RequestId) {
        self.parts.digest = Sha256::digest(id.as_bytes()).into();
    }

    /// Returns the received parts.
    pub(crate) fn received(&self) -> BorrowedRequest<'_> {
        self.parts.received()
    }

    /// Returns the decompressed body, or the body as received if it was not compressed.
    pub(crate) fn text(&self) -> &[u8] {
        self.parts.text()
    }

    /// Returns the source address of the request.
    pub(crate) fn source(&self) -> RequestSource {
        self.parts.source
    }

    /// Returns the headers for adding or removing what hookgate itself adds to the event. They are verified: do not
    /// change a header of the sender.
    pub(crate) fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.parts.headers
    }

    /// Returns the event id that the provider assigned.
    pub(crate) fn id(&self) -> Option<&EventId> {
        self.parts.event_id.as_ref()
    }

    /// Returns the event type that the provider assigned.
    pub(crate) fn event_type(&self) -> Option<&str> {
        self.parts.event_type.as_deref()
    }

    /// Returns the digest of the signed bytes.
    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.parts.digest
    }

    /// Returns the findings of dedup.
    pub(crate) fn marks(&self) -> EventMarks {
        self.parts.marks.clone()
    }

    /// Creates an event without a gate, for tests of what happens to events.
    #[cfg(test)]
    pub(crate) fn for_test(request: OwnedRequest, facts: EventFacts) -> Self {
        Self {
            parts: Box::new(EventParts {
                method: request.method,
                uri: request.uri,
                headers: request.headers,
                body: request.body,
                plain: None,
                own_names: None,
                source: request.source,
                event_id: facts.event_id,
                event_type: facts.event_type,
                digest: facts.digest,
                marks: facts.marks,
            }),
        }
    }
}

impl UnverifiedRequest {
    /// Takes the request apart, for `forward_unverified` only. Its id and type are not verified, so they stay behind.
    pub(crate) fn into_request(self) -> OwnedRequest {
        self.parts.into_request().0
    }

    /// Returns the received parts.
    pub(crate) fn received(&self) -> BorrowedRequest<'_> {
        self.parts.received()
    }

    /// Creates an unverified request without a gate, for tests.
    #[cfg(test)]
    pub(crate) fn for_test(event: Event) -> Self {
        Self { parts: event.parts }
    }
}

impl RefusedRequest {
    /// Returns the received parts.
    pub(crate) fn received(&self) -> BorrowedRequest<'_> {
        self.parts.received()
    }
}
