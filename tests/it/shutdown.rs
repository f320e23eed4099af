//! Tests of a graceful stop: no new connections, requests in flight end within `shutdown_timeout`, exit code 0.

use std::time::{Duration, Instant};

use crate::harness::app::{App, Behavior, Latch, held, ok};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender};
use crate::harness::{LIMIT, wait_for};

fn event() -> Hook {
    Sender::new(Provider::Github).event("/hook")
}

async fn gate(app: &App, server: &str) -> Gate {
    let route = Provider::Github.route("hook", &app.url("/in"), "");
    Gate::start(&format!("[server]\n{server}\n\n{route}")).await
}

/// Fails when the process ends on SIGTERM without draining.
#[tokio::test]
async fn what_is_in_flight_is_finished() {
    for is_h2 in [false, true] {
        let latch = Latch::default();
        let app = App::start(held(&latch, 200));
        let mut gate = gate(&app, "").await;
        let client = if is_h2 {
            gate.client_h2()
        } else {
            gate.client()
        };
        let held = tokio::spawn(async move { client.send(&event()).await.status });
        app.wait_for_requests(1).await;
        gate.signal("TERM");
        let address = gate.address();
        let is_closed = || std::net::TcpStream::connect(address).is_err();
        wait_for("the listener to close", LIMIT, is_closed).await;
        assert!(gate.is_alive(), "it waits for what is in flight");
        latch.open();
        assert_eq!(held.await.unwrap(), 200);
        assert_eq!(gate.wait().await.code(), Some(0));
    }
}

#[tokio::test]
async fn idle_connections_do_not_hold_it_up() {
    let app = App::start(ok());
    let mut gate = gate(&app, "").await;
    let mut idle = gate.client().connect().await.unwrap();
    assert_eq!(idle.send(&event()).await.status, 200);
    let mut idle_h2 = gate.client_h2().connect().await.unwrap();
    assert_eq!(idle_h2.send(&event()).await.status, 200);
    // A silent connection in the middle of its handshake.
    let _silent = std::net::TcpStream::connect(gate.address()).unwrap();
    let began = Instant::now();
    assert_eq!(gate.stop().await.code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

/// Fails when the drain has no limit of its own.
#[tokio::test]
async fn an_app_that_hangs_does_not_hold_it_up_for_ever() {
    let app = App::start(Behavior::Hang);
    let mut gate = gate(&app, "shutdown_timeout = \"1s\"").await;
    let client = gate.client();
    let held = tokio::spawn(async move { client.try_send(&event()).await });
    app.wait_for_requests(1).await;
    let began = Instant::now();
    let status = gate.stop().await;
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    assert!(
        status.code().is_some(),
        "it ends by itself, not by a signal"
    );
    // The sender may get any response but a 2xx.
    assert!(
        held.await
            .unwrap()
            .map_or(true, |reply| reply.status >= 500)
    );
}

#[tokio::test]
async fn sigint_stops_it_too() {
    let app = App::start(ok());
    let mut gate = gate(&app, "").await;
    gate.signal("INT");
    assert_eq!(gate.wait().await.code(), Some(0));
}

/// Fails when health checks still pass during `shutdown_delay`, when events are refused in it, or when a second signal
/// does not end it.
#[tokio::test]
async fn health_fails_first_and_events_are_served_during_the_delay() {
    let app = App::start(ok());
    let server = "health = \"/healthz\"\nshutdown_delay = \"10m\"";
    let mut gate = gate(&app, server).await;
    let health = || Hook::bare("GET", "/healthz", b"");
    assert_eq!(gate.client().send(&health()).await.status, 200);
    gate.signal("TERM");
    let client = gate.client();
    let began = Instant::now();
    while client.send(&health()).await.status != 503 {
        assert!(began.elapsed() < LIMIT, "the health check does not fail");
    }
    assert_eq!(client.send(&event()).await.status, 200);
    assert!(gate.is_alive());
    gate.signal("TERM");
    assert_eq!(gate.wait().await.code(), Some(0));
}
