//! Parts of a route's `public_url`, the URL that senders call, without a slash at its end.

use http::header;

use crate::scheme::head::RequestHead;

/// Splits `https://host:port/base` into scheme with `://`, host, port with its colon, and base path. Absent parts are
/// empty.
pub fn split(url: &str) -> (&str, &str, &str, &str) {
    let start = url.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = url.split_at_checked(start).unwrap_or(("", url));
    let (authority, base) = rest
        .find('/')
        .and_then(|at| rest.split_at_checked(at))
        .unwrap_or((rest, ""));
    // Only a colon after the bracket of an IPv6 address begins the port.
    let from = authority.rfind(']').unwrap_or(0);
    let colon = authority.rfind(':').filter(|at| *at >= from);
    let (host, port) = colon
        .and_then(|at| authority.split_at_checked(at))
        .unwrap_or((authority, ""));
    (scheme, host, port, base)
}

/// Returns the host without its port.
pub(super) fn host(url: &str) -> &str {
    split(url).1
}

/// Returns the part of the path that a proxy in front removes; empty if it removes nothing.
pub fn base_path(url: &str) -> &str {
    split(url).3
}

/// Returns the URL itself and its other form: without its port, or, if it has no port, with the requested port or the
/// default port of its scheme.
///
/// Twilio's libraries try both forms, since its services disagree on whether a port belongs to the signed URL.
pub(super) fn port_forms(url: &str, asked: Option<&str>) -> [String; 2] {
    let (scheme, host, port, base) = split(url);
    let other = match (port, asked, scheme.eq_ignore_ascii_case("https://")) {
        ("", Some(asked), _) => format!(":{asked}"),
        ("", None, true) => ":443".to_owned(),
        ("", None, false) => ":80".to_owned(),
        _ => String::new(),
    };
    [url.to_owned(), format!("{scheme}{host}{other}{base}")]
}

/// Returns the port that the request names after its host.
pub(super) fn requested_port<'h>(head: &RequestHead<'h>) -> Option<&'h str> {
    // In HTTP/2 the host is in `:authority`, and `Host` may be absent (RFC 9113 section 8.3.1).
    let authority = match head.uri.authority() {
        Some(authority) => authority.as_str(),
        None => head.headers.get(header::HOST)?.to_str().ok()?,
    };
    let port = split(authority).2.strip_prefix(':')?;
    // The client chooses the port, and it becomes a part of the signed text: only digits may.
    let is_port = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    is_port.then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_falls_into_its_parts() {
        for (url, parts) in [
            ("https://a.b", ("https://", "a.b", "", "")),
            ("http://a.b:80/x/y", ("http://", "a.b", ":80", "/x/y")),
            ("https://[::1]/p", ("https://", "[::1]", "", "/p")),
            ("https://[::1]:8443", ("https://", "[::1]", ":8443", "")),
            ("", ("", "", "", "")),
        ] {
            assert_eq!(split(url), parts, "{url}");
        }
    }

    #[test]
    fn a_url_has_a_form_with_and_one_without_port() {
        for (url, other) in [
            ("https://a.b/p", "https://a.b:443/p"),
            ("http://a.b", "http://a.b:80"),
            ("https://a.b:8443/p", "https://a.b/p"),
            ("https://a.b:443", "https://a.b"),
            ("https://[::1]", "https://[::1]:443"),
        ] {
            assert_eq!(port_forms(url, None), [url, other]);
        }
        let asked = |url| port_forms(url, Some("8443"))[1].clone();
        assert_eq!(asked("https://a.b/p"), "https://a.b:8443/p");
        assert_eq!(asked("https://a.b:444/p"), "https://a.b/p");
    }
}
