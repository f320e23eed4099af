//! Tests of `enforce = "monitor"`, the only exception from failing closed.

use crate::harness::app::{App, ok};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender};

/// Fails when monitor mode is a property of the gate and not of the route.
#[tokio::test]
async fn what_fails_a_check_is_forwarded_and_logged() {
    let app = App::start(ok());
    let config = [
        Provider::Github.route("watched", &app.url("/watched"), "enforce = \"monitor\""),
        Provider::Github.route("blocked", &app.url("/blocked"), ""),
    ];
    let gate = Gate::start(&config.concat()).await;
    let forged = Sender::new(Provider::Github)
        .event("/watched")
        .flip_body_byte();
    assert_eq!(gate.send(&forged).await.status, 200);
    let request = app.only_request();
    assert_eq!(
        (request.target().as_str(), &request.body),
        ("/watched", &forged.body)
    );
    assert_eq!(
        request.header("hookgate-verdict").as_deref(),
        Some("monitored")
    );
    gate.wait_for_line(&["\"monitored\"", "bad-signature", "watched"])
        .await;
    assert_eq!(gate.send(&forged.to("/blocked")).await.status, 401);
    assert_eq!(app.count(), 1);
}

/// Fails when an unverified request claims and spends an id, or reaches the app without a mark.
#[tokio::test]
async fn what_was_not_verified_spends_no_id_and_carries_no_word_of_the_gate() {
    let app = App::start(ok());
    let route = Provider::Stripe.route("hook", &app.url("/in"), "enforce = \"monitor\"");
    let gate = Gate::start(&route).await;
    let forger = Sender::new(Provider::Stripe).with_secret(Provider::Stripe.other_secret());
    for _ in 0..2 {
        assert_eq!(
            gate.send(&forger.event_of("/hook", "evt_1")).await.status,
            200
        );
    }
    let genuine = gate
        .send(&Sender::new(Provider::Stripe).event_of("/hook", "evt_1"))
        .await;
    assert_eq!(
        (genuine.status, genuine.header("hookgate-duplicate")),
        (200, None)
    );
    // Monitor mode forwards copies too; the log says that the event is a duplicate.
    gate.wait_for_line(&["\"accepted\"", "evt_1"]).await;
    let requests = app.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!(requests[0].header("hookgate-event-id"), None);
    assert_eq!(requests[2].header("hookgate-verdict"), None);
    assert_eq!(
        requests[2].header("hookgate-event-id").as_deref(),
        Some("evt_1")
    );
}

/// Fails when monitor mode forwards requests that fail framing, size or routing.
#[tokio::test]
async fn bounds_hold_in_monitor_mode_too() {
    let app = App::start(ok());
    let more = "enforce = \"monitor\"\nmax_body = \"1KiB\"";
    let gate = Gate::start(&Provider::Github.route("hook", &app.url("/in"), more)).await;
    let large = Sender::new(Provider::Github).sign("/hook", "id", &[b'x'; 5000]);
    assert_eq!(gate.send(&large).await.status, 413);
    assert_eq!(gate.send(&large.to("/other")).await.status, 404);
    assert_eq!(app.count(), 0);
}

/// Fails when an unverified request reaches `upstream`, or when a verified one or a URL check reaches
/// `unverified_upstream`.
#[tokio::test]
async fn what_was_not_verified_may_have_an_upstream_of_its_own() {
    let (app, other) = (App::start(ok()), App::start(ok()));
    let more = format!(
        "enforce = \"monitor\"\nunverified_upstream = \"{}\"\nevents = [\"push\"]\nsign_upstream = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"",
        other.url("/unverified")
    );
    let checked = format!(
        "[routes.box]\npath = \"/box\"\nprovider = \"dropbox\"\nsecret = \"0123456789abcdef0123456789abcdef\"\non_challenge = \"forward\"\nupstream = \"{}\"\nenforce = \"monitor\"\nunverified_upstream = \"{}\"\n",
        app.url("/box"),
        other.url("/unverified")
    );
    let config = [
        Provider::Github.route("hook", &app.url("/in"), &more),
        checked,
    ];
    let gate = Gate::start(&config.concat()).await;
    let genuine = Sender::new(Provider::Github).event("/hook");
    for hook in [
        genuine.clone().flip_body_byte(),
        genuine.clone().without("X-Hub-Signature-256"),
    ] {
        assert_eq!(gate.send(&hook).await.status, 200);
    }
    assert_eq!((app.count(), other.count()), (0, 2));
    for request in other.requests() {
        assert_eq!(request.target(), "/unverified");
        let verdict = request.header("hookgate-verdict");
        assert_eq!(verdict.as_deref(), Some("monitored"));
        assert_eq!(request.header("webhook-signature"), None);
    }
    assert_eq!(gate.send(&genuine).await.status, 200);
    assert_eq!((app.count(), other.count()), (1, 2));
    assert!(app.only_request().header("webhook-signature").is_some());
    let check = Hook::bare("GET", "/box?challenge=abc", b"");
    assert_eq!(gate.send(&check).await.status, 200);
    assert_eq!((app.count(), other.count()), (2, 2));
}
