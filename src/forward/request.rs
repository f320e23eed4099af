//! Builds the request to the app: a new one, of which nothing is the client's framing. Configured target and `Host`,
//! vetted headers, the verified bytes with their own `Content-Length`, no trailers.
//!
//! The headers of the gate are set after the client's were vetted, so no client can say or remove them.

use std::io::Write;
use std::net::IpAddr;

use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;

use crate::forward::ForwardError;
use crate::forward::stamp::Stamper;
use crate::forward::target::Target;
use crate::gate::event::EventParts;
use crate::model::ids::{EventId, RequestId};
use crate::net::headers::{REQUEST_ID, request_id_value, vet_request_headers};

const ROUTE: HeaderName = HeaderName::from_static("hookgate-route");
const PROVIDER: HeaderName = HeaderName::from_static("hookgate-provider");
const EVENT_ID: HeaderName = HeaderName::from_static("hookgate-event-id");
const EVENT_TYPE: HeaderName = HeaderName::from_static("hookgate-event-type");
const VERDICT: HeaderName = HeaderName::from_static("hookgate-verdict");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// How many headers the gate adds at most: room is made once.
const ADDED: usize = 13;

/// A type that is longer says nothing, and a header of the length of a body would be refused by the app.
const MAX_EVENT_TYPE: usize = 255;

/// The body of a request to the app.
pub(super) type OutBody = Full<bytes::Bytes>;

/// The request for a verified event.
pub(super) fn verified(
    mut parts: Box<EventParts>,
    target: &Target,
    request_id: RequestId,
) -> Result<Request<OutBody>, ForwardError> {
    let event_id = parts.event_id.take();
    let event_type = parts.event_type.take();
    let signed = target.stamper.as_ref().map(|stamper| {
        // The body is counted, not copied.
        (stamper, parts.digest, parts.body.clone())
    });
    let mut request = common(parts, target, request_id)?;
    let headers = request.headers_mut();
    if let Some((stamper, digest, body)) = signed {
        let id = event_id.as_ref().map(EventId::as_str);
        stamper.stamp(headers, id, &digest, &body);
    }
    if let Some(id) = event_id.and_then(|id| HeaderValue::from_str(id.as_str()).ok()) {
        headers.insert(EVENT_ID, id);
    }
    let event_type = event_type.filter(|text| text.len() <= MAX_EVENT_TYPE);
    if let Some(text) = event_type.and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(EVENT_TYPE, text);
    }
    Ok(request)
}

/// The request for what a route in monitor mode lets through although a check failed. It says so, and it vouches for no
/// event id or type.
pub(super) fn unverified(
    parts: Box<EventParts>,
    target: &Target,
    request_id: RequestId,
) -> Result<Request<OutBody>, ForwardError> {
    let mut request = common(parts, target, request_id)?;
    let verdict = HeaderValue::from_static("monitored");
    request.headers_mut().insert(VERDICT, verdict);
    Ok(request)
}

fn common(
    parts: Box<EventParts>,
    target: &Target,
    request_id: RequestId,
) -> Result<Request<OutBody>, ForwardError> {
    let uri = target.uri(&parts.uri).ok_or(ForwardError::Target)?;
    let mut headers = parts.headers;
    vet_request_headers(&mut headers, &target.protected);
    headers.reserve(ADDED);
    if target.stamper.is_some() {
        Stamper::clear(&mut headers);
    }
    let sent_host = headers.insert(HOST, target.host.clone());
    let asked_host = match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => sent_host,
    };
    if let Some(host) = asked_host {
        headers.insert(FORWARDED_HOST, host);
    }
    headers.insert(FORWARDED_FOR, ip_value(parts.source.ip));
    let proto = if parts.source.is_tls { "https" } else { "http" };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
    headers.insert(REQUEST_ID, request_id_value(request_id));
    headers.insert(ROUTE, target.route.clone());
    headers.insert(PROVIDER, target.provider.clone());
    set_length(&mut headers, &parts.method, parts.body.len());

    let mut request = Request::new(OutBody::new(parts.body));
    *request.method_mut() = parts.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// hyper writes no length for an empty body; many apps wait for a body, or answer 411, where a POST has none.
fn set_length(headers: &mut HeaderMap, method: &Method, length: usize) {
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
