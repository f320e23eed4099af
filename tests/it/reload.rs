//! Tests of reloads.
//!
//! A reload is all or nothing and drops no connection. Requests in flight end under the config with which they began,
//! and counters and limits continue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::app::{App, Latch, held, ok, respond};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender};

fn event() -> Hook {
    Sender::new(Provider::Github).event("/hook")
}

fn to(app: &App, more: &str) -> String {
    Provider::Github.route("hook", &app.url("/in"), more)
}

/// Fails when a generation is swapped before it is built whole.
#[tokio::test]
async fn a_bad_file_keeps_the_old_config_and_says_so() {
    let app = App::start(ok());
    let gate = Gate::start(&to(&app, "")).await;
    let good = to(&app, "");
    let bad = [
        "[routes.hook]\npath = 7\n".to_owned(),
        "this is not TOML".to_owned(),
        good.replace("secret = ", "secert = "),
        format!("{good}\n[tls]\ncert = \"$DIR/none.pem\"\nkey = \"$DIR/cert.key\"\n"),
        String::new(),
    ];
    for config in bad {
        assert!(!gate.reload(&config).await, "{config}");
        assert_eq!(gate.send(&event()).await.status, 200, "{config}");
    }
    assert!(gate.reload(&good).await);
    assert_eq!(gate.send(&event()).await.status, 200);
    assert!(
        gate.metric("hookgate_config_reloads_total", &["refused"])
            .await
            >= 5.0
    );
}

#[tokio::test]
async fn a_new_config_holds_for_open_connections_too() {
    let (old, new) = (
        App::start(respond(200, "old")),
        App::start(respond(200, "new")),
    );
    let gate = Gate::start(&to(&old, "")).await;
    let mut connection = gate.client().connect().await.unwrap();
    let mut h2 = gate.client_h2().connect().await.unwrap();
    assert_eq!(connection.send(&event()).await.text(), "old");
    assert_eq!(h2.send(&event()).await.text(), "old");
    assert!(gate.reload(&to(&new, "")).await);
    assert_eq!(connection.send(&event()).await.text(), "new");
    assert_eq!(h2.send(&event()).await.text(), "new");
    assert!(
        gate.reload(&to(&new, "").replace("/hook\"", "/other\""))
            .await
    );
    assert_eq!(connection.send(&event()).await.status, 404);
}

/// Fails when the new generation ends requests of the old one, or waits for them.
#[tokio::test]
async fn what_is_in_flight_ends_under_its_own_config() {
    let latch = Latch::default();
    let (old, new) = (
        App::start(held(&latch, 200)),
        App::start(respond(200, "new")),
    );
    let gate = Gate::start(&to(&old, "")).await;
    let client = gate.client();
    let held = tokio::spawn(async move { client.send(&event()).await });
    old.wait_for_requests(1).await;
    assert!(gate.reload(&to(&new, "")).await);
    assert_eq!(gate.send(&event()).await.text(), "new");
    latch.open();
    let reply = held.await.unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (200, "held"));
}

/// Fails when limiters or counters belong to a generation.
#[tokio::test]
async fn limits_and_counters_go_on() {
    let app = App::start(ok());
    let server = "[server]\nper_source_rate_limit = \"3/h\"\n\n";
    let config = format!("{server}{}", to(&app, ""));
    let gate = Gate::start(&config).await;
    for _ in 0..3 {
        assert_eq!(gate.send(&event()).await.status, 200);
        assert_eq!(gate.send(&event().flip_body_byte()).await.status, 401);
    }
    assert!(
        gate.reload(&format!("{config}\n[log]\nlevel = \"debug\"\n"))
            .await
    );
    assert_eq!(gate.send(&event()).await.status, 429);
    let accepted = gate
        .metric("hookgate_requests_total", &["verdict=\"accepted\""])
        .await;
    assert!(accepted >= 3.0, "{accepted}");
}

#[tokio::test]
async fn a_new_secret_counts_from_the_reload_on() {
    let app = App::start(ok());
    let gate = Gate::start(&to(&app, "")).await;
    let other = Provider::Github.other_secret();
    let rotated = Sender::new(Provider::Github).with_secret(other);
    assert_eq!(gate.send(&rotated.event("/hook")).await.status, 401);
    let lines = format!("secret = \"{other}\"");
    assert!(
        gate.reload(&Provider::Github.route_with("hook", &app.url("/in"), &lines))
            .await
    );
    assert_eq!(gate.send(&rotated.event("/hook")).await.status, 200);
    assert_eq!(gate.send(&event()).await.status, 401);
}

/// Fails when a reload closes a listener or a connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_no_request_is_lost() {
    let app = App::start(ok());
    let config = format!(
        "[server]\nper_source_rate_limit = false\n\n{}",
        to(&app, "")
    );
    let gate = Gate::start(&config).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let senders = (0..4).map(|number| {
        let (client, is_over) = (
            if number % 2 == 0 {
                gate.client()
            } else {
                gate.client_h2()
            },
            Arc::clone(&is_over),
        );
        tokio::spawn(async move {
            let mut count = 0;
            let mut connection = client.connect().await.unwrap();
            while !is_over.load(Ordering::SeqCst) {
                assert_eq!(connection.send(&event()).await.status, 200);
                assert_eq!(client.send(&event()).await.status, 200);
                count += 2;
            }
            count
        })
    });
    let senders: Vec<_> = senders.collect();
    for number in 0..10 {
        assert!(
            gate.reload(&format!(
                "{config}\n[log]\nlevel = \"{}\"\n",
                ["info", "debug"][number % 2]
            ))
            .await
        );
    }
    is_over.store(true, Ordering::SeqCst);
    let mut sent = 0;
    for sender in senders {
        sent += sender.await.unwrap();
    }
    assert!(sent > 10);
    assert_eq!(app.count(), sent);
}

#[tokio::test]
async fn a_renewed_certificate_is_served_after_the_reload() {
    let app = App::start(ok());
    let gate = Gate::start(&to(&app, "")).await;
    let client = gate.client().server_name("renewed.example.com");
    assert!(
        client.try_send(&event()).await.is_err(),
        "the first certificate has another name"
    );
    gate.authority()
        .issue(gate.folder(), "cert", &["localhost", "renewed.example.com"]);
    assert!(gate.reload_as_it_is().await);
    assert_eq!(client.send(&event()).await.status, 200);
}
