//! Tests of promise 3, once.
//!
//! An event that the app took does not reach it again, an event that it did not take may come again, and a client
//! cannot spend an id that it cannot sign.

use crate::harness::app::{App, Behavior, Latch, garbage, held, ok, respond, sequence};
use crate::harness::client::Reply;
use crate::harness::gate::Gate;
use crate::harness::raw::Raw;
use crate::harness::sender::{Provider, Sender};
use crate::harness::{LIMIT, wait_for};

async fn gate(provider: Provider, app: &App, more: &str) -> Gate {
    Gate::start(&provider.route("hook", &app.url("/in"), more)).await
}

fn is_duplicate(reply: &Reply) -> bool {
    reply.header("hookgate-duplicate") == Some("true")
}

/// Fails when a spent id is not remembered, or the duplicate is forwarded before the claim is checked.
#[tokio::test]
async fn a_duplicate_gets_the_first_status_and_is_not_forwarded() {
    for provider in [
        Provider::Stripe,
        Provider::Github,
        Provider::StandardWebhooks,
        Provider::Custom,
    ] {
        let app = App::start(respond(202, "queued"));
        let gate = gate(provider, &app, "").await;
        let hook = Sender::new(provider).event("/hook");
        let first = gate.send(&hook).await;
        assert_eq!(
            (first.status, is_duplicate(&first)),
            (202, false),
            "{provider:?}"
        );
        for client in [gate.client(), gate.client_h2()] {
            let second = client.send(&hook).await;
            assert_eq!(
                (second.status, is_duplicate(&second)),
                (202, true),
                "{provider:?}"
            );
        }
        app.only_request();
        assert_eq!(
            gate.send(&Sender::new(provider).event("/hook"))
                .await
                .status,
            202
        );
        assert_eq!(app.count(), 2, "another event is not a duplicate");
    }
}

/// Fails when the whole request is the key: Stripe signs a retry again, with another time.
#[tokio::test]
async fn a_retry_with_a_fresh_signature_is_a_duplicate() {
    let app = App::start(ok());
    let gate = gate(Provider::Stripe, &app, "").await;
    let first = Sender::new(Provider::Stripe)
        .shifted(-60)
        .event_of("/hook", "evt_again");
    let retry = Sender::new(Provider::Stripe).event_of("/hook", "evt_again");
    assert_ne!(
        first.header("Stripe-Signature"),
        retry.header("Stripe-Signature")
    );
    assert_eq!(gate.send(&first).await.status, 200);
    assert!(is_duplicate(&gate.send(&retry).await));
    app.only_request();
}

/// Fails when equal bytes under a new id count as a duplicate, or are forwarded without a mark: two events may look
/// alike.
#[tokio::test]
async fn equal_bytes_under_a_fresh_id_are_forwarded_and_marked() {
    for (provider, id) in [
        (Provider::Github, "X-GitHub-Delivery"),
        (Provider::Shopify, "X-Shopify-Webhook-Id"),
    ] {
        let app = App::start(ok());
        let gate = gate(provider, &app, "").await;
        let hook = Sender::new(provider).event("/hook");
        assert_eq!(gate.send(&hook).await.status, 200);
        let replay = gate.send(&hook.clone().set(id, "a-fresh-id")).await;
        assert_eq!((replay.status, is_duplicate(&replay)), (200, false));
        assert!(is_duplicate(&gate.send(&hook).await), "{provider:?}");
        let marks = marks(&app, "hookgate-replayed-body");
        assert_eq!(marks, [None, Some("true".to_owned())], "{provider:?}");
        let line = gate.wait_for_line(&["replayed_body"]).await;
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&line["target"], &line["level"]),
            (&"security".into(), &"WARN".into())
        );
        let flagged = ["outcome=\"flagged\""];
        assert_eq!(
            gate.metric("hookgate_replayed_bodies_total", &flagged)
                .await,
            1.0
        );
    }
}

/// Fails when a blocked replay gets 2xx, reaches the app, or claims the id of a later event.
#[tokio::test]
async fn a_route_may_block_replayed_bytes() {
    let app = App::start(ok());
    let gate = gate(Provider::Github, &app, "dedup = { replay = \"block\" }\n").await;
    let sender = Sender::new(Provider::Github);
    let hook = sender.event_of("/hook", "d-1");
    assert_eq!(gate.send(&hook).await.status, 200);
    let replay = gate
        .send(&hook.clone().set("X-GitHub-Delivery", "d-2"))
        .await;
    assert_eq!((replay.status, is_duplicate(&replay)), (409, false));
    app.only_request();
    assert_eq!(
        gate.send(&sender.event_of("/hook", "d-2")).await.status,
        200
    );
    assert_eq!(app.count(), 2);
}

/// Fails when a sender can set a mark of the gate.
#[tokio::test]
async fn a_sender_sets_no_marks() {
    let app = App::start(ok());
    let gate = gate(Provider::Github, &app, "").await;
    let hook = Sender::new(Provider::Github)
        .event("/hook")
        .with("Hookgate-Duplicate", "true")
        .with("Hookgate-Replayed-Body", "true");
    assert_eq!(gate.send(&hook).await.status, 200);
    assert_eq!(marks(&app, "hookgate-replayed-body"), [None]);
    assert_eq!(marks(&app, "hookgate-duplicate"), [None]);
}

fn marks(app: &App, name: &str) -> Vec<Option<String>> {
    let requests = app.requests();
    requests
        .iter()
        .map(|request| request.header(name))
        .collect()
}

/// Fails when a claim becomes spent although the app did not respond with 2xx.
#[tokio::test]
async fn what_the_app_did_not_take_may_come_again() {
    let failures = [
        respond(500, "broken"),
        respond(404, "not here"),
        respond(302, "elsewhere"),
        Behavior::Close,
        Behavior::Reset,
        garbage(),
    ];
    for failure in failures {
        let app = App::start(sequence([failure, ok()]));
        let gate = gate(Provider::Stripe, &app, "").await;
        let hook = Sender::new(Provider::Stripe).event("/hook");
        let first = gate.send(&hook).await;
        assert!(first.status >= 300, "{}", first.status);
        let retry = gate.send(&hook).await;
        assert_eq!((retry.status, is_duplicate(&retry)), (200, false));
        assert_eq!(app.count(), 2);
        assert!(is_duplicate(&gate.send(&hook).await));
        assert_eq!(app.count(), 2);
    }
}

/// Fails when the claim comes before the signature check in `Gate::admit`.
#[tokio::test]
async fn a_client_cannot_spend_an_id_that_it_cannot_sign() {
    let app = App::start(ok());
    let gate = gate(Provider::Stripe, &app, "").await;
    let forger = Sender::new(Provider::Stripe).with_secret(Provider::Stripe.other_secret());
    for _ in 0..3 {
        assert_eq!(
            gate.send(&forger.event_of("/hook", "evt_wanted"))
                .await
                .status,
            401
        );
    }
    let stale = Sender::new(Provider::Stripe)
        .shifted(-3600)
        .event_of("/hook", "evt_wanted");
    assert_eq!(gate.send(&stale).await.status, 401);
    let genuine = gate
        .send(&Sender::new(Provider::Stripe).event_of("/hook", "evt_wanted"))
        .await;
    assert_eq!((genuine.status, is_duplicate(&genuine)), (200, false));
    app.only_request();
}

/// Fails when the route is not part of the key.
#[tokio::test]
async fn the_same_id_on_another_route_is_another_event() {
    let app = App::start(ok());
    let both = ["one", "two"].map(|name| Provider::Stripe.route(name, &app.url("/in"), ""));
    let gate = Gate::start(&both.concat()).await;
    let hook = Sender::new(Provider::Stripe).event("/one");
    assert_eq!(gate.send(&hook).await.status, 200);
    let other = gate.send(&hook.to("/two")).await;
    assert_eq!((other.status, is_duplicate(&other)), (200, false));
    assert_eq!(app.count(), 2);
}

mod in_flight {
    use super::*;

    /// Sends two copies while the app holds the first; the latch opens when the second is surely inside the gate.
    async fn two_copies(status: u16) -> (App, Reply, Reply) {
        let latch = Latch::default();
        let app = App::start(held(&latch, status));
        let gate = gate(Provider::Stripe, &app, "").await;
        let hook = Sender::new(Provider::Stripe).event("/hook");
        let send = || {
            let (client, hook) = (gate.client(), hook.clone());
            tokio::spawn(async move { client.send(&hook).await })
        };
        let first = send();
        app.wait_for_requests(1).await;
        let second = send();
        gate.wait_for_metric("hookgate_requests_in_flight", &[], |count| count >= 2.0)
            .await;
        latch.open();
        (app, first.await.unwrap(), second.await.unwrap())
    }

    /// Fails when an id in flight counts as spent (the copy would get its 2xx too early) or as new.
    #[tokio::test]
    async fn the_second_copy_waits_and_shares_the_2xx() {
        let (app, first, second) = two_copies(201).await;
        assert_eq!((first.status, is_duplicate(&first)), (201, false));
        assert_eq!((second.status, is_duplicate(&second)), (201, true));
        app.only_request();
    }

    /// Fails when a waiting copy gets 2xx although the first one failed.
    #[tokio::test]
    async fn the_second_copy_shares_the_failure() {
        let (app, first, second) = two_copies(500).await;
        assert_eq!(first.status, 500);
        assert_eq!((second.status, is_duplicate(&second)), (500, false));
        app.only_request();
    }
}

/// Fails when the exchange runs inside the request's own future, which hyper drops when the sender hangs up: the claim
/// would be released although the app takes the event.
#[tokio::test]
async fn a_sender_that_hangs_up_changes_nothing() {
    let latch = Latch::default();
    let app = App::start(held(&latch, 200));
    let gate = gate(Provider::Stripe, &app, "").await;
    let hook = Sender::new(Provider::Stripe).event("/hook");
    let mut impatient: Raw = gate.raw().await;
    impatient.send(&hook.to_http1()).await;
    app.wait_for_requests(1).await;
    drop(impatient);
    let seen = gate.log_lines().len();
    gate.wait_for_metric("hookgate_connections_open", &[], |count| count == 0.0)
        .await;
    latch.open();
    let is_told = || {
        gate.log_lines()
            .iter()
            .skip(seen)
            .any(|line| line.contains("\"accepted\""))
    };
    wait_for("the line of the abandoned request", LIMIT, is_told).await;
    let again = gate.send(&hook).await;
    assert_eq!((again.status, is_duplicate(&again)), (200, true));
    app.only_request();
}

/// Fails when the table of claims belongs to a generation.
#[tokio::test]
async fn spent_ids_survive_a_reload() {
    let app = App::start(ok());
    let config = Provider::Stripe.route("hook", &app.url("/in"), "");
    let gate = Gate::start(&config).await;
    let hook = Sender::new(Provider::Stripe).event("/hook");
    assert_eq!(gate.send(&hook).await.status, 200);
    let changed = format!("{config}\n[log]\nlevel = \"debug\"\n");
    assert!(gate.reload(&changed).await);
    assert!(is_duplicate(&gate.send(&hook).await));
    app.only_request();
}

/// Fails when a route without `dedup` has claims.
#[tokio::test]
async fn without_dedup_every_copy_is_forwarded() {
    let app = App::start(ok());
    let gate = gate(Provider::Stripe, &app, "dedup = false").await;
    let hook = Sender::new(Provider::Stripe).event("/hook");
    for _ in 0..3 {
        assert!(!is_duplicate(&gate.send(&hook).await));
    }
    assert_eq!(app.count(), 3);
}

/// Fails when `missing_id` is ignored: an arm of `by_body` that decides like another.
#[tokio::test]
async fn what_a_missing_id_means_is_the_routes_choice() {
    let hook = Sender::new(Provider::XWebhook)
        .event("/hook")
        .without("X-Webhook-ID");
    let cases = [
        ("accept", [200, 200], 2),
        ("reject", [400, 400], 0),
        ("body", [200, 200], 1),
    ];
    for (choice, statuses, forwarded) in cases {
        let app = App::start(ok());
        let more = format!("dedup = {{ by = [\"id\"], missing_id = \"{choice}\" }}");
        let gate = gate(Provider::XWebhook, &app, &more).await;
        let got = [gate.send(&hook).await.status, gate.send(&hook).await.status];
        assert_eq!((got, app.count()), (statuses, forwarded), "{choice}");
    }
}

/// Fails when an id is taken from the first or the last of two equal keys: gate and app may read different ones.
#[tokio::test]
async fn a_body_with_two_ids_is_refused() {
    let app = App::start(ok());
    let gate = gate(Provider::Stripe, &app, "").await;
    let body = br#"{"id":"evt_a","type":"x","id":"evt_b"}"#;
    let hook = Sender::new(Provider::Stripe).sign("/hook", "", body);
    assert_eq!(gate.send(&hook).await.status, 400);
    assert_eq!(app.count(), 0);
}
