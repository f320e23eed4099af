//! Tests of rejects before and after the signature check.

use super::{
    JSON, OTHER, TEXT, check, explain, explainer, proves, route, says, signed, spec, with_body,
    with_header,
};
use crate::explain::{PastRequest, RecordedRefusal};
use crate::gate::reject::RejectReason;
use crate::gate::verdict::GateCheck;

const BODY: &[u8] = JSON.as_bytes();

fn at(seen: &PastRequest, target: &str) -> PastRequest {
    let mut seen = seen.clone();
    seen.uri = target.parse().unwrap();
    seen
}

#[test]
fn a_path_that_is_nearly_right() {
    let config = route("hook", "github", TEXT, "");
    let seen = signed(&spec("github"), TEXT, "/hook", BODY);
    for path in ["/hook/", "/Hook", "//hook"] {
        let explanation = proves(&config, &at(&seen, path), "no-route", "path-differs");
        assert!(says(&explanation).contains("`/hook`"), "{explanation:#?}");
        assert_eq!(explanation.check, "route");
    }
    check(&config, &at(&seen, "/v1/hook"), "no-route", "path-differs");
    let host = route("hook", "github", TEXT, "host = \"other.example\"");
    let explanation = proves(&host, &seen, "no-route", "host-differs");
    assert!(
        says(&explanation).contains("other.example"),
        "{explanation:#?}"
    );
    let explanation = explain(&explainer(&config), None, &at(&seen, "/elsewhere"));
    assert_eq!(
        (explanation.reason.as_deref(), explanation.cause),
        (Some("no-route"), None)
    );
}

#[test]
fn a_named_route_is_held_against_the_request_wherever_its_path_leads() {
    let config = route("hook", "github", &format!(" {TEXT}"), "");
    let seen = at(&signed(&spec("github"), TEXT, "/hook", BODY), "/capture");
    let explanation = explain(&explainer(&config), Some("hook"), &seen);
    assert_eq!(
        explanation.cause.as_ref().unwrap().slug,
        "secret-whitespace"
    );
    assert!(
        explanation.notes[0].contains("do not lead to this route"),
        "{explanation:#?}"
    );
    let config = route("hook", "github", TEXT, "");
    let explanation = explain(&explainer(&config), Some("hook"), &seen);
    assert_eq!(explanation.reason.as_deref(), Some("no-route"));
}

#[test]
fn a_source_that_may_not_send() {
    let config = route("a", "github", TEXT, "allow_ips = [\"192.0.2.0/24\"]");
    let mut seen = signed(&spec("github"), TEXT, "/a", BODY);
    seen.source = Some("10.1.1.1".parse().unwrap());
    check(&config, &seen, "source-not-allowed", "source-unknown");
    let proxied = with_header(&seen, "x-forwarded-for", "192.0.2.7, 10.9.9.9");
    let explanation = proves(&config, &proxied, "source-not-allowed", "proxy-not-trusted");
    assert!(says(&explanation).contains("192.0.2.7"), "{explanation:#?}");
    seen.source = None;
    let explanation = explain(&explainer(&config), None, &seen);
    assert!(
        explanation.passes && explanation.notes[0].contains("source address"),
        "{explanation:#?}"
    );
}

#[test]
fn method_type_and_size() {
    let config = route(
        "a",
        "github",
        TEXT,
        "max_body = \"64 B\"\ncontent_types = [\"application/json\"]",
    );
    let seen = signed(&spec("github"), TEXT, "/a", b"{}");
    let mut get = seen.clone();
    get.method = http::Method::GET;
    proves(&config, &get, "method-not-allowed", "method");
    let form = with_header(&seen, "content-type", "application/x-www-form-urlencoded");
    proves(&config, &form, "content-type-not-allowed", "content-type");
    let explanation = proves(
        &config,
        &with_body(&seen, &[b' '; 100]),
        "body-too-large",
        "body-limit",
    );
    assert!(says(&explanation).contains("max_body"), "{explanation:#?}");
}

#[test]
fn an_event_that_the_route_filters() {
    let config = route("a", "github", TEXT, "events = [\"pull_request.*\"]");
    let seen = with_header(
        &signed(&spec("github"), TEXT, "/a", BODY),
        "x-github-event",
        "push",
    );
    let explanation = proves(&config, &seen, "filtered-event", "event-filtered");
    assert!(says(&explanation).contains("`events`"), "{explanation:#?}");
}

#[test]
fn what_depended_on_the_moment_is_told_as_it_was_recorded() {
    let config = route("a", "github", TEXT, "") + &route("b", "github", OTHER, "");
    let mut seen = signed(&spec("github"), TEXT, "/a", BODY);
    seen.recorded = Some(RecordedRefusal {
        reason: RejectReason::InFlight,
        check: GateCheck::Dedup,
    });
    let explanation = explain(&explainer(&config), None, &seen);
    assert_eq!(explanation.reason.as_deref(), Some("duplicate-in-flight"));
    assert_eq!(
        (explanation.check.as_str(), explanation.passes),
        ("dedup", false)
    );
    // The request was rejected under an older config.
    seen.recorded = Some(RecordedRefusal {
        reason: RejectReason::BadSignature,
        check: GateCheck::Signature,
    });
    let explanation = explain(&explainer(&config), None, &seen);
    assert!(explanation.passes);
    assert!(
        explanation.notes[0].contains("bad-signature"),
        "{explanation:#?}"
    );
}

#[test]
fn monitor_mode_is_explained_as_if_it_blocked() {
    let config = route("a", "github", &format!(" {TEXT}"), "enforce = \"monitor\"");
    let seen = signed(&spec("github"), TEXT, "/a", BODY);
    proves(&config, &seen, "bad-signature", "secret-whitespace");
}
