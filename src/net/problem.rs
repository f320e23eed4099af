//! Problem documents (RFC 9457), the only response to a rejected request.
//!
//! An untrusted client gets a title, the status and the request id. The document must not reveal anything about the
//! configuration or the reason.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use crate::model::ids::RequestId;
use crate::net::response::{HttpResponse, ResponseBody};

/// Returns the generic title of a status, the same for every reason behind it.
pub(crate) fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "The request could not be authenticated",
        StatusCode::FORBIDDEN => "The request is not allowed",
        StatusCode::TOO_MANY_REQUESTS => "Too many requests",
        StatusCode::SERVICE_UNAVAILABLE => "The service cannot take the request now",
        StatusCode::BAD_GATEWAY => "The upstream service did not send a valid response",
        StatusCode::GATEWAY_TIMEOUT => "The upstream service did not respond in time",
        _ => status
            .canonical_reason()
            .unwrap_or("The request was rejected"),
    }
}

/// Builds the response with a problem document. `retry_after` becomes the header, rounded up to whole seconds, at least
/// 1.
pub(crate) fn answer(
    status: StatusCode,
    request_id: RequestId,
    retry_after: Option<Duration>,
) -> HttpResponse {
    let body = document(status, Some(request_id));
    let mut answer = HttpResponse::new(ResponseBody::whole(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if let Some(delay) = retry_after {
        // Rounded up: a client that comes back too early would be rejected again.
        let seconds = delay
            .as_secs()
            .saturating_add(u64::from(delay.subsec_nanos() > 0))
            .max(1);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// Formats a problem document as JSON. No title has a character that JSON must escape.
pub(crate) fn document(status: StatusCode, request_id: Option<RequestId>) -> String {
    let (title, status) = (title(status), status.as_u16());
    match request_id {
        Some(id) => {
            format!("{{\"title\":\"{title}\",\"status\":{status},\"request_id\":\"{id}\"}}\n")
        }
        None => format!("{{\"title\":\"{title}\",\"status\":{status}}}\n"),
    }
}
