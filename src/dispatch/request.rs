//! Builds the request to the upstream from a verified event.
//!
//! The request is new: target and `Host` come from the config, headers are vetted, the verified bytes get their own
//! `Content-Length`, and there are no trailers. The client's framing must never reach the upstream. The gate sets its
//! own headers after it has vetted the client's, so no client can set or remove them.

use hookgate_verify::identity::event_id::EventId;
use hookgate_verify::scheme::standard_webhooks::{ID, message_id};
use http::header::HOST;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;

use crate::dispatch::endpoint::UpstreamTarget;
use crate::dispatch::error::DispatchError;
use crate::dispatch::sign::RequestSigner;
use crate::gate::event::{Event, OwnedRequest, UnverifiedRequest};
use crate::model::ids::RequestId;
use crate::net::event_headers::{
    RequestOrigin, insert_event, insert_marks, insert_origin, set_length,
};
use crate::net::headers::{ATTEMPT, vet_request_headers};

const VERDICT: HeaderName = HeaderName::from_static("hookgate-verdict");

/// Maximum number of headers that the gate adds, so that the map grows only once.
const ADDED: usize = 17;

/// Body of a request to the upstream.
pub(super) type UpstreamRequestBody = Full<bytes::Bytes>;

/// Builds the request for a verified event.
pub(super) fn verified(
    event: Event,
    target: &UpstreamTarget,
    request_id: RequestId,
) -> Result<Request<UpstreamRequestBody>, DispatchError> {
    let (parts, facts) = event.into_request();
    let webhook_id = target.is_first_attempt.then(|| {
        let id = facts.event_id.as_ref().map(EventId::as_str);
        message_id(id, &facts.digest)
    });
    let signed = target.stamper.as_ref().map(|stamper| {
        // The clone only increments a reference count.
        (stamper, parts.body.clone())
    });
    let mut request = common(parts, target, request_id)?;
    let headers = request.headers_mut();
    if let Some(id) = webhook_id {
        headers.insert(ATTEMPT, HeaderValue::from_static("1"));
        // If the scheme reads this header, the sender's own id stays, because the app may verify the signature again.
        let id = HeaderValue::from_str(&id).ok();
        if let Some(id) = id.filter(|_| !target.protected.contains(&ID)) {
            headers.insert(ID, id);
        }
    }
    if let Some((stamper, body)) = signed {
        let id = facts.event_id.as_ref().map(EventId::as_str);
        stamper.stamp(headers, id, &facts.digest, &body);
    }
    // Last, so that these headers always carry the gate's values.
    insert_event(
        headers,
        facts.event_id.as_ref(),
        facts.event_type.as_deref(),
    );
    insert_marks(headers, facts.marks);
    Ok(request)
}

/// Builds the request for an event that failed a check on a route in monitor mode. It is marked as such, and it carries
/// no event id or type, because neither is verified.
pub(super) fn unverified(
    request: UnverifiedRequest,
    target: &UpstreamTarget,
    request_id: RequestId,
) -> Result<Request<UpstreamRequestBody>, DispatchError> {
    let mut request = common(request.into_request(), target, request_id)?;
    let verdict = HeaderValue::from_static("monitored");
    request.headers_mut().insert(VERDICT, verdict);
    Ok(request)
}

/// Builds the parts that verified and unverified requests share.
fn common(
    parts: OwnedRequest,
    target: &UpstreamTarget,
    request_id: RequestId,
) -> Result<Request<UpstreamRequestBody>, DispatchError> {
    let uri = target.uri(&parts.uri).ok_or(DispatchError::Target)?;
    let mut headers = parts.headers;
    // Removes hop-by-hop headers and names that only a proxy may set, before the gate adds its own.
    vet_request_headers(&mut headers, &target.protected);
    headers.reserve(ADDED);
    // A client must not be able to send its own signature under the gate's headers.
    if target.stamper.is_some() {
        RequestSigner::clear(&mut headers);
    }
    let sent_host = headers.insert(HOST, target.host.clone());
    // The host that the client named, for `X-Forwarded-Host`: HTTP/2 has it in the URI, HTTP/1 in the header just
    // replaced.
    let asked_host = match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => sent_host,
    };
    let origin = RequestOrigin {
        request_id,
        route: &target.route,
        provider: &target.provider,
        source: parts.source.ip,
        is_tls: parts.source.is_tls,
        requested_host: asked_host,
    };
    insert_origin(&mut headers, origin);
    set_length(&mut headers, &parts.method, parts.body.len());

    let mut request = Request::new(UpstreamRequestBody::new(parts.body));
    *request.method_mut() = parts.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}
