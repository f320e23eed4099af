//! The `Hookgate-*` and `X-Forwarded-*` headers of requests to upstreams.
//!
//! Both proxy routes and deliveries use them. They are set after the sender's headers were vetted, so that a sender can
//! neither set nor remove them.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hookgate_verify::identity::event_id::EventId;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::model::ids::RequestId;
use crate::net::headers::{REQUEST_ID, request_id_value};

const ROUTE: HeaderName = HeaderName::from_static("hookgate-route");
const PROVIDER: HeaderName = HeaderName::from_static("hookgate-provider");
const EVENT_ID: HeaderName = HeaderName::from_static("hookgate-event-id");
const EVENT_TYPE: HeaderName = HeaderName::from_static("hookgate-event-type");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Subject and SHA-256 of the client's certificate, if the route forwards them.
const CLIENT_SUBJECT: HeaderName = HeaderName::from_static("hookgate-client-cert-subject");
const CLIENT_FINGERPRINT: HeaderName = HeaderName::from_static("hookgate-client-cert-fingerprint");

/// Marks an event that the upstream has accepted before; also set on the response to the sender of a duplicate.
pub(crate) const DUPLICATE: HeaderName = HeaderName::from_static("hookgate-duplicate");
/// Marks an event whose signed bytes the upstream has already accepted as another event.
const REPLAYED_BODY: HeaderName = HeaderName::from_static("hookgate-replayed-body");

/// The headers of [`EventMarks`].
pub(crate) const MARKS: [HeaderName; 4] =
    [DUPLICATE, REPLAYED_BODY, CLIENT_SUBJECT, CLIENT_FINGERPRINT];

/// Maximum length of an event type in a header. A longer one has no use, and apps reject very long headers.
const MAX_EVENT_TYPE: usize = 255;

/// Findings of the gate about an event, which its upstream learns: the results of dedup, and the client.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct EventMarks {
    /// True where the upstream has accepted the event before.
    pub is_copy: bool,
    /// True where the upstream has accepted the same signed bytes as another event.
    pub is_replay: bool,
    /// The client of a verified certificate, if the route forwards it.
    pub client: Option<Arc<ForwardedClient>>,
}

/// The client of a verified certificate, as header values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ForwardedClient {
    subject: HeaderValue,
    fingerprint: HeaderValue,
}

impl ForwardedClient {
    /// Converts the identity of a client. A subject is text of its authority and may contain any character.
    pub(crate) fn new(subject: &str, fingerprint: &str) -> Self {
        let plain: String = subject
            .chars()
            .map(|letter| match letter {
                ' '..='~' => letter,
                _ => '?',
            })
            .collect();
        let value = |text: &str| {
            let value = HeaderValue::from_str(text).ok();
            value.unwrap_or_else(|| HeaderValue::from_static("unknown"))
        };
        Self {
            subject: value(&plain),
            fingerprint: value(fingerprint),
        }
    }
}

/// The origin of a request: who sent it, and through which route it came.
pub(crate) struct RequestOrigin<'a> {
    /// The id of the request that carried the event.
    pub request_id: RequestId,
    /// The route that admitted the request.
    pub route: &'a HeaderValue,
    /// The id of the provider, or `custom`.
    pub provider: &'a HeaderValue,
    /// Address of the client, after the trusted-proxy rules.
    pub source: IpAddr,
    /// True where the request came over TLS.
    pub is_tls: bool,
    /// The host of the request, from `Host` or `:authority`.
    pub requested_host: Option<HeaderValue>,
}

/// Sets the headers that describe the origin of the request.
pub(crate) fn insert_origin(headers: &mut HeaderMap, origin: RequestOrigin<'_>) {
    if let Some(host) = origin.requested_host {
        headers.insert(FORWARDED_HOST, host);
    }
    headers.insert(FORWARDED_FOR, ip_value(origin.source));
    let proto = if origin.is_tls { "https" } else { "http" };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
    headers.insert(REQUEST_ID, request_id_value(origin.request_id));
    headers.insert(ROUTE, origin.route.clone());
    headers.insert(PROVIDER, origin.provider.clone());
}

/// Removes the address of the client and the requested host again.
pub(crate) fn remove_source(headers: &mut HeaderMap) {
    for name in [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST] {
        headers.remove(name);
    }
}

/// Sets event id and type, where they are legal header values.
pub(crate) fn insert_event(
    headers: &mut HeaderMap,
    id: Option<&EventId>,
    event_type: Option<&str>,
) {
    if let Some(id) = id.and_then(|id| HeaderValue::from_str(id.as_str()).ok()) {
        headers.insert(EVENT_ID, id);
    }
    // An omitted header is better than one that makes the upstream reject the event.
    let event_type = event_type.filter(|text| text.len() <= MAX_EVENT_TYPE);
    if let Some(text) = event_type.and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(EVENT_TYPE, text);
    }
}

/// Sets the headers of these marks, and removes all other marks: a sender must not be able to set one.
pub(crate) fn set_marks(headers: &mut HeaderMap, marks: EventMarks) {
    for name in MARKS {
        headers.remove(name);
    }
    insert_marks(headers, marks);
}

/// Sets the headers of these marks. The sender's own must be gone already.
pub(crate) fn insert_marks(headers: &mut HeaderMap, marks: EventMarks) {
    for (name, is_set) in [(DUPLICATE, marks.is_copy), (REPLAYED_BODY, marks.is_replay)] {
        if is_set {
            headers.insert(name, HeaderValue::from_static("true"));
        }
    }
    if let Some(client) = marks.client {
        headers.insert(CLIENT_SUBJECT, client.subject.clone());
        headers.insert(CLIENT_FINGERPRINT, client.fingerprint.clone());
    }
}

/// Reads the marks that [`set_marks`] wrote, from stored headers.
pub(crate) fn stored_marks(headers: &HeaderMap) -> EventMarks {
    EventMarks {
        is_copy: headers.contains_key(DUPLICATE),
        is_replay: headers.contains_key(REPLAYED_BODY),
        client: match (headers.get(CLIENT_SUBJECT), headers.get(CLIENT_FINGERPRINT)) {
            (Some(subject), Some(fingerprint)) => Some(Arc::new(ForwardedClient {
                subject: subject.clone(),
                fingerprint: fingerprint.clone(),
            })),
            _ => None,
        },
    }
}

/// Sets `Content-Length`. hyper omits it for an empty body, but many apps wait for a body, or respond with 411,
/// where a `POST` has no length.
pub(crate) fn set_length(headers: &mut HeaderMap, method: &Method, length: usize) {
    if length == 0 && matches!(*method, Method::GET | Method::HEAD) {
        headers.remove(CONTENT_LENGTH);
    } else {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

fn ip_value(ip: IpAddr) -> HeaderValue {
    // On the stack: the text of an IP address has at most 45 characters.
    let mut buffer = [0; 48];
    let mut rest = buffer.as_mut_slice();
    let _ = match ip {
        // Without the formatter, which takes many times as long.
        IpAddr::V4(ip) => write_v4(&mut rest, ip),
        IpAddr::V6(ip) => write!(rest, "{ip}"),
    };
    let left = rest.len();
    let text = buffer.get(..buffer.len().saturating_sub(left));
    text.and_then(|text| HeaderValue::from_bytes(text).ok())
        .unwrap_or_else(|| HeaderValue::from_static("unknown"))
}

fn write_v4(to: &mut impl Write, ip: Ipv4Addr) -> io::Result<()> {
    for (place, octet) in ip.octets().into_iter().enumerate() {
        if place > 0 {
            to.write_all(b".")?;
        }
        let digits = [octet / 100, octet / 10 % 10, octet % 10].map(|digit| b'0' + digit);
        let zeros = match octet {
            100.. => 0,
            10.. => 1,
            _ => 2,
        };
        to.write_all(digits.get(zeros..).unwrap_or_default())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when an octet gets too many digits or too few.
    #[test]
    fn an_address_has_its_usual_form() {
        for octet in 0..=u8::MAX {
            let ip = Ipv4Addr::new(octet, 0, octet, 9);
            assert_eq!(ip_value(ip.into()), ip.to_string());
        }
        let ip = "2001:db8::1";
        assert_eq!(ip_value(ip.parse().unwrap()), ip);
        let longest = Ipv4Addr::BROADCAST;
        assert_eq!(ip_value(longest.into()), longest.to_string());
    }
}
