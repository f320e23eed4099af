//! Tests of `hookgate listen` and `replay-file`: printing, verifying, saving, responding and sending again.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::listener::{Listener, hookgate, stderr_text};
use crate::harness::signal;

#[test]
fn a_receiver_shows_what_is_genuine_and_responds_as_configured() {
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

/// Fails when an old request cannot be made to pass again, or an old signature is replaced without the option.
#[test]
fn a_request_that_is_too_old_is_signed_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("event.http").display().to_string();
    let mut listener = Listener::of_stripe(&[]);
    let old = listener.send(&["--bad", "timestamp", "--print", "--set", "id=evt_old"]);
    assert!(old.status.success(), "{}", stderr_text(&old));
    std::fs::write(&file, &old.stdout).unwrap();
    let url = listener.url("");
    let plain = ["replay-file", &file, "--to", &url];
    assert!(hookgate(&plain).status.success());
    let got = listener.next();
    assert_eq!(got["verified"], false, "{got}");
    assert!(
        got["verdict"].as_str().unwrap().contains("stale-timestamp"),
        "{got}"
    );
    let signer = ["--resign", "--provider", "stripe", "--secret", "whsec_test"];
    let again = hookgate(&[&plain[..], &signer].concat());
    assert!(again.status.success(), "{}", stderr_text(&again));
    let signed = listener.next();
    assert_eq!(signed["verified"], true, "{signed}");
    assert_eq!(
        (&signed["body"], &signed["target"]),
        (&got["body"], &"/in".into())
    );
    let nobody = hookgate(&[&plain[..], &["--resign"]].concat());
    assert_eq!(nobody.status.code(), Some(2));
    assert!(
        stderr_text(&nobody).contains("`--resign` needs a provider"),
        "{}",
        stderr_text(&nobody)
    );

    // Another path, and the host of the file.
    let other = [
        "replay-file",
        &file,
        "--to",
        &listener.url("/other?a=1"),
        "--host",
        "a.example",
    ];
    assert!(hookgate(&other).status.success());
    let got = listener.next();
    assert_eq!(got["target"], "/other?a=1");
    assert!(
        got["headers"]
            .to_string()
            .contains("[\"host\",\"a.example\"]"),
        "{got}"
    );
}

/// Fails when a signed URL is verified with another port than the one that was chosen.
#[test]
fn a_signed_url_is_that_of_the_port_that_was_free() {
    let signer = [
        "--provider",
        "twilio",
        "--secret",
        "0123456789abcdef0123456789abcdef",
    ];
    let mut listener = Listener::start(&signer);
    let url = listener.url("/in?a=1");
    let sent = hookgate(&[&["send", &url][..], &signer].concat());
    assert!(sent.status.success(), "{}", stderr_text(&sent));
    let got = listener.next();
    assert_eq!(got["verified"], true, "{got}");
}

#[test]
fn an_answer_comes_late_or_never() {
    let mut slow = Listener::of_stripe(&["--respond", "slow:300ms"]);
    let began = Instant::now();
    assert!(slow.send(&[]).status.success());
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(slow.next()["answer"], "200 after 300ms");
    let sent = slow.send(&["--timeout", "50ms"]);
    assert_eq!(sent.status.code(), Some(1), "{}", stderr_text(&sent));

    let mut silent = Listener::of_stripe(&["--respond", "timeout"]);
    let sent = silent.send(&["--timeout", "100ms"]);
    assert_eq!(sent.status.code(), Some(1));
    assert!(
        stderr_text(&sent).contains("no response received"),
        "{}",
        stderr_text(&sent)
    );
    assert_eq!(silent.next()["answer"], "timeout");
}

#[test]
fn some_answers_are_failures() {
    for (respond, ok, failed) in [
        ("flaky:0", 8, 0),
        ("flaky:1", 0, 8),
        ("sequence:503,503,201", 0, 2),
    ] {
        let listener = Listener::of_stripe(&["--respond", respond]);
        let sent = listener.send(&["--count", "8", "--json"]);
        assert_eq!(sent.status.success(), failed == 0, "{respond}");
        let summary: Value = serde_json::from_slice(&sent.stdout).unwrap();
        let count = |status: &str| summary["statuses"][status].as_i64().unwrap_or(0);
        assert_eq!(
            (count("200"), count("500") + count("503")),
            (ok, failed),
            "{respond}: {summary}"
        );
        assert_eq!(count("201"), 8 - ok - failed, "{respond}: {summary}");
    }
    // Random choice of two: forty equal results have a chance of 1 in 2^39.
    let listener = Listener::of_stripe(&["--respond", "flaky:0.5"]);
    let sent = listener.send(&["--count", "40", "--concurrency", "4", "--json"]);
    let summary: Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert!(
        summary["statuses"]["200"].is_u64() && summary["statuses"]["500"].is_u64(),
        "{summary}"
    );

    let mut reset = Listener::of_stripe(&["--respond", "reset"]);
    let sent = reset.send(&[]);
    assert_eq!(sent.status.code(), Some(1));
    let shown = String::from_utf8_lossy(&sent.stdout).into_owned();
    assert!(shown.contains("reset"), "{shown}");
    assert_eq!(reset.next()["answer"], "reset");
}

/// Fails when a web page can read received requests by DNS rebinding.
#[test]
fn what_came_is_given_to_this_machine_only() {
    let listener = Listener::of_stripe(&[]);
    assert!(listener.send(&["--set", "id=evt_kept"]).status.success());
    let own = [
        listener.address.as_str(),
        "127.0.0.1",
        "localhost:8080",
        "[::1]:80",
    ];
    for host in own {
        let answer = listener.ask("GET /_events", host);
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n"),
            "{host}: {answer}"
        );
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let all: Value = serde_json::from_str(body).unwrap();
        let events = all["events"].as_array().unwrap();
        assert_eq!((events.len(), &events[0]["verified"]), (1, &true.into()));
        assert!(events[0]["body"].as_str().unwrap().contains("evt_kept"));
    }
    for host in [
        "evil.example",
        "127.0.0.1.evil.example:80",
        "localhost.evil.example",
        "",
        "x y",
    ] {
        for line in ["GET /_events", "DELETE /_events", "GET /_events?a=1"] {
            let answer = listener.ask(line, host);
            let status = answer.split(' ').nth(1).unwrap();
            assert!(["403", "400"].contains(&status), "{line} {host}: {answer}");
            assert!(!answer.contains("evt_kept"), "{line} {host}: {answer}");
        }
    }
    let twice =
        "GET /_events HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\nGET /_events";
    assert!(!listener.ask(twice, "evil.example").contains("evt_kept"));
    // All other paths belong to the sender, with any host.
    assert!(
        listener
            .ask("GET /_event", "evil.example")
            .starts_with("HTTP/1.1 200")
    );

    assert!(
        listener
            .ask("POST /_events", "localhost")
            .starts_with("HTTP/1.1 405")
    );
    assert!(
        listener
            .ask("DELETE /_events", "localhost")
            .starts_with("HTTP/1.1 204")
    );
    let answer = listener.ask("GET /_events", "localhost");
    assert!(answer.ends_with("{\"events\":[]}"), "{answer}");
}

/// Fails when Ctrl-C leaves a receiver running, or ends it as a failure.
#[test]
fn a_signal_ends_it_even_while_a_client_waits() {
    let mut idle = Listener::of_stripe(&[]);
    signal(idle.child.id(), "INT");
    assert!(idle.child.wait().unwrap().success());

    let mut busy = Listener::of_stripe(&["--respond", "timeout"]);
    std::thread::scope(|scope| {
        let url = busy.url("/in");
        let waiting = scope.spawn(move || {
            hookgate(&[
                "send",
                &url,
                "--provider",
                "stripe",
                "--secret",
                "whsec_test",
            ])
        });
        // It arrived, and gets no response.
        assert_eq!(busy.next()["answer"], "timeout");
        signal(busy.child.id(), "INT");
        assert!(busy.child.wait().unwrap().success());
        assert_eq!(waiting.join().unwrap().status.code(), Some(1));
    });
}
