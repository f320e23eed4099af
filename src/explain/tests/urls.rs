//! Tests with URLs that differ between the sender and the route.

use super::{
    JSON, TEXT, explain, explainer, proves, route, says, signed_as, signed_to, spec, with_header,
};
use crate::explain::PastRequest;

const FORM: &[u8] = b"From=%2B14158675310&Body=Zo%C3%AB";

fn twilio(url: &str, target: &str) -> PastRequest {
    let form = "application/x-www-form-urlencoded";
    signed_as(&spec("twilio"), TEXT, Some(url), form, target, FORM)
}

fn at(seen: &PastRequest, target: &str) -> PastRequest {
    let mut seen = seen.clone();
    seen.uri = target.parse().unwrap();
    seen
}

fn with_url(url: &str) -> String {
    route("a", "twilio", TEXT, &format!("public_url = \"{url}\""))
}

#[test]
fn what_is_signed_for_the_right_url_passes() {
    let seen = twilio("https://hooks.example.com", "/a?x=1");
    let explanation = explain(
        &explainer(&with_url("https://hooks.example.com")),
        None,
        &seen,
    );
    assert!(explanation.passes, "{explanation:#?}");
}

#[test]
fn a_wrong_public_url_is_named_with_the_right_one() {
    for (right, wrong) in [
        ("https://hooks.example.com", "http://hooks.example.com"),
        ("http://hooks.example.com", "https://hooks.example.com"),
        (
            "https://hooks.example.com:8443",
            "https://hooks.example.com",
        ),
        ("https://hooks.example.com", "https://internal.example"),
    ] {
        let seen = twilio(right, "/a");
        let explanation = proves(&with_url(wrong), &seen, "bad-signature", "public-url");
        assert!(
            says(&explanation).contains(&format!("public_url = \"{right}\"")),
            "{explanation:#?}"
        );
    }
    // A proxy in front passes the original host on in a header.
    let seen = with_header(
        &twilio("https://www.outside.example", "/a"),
        "x-forwarded-host",
        "www.outside.example",
    );
    let explanation = proves(
        &with_url("https://hooks.example.com"),
        &seen,
        "bad-signature",
        "public-url",
    );
    assert!(
        says(&explanation).contains("https://www.outside.example"),
        "{explanation:#?}"
    );
}

#[test]
fn a_slash_or_the_query_changes_on_the_way() {
    let url = "https://hooks.example.com";
    let config = with_url(url).replace("path = \"/a\"", "prefix = \"/a\"");
    let seen = twilio(url, "/a/");
    let explanation = proves(&config, &at(&seen, "/a"), "bad-signature", "url-changed");
    assert!(says(&explanation).contains("`/a/`"), "{explanation:#?}");
    let seen = twilio(url, "/a");
    proves(
        &config,
        &at(&seen, "/a?added=1"),
        "bad-signature",
        "url-changed",
    );
    proves(&config, &at(&seen, "/a/"), "bad-signature", "url-changed");
    // Only a header of the proxy can show a query that was dropped.
    let seen = with_header(&twilio(url, "/a?x=1"), "x-original-uri", "/a?x=1");
    proves(&config, &at(&seen, "/a"), "bad-signature", "url-changed");
}

/// Fails if only hosts and ports of `public_url` are tried, but no base paths.
#[test]
fn a_base_path_that_a_proxy_takes_away_is_named() {
    let url = "https://hooks.example.com";
    let seen = with_header(&twilio(url, "/api/a"), "x-forwarded-prefix", "/api");
    let found = proves(
        &with_url(url),
        &at(&seen, "/a"),
        "bad-signature",
        "public-url",
    );
    let fix = "public_url = \"https://hooks.example.com/api\"";
    assert!(says(&found).contains(fix), "{found:#?}");
    let seen = with_header(&twilio(url, "/api/a?x=1"), "x-original-uri", "/api/a?x=1");
    let found = proves(
        &with_url(url),
        &at(&seen, "/a?x=1"),
        "bad-signature",
        "public-url",
    );
    assert!(says(&found).contains(fix), "{found:#?}");
    // The route has a base path that the sender does not call.
    let base = with_url("https://hooks.example.com/prod");
    let found = proves(&base, &twilio(url, "/a"), "bad-signature", "public-url");
    let fix = "public_url = \"https://hooks.example.com\"";
    assert!(says(&found).contains(fix), "{found:#?}");
    // The sender calls another host with the same base path.
    let seen = twilio("https://www.hooks.example.com/prod", "/a");
    let found = proves(&base, &seen, "bad-signature", "public-url");
    let fix = "public_url = \"https://www.hooks.example.com/prod\"";
    assert!(says(&found).contains(fix), "{found:#?}");
}

#[test]
fn square_and_hubspot_sign_the_url_too() {
    for provider in ["square", "hubspot_v3"] {
        let seen = signed_to(
            &spec(provider),
            TEXT,
            "https://hooks.example.com",
            "/a",
            JSON.as_bytes(),
        );
        let more = "public_url = \"https://other.example\"";
        let explanation = proves(
            &route("a", provider, TEXT, more),
            &seen,
            "bad-signature",
            "public-url",
        );
        assert!(
            says(&explanation).contains("https://hooks.example.com"),
            "{explanation:#?}"
        );
    }
}
