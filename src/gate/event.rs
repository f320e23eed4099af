//! The event: a webhook that has passed the gate. Its fields are private and only `gate` can make one, so whatever takes
//! an `Event` takes something verified. The parts are boxed: a request passes through many hands, and they are large.

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};

use crate::gate::route::RouteIndex;
use crate::model::ids::EventId;
use crate::model::source::Source;
use crate::net::outgoing::EventMarks;
use crate::scheme::Head;

/// One verified webhook.
pub struct Event {
    pub(in crate::gate) parts: Box<EventParts>,
}

/// What was checked, to be taken apart by `forward`.
pub struct EventParts {
    /// The route that took it.
    pub route: RouteIndex,
    /// The method as sent.
    pub method: Method,
    /// The target as sent: path and query are the bytes that were checked.
    pub uri: Uri,
    /// The headers as sent, minus those that could mislead the app about what the gate vouches for.
    pub headers: HeaderMap,
    /// The bytes that came.
    pub body: Bytes,
    /// The text of a body that came compressed, for all that looks into bodies. It is never forwarded.
    pub plain: Option<Bytes>,
    /// The headers under the names that the scheme reads, where the sender used its other ones.
    pub own_names: Option<Box<HeaderMap>>,
    /// The sender.
    pub source: Source,
    /// The provider's id of it.
    pub event_id: Option<EventId>,
    /// The provider's type of it.
    pub event_type: Option<Box<str>>,
    /// Names the signed bytes; zeros where nobody signed them.
    pub digest: [u8; 32],
    /// What dedup found out about it.
    pub marks: EventMarks,
}

impl EventParts {
    /// The same once more, for who keeps an event while it is being forwarded. The body is counted, not copied.
    #[must_use]
    pub fn to_kept(&self) -> Self {
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

    /// The head, as schemes and challenges read it.
    pub(super) fn head(&self) -> Head<'_> {
        Head {
            method: &self.method,
            uri: &self.uri,
            headers: self.own_names.as_deref().unwrap_or(&self.headers),
        }
    }

    /// The body as it reads.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.plain.as_ref().unwrap_or(&self.body)
    }
}

impl Event {
    /// The parts, for forwarding.
    #[must_use]
    pub fn into_parts(self) -> Box<EventParts> {
        self.parts
    }

    /// Headers of what is forwarded, to tell the app of its trace. They were verified: change nothing that is the sender's.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.parts.headers
    }

    /// A look at the parts.
    #[must_use]
    pub fn parts(&self) -> &EventParts {
        &self.parts
    }
}

/// A request that failed a check of a route in monitor mode. Another type than `Event`, so that no function that takes
/// verified events can be handed one.
pub struct Unverified {
    pub(in crate::gate) parts: Box<EventParts>,
}

impl Unverified {
    /// The parts, for `forward_unverified` only.
    #[must_use]
    pub fn into_parts(self) -> Box<EventParts> {
        self.parts
    }

    /// A look at the parts.
    #[must_use]
    pub fn parts(&self) -> &EventParts {
        &self.parts
    }
}
