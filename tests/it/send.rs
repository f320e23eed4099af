//! Tests of `hookgate send`: a gate accepts its events, and refuses its wrong ones for the announced reason.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::app::{App, ok};
use crate::harness::command::outcome;
use crate::harness::gate::Gate;
use crate::harness::listener::{Listener, hookgate, stderr_text};
use crate::harness::sender::Provider;
use crate::harness::signal;
use crate::harness::transcript::Transcript;

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
        ("twice", "malformed-signature"),
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

    // A fault that this provider cannot have is a usage error.
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

/// Runs `send` with exactly these arguments.
async fn run(arguments: &[&str]) -> Output {
    let arguments: Vec<String> = arguments.iter().map(|one| (*one).to_owned()).collect();
    let run = move || hookgate(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Fails when an untrusted certificate is accepted silently, or `--insecure` does not accept it.
#[tokio::test]
async fn an_unknown_certificate_is_taken_only_where_that_is_said() {
    let app = App::start(ok());
    let gate = Gate::start(&Provider::Stripe.route("stripe", &app.url("/in"), "")).await;
    let url = format!("https://localhost:{}/stripe", gate.address().port());
    let secret = Provider::Stripe.secret();
    let arguments = ["send", &url, "--provider", "stripe", "--secret", secret];
    let refused = run(&arguments).await;
    assert_eq!(refused.status.code(), Some(1), "{}", stderr_text(&refused));
    let shown = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(shown.contains("certificate"), "{shown}");
    assert_eq!(app.count(), 0);
    let taken = run(&[&arguments[..], &["--insecure"]].concat()).await;
    assert!(taken.status.success(), "{}", stderr_text(&taken));
    assert_eq!(app.count(), 1);
    let both = run(&[&arguments[..], &["--insecure", "--cacert", "ca.pem"]].concat()).await;
    assert_eq!(both.status.code(), Some(2), "{}", stderr_text(&both));
}

/// Fails when another scheme, secret, URL or limit than the route's is used.
#[tokio::test]
async fn provider_secret_and_url_come_from_a_config() {
    let app = App::start(ok());
    let more = "max_body = \"2KiB\"\n";
    let gate = Gate::start(&Provider::Custom.route("own", &app.url("/in"), more)).await;
    let config = gate.config_path().display().to_string();
    let url = format!("https://localhost:{}/own", gate.address().port());
    let arguments = [
        "send",
        &url,
        "--config",
        &config,
        "--route",
        "own",
        "--insecure",
    ];
    let sent = run(&arguments).await;
    assert!(sent.status.success(), "{}", stderr_text(&sent));
    assert_eq!(app.count(), 1);
    let sent = run(&[&arguments[..], &["--bad", "oversize"]].concat()).await;
    assert!(sent.status.success(), "{}", stderr_text(&sent));
    let shown = String::from_utf8_lossy(&sent.stdout).into_owned();
    assert!(shown.contains("413 Payload Too Large"), "{shown}");
    let secret = ["--secret", "another-secret-0123456789"];
    let sent = run(&[&arguments[..], &secret].concat()).await;
    assert_eq!(sent.status.code(), Some(1), "{}", stderr_text(&sent));
    assert_eq!(app.count(), 1);

    // Without a URL the route's own is used, if the config has the port.
    let sent = run(&["send", "--config", &config, "--route", "own"]).await;
    assert_eq!(sent.status.code(), Some(2));
    assert!(
        stderr_text(&sent).contains("no URL to send to"),
        "{}",
        stderr_text(&sent)
    );
    let mut listener = Listener::of_stripe(&[]);
    let text = format!(
        "[server]\nlisten = [\"{}\"]\n[routes.s]\npath = \"/s\"\nprovider = \"stripe\"\n\
         secret = \"whsec_test\"\nupstream = \"http://127.0.0.1:1/\"\n",
        listener.address
    );
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hookgate.toml").display().to_string();
    std::fs::write(&config, text).unwrap();
    let sent = run(&["send", "--config", &config, "--route", "s"]).await;
    assert!(sent.status.success(), "{}", stderr_text(&sent));
    let got = listener.next();
    assert_eq!(
        (&got["target"], &got["verified"]),
        (&"/s".into(), &true.into())
    );
    let sent = run(&["send", "--config", &config, "--route", "t"]).await;
    assert_eq!(sent.status.code(), Some(2));
    assert!(
        stderr_text(&sent).contains("its routes: s"),
        "{}",
        stderr_text(&sent)
    );
}

/// Fails when body and headers of the command line are not what is signed and sent.
#[test]
fn body_and_headers_are_those_of_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body").display().to_string();
    let body = "{\"id\":\"evt_1\",  \"a\": {\"b\": 1}}\r\n\n";
    std::fs::write(&file, body).unwrap();
    let mut listener = Listener::of_stripe(&[]);
    let at = format!("@{file}");
    let headers = [
        "--header",
        "X-Own: a: b",
        "--header",
        "x-own: c",
        "--header",
        "content-type: text/x",
    ];
    let sent = listener.send(&[&["--data", &at], &headers[..]].concat());
    assert!(sent.status.success(), "{}", stderr_text(&sent));
    let got = listener.next();
    assert_eq!(got["body"], body);
    assert_eq!(got["verified"], true, "{got}");
    assert_eq!(values(&got, "x-own"), ["a: b", "c"]);
    assert_eq!(values(&got, "content-type"), ["text/x"]);

    let set = ["--set", "a.b=2", "--set", "a.c=x=y", "--set", "/d=[null]"];
    let sent = listener.send(&[&["--data", &at], &set[..]].concat());
    assert!(sent.status.success(), "{}", stderr_text(&sent));
    let got = listener.next();
    let set: Value = serde_json::from_str(got["body"].as_str().unwrap()).unwrap();
    let wanted = r#"{"id":"evt_1","a":{"b":2,"c":"x=y"},"d":[null]}"#;
    assert_eq!(set, serde_json::from_str::<Value>(wanted).unwrap());
    assert_eq!(got["verified"], true, "{got}");

    let text = listener.send(&["--data", "plain text"]);
    assert!(text.status.success(), "{}", stderr_text(&text));
    assert_eq!(listener.next()["body"], "plain text");
    // A header of the command line replaces the provider's header of this name.
    let forged = listener.send(&["--header", "Stripe-Signature: t=1,v1=00"]);
    assert!(forged.status.success(), "{}", stderr_text(&forged));
    assert_eq!(listener.next()["verified"], false);

    let mut transcript = Transcript::new("send_errors.txt");
    for arguments in [
        &["--data", "@/nowhere"][..],
        &["--header", "no colon"],
        &["--header", "a b: c"],
        &["--set", "x"],
        &["--data", "plain", "--set", "a=1"],
        &["--type", "nothing.such"],
        &["--bad", "body", "--bad", "secret"],
        &["--rate", "0"],
        &["--print", "--json"],
    ] {
        let ended = outcome(listener.send(arguments));
        assert_eq!(ended.0, 2, "{arguments:?}");
        transcript.add(&[&["send"], arguments].concat(), &ended);
    }
    transcript.compare();
}

/// Returns the received values of a header.
fn values<'a>(got: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = got["headers"].as_array().unwrap().iter();
    let named = headers.filter(|header| header[0] == name);
    named.map(|header| header[1].as_str().unwrap()).collect()
}

/// Fails when events are sent faster than requested, or a rate holds some back forever.
#[test]
fn no_more_events_go_out_than_the_rate_says() {
    let listener = Listener::of_stripe(&[]);
    let more = [
        "--count",
        "9",
        "--rate",
        "20",
        "--concurrency",
        "4",
        "--json",
    ];
    let sent = listener.send(&more);
    assert!(sent.status.success(), "{}", stderr_text(&sent));
    let summary: Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!(summary["statuses"]["200"], 9, "{summary}");
    // The last one is sent eight twentieths of a second after the first.
    let seconds = summary["seconds"].as_f64().unwrap();
    assert!(seconds >= 0.4, "{summary}");
}

/// Fails when Ctrl-C loses the summary of the events sent so far.
#[test]
fn ctrl_c_ends_many_events_with_their_summary() {
    let mut listener = Listener::of_stripe(&[]);
    let child = Command::new(env!("CARGO_BIN_EXE_hookgate"))
        .args([
            "send",
            &listener.url("/in"),
            "--provider",
            "stripe",
            "--secret",
        ])
        .args([
            "whsec_test",
            "--count",
            "1000000",
            "--rate",
            "100",
            "--json",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    listener.next();
    signal(child.id(), "INT");
    let sent = child.wait_with_output().unwrap();
    assert!(sent.status.success(), "{sent:?}");
    let summary: Value = serde_json::from_slice(&sent.stdout).unwrap();
    let answers = summary["answers"].as_u64().unwrap();
    assert!((1..1_000_000).contains(&answers), "{summary}");
}
