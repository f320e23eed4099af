//! Tests with hostile requests: every input gets an explanation, in time and without a secret in it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use proptest::prelude::*;

use super::{JSON, KEY, OTHER, TEXT, explain, explainer, route, signed, spec, with_body};
use crate::explain::PastRequest;
use crate::model::clock::instant;

fn config() -> String {
    let url = "public_url = \"https://hooks.example.com\"";
    [
        route("stripe", "stripe", TEXT, ""),
        route("hooks", "standard_webhooks", KEY, ""),
        route("twilio", "twilio", OTHER, url),
        route("gitlab", "gitlab", TEXT, ""),
        route("mailgun", "mailgun", OTHER, ""),
    ]
    .concat()
}

const NAMES: [&str; 10] = [
    "stripe-signature",
    "webhook-signature",
    "webhook-timestamp",
    "webhook-id",
    "x-twilio-signature",
    "x-gitlab-token",
    "content-type",
    "content-encoding",
    "x-forwarded-host",
    "x-forwarded-for",
];

fn header() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let value = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        "(t=[0-9]{0,20})?(,?v[01]=[0-9a-fA-F+/=]{0,70}){0,3}".prop_map(String::into_bytes),
        "[0-9]{0,20}".prop_map(String::into_bytes),
        Just(TEXT.as_bytes().to_vec()),
        Just(b"gzip".to_vec()),
    ];
    (prop::sample::select(NAMES.to_vec()), value)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "[\\[\\]{}\",:a\\\\u0-9 \n]{0,80}".prop_map(String::into_bytes),
        "(\u{1f}|x)[\\PC]{0,40}".prop_map(String::into_bytes),
        Just(JSON.as_bytes().to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_comes_is_answered(
        headers in proptest::collection::vec(header(), 0..6),
        body in body(),
        path in "/(stripe|hooks|twilio|gitlab|mailgun|x)(/|//)?(\\?[a-z=&%+]{0,12})?",
        received in proptest::option::of(any::<i64>()),
        is_cut in any::<bool>(),
    ) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                map.append(HeaderName::from_static(name), value);
            }
        }
        let seen = PastRequest {
            method: http::Method::POST,
            uri: path.parse().unwrap(),
            version: Version::HTTP_11,
            headers: map,
            body: Bytes::from(body),
            is_cut,
            received_ms: received,
            source: None,
            recorded: None,
            others: Vec::new(),
        };
        // The helper checks that no secret appears in the explanation.
        let explanation = explain(&explainer(&config()), None, &seen);
        prop_assert!(!explanation.fix.is_empty());
    }
}

// Fails if the tries are not bounded in time: a body like this one is slow to verify in each of them.
#[test]
fn a_large_body_does_not_hang() {
    let config = route("a", "github", TEXT, "max_body = \"64 MiB\"");
    let seen = signed(&spec("github"), OTHER, "/a", b"{}");
    let mut body = b"{\"list\":[".to_vec();
    while body.len() < 10 << 20 {
        body.extend_from_slice(b"{\"name\":\"Zo\xc3\xab\",\"n\":1234},");
    }
    body.extend_from_slice(b"1]}");
    let explainer = explainer(&config);
    let began = instant();
    let explanation = explain(&explainer, None, &with_body(&seen, &body));
    assert_eq!(explanation.reason.as_deref(), Some("bad-signature"));
    // A running try is not interrupted, and without optimization one takes seconds.
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
}
