//! Tests that a response says `Connection: close` exactly if the connection ends.

use std::time::Duration;

use crate::harness::app::{App, Latch, held, ok};
use crate::harness::gate::Gate;
use crate::harness::raw::Raw;
use crate::harness::sender::{Provider, Sender};

const LIMIT: Duration = Duration::from_secs(8);

/// Reads one response. Returns whether it announces the end, and whether the connection really ends.
async fn announced_and_closed(raw: &mut Raw) -> (u16, bool, bool) {
    let answer = raw.read_answer(LIMIT).await.expect("a whole response");
    let says = answer.head.contains("connection: close");
    // An open connection serves the next request; a closing one ends at once.
    let limit = if says {
        LIMIT
    } else {
        Duration::from_millis(300)
    };
    (
        answer.status,
        says,
        raw.read_until_close(limit).await.is_closed,
    )
}

fn config(app: &App) -> String {
    let one = Provider::Github.route(
        "hook",
        &app.url("/in"),
        "dedup = false\ncontent_types = [\"application/json\"]",
    );
    let listed = Provider::Github
        .route("listed", &app.url("/in"), "allow_ips = [\"192.0.2.1\"]")
        .replace("\"/hook\"", "\"/listed\"");
    format!(
        "[server]\nper_source_rate_limit = \"40/h\"\nhealth = \"/healthz\"\nmax_in_flight = 2\n\n{one}\n{listed}"
    )
}

/// Request line and headers for each kind of refusal, with the expected status.
const REFUSALS: [(&str, &str, u16); 6] = [
    ("POST /nowhere", "", 404),
    ("PUT /hook", "Content-Type: application/json\r\n", 405),
    ("POST /hook", "Content-Type: text/plain\r\n", 415),
    ("POST /listed", "Content-Type: application/json\r\n", 403),
    ("POST /hook", "Content-Type: application/json\r\n", 401),
    (
        "POST /hook",
        "Content-Type: application/json\r\nX-Hub-Signature-256: sha256=00\r\n",
        401,
    ),
];

/// Fails without `closing(..)` in pipeline::Pipeline::decide, for each kind of refusal.
#[tokio::test]
async fn a_response_before_the_end_of_the_body_says_that_the_connection_is_closed() {
    let app = App::start(ok());
    let gate = Gate::start(&config(&app)).await;
    let answered = REFUSALS.into_iter().chain([("GET /healthz", "", 200)]);
    for (line, headers, status) in answered {
        for framing in [
            // Too large, so the gate does not wait for any of it.
            "Content-Length: 500000\r\n\r\n{",
            "Content-Length: 900\r\n\r\n{",
            "Content-Length: 900\r\nExpect: 100-continue\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
            "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
        ] {
            let mut raw = gate.raw().await;
            let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}{framing}");
            raw.send(head.as_bytes()).await;
            let found = announced_and_closed(&mut raw).await;
            assert_eq!(found, (status, true, true), "{head}");
        }
    }
    assert_eq!(app.count(), 0);
}

/// Fails when a refusal closes a connection whose request was read, or has arrived, completely.
#[tokio::test]
async fn a_refusal_of_a_whole_request_keeps_the_connection() {
    let app = App::start(ok());
    let gate = Gate::start(&config(&app)).await;
    let mut raw = gate.raw().await;
    for (line, headers, status) in REFUSALS {
        for framing in [
            "Content-Length: 2\r\n\r\n{}",
            "Content-Length: 0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        ] {
            let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}{framing}");
            raw.send(head.as_bytes()).await;
            let answer = raw.read_answer(LIMIT).await.expect("a whole response");
            assert_eq!(answer.status, status, "{head}");
            assert!(!answer.head.contains("connection: close"), "{head}");
        }
    }
}

/// Fails when one of the late refusals skips this rule: rate, in-flight permits, a body over its limit.
#[tokio::test]
async fn refusals_for_load_and_size_say_so_too() {
    let latch = Latch::default();
    let app = App::start(held(&latch, 200));
    let gate =
        Gate::start(&config(&app).replace("content_types", "max_body = \"1KiB\"\ncontent_types"))
            .await;
    let head = "POST /hook HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Hub-Signature-256: sha256=0000000000000000000000000000000000000000000000000000000000000000\r\n";
    let chunk = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n800\r\n{}",
        "x".repeat(0x800)
    );
    for (text, status) in [
        (chunk, 413),
        (format!("{head}Content-Length: 5000\r\n\r\nx"), 413),
    ] {
        let mut raw = gate.raw().await;
        raw.send(text.as_bytes()).await;
        assert_eq!(announced_and_closed(&mut raw).await, (status, true, true));
    }
    let held = [(); 2].map(|()| {
        let client = gate.client();
        let hook = Sender::new(Provider::Github).event("/hook");
        tokio::spawn(async move { client.send(&hook).await.status })
    });
    app.wait_for_requests(2).await;
    // Its body was read, so the connection stays usable.
    let beyond = Sender::new(Provider::Github).event("/hook");
    assert_eq!(gate.send(&beyond).await.status, 503);
    latch.open();
    for task in held {
        assert_eq!(task.await.unwrap(), 200);
    }
    let unsigned = "POST /hook HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let mut last = 401;
    for _ in 0..50 {
        let mut raw = gate.raw().await;
        raw.send(format!("{unsigned}Content-Length: 900\r\n\r\nx").as_bytes())
            .await;
        let (status, says, is_closed) = announced_and_closed(&mut raw).await;
        assert!(says && is_closed, "{status}");
        last = status;
        if status != 401 {
            break;
        }
    }
    assert_eq!(last, 429);
}
