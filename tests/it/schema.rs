//! Tests of JSON Schemas by event type: a mismatch is refused, and only the operator learns where and why.

use serde_json::Value;

use crate::harness::app::{App, ok};
use crate::harness::gate::{Gate, Options};
use crate::harness::sender::{Hook, Provider, Sender};

const SCHEMA: &[u8] = br#"{
    "type": "object",
    "required": ["id"],
    "properties": { "amount": { "type": "integer", "minimum": 1 }, "note": { "maxLength": 5 } }
}"#;

fn stripe(body: &str) -> Hook {
    Sender::new(Provider::Stripe).sign("/hook", "evt_1", body.as_bytes())
}

fn options(app: &App, more: &str) -> Options {
    let route = Provider::Stripe.route("hook", &app.url("/in"), more);
    Gate::options(&route).file("invoice.json", SCHEMA)
}

const SCHEMAS: &str = "[routes.hook.schemas]\n\"invoice.*\" = \"invoice.json\"";

/// Fails when `check` of `gate/schema.rs` passes a mismatch, or when the problem document describes it.
#[tokio::test]
async fn a_schema_mismatch_is_refused_and_shown_to_the_operator_only() {
    let app = App::start(ok());
    let gate = options(&app, SCHEMAS).start().await;
    let fit = r#"{"id":"evt_1","type":"invoice.paid","amount":3}"#;
    let unfit = r#"{"id":"evt_2","type":"invoice.paid","amount":"hush","note":"hush-hush"}"#;
    assert_eq!(gate.send(&stripe(fit)).await.status, 200);
    let reply = gate.send(&stripe(unfit)).await;
    assert_eq!(reply.status, 422);
    for word in ["amount", "schema", "hush", "invoice"] {
        assert!(!reply.text().contains(word), "{}", reply.text());
    }
    assert_eq!(app.count(), 1);
    let line = gate.wait_for_line(&["schema-mismatch"]).await;
    let line: Value = serde_json::from_str(&line).unwrap();
    let misfits = line["misfits"].as_str().unwrap();
    assert!(
        misfits.contains("/amount: ") && misfits.contains("/note: "),
        "{misfits}"
    );
    assert!(!line.to_string().contains("hush"), "{line}");
    assert_eq!(
        (&line["check"], &line["event_id"]),
        (&"schema".into(), &"evt_2".into())
    );
    let labels = ["verdict=\"refused\"", "reason=\"schema-mismatch\""];
    assert_eq!(gate.metric("hookgate_requests_total", &labels).await, 1.0);
}

/// Fails when a schema applies to a type that its pattern does not match, or does not apply to one that it matches.
#[tokio::test]
async fn each_schema_whose_pattern_matches_counts_and_no_other() {
    let app = App::start(ok());
    let more =
        "[routes.hook.schemas]\n\"invoice.*\" = \"invoice.json\"\n\"*.paid\" = \"paid.json\"";
    let options = options(&app, more).file("paid.json", br#"{"required":["paid"]}"#);
    let gate = options.start().await;
    for (number, (event_type, rest, status)) in [
        ("charge.made", "", 200),
        ("invoice.made", "", 200),
        ("invoice.made", r#","amount":0"#, 422),
        ("charge.paid", "", 422),
        ("charge.paid", r#","paid":1,"amount":0"#, 200),
        ("invoice.paid", r#","paid":1,"amount":0"#, 422),
        ("invoice.paid", r#","paid":1"#, 200),
    ]
    .into_iter()
    .enumerate()
    {
        let body = format!(r#"{{"id":"evt_{number}","type":"{event_type}"{rest}}}"#);
        assert_eq!(gate.send(&stripe(&body)).await.status, status, "{body}");
    }
    let untyped = gate.send(&stripe(r#"{"id":"evt_x"}"#)).await;
    assert_eq!(untyped.status, 400);
    gate.wait_for_line(&["missing-event-type", "\"check\":\"schema\""])
        .await;
}

/// Fails when the last of two equal keys counts, or a body that is not JSON fits.
#[tokio::test]
async fn a_body_that_parsers_read_differently_fits_no_schema() {
    let app = App::start(ok());
    let route = Provider::Github.route("hook", &app.url("/in"), SCHEMAS);
    let config = route.replace("invoice.*", "*");
    let gate = Gate::options(&config)
        .file("invoice.json", SCHEMA)
        .start()
        .await;
    let deep = format!(r#"{{"id":1,"a":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    for body in [
        r#"{"id":1,"amount":0,"amount":1}"#,
        "id=1",
        "",
        r#"{"id":1}{}"#,
        &deep,
    ] {
        let hook = Sender::new(Provider::Github).sign("/hook", "id", body.as_bytes());
        assert_eq!(gate.send(&hook).await.status, 422, "{:.40}", body);
    }
    gate.wait_for_line(&["unfit-json", "duplicate key"]).await;
    assert_eq!(app.count(), 0);
}

/// Fails when a mismatch claims its id before it is refused.
#[tokio::test]
async fn what_does_not_fit_spends_no_id() {
    let app = App::start(ok());
    let gate = options(&app, SCHEMAS).start().await;
    let unfit = r#"{"id":"evt_1","type":"invoice.paid","amount":0}"#;
    assert_eq!(gate.send(&stripe(unfit)).await.status, 422);
    let reply = gate.send(&stripe(&unfit.replace('0', "7"))).await;
    assert_eq!(
        (reply.status, reply.header("hookgate-duplicate")),
        (200, None)
    );
}

/// Fails when a schema is compiled after the swap, or an old one is kept after a reload.
#[tokio::test]
async fn a_reload_takes_a_changed_schema_and_keeps_the_old_one_if_it_is_broken() {
    let app = App::start(ok());
    let gate = options(&app, SCHEMAS).start().await;
    let file = gate.folder().join("invoice.json");
    let unfit = stripe(r#"{"id":"evt_1","type":"invoice.paid","amount":0}"#);
    for broken in [
        "{",
        r#"{"type":"nothing"}"#,
        r#"{"$ref":"http://127.0.0.1:1/"}"#,
    ] {
        std::fs::write(&file, broken).unwrap();
        assert!(!gate.reload_as_it_is().await);
        assert_eq!(gate.send(&unfit).await.status, 422);
    }
    std::fs::write(&file, "{}").unwrap();
    assert!(gate.reload_as_it_is().await);
    assert_eq!(gate.send(&unfit).await.status, 200);
}

/// Fails when monitor mode refuses a mismatch, or does not report it.
#[tokio::test]
async fn monitor_mode_forwards_and_reports_a_schema_mismatch() {
    let app = App::start(ok());
    let gate = options(&app, &format!("enforce = \"monitor\"\n{SCHEMAS}"))
        .start()
        .await;
    let unfit = r#"{"id":"evt_1","type":"invoice.paid","amount":0}"#;
    assert_eq!(gate.send(&stripe(unfit)).await.status, 200);
    assert_eq!(
        app.only_request().header("hookgate-verdict").as_deref(),
        Some("monitored")
    );
    gate.wait_for_line(&["monitored", "schema-mismatch", "/amount"])
        .await;
}
