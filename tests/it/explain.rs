//! Tests of `hookgate explain` with request files and with requests that a running gate refused.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::command::{command, outcome};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender};
use crate::harness::transcript::Transcript;

const RIGHT: &str = "q7Rk2vZx9Lm4Tb8Ws3Yc6Nd1Hf5Jg0Pa";
const OTHER: &str = "mB6yQ1uE8oK3sV7xC2zL5aF9dG4hJ0rT";

/// Runs `explain` on a file; returns its exit code and its output.
fn explain(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = command(&[&["explain"], arguments].concat());
    let output = command.current_dir(folder).output().unwrap();
    let (code, out, err) = outcome(output);
    for secret in [RIGHT, OTHER] {
        assert!(
            !out.contains(&secret[4..12]) && !err.contains(&secret[4..12]),
            "{out}{err}"
        );
    }
    (code, out, err)
}

/// Creates a folder with a config of two routes.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let route = |name: &str, secret: &str| {
        format!(
            "[routes.{name}]\npath = \"/{name}\"\nprovider = \"stripe\"\nsecret = \"{secret}\"\n\
             upstream = \"http://127.0.0.1:1/\"\n"
        )
    };
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n{}{}",
        route("stripe", RIGHT),
        route("stripe-test", OTHER)
    );
    std::fs::write(folder.path().join("hookgate.toml"), text).unwrap();
    folder
}

/// Writes a request to a file as it is sent.
fn write(folder: &Path, hook: &Hook) -> PathBuf {
    let mut bytes = format!(
        "{} {} HTTP/1.1\r\nHost: hooks.example.com\r\n",
        hook.method, hook.target
    )
    .into_bytes();
    for (name, value) in &hook.headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&hook.body);
    let path = folder.join("request.http");
    std::fs::write(&path, bytes).unwrap();
    path
}

/// The time at which the requests of the files were signed and received.
const SIGNED: i64 = 1_764_000_000;
const RECEIVED: [&str; 2] = ["--received", "2025-11-24T16:00:02Z"];

/// Signs the same event in each run.
fn event(secret: &str) -> Hook {
    let mut sender = Sender::new(Provider::Stripe).with_secret(secret);
    sender.at = Some(SIGNED);
    sender.event_of("/stripe", "evt_1")
}

const CONFIG: [&str; 3] = ["--config", "hookgate.toml", "request.http"];

#[test]
fn a_request_is_explained_in_words() {
    let folder = folder();
    let mut transcript = Transcript::new("explain.txt");
    let mut add = |hook: &Hook, received: &[&str]| {
        write(folder.path(), hook);
        let arguments = [received, &CONFIG].concat();
        let ended = explain(folder.path(), &arguments);
        transcript.add(&[&["explain"], &arguments[..]].concat(), &ended);
    };
    add(&event(OTHER), &RECEIVED);
    // A line break that an editor or `curl --data` added or removed.
    let mut longer = event(RIGHT);
    longer.body.push(b'\n');
    add(&longer, &RECEIVED);
    // One that would pass, and the same much later.
    add(&event(RIGHT), &RECEIVED);
    add(&event(RIGHT), &["--received", "2030-01-01T00:00:00Z"]);
    transcript.compare();

    write(folder.path(), &event(OTHER));
    let arguments = [&["--json", "--route", "stripe"], &RECEIVED[..], &CONFIG].concat();
    let (code, out, _) = explain(folder.path(), &arguments);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &document["cause"]["slug"]),
        (0, &"secret-of-other-route".into())
    );
    assert_eq!(document["cause"]["is_proven"], true);
}

#[test]
fn what_cannot_be_explained_ends_with_2_and_says_why() {
    let folder = folder();
    write(folder.path(), &event(RIGHT));
    let mut transcript = Transcript::new("explain_errors.txt");
    for arguments in [
        &["--config", "hookgate.toml", "nowhere.http"][..],
        &["--config", "nowhere.toml", "request.http"],
        &["--config", "hookgate.toml", "hookgate.toml"],
        &["--config", "hookgate.toml", "--route", "x", "request.http"],
        &[&["--received", "noon"], &CONFIG[..]].concat(),
        &[
            "--admin",
            "unix:/nowhere.sock",
            "0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12",
        ],
    ] {
        let ended = explain(folder.path(), arguments);
        assert_eq!((ended.0, ended.1.as_str()), (2, ""), "{arguments:?}");
        transcript.add(&[&["explain"], arguments].concat(), &ended);
    }
    transcript.compare();
}

/// Returns a config with two tokens, and a route whose refused requests are kept.
fn running() -> String {
    format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[admin.tokens]]\nname = \"ann\"\nrole = \"operator\"\ntoken = \"{OPERATOR}\"\n\
         [[admin.tokens]]\nname = \"board\"\nrole = \"viewer\"\ntoken = \"{VIEWER}\"\n\
         [routes.stripe]\npath = \"/stripe\"\nprovider = \"stripe\"\nsecret = \"{RIGHT}\"\n\
         upstream = \"http://127.0.0.1:1/\"\n"
    )
}

const OPERATOR: &str = "zQ4v9Jm2Lr7Xw1Bt";
const VIEWER: &str = "kP8s3Hn6Yd0Gf5Vc";

/// Runs `explain` on a request that a running gate refused.
async fn ask(gate: &Gate, id: &str, token: &str) -> (i32, String, String) {
    outcome(gate.hookgate(token, &["explain", id]).await)
}

#[tokio::test]
async fn a_running_gate_explains_what_it_refused() {
    let gate = Gate::start(&running()).await;
    let mut hook = Sender::new(Provider::Stripe)
        .with_secret(RIGHT)
        .event("/stripe");
    hook.body.push(b'\n');
    let reply = gate.send(&hook).await;
    assert_eq!(reply.status, 401);
    let id = reply.header("hookgate-request-id").unwrap().to_owned();
    let (code, out, err) = ask(&gate, &id, OPERATOR).await;
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("refused: bad-signature"), "{out}");
    // Explains the request itself, not only its verdict.
    assert!(
        out.contains("The end of the body was changed in transit"),
        "{out}"
    );
    assert!(!out.contains(&RIGHT[4..12]), "{out}");

    let (code, _, err) = ask(&gate, &id, VIEWER).await;
    assert!(code == 2 && err.contains("viewer"), "{err}");
    let (code, _, err) = ask(&gate, "0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12", OPERATOR).await;
    assert!(code == 2 && err.contains("is not in memory"), "{err}");
}

/// Fails when a part of a body is treated as the body: its signature proves nothing then.
#[tokio::test]
async fn a_body_that_was_kept_in_part_is_not_blamed() {
    let gate = Gate::start(&running()).await;
    // One secret is wrong, the other body was changed. The start of a body shows neither.
    let long = vec![b' '; 100_000];
    let wrong = Sender::new(Provider::Stripe).with_secret(OTHER);
    let right = Sender::new(Provider::Stripe).with_secret(RIGHT);
    for hook in [
        wrong.sign("/stripe", "evt_1", &long),
        right.sign("/stripe", "evt_2", &long).flip_body_byte(),
    ] {
        let reply = gate.send(&hook).await;
        assert_eq!(reply.status, 401);
        let id = reply.header("hookgate-request-id").unwrap().to_owned();
        let (code, out, err) = ask(&gate, &id, OPERATOR).await;
        assert_eq!(code, 0, "{out}{err}");
        for words in [
            "refused: bad-signature",
            "Only the start of the body was kept",
        ] {
            assert!(out.contains(words), "{words} is not in\n{out}");
        }
        for words in [
            "The body was",
            "The end of the body",
            "secret of the route `",
            "keep_rejected",
        ] {
            assert!(!out.contains(words), "{words} is in\n{out}");
        }
    }
}
