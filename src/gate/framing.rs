//! Checks the head: method, content type, declared length and forbidden headers.
//!
//! `edge` has checked HTTP/1 heads byte by byte. These checks apply to both protocols, so that a request is rejected
//! for the same reason over HTTP/1 and HTTP/2.

use hookgate_verify::net::host::without_root;
use http::header::{self, HeaderMap};
use http::request::Parts;
use http::{Method, Version};

use crate::config::model::Route;
use crate::gate::reject::{FramingFault, Reject};
use crate::net::headers::{HeaderOccurrence, single};

/// Checks the head of a request for a route. Returns the declared length of the body.
pub(super) fn check(route: &Route, parts: &Parts) -> Result<Option<u64>, Reject> {
    check_head(parts)?;
    if !route.methods.contains(&parts.method) {
        let method = parts.method.clone();
        return Err(Reject::Method { method });
    }
    check_content_type(route, &parts.headers)?;
    declared_length(&parts.headers, route.max_body)
}

/// Returns the host of the request, without port and trailing dot. `:authority` or the absolute form takes precedence
/// over `Host` (RFC 9112, section 3.2.2).
pub(crate) fn host(parts: &Parts) -> &str {
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let host = || parts.headers.get(header::HOST)?.to_str().ok();
    let text = authority.or_else(host).unwrap_or_default();
    // In an IPv6 literal without a port, the text after the last colon ends with `]` and is not a number.
    let host = match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => text,
    };
    without_root(host)
}

/// Checks the rules for heads that hold on every route.
pub(super) fn check_head(parts: &Parts) -> Result<(), Reject> {
    let fault = |fault| Err(Reject::Framing(fault));
    if parts.method == Method::CONNECT
        || parts.method == Method::TRACE
        || !parts.uri.path().starts_with('/')
    {
        return fault(FramingFault::Target);
    }
    // RFC 9112, section 3.2: more than one Host is invalid, since gate and app could route differently.
    if matches!(
        single(&parts.headers, &header::HOST),
        HeaderOccurrence::Many
    ) {
        return fault(FramingFault::Host);
    }
    // RFC 9113, section 8.2.2: connection-specific headers are malformed in HTTP/2.
    if parts.version == Version::HTTP_2 && parts.headers.contains_key(header::TRANSFER_ENCODING) {
        return fault(FramingFault::TransferEncoding);
    }
    match single(&parts.headers, &header::EXPECT) {
        HeaderOccurrence::None => Ok(()),
        HeaderOccurrence::One(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Ok(())
        }
        HeaderOccurrence::One(_) | HeaderOccurrence::Many => fault(FramingFault::Expect),
    }
}

fn check_content_type(route: &Route, headers: &HeaderMap) -> Result<(), Reject> {
    let found = match single(headers, &header::CONTENT_TYPE) {
        HeaderOccurrence::Many => return Err(Reject::Framing(FramingFault::DuplicateHeader)),
        HeaderOccurrence::One(value) => value.to_str().unwrap_or_default(),
        HeaderOccurrence::None => "",
    };
    if route.content_types.is_empty() {
        return Ok(());
    }
    // Parameters such as `charset` are not part of the media type.
    let media = found.split(';').next().unwrap_or_default().trim();
    let mut allowed = route.content_types.iter();
    if allowed.any(|allowed| allowed.eq_ignore_ascii_case(media)) {
        return Ok(());
    }
    Err(Reject::content_type(found))
}

/// Returns the declared length of the body, if it is within a limit.
pub(super) fn declared_length(headers: &HeaderMap, limit: usize) -> Result<Option<u64>, Reject> {
    let declared = content_length(headers)?;
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(Reject::BodyTooLarge { limit });
    }
    Ok(declared)
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Reject> {
    let value = match single(headers, &header::CONTENT_LENGTH) {
        HeaderOccurrence::None => return Ok(None),
        HeaderOccurrence::One(value) => value,
        HeaderOccurrence::Many => return Err(Reject::Framing(FramingFault::DuplicateHeader)),
    };
    // `parse` alone would accept a leading `+`.
    let is_number = value.as_bytes().iter().all(u8::is_ascii_digit);
    let length = value.to_str().ok().filter(|_| is_number);
    let length = length.and_then(|text| text.parse().ok());
    match length {
        Some(length) => Ok(Some(length)),
        None => Err(Reject::Framing(FramingFault::DuplicateHeader)),
    }
}
