//! Tests with wrong timestamps.

use bytes::Bytes;
use hookgate_verify::scheme::spec::{SchemeFamily, SchemeSpec, TimeUnit};

use super::{
    JSON, KEY, T, TEXT, check, explain, explainer, proves, route, says, signed, spec, with_header,
};
use crate::explain::past_request::{OtherAge, PastRequest};

const BODY: &[u8] = JSON.as_bytes();

fn with_unit(provider: &str, unit: TimeUnit) -> SchemeSpec {
    let mut spec = spec(provider);
    if let SchemeFamily::Hmac(family) = &mut spec.family {
        family.timestamp.as_mut().unwrap().unit = unit;
    }
    spec
}

fn came(seen: &PastRequest, after: i64) -> PastRequest {
    PastRequest {
        received_ms: Some((T + after) * 1000),
        ..seen.clone()
    }
}

#[test]
fn milliseconds_for_seconds_and_other_units() {
    for (unit, words) in [
        (TimeUnit::Millis, "milliseconds"),
        (TimeUnit::Rfc3339, "RFC 3339"),
    ] {
        for (provider, secret) in [
            ("stripe", TEXT),
            ("slack", TEXT),
            ("standard_webhooks", KEY),
        ] {
            let seen = signed(&with_unit(provider, unit), secret, "/a", BODY);
            let config = route("a", provider, secret, "");
            let explanation = proves(&config, &seen, "malformed-signature", "timestamp-unit");
            assert!(says(&explanation).contains(words), "{explanation:#?}");
        }
    }
    // The sender writes seconds and the scheme expects milliseconds.
    let config = format!(
        "[routes.a]\npath = \"/a\"\nupstream = \"http://127.0.0.1:1/\"\nsecret = \"{TEXT}\"\n[routes.a.scheme]\n\
         type = \"hmac\"\nalgorithm = \"sha256\"\nencoding = \"hex\"\nsignature = {{ header = \"X-Slack-Signature\", prefix = \"v0=\" }}\n\
         signed = \"v0:{{timestamp}}:{{body}}\"\ntimestamp = {{ header = \"X-Slack-Request-Timestamp\", unit = \"ms\" }}\n"
    );
    let seen = signed(&spec("slack"), TEXT, "/a", BODY);
    let explanation = proves(&config, &seen, "stale-timestamp", "timestamp-unit");
    assert!(
        says(&explanation).contains("as Unix seconds"),
        "{explanation:#?}"
    );
    // No scheme verifies microseconds, but their length shows the unit.
    let seen = with_header(&seen, "x-slack-request-timestamp", &format!("{T}000000"));
    check(
        &route("a", "slack", TEXT, ""),
        &seen,
        "malformed-signature",
        "timestamp-unit",
    );
}

#[test]
fn a_retry_with_its_first_signature() {
    let config = route("a", "stripe", TEXT, "");
    let seen = signed(&spec("stripe"), TEXT, "/a", BODY);
    let explanation = proves(
        &config,
        &came(&seen, 1400),
        "stale-timestamp",
        "signature-old",
    );
    assert!(says(&explanation).contains("23 min"), "{explanation:#?}");
    // `Date` has the time of this attempt, not that of the signature.
    let date = httpdate::fmt_http_date(
        std::time::UNIX_EPOCH + std::time::Duration::from_secs(T as u64 + 1400),
    );
    let retried = with_header(&seen, "date", &date);
    proves(
        &config,
        &came(&retried, 1400),
        "stale-timestamp",
        "retried-with-old-signature",
    );
    // A header counts the attempts.
    let slack = with_header(
        &signed(&spec("slack"), TEXT, "/a", BODY),
        "x-slack-retry-num",
        "1",
    );
    proves(
        &route("a", "slack", TEXT, ""),
        &came(&slack, 1400),
        "stale-timestamp",
        "retried-with-old-signature",
    );
}

#[test]
fn clocks_that_are_wrong() {
    let config = route("a", "stripe", TEXT, "") + &route("b", "slack", TEXT, "");
    let seen = signed(&spec("stripe"), TEXT, "/a", BODY);
    proves(
        &config,
        &came(&seen, -700),
        "stale-timestamp",
        "clock-of-sender",
    );
    // Another sender is off by as much, so this machine's clock is wrong.
    let mut seen = came(&seen, -700);
    let age = |route: &str, age_seconds| OtherAge {
        route: route.to_owned(),
        age_seconds,
    };
    seen.others = vec![age("b", -690)];
    proves(&config, &seen, "stale-timestamp", "clock-here");
    seen.others = vec![age("a", -700), age("b", 20)];
    proves(&config, &seen, "stale-timestamp", "clock-of-sender");
}

/// Fails if a reject of the head is blamed on the unread body, or if the request is called genuine.
#[test]
fn a_time_that_is_off_where_the_body_was_not_read() {
    let config = route("a", "stripe", TEXT, "") + &route("b", "slack", TEXT, "");
    let mut seen = came(&signed(&spec("stripe"), TEXT, "/a", BODY), 3600);
    (seen.body, seen.is_cut) = (Bytes::new(), true);
    let explanation = check(&config, &seen, "stale-timestamp", "time-off-unread");
    assert!(
        says(&explanation).contains("60 min in the past. "),
        "{explanation:#?}"
    );
    seen.others = vec![OtherAge {
        route: "b".to_owned(),
        age_seconds: 3590,
    }];
    let explanation = check(&config, &seen, "stale-timestamp", "time-off-unread");
    assert!(
        says(&explanation).contains("a wrong clock here"),
        "{explanation:#?}"
    );
}

#[test]
fn local_time_for_utc() {
    let config = route("a", "stripe", TEXT, "");
    let seen = signed(&spec("stripe"), TEXT, "/a", BODY);
    for (after, hours) in [
        (-7200 + 3, "2 h"),
        (5 * 3600 + 1800, "5.5 h"),
        (7 * 3600 - 20, "7 h"),
    ] {
        let explanation = proves(&config, &came(&seen, after), "stale-timestamp", "time-zone");
        assert!(says(&explanation).contains(hours), "{explanation:#?}");
    }
}

#[test]
fn a_request_that_is_old_and_wrong_is_not_said_to_be_only_old() {
    let config = route("a", "stripe", TEXT, "");
    let seen = signed(&spec("stripe"), &format!("{TEXT}\n"), "/a", BODY);
    proves(
        &config,
        &came(&seen, 1400),
        "stale-timestamp",
        "sender-secret-unclean",
    );
    let seen = signed(
        &spec("stripe"),
        "nobody-knows-this-secret-0123456789",
        "/a",
        BODY,
    );
    let explanation = explain(&explainer(&config), None, &came(&seen, 1400));
    assert_eq!(explanation.cause, None);
}

#[test]
fn without_the_time_at_which_it_came_its_age_is_not_judged() {
    let config = route("a", "stripe", TEXT, "");
    let mut seen = signed(&spec("stripe"), TEXT, "/a", BODY);
    seen.received_ms = None;
    let explanation = explain(&explainer(&config), None, &seen);
    assert!(explanation.passes, "{explanation:#?}");
    assert!(
        explanation.notes[0].contains("age was not checked"),
        "{explanation:#?}"
    );
}
