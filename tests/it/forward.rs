//! Tests of forwarding to apps that misbehave in every way.
//!
//! The sender gets the app's own response or a 5xx, never a wrong 2xx and never the response to another request. The
//! app gets a request at most once, and nothing that a client smuggled past the gate. Each test names the one-line
//! change of the code that makes it fail.

use std::sync::Arc;
use std::time::Instant;

use crate::harness::app::{
    App, Behavior, Recorded, Refusing, by, garbage, ok, raw_then_close, respond, sequence,
};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender, mac};
use crate::harness::unix_now;
use crate::harness::{LIMIT, wait_for};

const TIMES: &str = "timeout = \"700ms\"\nconnect_timeout = \"2s\"\n";

/// Starts a gate with one GitHub route `/hook` to the app's `/in`.
async fn gate_for(upstream: &str, more: &str) -> Gate {
    let route = Provider::Github.route("hook", upstream, &format!("{TIMES}{more}"));
    Gate::start(&format!(
        "[server]\nper_source_rate_limit = false\n\n{route}"
    ))
    .await
}

fn event() -> Hook {
    Sender::new(Provider::Github).event("/hook")
}

fn raw(text: &str) -> Behavior {
    Behavior::Raw(text.as_bytes().to_vec())
}

/// Lets the app misbehave once. Asserts that the sender gets `expected`, that the app got the request at most once, and
/// that the next event passes.
async fn check(behavior: Behavior, expected: u16) {
    let app = App::start(behavior);
    let gate = gate_for(&app.url("/in"), "").await;
    let began = Instant::now();
    let reply = gate.send(&event()).await;
    assert_eq!(reply.status, expected);
    assert!(began.elapsed() < LIMIT / 2);
    assert!(reply.header("hookgate-request-id").is_some());
    if expected >= 500 {
        assert_eq!(
            reply.header("content-type"),
            Some("application/problem+json")
        );
    }
    assert!(app.started() <= 1, "never sent twice");
    app.behave(ok());
    let next = event();
    let reply = gate.send(&next).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "taken"));
    assert_eq!(app.requests().last().unwrap().body, next.body);
}

// Mutation: leave `timeout` out of `Lease::exchange`.
#[tokio::test]
async fn an_app_that_hangs_is_504() {
    check(Behavior::Hang, 504).await;
}

// Mutation: send again in `retry::send_fresh` on `ExchangeError::Closed`.
#[tokio::test]
async fn an_app_that_closes_or_resets_is_502() {
    check(Behavior::CloseBeforeReading, 502).await;
    check(Behavior::Close, 502).await;
    check(Behavior::Reset, 502).await;
    check(
        raw_then_close(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()),
        502,
    )
    .await;
}

// Mutation: map `ForwardError::Garbage` to 200 in `ForwardError::status`.
#[tokio::test]
async fn garbage_is_502() {
    check(garbage(), 502).await;
    check(raw("HTTP/1.1 200 OK\r\nbad header\r\n\r\n"), 502).await;
    check(
        raw("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
        502,
    )
    .await;
}

// Mutation: `response::check` returns Ok.
#[tokio::test]
async fn an_ambiguous_answer_is_502() {
    check(
        raw(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        ),
        502,
    )
    .await;
    check(
        raw("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        502,
    )
    .await;
    check(
        raw("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        502,
    )
    .await;
}

#[tokio::test]
async fn interim_answers_are_skipped() {
    let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
    check(
        raw(&format!(
            "{early}HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"
        )),
        201,
    )
    .await;
}

#[tokio::test]
async fn an_app_that_is_not_there_is_502() {
    let refusing = Refusing::new();
    let gate = gate_for(&refusing.url("/in"), "").await;
    for _ in 0..3 {
        assert_eq!(gate.send(&event()).await.status, 502);
    }
}

// hyper itself ends a connection with unexpected bytes, so this fails only with a client that does not.
#[tokio::test]
async fn a_second_answer_is_never_given_to_another_request() {
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirstHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let app = App::start(sequence([raw(both), ok()]));
    let gate = gate_for(&app.url("/in"), "").await;
    assert_eq!(gate.send(&event()).await.text(), "first");
    for _ in 0..5 {
        assert_eq!(gate.send(&event()).await.text(), "taken");
    }
}

// Mutation: return `Unwritten` as an error in `retry::send`.
#[tokio::test]
async fn connections_closed_while_idle_cost_the_sender_nothing() {
    let closing = raw_then_close(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec());
    let app = App::start(closing);
    let gate = gate_for(&app.url("/in"), "").await;
    let mut connection = gate.client().connect().await.unwrap();
    for count in 1..=20 {
        assert_eq!(connection.send(&event()).await.status, 200);
        assert_eq!(app.count(), count);
        wait_for("the end of the connection", LIMIT, || {
            app.open_connections() == 0
        })
        .await;
    }
}

// Mutation: never put a connection back in `Lease::finish`.
#[tokio::test]
async fn connections_to_the_app_are_used_again() {
    let app = App::start(ok());
    let gate = gate_for(&app.url("/in"), "").await;
    for _ in 0..10 {
        assert_eq!(gate.send(&event()).await.status, 200);
    }
    assert_eq!((app.count(), app.connections()), (10, 1));
}

// Mutation: answer `None` instead of the error in `AppBody::poll_piece`.
#[tokio::test]
async fn a_body_cut_midway_breaks_the_answer() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let app = App::start(raw_then_close(answer.as_bytes().to_vec()));
        let gate = gate_for(&app.url("/in"), "").await;
        assert!(gate.client().try_send(&event()).await.is_err(), "{answer}");
        assert!(
            gate.client_h2().try_send(&event()).await.is_err(),
            "{answer}"
        );
    }
}

// Mutation: `AppBody::poll_timeout` returns Pending.
#[tokio::test]
async fn a_body_that_stops_breaks_the_answer_in_time() {
    let app = App::start(raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"));
    let gate = gate_for(&app.url("/in"), "").await;
    let began = Instant::now();
    assert!(gate.client().try_send(&event()).await.is_err());
    assert!(began.elapsed() < LIMIT / 2);
}

#[tokio::test]
async fn a_large_answer_comes_whole() {
    let body: String = (0..200_000).map(|number| format!("{number},")).collect();
    let app = App::start(respond(200, &body));
    let gate = gate_for(&app.url("/in"), "").await;
    assert_eq!(gate.client().send(&event()).await.text(), body);
    assert_eq!(gate.client_h2().send(&event()).await.text(), body);
}

// Mutation: pass the body on in `response::relay` whatever the status is.
#[tokio::test]
async fn an_error_page_stays_inside_unless_the_route_passes_it() {
    for is_passed in [false, true] {
        let app = App::start(respond(500, "stack trace of the app"));
        let more = format!("pass_error_bodies = {is_passed}\n");
        let gate = gate_for(&app.url("/in"), &more).await;
        let reply = gate.send(&event()).await;
        assert_eq!(reply.status, 500);
        assert_eq!(reply.text().contains("stack trace"), is_passed);
        assert_eq!(reply.header("x-from-app").is_some(), is_passed);
    }
}

#[tokio::test]
async fn other_answers_of_the_app_pass_as_they_are() {
    for status in [200, 202, 301, 400, 404, 410, 422] {
        let app = App::start(respond(status, "the app's own words"));
        let gate = gate_for(&app.url("/in"), "").await;
        let reply = gate.send(&event()).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.text(), "the app's own words");
        assert_eq!(reply.header("x-from-app"), Some("yes"));
    }
}

// Mutation: leave out `vet_answer_headers` in `response::relay`.
#[tokio::test]
async fn what_belongs_to_the_hop_stays_on_the_hop() {
    let answer = "HTTP/1.1 200 OK\r\nconnection: x-hop, keep-alive\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nhookgate-duplicate: true\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 2\r\n\r\nok";
    let app = App::start(raw(answer));
    let gate = gate_for(&app.url("/in"), "").await;
    for reply in [
        gate.client().send(&event()).await,
        gate.client_h2().send(&event()).await,
    ] {
        assert_eq!(reply.status, 200);
        for name in ["x-hop", "keep-alive", "hookgate-duplicate"] {
            assert_eq!(reply.header(name), None);
        }
        assert_eq!(reply.headers.get_all("set-cookie").iter().count(), 2);
    }
}

/// Headers that a client must not be able to send to the app, with the text that would appear.
const CLAIMS: [&str; 16] = [
    "Hookgate-Event-Id",
    "Hookgate-Verdict",
    "X-Hookgate-Route",
    "X-Forwarded-For",
    "X-Forwarded-Port",
    "Forwarded",
    "X-Real-IP",
    "True-Client-IP",
    "Proxy",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "X_Hub_Signature_256",
    "Keep-Alive",
    "Proxy-Authorization",
    "TE",
];

// Mutation: leave out `vet_request_headers` in `request::common`, or call it after the gate's headers are set.
#[tokio::test]
async fn the_app_sees_nothing_that_a_client_may_not_claim() {
    let app = App::start(ok());
    let gate = gate_for(&app.url("/in"), "").await;
    let mut hook = event();
    for name in CLAIMS {
        hook = hook.with(name, "trailers");
    }
    hook = hook.with("X-Honest", "yes").with("X-Honest", "twice");
    let signature = hook.header("X-Hub-Signature-256").to_owned();
    let id = hook.header("X-GitHub-Delivery").to_owned();
    let named = "keep-alive, X-Hub-Signature-256, X-GitHub-Delivery, Content-Type, Content-Length, Hookgate-Route";
    let hook = hook.with("Connection", named);
    let mut connection = gate.raw().await;
    connection.send(&hook.to_http1()).await;
    assert_eq!(connection.read_answer(LIMIT).await.unwrap().status, 200);

    let seen: Recorded = app.only_request();
    let text = String::from_utf8_lossy(&seen.head).to_ascii_lowercase();
    assert!(!text.contains("trailers"), "{text}");
    assert!(!text.contains("\r\nconnection:"), "{text}");
    assert_eq!(seen.body, hook.body);
    assert_eq!(seen.header("x-hub-signature-256"), Some(signature));
    assert_eq!(
        seen.header("content-type").as_deref(),
        Some("application/json")
    );
    assert_eq!(seen.headers("x-honest"), ["yes", "twice"]);
    assert_eq!(seen.header("hookgate-event-id"), Some(id));
    assert_eq!(seen.header("hookgate-event-type").as_deref(), Some("push"));
    assert_eq!(seen.header("hookgate-route").as_deref(), Some("hook"));
    assert_eq!(seen.header("hookgate-provider").as_deref(), Some("github"));
    assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(
        seen.header("x-forwarded-host").as_deref(),
        Some("localhost")
    );
    assert_eq!(seen.header("host"), Some(app.address().to_string()));
    assert_eq!(
        seen.header("content-length"),
        Some(hook.body.len().to_string())
    );
    assert!(seen.header("hookgate-request-id").is_some());
}

// Mutation: merge trailers into the headers, or keep `Transfer-Encoding` in `is_hop_by_hop`.
#[tokio::test]
async fn a_chunked_request_reaches_the_app_with_a_length_and_without_trailers() {
    let app = App::start(ok());
    let gate = gate_for(&app.url("/in"), "").await;
    let hook = event();
    let mut bytes = hook.head_http1("transfer-encoding: chunked\r\ntrailer: x-late\r\n");
    for piece in hook.body.chunks(7) {
        bytes.extend(format!("{:x}\r\n", piece.len()).bytes());
        bytes.extend(piece);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\nX-Late: evil\r\n\r\n");
    let mut connection = gate.raw().await;
    connection.send(&bytes).await;
    assert_eq!(connection.read_answer(LIMIT).await.unwrap().status, 200);
    let seen = app.only_request();
    assert_eq!(seen.body, hook.body);
    assert_eq!(
        seen.header("content-length"),
        Some(hook.body.len().to_string())
    );
    for name in ["transfer-encoding", "trailer", "x-late"] {
        assert_eq!(seen.header(name), None);
    }
}

// Mutation: drop the query, or normalize anything, in `TargetPath::join`.
#[tokio::test]
async fn the_target_comes_from_the_config_and_the_query_as_sent() {
    let app = App::start(ok());
    let gate = gate_for(&app.url("/webhooks/github"), "").await;
    for (sent, expected) in [
        ("/hook", "/webhooks/github"),
        ("/hook?a=%2e%2E&b=c", "/webhooks/github?a=%2e%2E&b=c"),
    ] {
        assert_eq!(gate.send(&event().to(sent)).await.status, 200);
        assert_eq!(app.requests().last().unwrap().target(), expected);
    }
}

// Mutation: no `is_plain`, or `is_below` without the slash, in gate::route.
#[tokio::test]
async fn the_rest_behind_a_prefix_is_appended() {
    let app = App::start(ok());
    let secret = Provider::Github.secret();
    let config = format!(
        "[routes.hook]\nprefix = \"/hook\"\nprovider = \"github\"\nsecret = \"{secret}\"\nupstream = \"{}\"\n",
        app.url("/in"),
    );
    let gate = Gate::start(&config).await;
    for (sent, expected) in [
        ("/hook", "/in"),
        ("/hook/a/b?c=d", "/in/a/b?c=d"),
        ("/hook/%61", "/in/%61"),
    ] {
        assert_eq!(gate.send(&event().to(sent)).await.status, 200, "{sent}");
        assert_eq!(app.requests().last().unwrap().target(), expected);
    }
    let count = app.count();
    for sent in [
        "/hooks",
        "/hook/../admin",
        "/hook/%2e%2e/admin",
        "/hook/./a",
    ] {
        assert_eq!(gate.send(&event().to(sent)).await.status, 404, "{sent}");
    }
    assert_eq!(app.count(), count);
}

// Mutation: share one connection between requests whose responses are not read yet.
#[tokio::test]
async fn every_sender_gets_the_answer_to_its_own_request() {
    let app = App::start(by(|request| Behavior::Respond(200, request.body.clone())));
    let gate = Arc::new(gate_for(&app.url("/in"), "").await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let gate = Arc::clone(&gate);
        tasks.spawn(async move {
            let mut connection = gate.client().connect().await.unwrap();
            for _ in 0..20 {
                let hook = event();
                assert_eq!(connection.send(&hook).await.body, hook.body);
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert_eq!(app.count(), 160);
}

/// Fails when a sender's values appear under the gate's header names, when a copy has another id, or when an
/// unverified request is signed.
#[tokio::test]
async fn what_is_forwarded_carries_the_gates_own_signature() {
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let app = App::start(ok());
    let more = format!("sign_upstream = \"{KEY}\"\ndedup = false\nenforce = \"monitor\"\n");
    let gate = gate_for(&app.url("/in"), &more).await;
    let hook = event()
        .with("webhook-id", "forged")
        .with("webhook-signature", "v1,forged");
    for client in [gate.client(), gate.client_h2()] {
        assert_eq!(client.send(&hook).await.status, 200);
    }
    let seen = app.requests();
    let key = data_encoding::BASE64.decode(&KEY.as_bytes()[6..]).unwrap();
    for request in &seen {
        let header = |name: &str| request.header(name).unwrap();
        let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
        let text = [id.as_bytes(), b".", time.as_bytes(), b"."].concat();
        let mac = mac(&key, &[&text, &request.body]);
        let expected = format!("v1,{}", data_encoding::BASE64.encode(&mac));
        assert_eq!(header("webhook-signature"), expected);
        assert!(time.parse::<i64>().unwrap().abs_diff(unix_now()) < 60);
        assert_eq!(id, header("hookgate-event-id"));
    }
    assert_eq!(seen[0].header("webhook-id"), seen[1].header("webhook-id"));
    let forged = hook.flip_body_byte();
    assert_eq!(gate.send(&forged).await.status, 200);
    let last = app.requests().pop().unwrap();
    assert_eq!(
        last.header("hookgate-verdict").as_deref(),
        Some("monitored")
    );
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        assert_eq!(last.header(name), None, "{name}");
    }
}

/// Fails when the event lacks the digest of its signed bytes (without `parts.digest = signed.digest`): all events
/// without an id would share one `webhook-id`, and an app that uses it would lose events.
#[tokio::test]
async fn events_without_an_id_have_one_of_their_own_that_a_copy_shares() {
    const SECRET: &str = "fake-dropbox-secret-0001";
    let app = App::start(ok());
    let gate = Gate::start(&format!(
        "[routes.d]\npath = \"/d\"\nprovider = \"dropbox\"\nsecret = \"{SECRET}\"\ndedup = false\nsign_upstream = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\nupstream = \"{}\"\n",
        app.url("/in")
    ))
    .await;
    for body in [&b"{\"a\":1}"[..], b"{\"a\":2}", b"{\"a\":1}"] {
        let signature = data_encoding::HEXLOWER.encode(&mac(SECRET.as_bytes(), &[body]));
        let hook = Hook::bare("POST", "/d", body).with("X-Dropbox-Signature", &signature);
        assert_eq!(gate.send(&hook).await.status, 200);
    }
    let ids: Vec<_> = app
        .requests()
        .iter()
        .map(|request| request.header("webhook-id").unwrap())
        .collect();
    assert!(ids.iter().all(|id| id.starts_with("msg_")), "{ids:?}");
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids[0], ids[2]);
}
