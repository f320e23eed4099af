//! Responses that several URL checks have in common.

use bytes::Bytes;
use http::{HeaderValue, header};
use serde_json::Value;

use crate::net::response::{HttpResponse, ResponseBody};

/// Limit of a check's body in bytes; Slack's have a few hundred.
pub(super) const MAX_BODY: usize = 16 * 1024;

/// Limit of the text that is sent back, in bytes.
pub(super) const MAX_TEXT: usize = 4096;

/// Passes text that may be sent back: short, and printable ASCII only.
pub(super) fn fit(text: String) -> Option<String> {
    let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    ((1..=MAX_TEXT).contains(&text.len()) && is_printable).then_some(text)
}

/// Returns a 200 with an empty body.
pub(super) fn empty() -> HttpResponse {
    HttpResponse::new(ResponseBody::empty())
}

/// Returns a 200 with plain text.
pub(super) fn text(text: String) -> HttpResponse {
    of_type("text/plain; charset=utf-8", text)
}

/// Returns a 200 with JSON.
pub(super) fn json_answer(value: &Value) -> HttpResponse {
    of_type("application/json", value.to_string())
}

/// Returns a 200 with a text of a media type, which a browser must not take for a page.
pub(super) fn of_type(kind: &'static str, text: String) -> HttpResponse {
    let mut answer = HttpResponse::new(ResponseBody::whole(Bytes::from(text)));
    let headers = answer.headers_mut();
    let mut put = |name, value| headers.insert(name, HeaderValue::from_static(value));
    put(header::CONTENT_TYPE, kind);
    // A browser must not run the text as a script or page.
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(header::CONTENT_SECURITY_POLICY, "default-src 'none'");
    put(header::CACHE_CONTROL, "no-store");
    answer
}
