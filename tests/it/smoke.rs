//! Smoke test: a signed event reaches the app, a forged one does not.

use crate::harness::LIMIT;
use crate::harness::app::{App, Behavior, Refusing, ok, respond, sequence};
use crate::harness::client::Client;
use crate::harness::gate::Gate;
use crate::harness::raw::Raw;
use crate::harness::sender::{Provider, Sender};

#[tokio::test]
async fn signed_passes_and_forged_does_not() {
    let app = App::start(ok());
    let gate = Gate::start(&Provider::Github.route("hook", &app.url("/in"), "")).await;
    let hook = Sender::new(Provider::Github).event("/hook");
    assert_eq!(gate.send(&hook).await.status, 200);
    assert_eq!(app.only_request().body, hook.body);
    let forged = Sender::new(Provider::Github)
        .event("/hook")
        .flip_body_byte();
    assert_eq!(gate.send(&forged).await.status, 401);
    assert_eq!(app.count(), 1);
    assert_eq!(
        gate.client_h2()
            .send(&Sender::new(Provider::Github).event("/hook"))
            .await
            .status,
        200
    );
    assert_eq!(gate.admin("/healthz").await.0, 200);
}

/// Tests the harness itself: the app records what a client sends, in each framing, and misbehavior is visible.
#[tokio::test]
async fn the_app_keeps_what_it_gets() {
    let app = App::start(sequence([ok(), respond(418, ""), Behavior::Close, ok()]));
    let client = Client::new(app.address(), None);
    let hook = Sender::new(Provider::Github).event("/a?b=c");
    let mut connection = client.connect().await.unwrap();
    assert_eq!(connection.send(&hook).await.text(), "taken");
    assert_eq!(connection.send(&hook).await.status, 418);
    assert!(connection.try_send(&hook).await.is_err());
    let mut raw = Raw::connect(app.address(), None).await;
    raw.send(&hook.head_http1("transfer-encoding: chunked\r\n"))
        .await;
    raw.send(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").await;
    let answer = raw.read_answer(LIMIT).await.unwrap();
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (200, &b"taken"[..])
    );
    let requests = app.requests();
    assert_eq!(requests.len(), 4);
    assert_eq!(requests[0].body, hook.body);
    assert_eq!(requests[3].body, b"abcde");
    assert_eq!(requests[0].target(), "/a?b=c");
    assert_eq!(
        requests[0].header("X-GitHub-Event").as_deref(),
        Some("push")
    );
    assert_eq!((requests[2].connection, requests[3].connection), (0, 1));
    assert!(
        Client::new(Refusing::new().address(), None)
            .try_send(&hook)
            .await
            .is_err()
    );
}
