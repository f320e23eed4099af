//! Tests of `hookgate capture`: it saves a request of a running gate, and the file works with replay and explain.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::time::Instant;

use crate::harness::LIMIT;
use crate::harness::app::{App, ok};
use crate::harness::command::outcome;
use crate::harness::gate::Gate;
use crate::harness::golden::golden;
use crate::harness::listener::stderr_text;
use crate::harness::sender::{Hook, Provider, Sender};
use crate::harness::transcript::Transcript;

const OPERATOR: &str = "zQ4v9Jm2Lr7Xw1Bt";
const VIEWER: &str = "kP8s3Hn6Yd0Gf5Vc";

/// Returns a config with an admin listener with two tokens, and a store.
fn config(routes: &str) -> String {
    format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[admin.tokens]]\nname = \"ann\"\nrole = \"operator\"\ntoken = \"{OPERATOR}\"\n\
         [[admin.tokens]]\nname = \"board\"\nrole = \"viewer\"\ntoken = \"{VIEWER}\"\n\
         [store]\nurl = \"sqlite:hookgate.db\"\nmin_free = \"1MiB\"\n{routes}"
    )
}

async fn capture(gate: &Gate, id: &str, more: &[&str]) -> Output {
    gate.hookgate(OPERATOR, &[&["capture", id], more].concat())
        .await
}

/// Sends an event, and returns its id.
async fn sent(gate: &Gate, hook: &Hook, status: u16) -> String {
    let reply = gate.send(hook).await;
    assert_eq!(reply.status, status, "{}", reply.text());
    reply.header("hookgate-request-id").unwrap().to_owned()
}

/// Fails when a byte of the body changes, or a header is lost, on the path through store, file and `replay-file`.
#[tokio::test]
async fn an_event_of_the_inbox_is_saved_and_sent_again_as_it_came() {
    let (app, other) = (App::start(ok()), App::start(ok()));
    let more = "mode = \"queue\"\n";
    let gate = Gate::start(&config(&Provider::Stripe.route(
        "hook",
        &app.url("/in"),
        more,
    )))
    .await;
    let body = b"{\"id\": \"evt_1\",\r\n\"type\":\"a.b\",  \"text\": \"\\u00e4 \xc3\xa4\"}\n\r\n\n";
    let hook = Sender::new(Provider::Stripe)
        .sign("/hook?a=1&b=%20", "evt_1", body)
        .at_host("hooks.example.com")
        .with("X-Own", "kept")
        .with("X-Own", "twice")
        .with("X-Own", "a\tb");
    let id = sent(&gate, &hook, 200).await;

    let printed = capture(&gate, &id, &[]).await;
    assert!(printed.status.success(), "{}", stderr_text(&printed));
    assert_eq!(stderr_text(&printed), "");
    assert!(printed.stdout.ends_with(&[b"\r\n\r\n", &body[..]].concat()));
    let saved = capture(&gate, &id, &["--out", "event.http"]).await;
    assert!(
        saved.status.success() && saved.stdout.is_empty(),
        "{}",
        stderr_text(&saved)
    );
    let path = gate.folder().join("event.http");
    assert_eq!(std::fs::read(&path).unwrap(), printed.stdout);
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let again = replay(&gate, "event.http", &other.url(""), &["--host", "file"]).await;
    assert!(again.status.success(), "{}", stderr_text(&again));
    let got = other.only_request();
    assert_eq!(got.body, body);
    assert_eq!(got.line(), "POST /hook?a=1&b=%20 HTTP/1.1");
    assert_eq!(got.headers("x-own"), ["kept", "twice", "a\tb"]);
    assert_eq!(got.header("host").as_deref(), Some("hooks.example.com"));
    for name in ["Stripe-Signature", "Content-Type"] {
        assert_eq!(
            got.header(name).as_deref(),
            Some(hook.header(name)),
            "{name}"
        );
    }
    let length = body.len().to_string();
    assert_eq!(got.header("content-length"), Some(length));

    // The gate recognizes it as the same event, and `explain` says that it passes.
    let ca = gate.folder().join("ca.pem").display().to_string();
    let door = format!("https://localhost:{}", gate.address().port());
    let again = replay(&gate, "event.http", &door, &["--cacert", &ca]).await;
    assert!(again.status.success(), "{}", stderr_text(&again));
    let shown = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(shown.contains("hookgate-duplicate: true"), "{shown}");
    let explained = gate.hookgate(
        OPERATOR,
        &["explain", "--config", "hookgate.toml", "event.http"],
    );
    let explained = explained.await;
    assert_eq!(
        explained.status.code(),
        Some(1),
        "{}",
        stderr_text(&explained)
    );
}

async fn replay(gate: &Gate, file: &str, to: &str, more: &[&str]) -> Output {
    gate.hookgate("", &[&["replay-file", file, "--to", to], more].concat())
        .await
}

/// Fails when the file does not say what it lacks, or contains a token.
#[tokio::test]
async fn a_refused_request_is_saved_with_its_tokens_masked() {
    let app = App::start(ok());
    let routes = [
        Provider::Gitlab.route("gitlab", &app.url("/in"), ""),
        Provider::Stripe.route("stripe", &app.url("/in"), ""),
    ];
    let gate = Gate::start(&config(&routes.concat())).await;
    let forged = Sender::new(Provider::Gitlab)
        .with_secret("a-guessed-token-0123456789")
        .event_of("/gitlab?api_key=another-token", "evt_1");
    let id = sent(&gate, &forged, 401).await;
    let saved = capture(&gate, &id, &["--out", "refused.http"]).await;
    assert!(saved.status.success(), "{}", stderr_text(&saved));
    // A wrong token is refused before the body is read.
    let cut = format!("cut, 0 of {} bytes were kept", forged.body.len());
    assert_eq!(
        stderr_text(&saved),
        format!(
            "note: masked because it may be a token: x-gitlab-token, the query\n\
             note: the body is incomplete: {cut}\n"
        )
    );
    let file = std::fs::read(gate.folder().join("refused.http")).unwrap();
    let text = String::from_utf8(file).unwrap();
    golden("capture_refused.txt", &text);
    assert!(
        !text.contains("guessed") && !text.contains("another-token"),
        "{text}"
    );
    let again = replay(&gate, "refused.http", &app.url(""), &[]).await;
    let warnings = format!(
        "warning: the body in the file is incomplete: {cut}\n\
         warning: masked when it was saved, so sent as `***`: x-gitlab-token, the query\n"
    );
    assert_eq!(stderr_text(&again), warnings);
    assert!(again.status.success(), "{again:?}");
    let explain = ["explain", "--config", "hookgate.toml", "refused.http"];
    let explained = gate.hookgate("", &explain).await;
    let shown = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(
        shown.contains("note      masked when it was saved: x-gitlab-token"),
        "{shown}"
    );

    // Only the start of a long body is kept, and the file says so.
    let long = Sender::new(Provider::Stripe).sign("/stripe", "evt_2", &vec![b' '; 100_000]);
    let id = sent(&gate, &long.flip_body_byte(), 401).await;
    let saved = capture(&gate, &id, &["--out", "long.http"]).await;
    let cut = "cut, 65536 of 100000 bytes were kept";
    assert_eq!(
        stderr_text(&saved),
        format!("note: the body is incomplete: {cut}\n")
    );
    let again = replay(&gate, "long.http", &app.url(""), &[]).await;
    assert!(stderr_text(&again).contains(cut), "{}", stderr_text(&again));
}

#[tokio::test]
async fn what_cannot_be_captured_is_reported() {
    let route = Provider::Stripe.route("stripe", "http://127.0.0.1:1/", "");
    let gate = Gate::start(&config(&route)).await;
    let id = sent(&gate, &Hook::bare("POST", "/stripe", b"{}"), 401).await;
    let file = gate.folder().join("there.http");
    std::fs::write(&file, "mine").unwrap();
    let unknown = "0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12";
    let mut transcript = Transcript::new("capture_errors.txt");
    for (token, arguments) in [
        (VIEWER, &[&*id][..]),
        (OPERATOR, &[unknown]),
        (OPERATOR, &["evt_1"]),
        (OPERATOR, &[&id, "--out", "there.http"]),
        (OPERATOR, &[&id, "--out", "no/where.http"]),
        (OPERATOR, &[&id, "--admin", "unix:/nowhere.sock"]),
    ] {
        let arguments = [&["capture"], arguments].concat();
        let ended = outcome(gate.hookgate(token, &arguments).await);
        assert_eq!(ended.1, "", "{arguments:?}");
        transcript.add(&arguments, &ended);
    }
    transcript.compare();
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    // Each view of personal data is audited, with the name of the viewer.
    let line = gate.wait_for_line(&["capture_request", "ann"]).await;
    assert!(line.contains(unknown) || line.contains(&id), "{line}");
}

/// Fails when a file without the event's body looks like the event, or when the error does not say why.
#[tokio::test]
async fn an_event_whose_body_was_let_go_is_not_saved() {
    let app = App::start(ok());
    let route = Provider::Stripe.route("hook", &app.url("/in"), "mode = \"queue\"\n");
    let text = config(&route).replace("[store]\n", "[store]\nkeep_body = false\n");
    let gate = Gate::start(&text).await;
    let id = sent(&gate, &Sender::new(Provider::Stripe).event("/hook"), 200).await;
    app.wait_for_requests(1).await;
    let gone = format!("the store removed the body of event `{id}`");
    let deadline = Instant::now() + LIMIT;
    // The outcome of the delivery is saved after the app has responded.
    let output = loop {
        let output = capture(&gate, &id, &["--out", "gone.http"]).await;
        if !output.status.success() || Instant::now() > deadline {
            break output;
        }
        std::fs::remove_file(gate.folder().join("gone.http")).unwrap();
    };
    let err = stderr_text(&output);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(
        err.contains(&gone) && err.contains("keep_body = false"),
        "{err}"
    );
    assert!(output.stdout.is_empty() && !gate.folder().join("gone.http").exists());
}
