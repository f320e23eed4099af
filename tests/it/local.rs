//! Tests of events from the operator's own apps: `provider = "local"` and `"local_hmac"`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use serde_json::Value;

use crate::harness::app::{App, Latch, Recorded, held, ok};
use crate::harness::client::Reply;
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, mac};
use crate::harness::{LIMIT, wait_for};
use crate::inbox::{QUICK, STORE, bodies, is_duplicate};

fn local(text: &str) -> Hook {
    Hook::bare("POST", "/emit", text.as_bytes())
        .with("Authorization", "Bearer local-token-of-a-test-01")
        .with("Content-Type", "application/json")
}

fn emitting(url: &str) -> String {
    format!(
        "{STORE}[routes.emit]\npath = \"/emit\"\nprovider = \"local\"\nsecret = \"local-token-of-a-test-01\"\nmode = \"queue\"\n[routes.emit.destinations.partner]\nurl = \"{url}\"\nconcurrency = 1\n{QUICK}"
    )
}

fn read(reply: &Reply) -> Value {
    assert_eq!(reply.header("content-type"), Some("application/json"));
    serde_json::from_str(&reply.text()).unwrap()
}

/// Fails when equal bodies of an app count as one event, or an idempotency key is ignored.
#[tokio::test]
async fn an_app_of_ones_own_posts_events_and_gets_their_ids() {
    let app = App::start(ok());
    let gate = Gate::start(&emitting(&app.url("/in"))).await;
    let body = r#"{"type":"order.paid","order":17}"#;
    let mut ids = BTreeSet::new();
    for _ in 0..2 {
        let reply = gate.send(&local(body)).await;
        assert_eq!(reply.status, 200);
        let told = read(&reply);
        ids.insert(told["id"].as_str().unwrap().to_owned());
        assert_eq!(told["deliveries"], 1);
    }
    assert_eq!(ids.len(), 2);
    let keyed = local(body).with("Idempotency-Key", "order-17");
    for is_copy in [false, true, true] {
        let reply = gate.send(&keyed).await;
        assert_eq!((reply.status, is_duplicate(&reply)), (200, is_copy));
        let told = read(&reply);
        // The response to a copy also contains the id that the destination sees.
        assert_eq!(told["webhook_id"], "order-17", "{told}");
        assert_eq!(told["duplicate"] == true, is_copy, "{told}");
    }
    app.wait_for_requests(3).await;
    let got = app.requests();
    assert!(got.iter().all(|each| each.body == body.as_bytes()));
    assert!(
        got.iter()
            .all(|each| each.header("hookgate-event-type").as_deref() == Some("order.paid"))
    );
    assert!(
        got.iter()
            .all(|each| each.header("authorization").is_none()),
        "the token is not for others"
    );
}

/// Posts over a Unix socket; returns status and body.
fn post_on(socket: &std::path::Path, body: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let length = body.len();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    // In one piece: a refusal does not wait for the body, and closes.
    let request = [head.as_bytes(), body.as_bytes()].concat();
    stream.write_all(&request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.to_owned(),
    )
}

/// Fails when the user is not checked, or a user who is not listed may post.
#[tokio::test]
async fn an_app_of_this_machine_is_known_by_its_user() {
    let app = App::start(ok());
    let text = emitting(&app.url("/in"));
    let me = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    let with = |user: u32| {
        text.replace("[routes.emit.destinations", &format!("[routes.emit.socket]\npath = \"events.sock\"\nusers = [{user}]\n[routes.emit.destinations"))
    };
    let gate = Gate::start(&with(me)).await;
    let body = r#"{"type":"order.paid","order":17}"#;
    let (status, told) = post_on(&gate.folder().join("events.sock"), body);
    assert_eq!(status, 200, "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["deliveries"], 1);
    app.wait_for_requests(1).await;
    assert_eq!(app.only_request().body, body.as_bytes());

    let gate = Gate::start(&with(me + 1)).await;
    let (status, _) = post_on(&gate.folder().join("events.sock"), body);
    assert_eq!(status, 401);
    gate.wait_for_line(&["user-not-allowed", &format!("\"user\":{me}")])
        .await;
    app.only_request();
}

/// Fails when the keys of a batch are made by another rule than those of single events: below a prefix, the path belongs to
/// the key.
#[tokio::test]
async fn one_key_below_a_prefix_names_one_event_alone_and_in_a_batch() {
    let app = App::start(ok());
    let text = emitting(&app.url("/in")).replace("path = \"/emit\"", "prefix = \"/emit\"");
    let gate = Gate::start(&text).await;
    let alone = |path: &str, id: &str| {
        Hook::bare("POST", path, b"{\"alone\":true}")
            .with("Authorization", "Bearer local-token-of-a-test-01")
            .with("Content-Type", "application/json")
            .with("Idempotency-Key", id)
    };
    let batch = |path: &str, ids: [&str; 2]| {
        let lines = ids.map(|id| format!("{{\"id\":\"{id}\",\"data\":{{\"in\":\"batch\"}}}}\n"));
        Hook::bare("POST", path, lines.concat().as_bytes())
            .with("Authorization", "Bearer local-token-of-a-test-01")
            .with("Content-Type", "application/x-ndjson")
    };
    let duplicates = |reply: &Reply| -> Vec<bool> {
        let told = read(reply);
        let events = told["events"].as_array().unwrap().iter();
        events.map(|event| event["duplicate"] == true).collect()
    };
    // Alone first, and then in a batch.
    let reply = gate.send(&alone("/emit/shop-1", "order-1")).await;
    assert!(!is_duplicate(&reply));
    let reply = gate
        .send(&batch("/emit/shop-1", ["order-1", "order-2"]))
        .await;
    assert_eq!(duplicates(&reply), [true, false], "{}", reply.text());
    // In a batch first, and then alone.
    let reply = gate.send(&alone("/emit/shop-1", "order-2")).await;
    assert!(is_duplicate(&reply), "{}", reply.text());
    // Below another path the same keys name other events.
    let reply = gate
        .send(&batch("/emit/shop-2", ["order-1", "order-2"]))
        .await;
    assert_eq!(duplicates(&reply), [false, false], "{}", reply.text());
    app.wait_for_requests(4).await;
}

/// Fails when a batch is accepted in part without a report, when `data` is reformatted, or when priority is ignored.
#[tokio::test]
async fn a_batch_is_taken_whole() {
    let latch = Latch::default();
    let app = App::start(held(&latch, 200));
    let gate = Gate::start(&emitting(&app.url("/in"))).await;
    let first = gate.send(&local("{\"n\":0}")).await;
    assert_eq!(first.status, 200);
    wait_for("the first attempt", LIMIT, || app.started() > 0).await;
    let lines = [
        r#"{"type":"a","data":{"n": 1 , "big":10.0}}"#,
        r#"{"type":"b","priority":"high","id":"own-1","data":[2]}"#,
        r#"{"type":"c","priority":"low","data":"three"}"#,
        r#"{"delay":"300ms","data":4}"#,
    ];
    let mut batch = local(&lines.join("\n"));
    batch = batch.set("Content-Type", "application/x-ndjson");
    let began = Instant::now();
    let reply = gate.send(&batch).await;
    let events = read(&reply)["events"].as_array().map(Vec::len);
    assert_eq!((reply.status, events), (200, Some(4)));
    latch.open();
    let mut got = app.wait_for_requests(5).await.split_off(1);
    // On a busy machine the delay is over before the others are sent.
    let delayed = got.iter().position(|request| request.body == b"4");
    let delayed = got.remove(delayed.unwrap());
    assert!(delayed.at - began >= Duration::from_millis(300));
    let got: Vec<String> = got.iter().map(Recorded::body_text).collect();
    assert_eq!(got, ["[2]", "{\"n\": 1 , \"big\":10.0}", "\"three\""]);

    for (line, fault) in [
        (
            "{\"data\":1}\n{\"dta\":2}",
            "line 2: unknown field `dta`, expected one of `id`, `type`, `delay`, `priority`, `data`, at column 6",
        ),
        ("{\"data\":1,\"delay\":\"soon\"}", "not a valid delay"),
        ("", "empty"),
    ] {
        let mut hook = local(line);
        hook = hook.set("Content-Type", "application/x-ndjson");
        let reply = gate.send(&hook).await;
        assert_eq!(reply.status, 400);
        assert!(reply.text().contains(fault), "{}", reply.text());
    }
    // An event behind the refused batches shows that nothing of them was delivered.
    assert_eq!(gate.send(&local("{\"n\":9}")).await.status, 200);
    app.wait_for_requests(6).await;
    assert_eq!(bodies(&app)[5], b"{\"n\":9}");
}

/// Fails when a repeated batch is accepted again, or when headers that apply to no event of a batch are ignored.
#[tokio::test]
async fn a_batch_is_known_by_its_own_key_and_by_those_of_its_events() {
    let app = App::start(ok());
    let gate = Gate::start(&emitting(&app.url("/in"))).await;
    let lines = "{\"id\":\"a\",\"data\":1}\n{\"id\":\"a\",\"data\":2}\n{\"id\":\"b\",\"data\":3}";
    let batch = |key: &str| {
        local(lines)
            .set("Content-Type", "application/x-ndjson")
            .with("Idempotency-Key", key)
    };
    let duplicates = |told: &Value| -> Vec<bool> {
        let events = told["events"].as_array().unwrap().iter();
        events.map(|event| event["duplicate"] == true).collect()
    };
    let reply = gate.send(&batch("first")).await;
    assert_eq!(duplicates(&read(&reply)), [false, true, false]);
    let reply = gate.send(&batch("first")).await;
    assert!(is_duplicate(&reply));
    assert_eq!(read(&reply), serde_json::json!({ "duplicate": true }));
    let reply = gate.send(&batch("second")).await;
    assert_eq!(duplicates(&read(&reply)), [true, true, true]);
    app.wait_for_requests(2).await;

    for (hook, fault) in [
        (batch("third").with("Hookgate-Delay", "1h"), "in each line"),
        (
            local("1").with("Hookgate-Delay", "soon"),
            "not a valid delay",
        ),
        (
            local("1").with("Hookgate-Delay", "400d"),
            "not a valid delay",
        ),
        (
            local("1")
                .with("Hookgate-Delay", "1h")
                .with("Hookgate-Delay", "2h"),
            "more than once",
        ),
        (
            local("1").with("Hookgate-Priority", "urgent"),
            "not a valid priority",
        ),
        (
            local("1").with("Hookgate-Priority", "h\u{f6}ch"),
            "printable ASCII",
        ),
    ] {
        let reply = gate.send(&hook).await;
        let told = read(&reply);
        let text = told["error"].as_str().unwrap();
        assert!(reply.status == 400 && text.contains(fault), "{text}");
    }
    // An event behind the refused ones shows that nothing of them was delivered.
    assert_eq!(gate.send(&local("{\"n\":9}")).await.status, 200);
    app.wait_for_requests(3).await;
    assert_eq!(bodies(&app)[2], b"{\"n\":9}");
}

/// Fails when a signing app is accepted without its signature, or when the signature is forwarded to destinations.
#[tokio::test]
async fn an_app_may_sign_instead_of_showing_a_token() {
    let app = App::start(ok());
    let text = emitting(&app.url("/in")).replace("\"local\"", "\"local_hmac\"");
    let gate = Gate::start(&text).await;
    let body = b"{\"type\":\"order.paid\"}";
    let signed = HEXLOWER.encode(&mac(b"local-token-of-a-test-01", &[body]));
    let hook = Hook::bare("POST", "/emit", body)
        .with("Content-Type", "application/json")
        .with("X-Webhook-Signature", &format!("sha256={signed}"))
        .with("Idempotency-Key", "order-17");
    let reply = gate.send(&hook).await;
    assert_eq!(
        (reply.status, &read(&reply)["webhook_id"]),
        (200, &"order-17".into())
    );
    assert_eq!(gate.send(&hook.clone().flip_body_byte()).await.status, 401);
    assert_eq!(
        gate.send(&hook.without("X-Webhook-Signature")).await.status,
        401
    );
    app.wait_for_requests(1).await;
    let got = app.only_request();
    assert_eq!(got.body, body);
    assert_eq!(
        got.header("hookgate-event-type").as_deref(),
        Some("order.paid")
    );
    assert_eq!(got.header("x-webhook-signature"), None);
}

/// Fails when the response does not say which events of a batch were stored, and why the others were not.
#[tokio::test]
async fn a_batch_that_is_stored_in_part_reports_the_reason() {
    let app = App::start(ok());
    let text = format!("{}when = \"body.n > 1\"\n", emitting(&app.url("/in")));
    let gate = Gate::start(&text).await;
    let lines = "{\"data\":{\"n\":2}}\n{\"data\":{\"m\":2}}\n{\"data\":{\"n\":1}}";
    let batch = local(lines).set("Content-Type", "application/x-ndjson");
    let reply = gate.send(&batch).await;
    let told = read(&reply);
    let events = told["events"].as_array().unwrap();
    let deliveries: Vec<_> = events.iter().map(|event| &event["deliveries"]).collect();
    assert_eq!(
        (reply.status, deliveries),
        (422, vec![&1.into(), &0.into()])
    );
    let why = told["error"].as_str().unwrap();
    assert!(why.contains("neither true nor false"), "{why}");
    app.wait_for_requests(1).await;
    assert_eq!(app.only_request().body, b"{\"n\":2}");
}
