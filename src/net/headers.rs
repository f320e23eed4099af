//! Header rules of both directions: hop-by-hop headers, gateway claims, headers that must be unique.
//!
//! `forward` calls `vet_request_headers` once, while it builds the upstream request, and `vet_answer_headers` on the
//! response. The vetting functions set no header. Without anything to remove, a call is one pass and allocates nothing.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::model::ids::RequestId;

/// The request id, for the sender and the upstream; the same as in the log.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("hookgate-request-id");

/// The number of the attempt of a delivery, from 1.
pub(crate) const ATTEMPT: HeaderName = HeaderName::from_static("hookgate-attempt");

pub(crate) fn request_id_value(id: RequestId) -> HeaderValue {
    let text = HeaderValue::from_str(id.encode(&mut [0; 36]));
    // Hexadecimal digits and hyphens always form a legal value, so the fallback is never used.
    text.unwrap_or(HeaderValue::from_static("-"))
}

/// The number of times that a header appears in a head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HeaderOccurrence<'a> {
    /// The header appears exactly once.
    One(&'a HeaderValue),
    /// The header does not appear.
    None,
    /// The header appears twice or more.
    Many,
}

/// Returns the value of a header that must be unique, or why there is no such value.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> HeaderOccurrence<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => HeaderOccurrence::One(value),
        (None, _) => HeaderOccurrence::None,
        (Some(_), Some(_)) => HeaderOccurrence::Many,
    }
}

/// Removes headers of a client's request that the upstream must not see.
///
/// These are hop-by-hop headers and those that `Connection` names (RFC 9110, section 7.6.1), names with an underscore
/// (many apps read `X_Sig` and `X-Sig` as one name), and claims that only a gateway may make.
///
/// `protected` are the names that the route's scheme reads. They always stay, so that the upstream sees what was
/// verified.
pub(crate) fn vet_request_headers(headers: &mut HeaderMap, protected: &[HeaderName]) {
    remove_connection_named(headers, protected);
    remove_where(headers, |name| {
        let text = name.as_str();
        // A protected header stays under any name, since the upstream may verify it again.
        (is_hop_by_hop(text) || is_gateway_claim(text) || text.contains('_'))
            && !protected.contains(name)
    });
}

/// Removes hop-by-hop headers from the upstream's response, and those that only the gate may send.
pub(crate) fn vet_answer_headers(headers: &mut HeaderMap) {
    remove_connection_named(headers, &[]);
    remove_where(headers, |name| {
        let text = name.as_str();
        is_hop_by_hop(text) || text.starts_with("hookgate-")
    });
}

/// Returns true for the headers of RFC 9110, section 7.6.1, and others that concern the next hop only.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Returns true for headers that apps trust because only a proxy in front of them is supposed to set them.
fn is_gateway_claim(name: &str) -> bool {
    name.starts_with("hookgate-")
        || name.starts_with("x-hookgate-")
        || name.starts_with("x-forwarded-")
        || matches!(
            name,
            "forwarded"
                | "expect"
                | "proxy"
                | "true-client-ip"
                | "cf-connecting-ip"
                | "x-real-ip"
                | "x-client-ip"
                | "x-cluster-client-ip"
                | "x-original-url"
                | "x-rewrite-url"
                | "x-http-method"
                | "x-http-method-override"
                | "x-method-override"
        )
}

/// Returns true for headers that `Connection` must not remove: those that describe the payload, the target or an
/// identity.
fn is_end_to_end(name: &str) -> bool {
    name.starts_with("content-")
        || matches!(
            name,
            "host" | "authorization" | "date" | "cookie" | "set-cookie" | "www-authenticate"
        )
}

fn remove_connection_named(headers: &mut HeaderMap, protected: &[HeaderName]) {
    // The common case, without an allocation.
    if !headers.contains_key(header::CONNECTION) {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        // Tokens that are not header names cannot name a header to remove.
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .filter(|name| !is_end_to_end(name.as_str()) && !protected.contains(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Removes all headers whose name matches.
///
/// A `HeaderMap` cannot change while it is read, so the names are collected first. The first eight stay on the stack,
/// since most requests have a handful at most; a head full of them is still read only once.
fn remove_where(headers: &mut HeaderMap, is_unwanted: impl Fn(&HeaderName) -> bool) {
    let mut found = headers.keys().filter(|name| is_unwanted(name)).cloned();
    let Some(one) = found.next() else {
        return;
    };
    let mut more = [const { None::<HeaderName> }; 7];
    for slot in &mut more {
        *slot = found.next();
    }
    let rest: Vec<HeaderName> = found.collect();
    let more = more.into_iter().flatten().chain(rest);
    for name in std::iter::once(one).chain(more) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn hop_by_hop_and_what_connection_names_go() {
        let mut headers = map(&[
            ("connection", "close, X-One"),
            ("connection", "x-two"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AA"),
            ("proxy-connection", "close"),
            ("proxy-authorization", "Basic x"),
            ("proxy-authenticate", "Basic"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
        ]);
        vet_request_headers(&mut headers, &[]);
        assert_eq!(names(&headers), ["x-three"]);
    }

    // Mutation: remove `!protected.contains(name)` from `remove_connection_named`.
    #[test]
    fn connection_cannot_strip_a_signature_or_an_end_to_end_header() {
        let signature = HeaderName::from_static("x-hub-signature-256");
        let mut headers = map(&[
            (
                "connection",
                "x-hub-signature-256, content-type, content-length, host, authorization, close",
            ),
            ("x-hub-signature-256", "sha256=00"),
            ("content-type", "application/json"),
            ("content-length", "2"),
            ("host", "a.example"),
            ("authorization", "Basic eA=="),
        ]);
        vet_request_headers(&mut headers, &[signature]);
        assert_eq!(
            names(&headers),
            [
                "authorization",
                "content-length",
                "content-type",
                "host",
                "x-hub-signature-256"
            ]
        );
    }

    // Mutation: remove one arm of `is_gateway_claim`.
    #[test]
    fn gateway_claims_of_a_client_are_removed() {
        let claims = [
            "hookgate-event-id",
            "hookgate-verdict",
            "x-hookgate-route",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-prefix",
            "forwarded",
            "x-real-ip",
            "proxy",
            "x-original-url",
            "x-rewrite-url",
            "x-http-method-override",
            "x-http-method",
            "x-method-override",
            "true-client-ip",
            "cf-connecting-ip",
            "x-client-ip",
            "x-cluster-client-ip",
            "expect",
            "x_hub_signature_256",
            "content_length",
        ];
        for claim in claims {
            let mut headers = map(&[(claim, "1"), (claim, "2"), ("x-kept", "3")]);
            vet_request_headers(&mut headers, &[]);
            assert_eq!(names(&headers), ["x-kept"], "{claim}");
        }
        let mut headers = map(&claims.map(|claim| (claim, "1")));
        vet_request_headers(&mut headers, &[]);
        assert!(headers.is_empty());
    }

    #[test]
    fn a_scheme_may_use_an_underscore_or_a_claimed_name() {
        let protected = [
            HeaderName::from_static("x_signature"),
            HeaderName::from_static("x-real-ip"),
        ];
        let mut headers = map(&[("x_signature", "1"), ("x-real-ip", "2"), ("x_other", "3")]);
        vet_request_headers(&mut headers, &protected);
        assert_eq!(names(&headers), ["x-real-ip", "x_signature"]);
    }

    #[test]
    fn a_response_keeps_its_cookies_and_loses_headers_of_the_gate() {
        let mut headers = map(&[
            ("connection", "set-cookie, x-hop"),
            ("x-hop", "1"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("hookgate-duplicate", "true"),
            ("transfer-encoding", "chunked"),
        ]);
        vet_answer_headers(&mut headers);
        assert_eq!(names(&headers), ["set-cookie"]);
        assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
    }

    #[test]
    fn single_distinguishes_one_zero_and_many() {
        let headers = map(&[("a", "1"), ("b", "1"), ("b", "1")]);
        let one = HeaderValue::from_static("1");
        let name = HeaderName::from_static;
        assert_eq!(single(&headers, &name("a")), HeaderOccurrence::One(&one));
        assert_eq!(single(&headers, &name("b")), HeaderOccurrence::Many);
        assert_eq!(single(&headers, &name("c")), HeaderOccurrence::None);
    }

    proptest! {
        #[test]
        fn nothing_unwanted_survives_and_everything_else_does(
            lines in proptest::collection::vec(
                ("(hookgate-|x-forwarded-|x_|x-|content-|te|upgrade|keep-alive)[a-z]{0,3}", "[ -~]{0,8}"),
                0..40,
            ),
            named in proptest::collection::vec("x-[a-z]{0,2}", 0..4),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in &lines {
                headers.append(
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                );
            }
            let before = headers.clone();
            if !named.is_empty() {
                headers.insert(header::CONNECTION, HeaderValue::from_str(&named.join(",")).unwrap());
            }
            let protected = [HeaderName::from_static("x-a")];
            vet_request_headers(&mut headers, &protected);
            for name in before.keys() {
                let text = name.as_str();
                let is_gone = !protected.contains(name)
                    && (text.contains('_')
                        || is_hop_by_hop(text)
                        || is_gateway_claim(text)
                        || named.iter().any(|named| named == text));
                let values: Vec<_> = headers.get_all(name).iter().collect();
                if is_gone {
                    prop_assert!(values.is_empty(), "{}", text);
                } else {
                    let sent: Vec<_> = before.get_all(name).iter().collect();
                    prop_assert_eq!(values, sent);
                }
            }
        }
    }
}
