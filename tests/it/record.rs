//! Tests of log and metrics: each decision is explained, no secret is shown, and no client can forge a field.

use serde_json::Value;

use crate::harness::app::{App, Latch, Refusing, held, ok, respond, sequence};
use crate::harness::gate::Gate;
use crate::harness::golden::golden;
use crate::harness::sender::{Hook, PROVIDERS, Provider, Sender};
use crate::harness::{LIMIT, wait_for};

/// Returns the log lines about requests, once there are this many.
async fn request_lines(gate: &Gate, count: usize) -> Vec<Value> {
    let lines = || -> Vec<Value> {
        let events = gate.log_events().into_iter();
        events
            .filter(|event| event.get("verdict").is_some())
            .collect()
    };
    wait_for(&format!("{count} lines about requests"), LIMIT, || {
        lines().len() >= count
    })
    .await;
    lines()
}

/// Returns the log lines about requests as they are in the log.
fn request_texts(gate: &Gate) -> String {
    let mut lines = gate.log_lines();
    lines.retain(|line| line.contains("\"verdict\":"));
    lines.join("\n") + "\n"
}

#[tokio::test]
async fn an_accepted_event_is_logged_with_all_known_fields() {
    let app = App::start(respond(202, "taken"));
    let gate = Gate::start(&Provider::Stripe.route("pay", &app.url("/in"), "")).await;
    let hook = Sender::new(Provider::Stripe).event_of("/pay", "evt_42");
    let reply = gate.send(&hook).await;
    assert_eq!(reply.status, 202);
    let line = &request_lines(&gate, 1).await[0];
    let told = app.only_request().header("hookgate-request-id").unwrap();
    assert_eq!(line["request_id"], told);
    golden("log_accepted.txt", &request_texts(&gate));
    let micros = |field: &str| {
        line[field]
            .as_u64()
            .unwrap_or_else(|| panic!("{field} in {line}"))
    };
    let parts: u64 = ["head_us", "verify_us", "upstream_us"]
        .map(micros)
        .iter()
        .sum();
    assert!(parts <= micros("total_us") + 3, "{line}");
    assert_eq!(
        gate.metric("hookgate_requests_total", &["route=\"pay\"", "accepted"])
            .await,
        1.0
    );
    assert_eq!(
        gate.metric("hookgate_upstream_answers_total", &["status=\"2xx\""])
            .await,
        1.0
    );
    let stage = ["route=\"pay\"", "stage=\"upstream\""];
    assert_eq!(
        gate.metric("hookgate_request_stage_seconds_count", &stage)
            .await,
        1.0
    );
    assert_eq!(
        gate.metric("hookgate_tls_handshakes_total", &["done"])
            .await,
        1.0
    );
}

#[tokio::test]
async fn each_refusal_is_logged_with_reason_check_and_evidence() {
    let app = App::start(ok());
    let route = Provider::Stripe.route("pay", &app.url("/in"), "max_body = \"2KiB\"");
    let gate = Gate::start(&route).await;
    let sender = Sender::new(Provider::Stripe);
    let event = |id: &str| sender.event_of("/pay", id);
    let big = sender.sign("/pay", "evt_big", &[b'x'; 4096]);
    let stale = Sender::new(Provider::Stripe).shifted(-4000);
    let stale = stale.event_of("/pay", "5");
    let cases = [
        (event("1").flip_body_byte(), 401, "bad-signature"),
        (
            event("2").without("Stripe-Signature"),
            401,
            "missing-signature",
        ),
        (stale, 401, "stale-timestamp"),
        (event("3").to("/pay/"), 404, "no-route"),
        (event("4").by_method("PUT"), 405, "method-not-allowed"),
        (big, 413, "body-too-large"),
    ];
    for (hook, status, _) in &cases {
        assert_eq!(gate.send(hook).await.status, *status);
    }
    request_lines(&gate, cases.len()).await;
    golden("log_refused.txt", &request_texts(&gate));
    for (_, _, reason) in cases {
        let label = format!("reason=\"{reason}\"");
        assert_eq!(gate.metric("hookgate_requests_total", &[&label]).await, 1.0);
    }
    assert_eq!(app.count(), 0);
}

/// Fails when a line of the life of a gate changes: start, stored event, delivery, reloads, end.
#[tokio::test]
async fn the_log_shows_the_life_of_a_gate() {
    let app = App::start(sequence([respond(500, "oops"), ok()]));
    let more = "mode = \"queue\"\n[routes.hook.destinations.upstream]\nretry = [\"10ms\"]\n";
    let store = "[store]\nurl = \"sqlite:hookgate.db\"\nmin_free = \"1MiB\"\n";
    let text = format!(
        "{store}{}",
        Provider::Github.route("hook", &app.url("/in"), more)
    );
    let mut gate = Gate::start(&text).await;
    let sent = Sender::new(Provider::Github).event_of("/hook", "evt_1");
    assert_eq!(gate.send(&sent).await.status, 200);
    gate.wait_for_line(&["\"delivery\"", "\"delivered\""]).await;
    assert!(!gate.reload("nonsense = 1").await);
    assert!(gate.reload(&text).await);
    assert!(gate.stop().await.success());
    gate.wait_for_line(&["\"stopped\""]).await;
    golden("log_life.txt", &(gate.log_lines().join("\n") + "\n"));
}

#[tokio::test]
async fn no_secret_and_no_signature_is_ever_logged() {
    let app = App::start(ok());
    for provider in PROVIDERS {
        let route = provider.route("hook", &app.url("/in"), "");
        let gate = Gate::options(&format!("[log]\nlevel = \"trace\"\n\n{route}"));
        let gate = gate.start().await;
        let right = Sender::new(provider).event("/hook");
        let wrong = Sender::new(provider)
            .with_secret(provider.other_secret())
            .event("/hook");
        gate.send(&right).await;
        gate.send(&wrong).await;
        gate.send(&right.clone().flip_body_byte()).await;
        gate.reload_as_it_is().await;
        let (_, metrics) = gate.admin("/metrics").await;
        request_lines(&gate, 3).await;
        let told = gate.log_lines().join("\n") + &metrics;
        let name = provider.signature_header();
        for (what, text) in [
            ("the secret", provider.secret()),
            ("a wrong secret", provider.other_secret()),
            ("a right signature", right.header(name)),
            ("a wrong signature", wrong.header(name)),
        ] {
            assert!(
                !told.contains(text),
                "{what} of {provider:?} is told:\n{told}"
            );
        }
    }
}

/// Fails when `Withholder::note` never suppresses a line.
#[tokio::test]
async fn a_flood_of_forgeries_makes_few_lines_and_is_counted_in_full() {
    let app = App::start(ok());
    let mut gate = Gate::start(&Provider::Github.route("hook", &app.url("/in"), "")).await;
    let mut connection = gate.client().connect().await.unwrap();
    for _ in 0..60 {
        let forged = Sender::new(Provider::Github)
            .event("/hook")
            .flip_body_byte();
        assert_eq!(connection.send(&forged).await.status, 401);
    }
    let labels = ["reason=\"bad-signature\""];
    assert_eq!(gate.metric("hookgate_requests_total", &labels).await, 60.0);
    let withheld = gate.metric("hookgate_log_lines_withheld_total", &[]).await;
    assert!(withheld >= 50.0, "{withheld}");
    // The number of suppressed lines is logged at the end.
    assert!(gate.stop().await.success());
    gate.wait_for_line(&["withheld", "\"source\":\"127.0.0.1\""])
        .await;
    let lines = request_lines(&gate, 5).await;
    assert!(lines.len() <= 10, "{}", lines.len());
    let told: u64 = gate
        .log_events()
        .iter()
        .filter_map(|event| event.get("withheld")?.as_u64())
        .sum();
    assert_eq!(told + u64::try_from(lines.len()).unwrap(), 60);
}

/// Fails when `record::line::Escaper` lets a quote through.
#[tokio::test]
async fn text_of_an_untrusted_client_stays_in_its_field() {
    let app = App::start(ok());
    let more = "content_types = [\"application/json\"]";
    let gate = Gate::start(&Provider::Github.route("hook", &app.url("/in"), more)).await;
    // A head may have quotes in header values, but not in the target.
    let odd = "text/x\",\"verdict\":\"accepted\",\"y\":\"\\";
    let hook = Sender::new(Provider::Github).event("/hook");
    assert_eq!(gate.send(&hook.set("Content-Type", odd)).await.status, 415);
    let target = "/x\",\"verdict\":\"accepted\",\"y\":\"";
    let _ = gate
        .client()
        .try_send(&Hook::bare("POST", "/%0a%1b[31m", b""))
        .await;
    let mut raw = gate.raw().await;
    let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    raw.send(head.as_bytes()).await;
    raw.read_answer(LIMIT).await;
    let lines = request_lines(&gate, 2).await;
    assert_eq!(lines[0]["found"], odd);
    for line in gate.log_lines() {
        assert!(line.bytes().all(|byte| byte >= b' '), "{line}");
        assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
    }
    assert!(
        lines.iter().all(|line| line["verdict"] == "refused"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn accepted_events_are_silent_if_configured_and_failures_are_logged() {
    let refusing = Refusing::new();
    let app = App::start(ok());
    let routes = Provider::Github.route("hook", &app.url("/in"), "")
        + &Provider::Shopify.route("dead", &refusing.url("/in"), "");
    let gate = Gate::start(&format!("[log]\naccepted = false\n\n{routes}")).await;
    assert_eq!(
        gate.send(&Sender::new(Provider::Github).event("/hook"))
            .await
            .status,
        200
    );
    assert_eq!(
        gate.send(&Sender::new(Provider::Shopify).event("/dead"))
            .await
            .status,
        502
    );
    let lines = request_lines(&gate, 1).await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["route"], "dead");
    assert_eq!(lines[0]["level"], "WARN");
    assert_eq!(lines[0]["forward_error"], "connect");
    assert_eq!(
        gate.metric(
            "hookgate_forward_errors_total",
            &["route=\"dead\"", "connect"]
        )
        .await,
        1.0
    );
    assert_eq!(
        gate.metric("hookgate_requests_total", &["route=\"hook\"", "accepted"])
            .await,
        1.0
    );
}

#[tokio::test]
async fn counters_go_on_across_a_reload_which_is_counted() {
    let app = App::start(ok());
    let text = Provider::Github.route("hook", &app.url("/in"), "");
    let gate = Gate::start(&text).await;
    gate.send(&Sender::new(Provider::Github).event("/hook"))
        .await;
    assert!(gate.reload(&text).await);
    gate.send(&Sender::new(Provider::Github).event("/hook"))
        .await;
    assert_eq!(
        gate.metric("hookgate_requests_total", &["accepted"]).await,
        2.0
    );
    assert_eq!(
        gate.metric("hookgate_config_reloads_total", &["applied"])
            .await,
        1.0
    );
    assert!(!gate.reload("nonsense = 1").await);
    assert_eq!(
        gate.metric("hookgate_config_reloads_total", &["refused"])
            .await,
        1.0
    );
    let not_after = gate
        .metric("hookgate_certificate_not_after_timestamp_seconds", &[])
        .await;
    assert!(not_after > 1_700_000_000.0, "{not_after}");
}

#[tokio::test]
async fn readiness_ends_with_the_drain_and_health_does_not() {
    let latch = Latch::default();
    let app = App::start(held(&latch, 200));
    let mut gate = Gate::start(&Provider::Github.route("hook", &app.url("/in"), "")).await;
    assert_eq!(gate.admin("/readyz").await.0, 200);
    let client = gate.client();
    let held = tokio::spawn(async move {
        let hook = Sender::new(Provider::Github).event("/hook");
        client.send(&hook).await.status
    });
    wait_for("the event at the app", LIMIT, || app.started() == 1).await;
    gate.signal("TERM");
    let began = std::time::Instant::now();
    while gate.admin("/readyz").await.0 != 503 {
        assert!(began.elapsed() < LIMIT, "the drain is not told");
    }
    assert_eq!(gate.admin("/healthz").await.0, 200);
    latch.open();
    assert_eq!(held.await.unwrap(), 200);
    assert!(gate.wait().await.success());
}

/// Fails when `deny_dumps` sets no limit. The gate starts with the highest limit that the system grants.
#[tokio::test]
async fn secrets_cannot_get_into_a_core_file() {
    let app = App::start(ok());
    let raise = "ulimit -S -c \"$(ulimit -H -c)\"; exec \"$0\" \"$@\"";
    let gate = Gate::options(&Provider::Github.route("hook", &app.url("/in"), ""))
        .under(&["sh", "-c", raise])
        .start()
        .await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gate.pid())).unwrap();
    let mut lines = limits.lines();
    let core = lines.find(|line| line.starts_with("Max core file size"));
    let core: Vec<_> = core.unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"]);
}
