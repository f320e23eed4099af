//! Builds the request to the app: a new one, of which nothing is the client's framing. Configured target and `Host`,
//! vetted headers, the verified bytes with their own `Content-Length`, no trailers.
//!
//! The headers of the gate are set after the client's were vetted, so no client can say or remove them.

use http::header::HOST;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;

use crate::forward::ForwardError;
use crate::forward::stamp::Stamper;
use crate::forward::target::Target;
use crate::gate::event::EventParts;
use crate::model::ids::{EventId, RequestId};
use crate::net::headers::{ATTEMPT, vet_request_headers};
use crate::net::outgoing::{Origin, set_length, set_marks, tell_event, tell_origin};
use crate::scheme::standard::{ID, message_id};

const VERDICT: HeaderName = HeaderName::from_static("hookgate-verdict");

/// How many headers the gate adds at most: room is made once.
const ADDED: usize = 17;

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
    let marks = parts.marks;
    let webhook_id = target.is_first_attempt.then(|| {
        let id = event_id.as_ref().map(EventId::as_str);
        message_id(id, &parts.digest)
    });
    let signed = target.stamper.as_ref().map(|stamper| {
        // The body is counted, not copied.
        (stamper, parts.digest, parts.body.clone())
    });
    let mut request = common(parts, target, request_id)?;
    let headers = request.headers_mut();
    if let Some(id) = webhook_id {
        headers.insert(ATTEMPT, HeaderValue::from_static("1"));
        // A sender that signs an id under this name keeps its own.
        let id = HeaderValue::from_str(&id).ok();
        if let Some(id) = id.filter(|_| !target.protected.contains(&ID)) {
            headers.insert(ID, id);
        }
    }
    if let Some((stamper, digest, body)) = signed {
        let id = event_id.as_ref().map(EventId::as_str);
        stamper.stamp(headers, id, &digest, &body);
    }
    tell_event(headers, event_id.as_ref(), event_type.as_deref());
    set_marks(headers, marks);
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
    let origin = Origin {
        request_id,
        route: &target.route,
        provider: &target.provider,
        source: parts.source.ip,
        is_tls: parts.source.is_tls,
        asked_host,
    };
    tell_origin(&mut headers, origin);
    set_length(&mut headers, &parts.method, parts.body.len());

    let mut request = Request::new(OutBody::new(parts.body));
    *request.method_mut() = parts.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}
