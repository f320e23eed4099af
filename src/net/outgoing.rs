//! What the gate tells an app with each request, whether it is forwarded while the sender waits or delivered later: the
//! `Hookgate-*` and `X-Forwarded-*` headers, set after the sender's headers were vetted, so that no sender can say or
//! remove them.

use std::io::Write;
use std::net::IpAddr;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::model::ids::{EventId, RequestId};
use crate::net::headers::{REQUEST_ID, request_id_value};

const ROUTE: HeaderName = HeaderName::from_static("hookgate-route");
const PROVIDER: HeaderName = HeaderName::from_static("hookgate-provider");
const EVENT_ID: HeaderName = HeaderName::from_static("hookgate-event-id");
const EVENT_TYPE: HeaderName = HeaderName::from_static("hookgate-event-type");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The app, or the sender, learns that the app has taken the event before.
pub const DUPLICATE: HeaderName = HeaderName::from_static("hookgate-duplicate");
/// The app learns that it has taken the same signed bytes as another event.
const REPLAYED_BODY: HeaderName = HeaderName::from_static("hookgate-replayed-body");

/// A type that is longer says nothing, and a header of the length of a body would be refused by the app.
const MAX_EVENT_TYPE: usize = 255;

/// What the app learns from dedup about an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EventMarks {
    /// It has taken the event before.
    pub is_copy: bool,
    /// It has taken the same signed bytes as another event.
    pub is_replay: bool,
}

/// Where a request comes from.
pub struct Origin<'a> {
    /// The id of the request that brought the event.
    pub request_id: RequestId,
    /// The route that took it.
    pub route: &'a HeaderValue,
    /// The provider's id, or `custom`.
    pub provider: &'a HeaderValue,
    /// The sender.
    pub source: IpAddr,
    /// Whether it came over TLS.
    pub is_tls: bool,
    /// The host that was asked for.
    pub asked_host: Option<HeaderValue>,
}

/// Says where the request comes from.
pub fn tell_origin(headers: &mut HeaderMap, origin: Origin<'_>) {
    if let Some(host) = origin.asked_host {
        headers.insert(FORWARDED_HOST, host);
    }
    headers.insert(FORWARDED_FOR, ip_value(origin.source));
    let proto = if origin.is_tls { "https" } else { "http" };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
    headers.insert(REQUEST_ID, request_id_value(origin.request_id));
    headers.insert(ROUTE, origin.route.clone());
    headers.insert(PROVIDER, origin.provider.clone());
}

/// Takes back who sent it, and to which host.
pub fn untell_source(headers: &mut HeaderMap) {
    for name in [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST] {
        headers.remove(name);
    }
}

/// Says which event it is, where that can stand in a header.
pub fn tell_event(headers: &mut HeaderMap, id: Option<&EventId>, event_type: Option<&str>) {
    if let Some(id) = id.and_then(|id| HeaderValue::from_str(id.as_str()).ok()) {
        headers.insert(EVENT_ID, id);
    }
    let event_type = event_type.filter(|text| text.len() <= MAX_EVENT_TYPE);
    if let Some(text) = event_type.and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(EVENT_TYPE, text);
    }
}

/// Sets the headers of these marks, and removes the others: a sender cannot set one.
pub fn set_marks(headers: &mut HeaderMap, marks: EventMarks) {
    for (name, is_set) in [(DUPLICATE, marks.is_copy), (REPLAYED_BODY, marks.is_replay)] {
        match is_set {
            true => drop(headers.insert(name, HeaderValue::from_static("true"))),
            false => drop(headers.remove(name)),
        }
    }
}

/// Reads what [`set_marks`] wrote into headers that were stored.
#[must_use]
pub fn stored_marks(headers: &HeaderMap) -> EventMarks {
    EventMarks {
        is_copy: headers.contains_key(DUPLICATE),
        is_replay: headers.contains_key(REPLAYED_BODY),
    }
}

/// hyper writes no length for an empty body; many apps wait for a body, or answer 411, where a POST has none.
pub fn set_length(headers: &mut HeaderMap, method: &Method, length: usize) {
    if length == 0 && matches!(*method, Method::GET | Method::HEAD) {
        headers.remove(CONTENT_LENGTH);
    } else {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

fn ip_value(ip: IpAddr) -> HeaderValue {
    let mut buffer = [0; 48];
    let mut rest = buffer.as_mut_slice();
    let _ = match ip {
        // Several times faster than the formatter that pads, which `write!` of an address is.
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            write!(rest, "{a}.{b}.{c}.{d}")
        }
        IpAddr::V6(ip) => write!(rest, "{ip}"),
    };
    let left = rest.len();
    let text = buffer.get(..buffer.len().saturating_sub(left));
    text.and_then(|text| HeaderValue::from_bytes(text).ok())
        .unwrap_or_else(|| HeaderValue::from_static("unknown"))
}
