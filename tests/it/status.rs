//! Tests of `hookgate status`: its screen, exit codes, and `--watch`.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::app::{App, ok};
use crate::harness::command::outcome;
use crate::harness::gate::Gate;
use crate::harness::sender::{Provider, Sender};
use crate::harness::transcript::Transcript;
use crate::harness::{LIMIT, poll_for};

const TOKEN: &str = "zQ4v9Jm2Lr7Xw1Bt";

async fn gate(more: &str, to: &str) -> Gate {
    let routes = Provider::Stripe.route("hook", to, more);
    Gate::start(&format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[admin.tokens]]\nname = \"ann\"\nrole = \"operator\"\ntoken = \"{TOKEN}\"\n\
         [store]\nurl = \"sqlite:hookgate.db\"\nmin_free = \"1MiB\"\n{routes}"
    ))
    .await
}

/// Fails when a refusal counts as passed, or when something that needs attention is missing or exits with 0.
#[tokio::test]
async fn one_screen_shows_the_state_of_the_gate() {
    let app = App::start(ok());
    let gate = gate("mode = \"queue\"\n", &app.url("/in")).await;
    let right = Sender::new(Provider::Stripe).sign("/hook", "evt_1", b"{\"id\":\"evt_1\"}");
    assert_eq!(gate.send(&right).await.status, 200);
    let wrong = right.flip_body_byte();
    for _ in 0..2 {
        assert_eq!(gate.send(&wrong).await.status, 401);
    }
    app.wait_for_requests(1).await;
    // The store counts the delivery after the app has responded.
    gate.wait_for_line(&["event delivered"]).await;
    // The edge counts the end of a connection after the client has closed it.
    poll_for("the end of the connections", LIMIT, async || {
        let shown = outcome(gate.hookgate(TOKEN, &["status"]).await);
        shown.1.contains(" 0 connections open").then_some(())
    })
    .await;
    let mut transcript = Transcript::new("status.txt");
    for arguments in [
        &["status"][..],
        &["destinations", "pause", "hook/upstream"],
        &["status"],
    ] {
        let ended = outcome(gate.hookgate(TOKEN, arguments).await);
        transcript.add(arguments, &ended);
    }
    transcript.compare_without_ages();
    let told = gate.hookgate(TOKEN, &["status", "--json"]).await;
    assert_eq!(told.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["routes"][0]["refused"], 2, "{told}");
    let needs = told["status"]["needs"].as_array().unwrap();
    assert!(needs.iter().any(|need| need["what"] == "paused"), "{told}");
}

/// Fails when the screen is shown only once, or when Ctrl-C ends it with a failure.
#[tokio::test]
async fn the_screen_is_shown_again_until_it_is_interrupted() {
    let app = App::start(ok());
    let gate = gate("", &app.url("/in")).await;
    let mut command = gate.command(TOKEN, &["status", "--watch", "--every", "50ms"]);
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..3 {
            let mut lines = lines.by_ref().map(Result::unwrap);
            assert!(lines.any(|line| line.starts_with("hookgate ")));
        }
        let pid = child.id().to_string();
        let kill = Command::new("kill").args(["-INT", &pid]).status();
        assert!(kill.unwrap().success());
        // Read its pipe, which must not fill up while the test waits.
        lines.for_each(drop);
        child.wait().unwrap()
    });
    assert_eq!(ended.await.unwrap().code(), Some(0));
}

/// Fails when a script could mistake an unreachable gate for a healthy one.
#[tokio::test]
async fn a_gate_that_does_not_answer_is_not_well() {
    let app = App::start(ok());
    let mut gate = gate("", &app.url("/in")).await;
    let mut command = gate.command(TOKEN, &["status"]);
    assert!(gate.stop().await.success());
    let shown = tokio::task::spawn_blocking(move || command.output());
    let shown = shown.await.unwrap().unwrap();
    assert_eq!(shown.status.code(), Some(1));
    assert!(!shown.stderr.is_empty());
}
