//! Tests of two gates that share one PostgreSQL. They are left out where PostgreSQL is not installed.

use std::time::Duration;

use serde_json::Value;

use crate::harness::app::{App, Latch, held, ok};
use crate::harness::client::{Client, Reply};
use crate::harness::gate::Gate;
use crate::harness::postgres::{OWNER, TestCluster};
use crate::harness::sender::{Hook, Provider, Sender};
use crate::harness::{LIMIT, let_time_pass, poll_for, wait_for};

const TOKEN: &str = "b0Zc8Vn4Rt2Kx7Wd";

async fn node(cluster: &TestCluster, name: &str, app: &App, more: &str) -> Gate {
    let store = format!(
        "[store]\nurl = \"{}\"\nnode = \"{name}\"\n",
        cluster.socket_url(OWNER)
    );
    let route = Provider::Github.route("hook", &app.url("/in"), more);
    let admin = format!("[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\n");
    Gate::start(&format!("{admin}{store}{route}")).await
}

async fn get(gate: &Gate, path: &str) -> Reply {
    let hook = Hook::bare("GET", path, b"").with("Authorization", &format!("Bearer {TOKEN}"));
    Client::new(gate.admin_address(), None).send(&hook).await
}

async fn document(gate: &Gate, path: &str) -> Value {
    let reply = get(gate, path).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).unwrap()
}

async fn nodes(gate: &Gate) -> Vec<Value> {
    let list = document(gate, "/api/v1/nodes").await;
    list["nodes"].as_array().unwrap().clone()
}

async fn wait_for_status(gate: &Gate, what: &str, is_fitting: impl Fn(&Value) -> bool) {
    poll_for(what, LIMIT, async || {
        let status = document(gate, "/api/v1/status").await;
        is_fitting(&status).then_some(())
    })
    .await;
}

async fn wait_for_nodes(gate: &Gate, alive: usize) -> Vec<Value> {
    poll_for(&format!("{alive} nodes alive"), LIMIT, async || {
        let nodes = nodes(gate).await;
        let count = nodes.iter().filter(|node| node["alive"] == true).count();
        (count == alive).then_some(nodes)
    })
    .await
}

/// Fails when a copy at another node reaches the app while the first one is in flight, or after it was accepted.
#[tokio::test]
async fn an_event_at_two_nodes_reaches_the_app_once() {
    let Some(cluster) = TestCluster::start() else {
        return;
    };
    let latch = Latch::default();
    let app = App::start(held(&latch, 202));
    let shared = "dedup = { shared = true, when_away = \"refuse\" }";
    let one = node(&cluster, "one", &app, shared).await;
    let other = node(&cluster, "other", &app, shared).await;
    let hook = Sender::new(Provider::Github).event("/hook");
    let (first, copy) = tokio::join!(one.send(&hook), async {
        wait_for("the first copy at the app", LIMIT, || app.count() == 1).await;
        let (copy, ()) = tokio::join!(other.send(&hook), async {
            // The copy asks the store again and again until the first one has ended.
            wait_for_status(&other, "the copy in flight", |status| {
                status["in_flight"] == 1
            })
            .await;
            latch.open();
        });
        copy
    });
    assert_eq!(
        (first.status, first.header("hookgate-duplicate")),
        (202, None)
    );
    assert_eq!(
        (copy.status, copy.header("hookgate-duplicate")),
        (202, Some("true"))
    );
    let later = other.send(&hook).await;
    assert_eq!(
        (later.status, later.header("hookgate-duplicate")),
        (202, Some("true"))
    );
    assert_eq!(app.count(), 1);
}

/// Fails when a node does not see the other one, when its data in memory is not named, or when a database that is away
/// takes the nodes out of the balancer or lets a queue route answer 2xx.
#[tokio::test]
async fn every_node_shows_all_nodes_and_goes_on_without_the_database() {
    let Some(cluster) = TestCluster::start() else {
        return;
    };
    let app = App::start(ok());
    let one = node(&cluster, "one", &app, "").await;
    let other = node(&cluster, "other", &app, "").await;
    let seen = wait_for_nodes(&one, 2).await;
    let names: Vec<_> = seen
        .iter()
        .map(|node| node["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["one", "other"]);
    assert_eq!(seen[0]["this"], true);
    let verdicts = document(&one, "/api/v1/verdicts").await;
    assert_eq!(verdicts["node"], "one");
    let status = document(&one, "/api/v1/status").await;
    assert_eq!(
        (&status["node"], &status["nodes"]),
        (&Value::from("one"), &Value::from(2))
    );
    let mut other = other;
    other.signal("TERM");
    other.wait().await;
    wait_for_nodes(&one, 1).await;
    drop(cluster);
    wait_for_status(&one, "a store that is away", |status| {
        status["store_healthy"] == false
    })
    .await;
    let ready = get(&one, "/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    assert!(ready.text().contains("away"), "{}", ready.text());
    // The proxy route goes on.
    let hook = Sender::new(Provider::Github).event("/hook");
    let sent = tokio::time::timeout(Duration::from_secs(10), one.send(&hook)).await;
    assert_eq!(sent.unwrap().status, 200);
}

/// Returns the changes that a receiver of alerts was notified about, with the ids of their messages.
fn changes(receiver: &App) -> Vec<(String, String)> {
    let requests = receiver.requests();
    let each = requests.iter().flat_map(|request| {
        let id = request.header("webhook-id").unwrap();
        let document: Value = serde_json::from_slice(&request.body).unwrap();
        let alerts = document["data"]["alerts"].as_array().unwrap().clone();
        let quiet = alerts
            .into_iter()
            .filter(|alert| alert["condition"] == "quiet");
        quiet.map(move |alert| (alert["change"].as_str().unwrap().to_owned(), id.clone()))
    });
    each.collect()
}

/// Returns the number of alerts that a node shows as open and not acknowledged.
async fn open_alerts(gate: &Gate) -> Vec<Value> {
    let list = document(gate, "/api/v1/alerts").await;
    list["alerts"].as_array().unwrap().clone()
}

/// Fails when two nodes send the same alert, when an event at the other node is no event, when an acknowledgment at the
/// other node is lost, or when no node takes over from one that was killed.
#[tokio::test]
async fn two_nodes_send_an_alert_once_and_one_takes_over() {
    let Some(cluster) = TestCluster::start() else {
        return;
    };
    let (app, receiver) = (App::start(ok()), App::start(ok()));
    let alerts = format!(
        "quiet_after = \"3s\"\n[watch]\ninterval = \"200ms\"\n[alerts.program]\ntype = \"webhook\"\nurl = \"{}\"\n\
         secret = \"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\"\n",
        receiver.url("/alerts")
    );
    let one = node(&cluster, "one", &app, &alerts).await;
    let mut other = node(&cluster, "other", &app, &alerts).await;
    wait_for_nodes(&one, 2).await;
    let sender = Sender::new(Provider::Github);
    // The second node gets the only event, so that it is no matter of the node that leads.
    assert_eq!(other.send(&sender.event("/hook")).await.status, 200);
    wait_for("the alert", LIMIT, || !changes(&receiver).is_empty()).await;
    for gate in [&one, &other] {
        poll_for("the alert on both nodes", LIMIT, async || {
            (open_alerts(gate).await.len() == 1).then_some(())
        })
        .await;
    }
    let id = open_alerts(&other).await[0]["id"].as_u64().unwrap();
    // Acknowledged at whichever node does not send; both accept it.
    let path = format!("/api/v1/alerts/{id}/acknowledge");
    let hook = Hook::bare("POST", &path, b"").with("Authorization", &format!("Bearer {TOKEN}"));
    for gate in [&other, &one] {
        let reply = Client::new(gate.admin_address(), None).send(&hook).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    wait_for("the acknowledgment", LIMIT, || {
        changes(&receiver).iter().any(|one| one.0 == "acknowledged")
    })
    .await;
    // The first node that started leads. It is killed, and the other one goes on with the same alert.
    let mut one = one;
    one.signal("KILL");
    one.wait().await;
    let is_over = || changes(&receiver).iter().any(|one| one.0 == "over");
    let began = std::time::Instant::now();
    while !is_over() {
        assert!(began.elapsed() < 3 * LIMIT, "no node took over");
        assert_eq!(other.send(&sender.event("/hook")).await.status, 200);
        let_time_pass("a part of `quiet_after`", Duration::from_millis(500)).await;
    }
    // The killed node may not have stored that its last message was accepted. Then the other one sends a copy with the
    // same id.
    let mut seen = std::collections::BTreeSet::new();
    let mut once = changes(&receiver);
    once.retain(|one| seen.insert(one.clone()));
    let words: Vec<_> = once.into_iter().map(|one| one.0).collect();
    assert_eq!(words, ["opened", "acknowledged", "over"]);
    other.stop().await;
}
