//! Tests of log and metrics: each decision is explained, no secret is shown, and no client can forge a field.

use serde_json::Value;

use crate::harness::app::{App, Latch, Refusing, held, ok, respond};
use crate::harness::gate::Gate;
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
    for (field, value) in [
        ("level", "INFO"),
        ("target", "request"),
        ("route", "pay"),
        ("provider", "stripe"),
        ("source", "127.0.0.1"),
        ("verdict", "accepted"),
        ("event_id", "evt_42"),
        ("secret", "1"),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert_eq!(line["bytes"], hook.body.len());
    assert_eq!(
        (&line["status"], &line["upstream_status"]),
        (&202.into(), &202.into())
    );
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
    let event = || sender.event("/pay");
    let big = sender.sign("/pay", "evt_big", &[b'x'; 4096]);
    let stale = Sender::new(Provider::Stripe).shifted(-4000).event("/pay");
    let cases: [(Hook, u16, &str, &str, &str); 6] = [
        (
            event().flip_body_byte(),
            401,
            "bad-signature",
            "signature",
            "security",
        ),
        (
            event().without("Stripe-Signature"),
            401,
            "missing-signature",
            "material",
            "security",
        ),
        (stale, 401, "stale-timestamp", "material", "security"),
        (event().to("/pay/"), 404, "no-route", "route", "request"),
        (
            event().by_method("PUT"),
            405,
            "method-not-allowed",
            "framing",
            "request",
        ),
        (big, 413, "body-too-large", "framing", "request"),
    ];
    for (hook, status, ..) in &cases {
        assert_eq!(gate.send(hook).await.status, *status);
    }
    let lines = request_lines(&gate, cases.len()).await;
    for ((_, status, reason, check, target), line) in cases.iter().zip(&lines) {
        assert_eq!(line["reason"], *reason, "{line}");
        assert_eq!(line["check"], *check, "{line}");
        assert_eq!(line["target"], *target, "{line}");
        assert_eq!(line["verdict"], "refused");
        assert_eq!(line["status"], *status);
        let labels = [format!("reason=\"{reason}\"")];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        assert_eq!(gate.metric("hookgate_requests_total", &labels).await, 1.0);
    }
    assert_eq!(lines[1]["name"], "stripe-signature", "{}", lines[1]);
    assert!(lines[2]["age_seconds"].as_i64().unwrap() >= 4000);
    assert_eq!(lines[3]["path"], "/pay/");
    assert_eq!(lines[4]["method"], "PUT");
    assert_eq!(app.count(), 0);
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
