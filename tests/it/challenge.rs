//! A provider's URL check is answered by the gate, and only when it is signed.

use crate::harness::app::{App, ok};
use crate::harness::gate::Gate;
use crate::harness::sender::{Provider, Sender};

const BODY: &[u8] = br#"{"token":"Jhj5dZrVaK7ZwHHjRyZWjbDl","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}"#;
const CHALLENGE: &str = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P";

#[tokio::test]
async fn slack_gets_its_challenge_back() {
    let app = App::start(ok());
    let gate = Gate::start(&Provider::Slack.route("slack", &app.url("/in"), "")).await;
    let hook = Sender::new(Provider::Slack).sign("/slack", "", BODY);
    for client in [gate.client(), gate.client_h2()] {
        let reply = client.send(&hook).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, CHALLENGE));
    }
    assert_eq!(app.count(), 0);
    gate.wait_for_line(&["\"challenge\""]).await;
    assert_eq!(
        gate.send(&Sender::new(Provider::Slack).event("/slack"))
            .await
            .status,
        200
    );
    app.only_request();
}

/// Fails when the challenge is answered before the signature is checked: the gate would echo for strangers.
#[tokio::test]
async fn an_unsigned_challenge_is_refused() {
    let app = App::start(ok());
    let gate = Gate::start(&Provider::Slack.route("slack", &app.url("/in"), "")).await;
    let hook = Sender::new(Provider::Slack).sign("/slack", "", BODY);
    let unsigned = hook.clone().without("X-Slack-Signature");
    let forged = Sender::new(Provider::Slack).with_secret(Provider::Slack.other_secret());
    for bad in [
        unsigned,
        forged.sign("/slack", "", BODY),
        hook.flip_body_byte(),
    ] {
        let reply = gate.send(&bad).await;
        assert_eq!(reply.status, 401);
        assert!(!reply.text().contains(CHALLENGE));
    }
    assert_eq!(app.count(), 0);
}

#[tokio::test]
async fn a_route_may_leave_the_challenge_to_its_app() {
    let app = App::start(ok());
    let more = "on_challenge = \"forward\"";
    let gate = Gate::start(&Provider::Slack.route("slack", &app.url("/in"), more)).await;
    let hook = Sender::new(Provider::Slack).sign("/slack", "", BODY);
    assert_eq!(gate.send(&hook).await.text(), "taken");
    assert_eq!(app.only_request().body, BODY);
}
