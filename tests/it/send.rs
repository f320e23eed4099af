//! The test tools: what `send` makes is taken by a real gate, what it makes wrong is refused for the reason that it says,
//! `listen` answers as told, and `replay-file` sends a file again.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::harness::app::{App, ok};
use crate::harness::gate::Gate;
use crate::harness::sender::Provider;

fn hookgate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hookgate"));
    command.args(arguments).output().unwrap()
}

/// Sends to the gate's route of the provider.
async fn send(gate: &Gate, provider: &str, secret: &str, more: &[&str]) -> Output {
    let ca = gate.folder().join("ca.pem").display().to_string();
    let url = format!("https://localhost:{}/{provider}", gate.address().port());
    let mut arguments: Vec<String> = ["send", &url, "--provider", provider, "--secret", secret]
        .map(str::to_owned)
        .to_vec();
    arguments.extend(["--cacert".to_owned(), ca]);
    arguments.extend(more.iter().map(|one| (*one).to_owned()));
    let run = move || hookgate(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// A receiver as a process; killed when dropped.
struct Listener {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    address: String,
}

impl Listener {
    fn start(more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hookgate"))
            .args(["listen", "--listen", "127.0.0.1:0", "--json"])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let address = told["listening"].as_str().unwrap().to_owned();
        Self {
            child,
            lines,
            address,
        }
    }

    fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    fn send(&self, more: &[&str]) -> Output {
        let url = format!("http://{}/in", self.address);
        let fixed = [
            "send",
            &url,
            "--provider",
            "stripe",
            "--secret",
            "whsec_test",
        ];
        hookgate(&[&fixed, more].concat())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn what_is_sent_is_taken_and_what_is_wrong_is_refused_for_that() {
    let app = App::start(ok());
    let routes = [
        Provider::Stripe.route("stripe", &app.url("/in"), ""),
        Provider::Github.route("github", &app.url("/in"), ""),
    ];
    let gate = Gate::start(&routes.concat()).await;
    let secret = Provider::Stripe.secret();

    let sent = send(
        &gate,
        "github",
        secret,
        &["--type", "push", "--set", "ref=x"],
    )
    .await;
    assert!(sent.status.success(), "{sent:?}");
    let got = app.only_request();
    assert_eq!(got.header("hookgate-event-type").unwrap(), "push");
    let body: Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(body["ref"], "x");

    for (kind, reason) in [
        ("signature", "bad-signature"),
        ("secret", "bad-signature"),
        ("body", "bad-signature"),
        ("timestamp", "stale-timestamp"),
        ("future", "stale-timestamp"),
        ("missing", "missing-signature"),
        ("malformed", "malformed-signature"),
        ("method", "method-not-allowed"),
        ("path", "no-route"),
        ("oversize", "body-too-large"),
    ] {
        let label = format!("reason=\"{reason}\"");
        let labels = [label.as_str()];
        let refused = || gate.metric("hookgate_requests_total", &labels);
        let before = refused().await;
        let sent = send(&gate, "stripe", secret, &["--bad", kind]).await;
        assert!(sent.status.success(), "{kind}: {sent:?}");
        let counted = refused().await - before;
        assert!((counted - 1.0).abs() < 0.1, "{kind}: {reason} {counted}");
    }
    assert_eq!(app.count(), 1);
    let sent = send(&gate, "stripe", secret, &["--bad", "replay"]).await;
    assert!(sent.status.success(), "{sent:?}");
    assert_eq!(app.count(), 2);

    // What cannot be wrong is told as wrong usage.
    let sent = send(&gate, "github", secret, &["--bad", "timestamp"]).await;
    assert_eq!(sent.status.code(), Some(2), "{sent:?}");
}

#[tokio::test]
async fn many_are_sent_and_summed_up() {
    let app = App::start(ok());
    let gate = Gate::start(&Provider::Stripe.route("stripe", &app.url("/in"), "")).await;
    let more = ["--count", "30", "--concurrency", "3", "--json"];
    let sent = send(&gate, "stripe", Provider::Stripe.secret(), &more).await;
    assert!(sent.status.success(), "{sent:?}");
    let summary: Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!(summary["statuses"]["200"], 30);
    assert_eq!(app.count(), 30);
}

#[test]
fn a_receiver_says_what_is_genuine_and_answers_as_told() {
    let more = [
        "--provider",
        "stripe",
        "--secret",
        "whsec_test",
        "--respond",
        "sequence:500,reset,200",
    ];
    let mut listener = Listener::start(&more);
    assert!(!listener.send(&[]).status.success());
    let first = listener.next();
    assert_eq!(first["verified"], true, "{first}");
    assert_eq!(first["answer"], "500");
    let reset = listener.send(&["--bad", "signature"]);
    assert!(!reset.status.success(), "{reset:?}");
    let second = listener.next();
    assert_eq!(second["verified"], false, "{second}");
    assert!(
        second["verdict"]
            .as_str()
            .unwrap()
            .contains("bad-signature"),
        "{second}"
    );
    assert!(listener.send(&[]).status.success());
}

#[test]
fn a_request_is_kept_as_a_file_and_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().display().to_string();
    let mut first = Listener::start(&["--save", &kept, "--count", "1"]);
    assert!(first.send(&["--type", "invoice.paid"]).status.success());
    let sent = first.next();
    assert!(first.child.wait().unwrap().success());
    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap();
    let file = file.unwrap().path().display().to_string();

    let more = ["--provider", "stripe", "--secret", "whsec_test"];
    let mut second = Listener::start(&more);
    let url = format!("http://{}", second.address);
    let again = hookgate(&["replay-file", &file, "--to", &url]);
    assert!(again.status.success(), "{again:?}");
    let got = second.next();
    assert_eq!(got["body"], sent["body"]);
    assert_eq!(got["target"], "/in");
    assert_eq!(got["verified"], true, "{got}");
    let other = ["--resign", "--provider", "stripe", "--secret", "another"];
    let again = hookgate(&[&["replay-file", &file, "--to", &url], &other[..]].concat());
    assert!(again.status.success(), "{again:?}");
    assert_eq!(second.next()["verified"], false);
}
