//! A provider's URL check is answered by the gate, and only when it is signed.

use crate::harness::app::{App, ok};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender};

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

fn meta(app: &App) -> String {
    format!(
        "[routes.meta]\npath = \"/meta\"\nprovider = \"meta\"\nsecret = \"0123456789abcdef0123456789abcdef\"\nverify_token = \"a8f1c3e59b7d2046\"\nupstream = \"{}\"\n",
        app.url("/in")
    )
}

/// Fails when the token is not compared: the gate would echo for strangers.
#[tokio::test]
async fn metas_challenge_goes_back_for_the_routes_token_only() {
    let app = App::start(ok());
    let gate = Gate::start(&meta(&app)).await;
    let ask = |token: &str| {
        let path =
            format!("/meta?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}");
        Hook::bare("GET", &path, b"")
    };
    for client in [gate.client(), gate.client_h2()] {
        let reply = client.send(&ask("a8f1c3e59b7d2046")).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "1158201444"));
        for wrong in [
            "",
            "a8f1c3e59b7d2047",
            "a8f1c3e59b7d2046&hub.verify_token=x",
        ] {
            let reply = client.send(&ask(wrong)).await;
            assert_eq!(reply.status, 401, "{wrong}");
            assert!(!reply.text().contains("1158201444"));
        }
        let page = "/meta?hub.challenge=%3Cscript%3E%0d%0aX:%20y&hub.verify_token=a8f1c3e59b7d2046";
        assert_eq!(client.send(&Hook::bare("GET", page, b"")).await.status, 401);
        assert_eq!(
            client.send(&Hook::bare("GET", "/meta", b"")).await.status,
            405
        );
    }
    assert_eq!(app.count(), 0);
}
