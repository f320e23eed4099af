//! The checks of an HTTP/2 request that h2 leaves out.
//!
//! They demand one host, a path that begins with a slash, and no duplicates of headers that must be unique. This is the
//! counterpart of `head_check`, over a parsed request.

use http::{HeaderMap, HeaderName, Method, Request, header};

use crate::edge::head_check::{HeadFault, is_host};

const ONCE: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::AUTHORIZATION,
    header::EXPECT,
    header::CONTENT_LENGTH,
];

/// Connection-specific headers, which are not allowed in HTTP/2 requests (RFC 9113, section 8.2.2).
const FORBIDDEN: [HeaderName; 3] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Checks the head of one request.
pub(super) fn check_h2<B>(request: &Request<B>) -> Result<(), HeadFault> {
    let method = request.method();
    let is_plain = method
        .as_str()
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    if method == Method::CONNECT || method == Method::TRACE || !is_plain {
        return Err(HeadFault::Method);
    }
    if !request.uri().path().starts_with('/') {
        return Err(HeadFault::Target);
    }
    let headers = request.headers();
    if ONCE.iter().any(|name| count(headers, name) > 1) {
        return Err(HeadFault::Duplicate);
    }
    if FORBIDDEN.iter().any(|name| headers.contains_key(name)) {
        return Err(HeadFault::Upgrade);
    }
    if let Some(length) = headers.get(header::CONTENT_LENGTH)
        && !length.as_bytes().iter().all(u8::is_ascii_digit)
    {
        return Err(HeadFault::ContentLength);
    }
    check_host(request)
}

fn check_host<B>(request: &Request<B>) -> Result<(), HeadFault> {
    let headers = request.headers();
    if count(headers, &header::HOST) > 1 {
        return Err(HeadFault::Host);
    }
    let authority = request
        .uri()
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    let host = headers.get(header::HOST).map(|host| host.as_bytes());
    // Where `:authority` and `Host` are both present, they must agree (RFC 9113, section 8.3.1).
    let is_good = match (authority, host) {
        (Some(authority), Some(host)) => is_host(authority) && authority.eq_ignore_ascii_case(host),
        (Some(only), None) | (None, Some(only)) => is_host(only),
        (None, None) => false,
    };
    if is_good {
        Ok(())
    } else {
        Err(HeadFault::Host)
    }
}

fn count(headers: &HeaderMap, name: &HeaderName) -> usize {
    headers.get_all(name).iter().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<(), HeadFault> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check_h2(&request.body(()).unwrap())
    }

    // Mutation for each line: remove the test of the named fault.
    #[test]
    fn one_meaning_only() {
        assert_eq!(check("POST", "https://h/a", &[]), Ok(()));
        assert_eq!(check("POST", "https://h/a", &[("host", "H")]), Ok(()));
        assert_eq!(check("POST", "/a", &[("host", "h")]), Ok(()));
        assert_eq!(check("POST", "/a", &[]), Err(HeadFault::Host));
        assert_eq!(
            check("POST", "https://h/a", &[("host", "other")]),
            Err(HeadFault::Host)
        );
        assert_eq!(
            check("POST", "https://h/a", &[("host", "h"), ("host", "h")]),
            Err(HeadFault::Host)
        );
        assert_eq!(check("POST", "https://u@h/a", &[]), Err(HeadFault::Host));
        assert_eq!(check("CONNECT", "h:443", &[]), Err(HeadFault::Method));
        assert_eq!(check("TRACE", "https://h/", &[]), Err(HeadFault::Method));
        assert_eq!(check("post", "https://h/", &[]), Err(HeadFault::Method));
        assert_eq!(
            check("OPTIONS", "*", &[("host", "h")]),
            Err(HeadFault::Target)
        );
        assert_eq!(
            check(
                "POST",
                "https://h/",
                &[("content-type", "a"), ("content-type", "b")]
            ),
            Err(HeadFault::Duplicate)
        );
        assert_eq!(
            check(
                "POST",
                "https://h/",
                &[("content-length", "1"), ("content-length", "1")]
            ),
            Err(HeadFault::Duplicate)
        );
        assert_eq!(
            check("POST", "https://h/", &[("content-length", "+1")]),
            Err(HeadFault::ContentLength)
        );
        assert_eq!(
            check("POST", "https://h/", &[("transfer-encoding", "chunked")]),
            Err(HeadFault::Upgrade)
        );
        assert_eq!(
            check("POST", "https://h/", &[("upgrade", "h2c")]),
            Err(HeadFault::Upgrade)
        );
    }
}
