//! Tests of filters: events that the app does not get are answered with 2xx, logged and counted, and spend no id.

use serde_json::Value;

use crate::harness::app::{App, ok};
use crate::harness::client::Reply;
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender};

const REQUESTS: &str = "hookgate_requests_total";

/// Signs a Stripe event of this type and version.
fn stripe(id: &str, event_type: &str, version: &str) -> Hook {
    let body = format!(r#"{{"id":"{id}","type":"{event_type}","api_version":"{version}"}}"#);
    Sender::new(Provider::Stripe).sign("/hook", id, body.as_bytes())
}

fn route(app: &App, more: &str) -> String {
    Provider::Stripe.route("hook", &app.url("/in"), more)
}

fn is_filtered(reply: &Reply) -> bool {
    let mark = reply.header("hookgate-filtered");
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(mark.is_none() || (mark == Some("true") && reply.text().is_empty()));
    mark.is_some()
}

/// Fails when `Sieve` is forwarded, refused, or counted as accepted.
#[tokio::test]
async fn filtered_events_are_answered_and_logged_and_not_forwarded() {
    let app = App::start(ok());
    let more = "events = [\"invoice.*\", \"!invoice.upcoming\"]\nversions = [\"2025-*\"]";
    let gate = Gate::start(&route(&app, more)).await;
    for (event_type, version, by) in [
        ("invoice.paid", "2025-01-02", ""),
        ("invoice.upcoming", "2025-01-02", "events"),
        ("charge.paid", "2025-01-02", "events"),
        ("invoice.paid", "2024-01-02", "versions"),
    ] {
        let reply = gate.send(&stripe("evt_1", event_type, version)).await;
        assert_eq!(
            is_filtered(&reply),
            !by.is_empty(),
            "{event_type} {version}"
        );
    }
    assert_eq!(app.count(), 1);
    let line = gate.wait_for_line(&["filtered", "charge.paid"]).await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&line["verdict"], &line["by"], &line["level"]),
        (&"filtered".into(), &"events".into(), &"INFO".into())
    );
    gate.wait_for_line(&["filtered", "versions", "2024-01-02"])
        .await;
    for (labels, count) in [
        (["verdict=\"filtered\"", "reason=\"events\""], 2.0),
        (["verdict=\"filtered\"", "reason=\"versions\""], 1.0),
        (["verdict=\"accepted\"", "reason=\"-\""], 1.0),
    ] {
        assert_eq!(gate.metric(REQUESTS, &labels).await, count, "{labels:?}");
    }
}

/// Fails when the filter comes after the claim or the route's rate.
#[tokio::test]
async fn what_is_filtered_spends_no_id_and_no_rate() {
    let app = App::start(ok());
    let more = "rate_limit = { per_second = 1, burst = 1 }\n";
    let gate = Gate::start(&route(&app, &format!("{more}events = [\"charge.*\"]"))).await;
    let event = stripe("evt_1", "invoice.paid", "x");
    for _ in 0..5 {
        assert!(is_filtered(&gate.send(&event).await));
    }
    assert!(gate.reload(&route(&app, more)).await);
    let reply = gate.send(&event).await;
    assert!(!is_filtered(&reply));
    assert_eq!(reply.header("hookgate-duplicate"), None);
    assert_eq!(app.count(), 1);
}

/// Fails when the filter runs before the signature.
#[tokio::test]
async fn a_forger_does_not_learn_what_is_filtered() {
    let app = App::start(ok());
    let gate = Gate::start(&route(&app, "events = [\"charge.*\"]")).await;
    let forged = stripe("evt_1", "invoice.paid", "x").flip_body_byte();
    assert_eq!(gate.send(&forged).await.status, 401);
    assert_eq!(app.count(), 0);
}

/// Fails when an unknown type counts as a type that does not match, or as one that is not excluded.
#[tokio::test]
async fn an_event_whose_type_or_version_is_unknown_is_refused() {
    let app = App::start(ok());
    for (more, body, reason) in [
        (
            "events = [\"!a\"]",
            r#"{"id":"evt_1"}"#,
            "missing-event-type",
        ),
        (
            "events = [\"*\"]",
            r#"{"id":"evt_1","type":"b","type":"a"}"#,
            "missing-event-type",
        ),
        (
            "versions = [\"*\"]",
            r#"{"id":"evt_1","type":"b"}"#,
            "missing-event-version",
        ),
    ] {
        let gate = Gate::start(&route(&app, more)).await;
        let hook = Sender::new(Provider::Stripe).sign("/hook", "evt_1", body.as_bytes());
        let reply = gate.send(&hook).await;
        assert_eq!(reply.status, 400, "{more} {body}");
        assert!(!reply.text().contains("type"), "{}", reply.text());
        gate.wait_for_line(&[reason, "\"check\":\"filter\""]).await;
    }
    assert_eq!(app.count(), 0);
}

/// Fails when monitor mode filters, or does not report what would be filtered.
#[tokio::test]
async fn monitor_mode_forwards_what_would_be_filtered() {
    let app = App::start(ok());
    let gate = Gate::start(&route(
        &app,
        "events = [\"charge.*\"]\nenforce = \"monitor\"",
    ))
    .await;
    for _ in 0..2 {
        let reply = gate.send(&stripe("evt_1", "invoice.paid", "x")).await;
        assert!(!is_filtered(&reply));
        assert_eq!(reply.header("hookgate-duplicate"), None);
    }
    let requests = app.requests();
    assert_eq!(requests.len(), 2);
    // It is genuine, so it has no mark of monitor mode.
    assert_eq!(
        requests[1].header("hookgate-event-id").as_deref(),
        Some("evt_1")
    );
    gate.wait_for_line(&["monitored", "filtered-event", "\"by\":\"events\""])
        .await;
    let monitored = ["verdict=\"monitored\"", "reason=\"filtered-event\""];
    assert_eq!(gate.metric(REQUESTS, &monitored).await, 2.0);
}

#[tokio::test]
async fn the_type_in_a_header_counts_where_the_provider_has_it_there() {
    let app = App::start(ok());
    let config = [
        Provider::Github.route("push", &app.url("/in"), "events = [\"push\"]"),
        Provider::Github.route("rest", &app.url("/in"), "events = [\"!push\"]"),
    ];
    let gate = Gate::start(&config.concat()).await;
    let event = Sender::new(Provider::Github);
    assert!(!is_filtered(&gate.send(&event.event("/push")).await));
    assert!(is_filtered(&gate.send(&event.event("/rest")).await));
    assert_eq!(app.count(), 1);
}

/// Fails when always or never the first row applies, or when a row is matched by its types only.
#[tokio::test]
async fn the_first_row_that_matches_gets_the_event() {
    let (usual, payouts, old) = (App::start(ok()), App::start(ok()), App::start(ok()));
    let rows = format!(
        "upstreams = [{{ url = \"{}\", events = [\"payout.*\"], versions = [\"2025-*\"] }}, {{ url = \"{}\", versions = [\"2019-*\"] }}]",
        payouts.url("/p"),
        old.url("/o")
    );
    let gate = Gate::start(&route(&usual, &rows)).await;
    for (id, event_type, version) in [
        ("evt_1", "payout.paid", "2025-01-02"),
        ("evt_2", "payout.paid", "2019-01-02"),
        ("evt_3", "payout.paid", "2024-01-02"),
        ("evt_4", "invoice.paid", "2025-01-02"),
    ] {
        assert!(!is_filtered(
            &gate.send(&stripe(id, event_type, version)).await
        ));
    }
    // Without type and version only the default upstream is certain.
    let body = br#"{"id":"evt_5"}"#;
    let bare = Sender::new(Provider::Stripe).sign("/hook", "evt_5", body);
    assert_eq!(gate.send(&bare).await.status, 200);
    let ids = |app: &App| -> Vec<_> {
        let all = app.requests();
        all.iter()
            .map(|one| one.header("hookgate-event-id").unwrap())
            .collect()
    };
    assert_eq!(ids(&payouts), ["evt_1"]);
    assert_eq!(ids(&old), ["evt_2"]);
    assert_eq!(ids(&usual), ["evt_3", "evt_4", "evt_5"]);
    // All upstreams share one dedup window: a copy reaches none of them.
    let copy = gate
        .send(&stripe("evt_1", "payout.paid", "2025-01-02"))
        .await;
    assert_eq!(copy.header("hookgate-duplicate"), Some("true"));
    assert_eq!(payouts.count(), 1);
}

/// Fails when an event passes a condition that is false or has an error, or when a refused event spends its id.
#[tokio::test]
async fn a_condition_decides_or_refuses() {
    let app = App::start(ok());
    let when = "when = 'event.type == \"invoice.paid\" && body.data.amount > 100 && query[\"a\"] == \"b\" && headers[\"content-type\"].startsWith(\"application/json\") && route == \"hook\"'";
    let gate = Gate::start(&route(&app, when)).await;
    let send = |id: &str, data: &str| {
        let body = format!(r#"{{"id":"{id}","type":"invoice.paid","data":{data}}}"#);
        Sender::new(Provider::Stripe).sign("/hook?a=b", id, body.as_bytes())
    };
    let refused = gate.send(&send("evt_1", "{}")).await;
    assert_eq!((refused.status, app.count()), (422, 0));
    assert!(!refused.text().contains("amount"), "{}", refused.text());
    gate.wait_for_line(&["unjudged", "amount"]).await;
    assert!(is_filtered(
        &gate.send(&send("evt_1", r#"{"amount":100}"#)).await
    ));
    assert_eq!(app.count(), 0);
    assert!(!is_filtered(
        &gate.send(&send("evt_1", r#"{"amount":101}"#)).await
    ));
    assert_eq!(app.count(), 1);
    // The app may read another value of a repeated key.
    let doubled = send("evt_2", r#"{"amount":101,"amount":1}"#);
    assert_eq!(gate.send(&doubled).await.status, 422);
    assert_eq!(app.count(), 1);
}
