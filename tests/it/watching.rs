//! Tests of `/metrics` after real traffic, and that dashboard and alert rules use only existing metrics.

use std::collections::BTreeSet;

use hookgate::internals::{MetricRow, all_metrics};

use crate::harness::app::{App, ok, respond};
use crate::harness::client::Client;
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender};
use crate::harness::{LIMIT, poll_for};

const STORE: &str = "[store]\nurl = \"sqlite:hookgate.db\"\nmin_free = \"1MiB\"\n";
const QUICK: &str = "retry = { schedule = [\"50ms\"], max_attempts = 2, jitter = 0 }\n";
const TOKEN: &str = "zQ4v9Jm2Lr7Xw1Bt";

/// Gate after some traffic of every kind, so that each metric family has a value.
pub struct Busy {
    pub gate: Gate,
    _apps: [App; 3],
}

impl Busy {
    /// Starts two proxy routes, one of them without an app, and two that store events, one of them for an app that
    /// rejects all.
    pub async fn start() -> Self {
        let (takes, refuses) = (App::start(ok()), App::start(respond(500, "no")));
        let collector = App::start(ok());
        let mut text = format!(
            "{STORE}max_size = \"1GiB\"\n[telemetry]\notlp = \"{}\"\n{}{}",
            collector.url(""),
            Provider::Github.route("hook", &takes.url("/in"), ""),
            Provider::Github.route("dead", "http://127.0.0.1:1/", ""),
        );
        for (name, app) in [("kept", &takes), ("lost", &refuses)] {
            text.push_str(&Provider::Github.route(name, &app.url("/in"), "mode = \"queue\"\n"));
            text.push_str(&format!("[routes.{name}.destinations.upstream]\n{QUICK}"));
        }
        text.push_str(
            "[routes.old]
path = \"/old\"
provider = \"stripe\"
upstream = \"http://127.0.0.1:1/\"
\
             secret = { env = \"OLD\", name = \"old\", until = 2099-01-01T00:00:00Z }
",
        );
        let old = Provider::Stripe.secret();
        let gate = Gate::options(&text).env("OLD", old).start().await;
        let sender = Sender::new(Provider::Github);
        for (path, status) in [
            ("/hook", 200),
            ("/dead", 502),
            ("/kept", 200),
            ("/lost", 200),
        ] {
            assert_eq!(
                gate.send(&sender.event(path)).await.status,
                status,
                "{path}"
            );
        }
        wait(&gate, "hookgate_delivery_lag_seconds_count", &["kept"], 1.0).await;
        for labels in [["kept", "\"delivered\""], ["lost", "\"dead\""]] {
            wait(&gate, "hookgate_queue_deliveries", &labels, 1.0).await;
        }
        Self {
            gate,
            _apps: [takes, refuses, collector],
        }
    }
}

/// Waits until a metric has this value.
async fn wait(gate: &Gate, name: &str, labels: &[&str], expected: f64) {
    gate.wait_for_metric(name, labels, |value| (value - expected).abs() < 1e-9)
        .await;
}

/// Fails when a value of the inbox has the wrong labels, or is missing.
#[tokio::test]
async fn the_inbox_is_counted_from_commit_to_delivery() {
    let Busy { gate, .. } = &Busy::start().await;
    let check = async |name: &str, labels: &[&str], expected: f64| {
        let value = gate.metric(name, labels).await;
        assert!(
            (value - expected).abs() < 1e-9,
            "{name}{labels:?} is {value}"
        );
    };
    let (kept, lost) = ("route=\"kept\"", "route=\"lost\"");
    check("hookgate_stored_events_total", &[kept], 1.0).await;
    check(
        "hookgate_request_stage_seconds_count",
        &[kept, "commit"],
        1.0,
    )
    .await;
    check("hookgate_deliveries_total", &[kept, "delivered"], 1.0).await;
    check("hookgate_queue_deliveries", &[kept, "delivered"], 1.0).await;
    check("hookgate_queue_deliveries", &[kept, "dead"], 0.0).await;
    check("hookgate_delivery_attempts_total", &[lost, "5xx"], 2.0).await;
    check("hookgate_deliveries_total", &[lost, "dead"], 1.0).await;
    check("hookgate_delivery_lag_seconds_count", &[lost], 0.0).await;
    check("hookgate_delivery_attempt_seconds_count", &[lost], 2.0).await;
    check("hookgate_queue_oldest_age_seconds", &[], 0.0).await;
    check("hookgate_destination_disabled", &[], 0.0).await;
    check("hookgate_store_healthy", &[], 1.0).await;
    check("hookgate_store_events", &[], 2.0).await;
    check("hookgate_store_reopened_total", &[], 0.0).await;
    check("hookgate_store_looks_failed_total", &[], 0.0).await;
    check("hookgate_store_max_size_bytes", &[], 1_073_741_824.0).await;
    check("hookgate_admin_requests_total", &["other"], 0.0).await;
    for name in [
        "hookgate_store_size_bytes",
        "hookgate_store_disk_free_bytes",
        "hookgate_store_write_seconds_total",
        "process_cpu_seconds_total",
        "process_max_fds",
    ] {
        assert!(gate.metric(name, &[]).await > 0.0, "{name}");
    }
    let groups = gate.metric("hookgate_store_groups_total", &[]).await;
    let grouped = gate.metric("hookgate_store_grouped_total", &[]).await;
    assert!(groups >= 2.0 && grouped >= groups, "{groups} {grouped}");
    let end = gate
        .metric(
            "hookgate_secret_until_timestamp_seconds",
            &["secret=\"old\""],
        )
        .await;
    assert!((end - 4_070_908_800.0).abs() < 0.5, "{end}");
}

/// Fails when a pause is not shown, when waiting deliveries have no age, or when a refused token is not counted.
#[tokio::test]
async fn what_waits_behind_a_pause_is_seen_and_the_door_counts() {
    let app = App::start(ok());
    let route = Provider::Github.route("hook", &app.url("/in"), "mode = \"queue\"\n");
    let door = format!("[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\n");
    let gate = Gate::start(&format!("{STORE}{door}{route}")).await;
    let ask = async |method: &str, path: &str, token: &str| {
        let hook = Hook::bare(method, path, b"")
            .with("Authorization", &format!("Bearer {token}"))
            .with("Content-Type", "application/json");
        Client::new(gate.admin_address(), None).send(&hook).await
    };
    let pause = "/api/v1/destinations/hook/upstream/pause";
    assert_eq!(ask("POST", pause, "wrong").await.status, 401);
    assert_eq!(ask("POST", pause, TOKEN).await.status, 200);
    assert_eq!(
        ask("GET", "/api/v1/stranger's-text", TOKEN).await.status,
        404
    );
    let sent = Sender::new(Provider::Github).event("/hook");
    assert_eq!(gate.send(&sent).await.status, 200);
    let text = poll_for("the pending delivery", LIMIT, async || {
        let text = ask("GET", "/metrics", TOKEN).await.text();
        let waits = "hookgate_queue_deliveries{route=\"hook\",destination=\"upstream\",state=\"pending\"} 1\n";
        text.contains(waits).then_some(text)
    })
    .await;
    let age = "hookgate_queue_oldest_age_seconds{route=\"hook\",destination=\"upstream\"} ";
    let age = text
        .lines()
        .find_map(|line| line.strip_prefix(age))
        .unwrap();
    assert!(age.parse::<f64>().unwrap() > 0.0, "{age}");
    for line in [
        "hookgate_destination_paused{route=\"hook\",destination=\"upstream\"} 1",
        "hookgate_admin_tokens_refused_total 1",
        "hookgate_admin_requests_total{resource=\"destinations\",status=\"2xx\"} 1",
        "hookgate_admin_requests_total{resource=\"destinations\",status=\"4xx\"} 1",
        "hookgate_admin_requests_total{resource=\"other\",status=\"4xx\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains("stranger"));
    app.behave(ok());
    assert_eq!(app.count(), 0);
}

/// Returns the names of the labels of a series in a line of OpenMetrics text, without the bound of a bucket.
fn labels(line: &str) -> Vec<&str> {
    let Some((_, rest)) = line.split_once('{') else {
        return Vec::new();
    };
    let (pairs, _) = rest.rsplit_once('}').unwrap();
    let names = pairs.split("\",").filter_map(|pair| pair.split('=').next());
    names.filter(|name| *name != "le").collect()
}

/// Fails when a module encodes a family that the table does not have, or never registers a row of it.
#[tokio::test]
async fn every_metric_is_in_the_table_and_every_row_is_registered() {
    let (_, text) = Busy::start().await.gate.admin("/metrics").await;
    let heads = |row: &MetricRow| {
        let MetricRow { name, help, .. } = row;
        format!("# HELP {name} {help}\n# TYPE {name} {}\n", row.kind.name())
    };
    for row in all_metrics() {
        assert!(text.contains(&heads(row)), "{} is not registered", row.name);
    }
    let mut unknown: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    unknown.retain(|name| !all_metrics().any(|row| row.name == *name));
    assert!(unknown.is_empty(), "not in the table: {unknown:?}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let row = all_metrics().find(|row| row.series().iter().any(|series| series == name));
        assert_eq!(labels(line), row.unwrap().labels, "{line}");
    }
}

/// Fails when a rule, a panel or a page uses a metric that does not exist: it would stay silent forever.
#[test]
fn dashboards_rules_and_pages_ask_only_for_what_there_is() {
    let read = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        std::fs::read_to_string(path).unwrap()
    };
    let known: BTreeSet<String> = all_metrics().flat_map(MetricRow::series).collect();
    for (file, most) in [
        ("ops/grafana-dashboard.json", 50),
        ("ops/prometheus-rules.yml", 20),
        ("ops/prometheus-rules.test.yml", 20),
        ("docs/guide/event-identity.md", 1),
        ("docs/guide/operate.md", 1),
        ("docs/guide/troubleshooting.md", 2),
        ("docs/reference/reasons.md", 1),
    ] {
        let text = read(file);
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let asked =
            words.filter(|word| word.starts_with("hookgate_") || word.starts_with("process_"));
        let asked: BTreeSet<_> = asked.collect();
        assert!(asked.len() >= most, "{file} asks for {} only", asked.len());
        for name in asked {
            assert!(known.contains(name), "{file} asks for {name}");
        }
    }
}
