//! Tests of access tokens for destinations (OAuth 2.0 client credentials).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::harness::app::{App, Behavior, Recorded, by, ok, respond, steps};
use crate::harness::client::Client;
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender};
use crate::harness::{LIMIT, poll_for, wait_for};

const TOKEN: &str = "zQ4v9Jm2Lr7Xw1Bt";
const SECRET: &str = "oauth-secret-0123456789&=+";

/// A token server that numbers its tokens.
fn token_server(lifetime: u64) -> (App, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let app = App::start(by(move |_: &Recorded| {
        let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
        let token = format!("access.token-{number}");
        respond(
            200,
            &format!(
                r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{lifetime}}}"#
            ),
        )
    }));
    (app, count)
}

fn config(app: &App, token_url: &str, more: &str) -> String {
    let secret = Provider::Github.secret();
    format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\n[store]\nurl = \"sqlite:hookgate.db\"\nmin_free = \"1MiB\"\n[routes.hook]\npath = \"/hook\"\n\
         provider = \"github\"\nsecret = \"{secret}\"\nmode = \"queue\"\n[routes.hook.destinations.partner]\n\
         url = \"{}\"\nretry = {{ schedule = [\"10ms\"], jitter = 0 }}\n[routes.hook.destinations.partner.oauth2]\n\
         token_url = \"{token_url}\"\nclient_id = \"hook gate\"\nclient_secret = \"{SECRET}\"\n{more}\n",
        app.url("/in")
    )
}

/// Reads a resource of the admin API as text.
async fn api(gate: &Gate, path: &str) -> String {
    let hook = Hook::bare("GET", path, b"").with("Authorization", &format!("Bearer {TOKEN}"));
    Client::new(gate.admin_address(), None)
        .send(&hook)
        .await
        .text()
}

fn event() -> Hook {
    Sender::new(Provider::Github).event("/hook")
}

/// Fails when an attempt has no token, when each attempt fetches one, or when the request for it is not that of the RFC.
#[tokio::test]
async fn one_token_serves_many_attempts() {
    let app = App::start(ok());
    let (server, count) = token_server(3600);
    let more = "scope = \"events.write all\"\naudience = \"https://partner.example\"";
    let gate = Gate::start(&config(&app, &server.url("/token"), more)).await;
    for _ in 0..20 {
        assert_eq!(gate.send(&event()).await.status, 200);
    }
    let requests = app.wait_for_requests(20).await;
    for request in &requests {
        assert_eq!(
            request.header("authorization").as_deref(),
            Some("Bearer access.token-1")
        );
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let asked = server.only_request();
    assert_eq!(asked.target(), "/token");
    // RFC 6749, section 2.3.1: both parts are form-encoded before they are joined.
    let expected = data_encoding::BASE64.encode(b"hook+gate:oauth-secret-0123456789%26%3D%2B");
    assert_eq!(
        asked.header("authorization"),
        Some(format!("Basic {expected}"))
    );
    assert_eq!(
        asked.body_text(),
        "grant_type=client_credentials&scope=events.write+all&audience=https%3A%2F%2Fpartner.example"
    );
    assert_eq!(
        asked.header("content-type").as_deref(),
        Some("application/x-www-form-urlencoded")
    );
}

/// Fails when the credentials are not in the form although the config says so.
#[tokio::test]
async fn credentials_can_be_posted() {
    let app = App::start(ok());
    let (server, _) = token_server(3600);
    let gate = Gate::start(&config(&app, &server.url("/token"), "auth = \"post\"")).await;
    assert_eq!(gate.send(&event()).await.status, 200);
    app.wait_for_requests(1).await;
    let asked = server.only_request();
    assert_eq!(asked.header("authorization"), None);
    assert_eq!(
        asked.body_text(),
        "grant_type=client_credentials&client_id=hook+gate&client_secret=oauth-secret-0123456789%26%3D%2B"
    );
}

/// Fails when an attempt without a token reaches the app, when the error says nothing, or when the event is lost.
#[tokio::test]
async fn without_a_token_the_attempt_fails_and_is_retried() {
    let app = App::start(ok());
    let is_up = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&is_up);
    let server = App::start(by(move |_: &Recorded| match seen.load(Ordering::SeqCst) {
        0 => respond(
            401,
            r#"{"error":"invalid_client","error_description":"oauth-secret-0123456789"}"#,
        ),
        _ => respond(200, r#"{"access_token":"late","token_type":"bearer"}"#),
    }));
    // The retry must come later than 5 s: until then a failed fetch is not repeated, and the attempt would fail again.
    let text = config(&app, &server.url("/token"), "").replace("\"10ms\"", "\"6s\"");
    let gate = Gate::start(&text).await;
    assert_eq!(gate.send(&event()).await.status, 200);
    let attempts = poll_for("a failed attempt", LIMIT, async || {
        let text = api(&gate, "/api/v1/deliveries/1").await;
        let shown: Value = serde_json::from_str(&text).ok()?;
        let first = shown["attempts"].get(0)?.clone();
        Some(first)
    })
    .await;
    assert_eq!(attempts["error"], "token", "{attempts}");
    let detail = attempts["error_detail"].as_str().unwrap();
    assert_eq!(
        detail,
        "the token server responded with status 401: invalid_client"
    );
    assert_eq!(app.count(), 0);
    is_up.store(1, Ordering::SeqCst);
    let request = app.wait_for_requests(1).await.remove(0);
    assert_eq!(
        request.header("authorization").as_deref(),
        Some("Bearer late")
    );
    for line in gate.log_lines() {
        assert!(
            !line.contains("oauth-secret") && !line.contains("late\""),
            "{line}"
        );
    }
}

/// Fails when a response that repeats the token puts it into the store, the log or the API.
#[tokio::test]
async fn a_token_is_kept_nowhere() {
    let app = App::start(by(|request: &Recorded| {
        respond(
            400,
            &format!(
                "you sent {}",
                request.header("authorization").unwrap_or_default()
            ),
        )
    }));
    let (server, _) = token_server(3600);
    let gate = Gate::start(&config(&app, &server.url("/token"), "")).await;
    assert_eq!(gate.send(&event()).await.status, 200);
    app.wait_for_requests(1).await;
    let shown = poll_for("the attempt", LIMIT, async || {
        let text = api(&gate, "/api/v1/deliveries/1").await;
        text.contains("you sent").then_some(text)
    })
    .await;
    assert!(shown.contains("you sent Bearer ***"), "{shown}");
    for entry in std::fs::read_dir(gate.folder()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(12).any(|part| part == b"access.token"));
    }
    for line in gate.log_lines() {
        assert!(
            !line.contains("access.token") && !line.contains("oauth-secret"),
            "{line}"
        );
    }
}

/// Fails when a short-lived token is used after its end, or when attempts wait while it is refreshed.
#[tokio::test]
async fn a_token_is_fetched_again_before_it_ends() {
    let app = App::start(ok());
    let (server, count) = token_server(4);
    let gate = Gate::start(&config(&app, &server.url("/token"), "")).await;
    let mut sent = 0;
    poll_for("a second token", 2 * LIMIT, async || {
        assert_eq!(gate.send(&event()).await.status, 200);
        sent += 1;
        app.wait_for_requests(sent).await;
        (count.load(Ordering::SeqCst) > 1).then_some(())
    })
    .await;
    wait_for("a request with it", LIMIT, || {
        let requests = app.requests();
        requests
            .iter()
            .any(|one| one.header("authorization").as_deref() == Some("Bearer access.token-2"))
    })
    .await;
    assert!(
        app.requests()
            .iter()
            .all(|one| one.header("authorization").is_some())
    );
}

/// Fails when a redirect, an endless or a huge response of the token server is taken for a token.
#[tokio::test]
async fn odd_token_servers_give_no_token() {
    let large = format!(
        r#"{{"access_token":"{}","token_type":"Bearer"}}"#,
        "a".repeat(100_000)
    );
    let odd: [(Behavior, &str); 4] = [
        (
            crate::harness::app::respond_with(302, "location: http://127.0.0.1:1/\r\n", ""),
            "status 302",
        ),
        (respond(200, &large), "larger than 64 KiB"),
        (respond(200, "<html>"), "not JSON"),
        (
            steps([Behavior::Wait(Duration::from_millis(20)), Behavior::Close]),
            "did not respond",
        ),
    ];
    for (behavior, part) in odd {
        let app = App::start(ok());
        let server = App::start(behavior);
        let gate = Gate::start(&config(&app, &server.url("/token"), "")).await;
        assert_eq!(gate.send(&event()).await.status, 200);
        let detail = poll_for("a failed attempt", LIMIT, async || {
            let text = api(&gate, "/api/v1/deliveries/1").await;
            let shown: Value = serde_json::from_str(&text).ok()?;
            shown["attempts"].get(0)?["error_detail"]
                .as_str()
                .map(str::to_owned)
        })
        .await;
        assert!(detail.contains(part), "{detail}");
        assert_eq!(app.count(), 0, "{part}");
    }
}
