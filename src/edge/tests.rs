//! Tests of the whole edge over real sockets: the limits of a peer, and when it is disconnected.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::config::model::{ProxyProtocol, TlsVersion};
use crate::edge::connection::NEWCOMER_GRACE;
use crate::edge::testing::{Rig, der, read_all, read_until, server, write_pair, write_rsa_pair};
use crate::test_rig::{self, LIMIT, let_time_pass};

const POST: &[u8] = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi";
const ECHO: &str = "POST /a 127.0.0.1 hi";

async fn wait_for(condition: impl Fn() -> bool) {
    test_rig::wait_for("a state of the edge", LIMIT, condition).await;
}

#[tokio::test]
async fn h1_is_kept_alive_parked_and_woken() {
    for rig in [Rig::plain(server()).await, Rig::tls(server()).await] {
        let mut wire = rig.connect(b"http/1.1").await;
        // A connection is parked after at most a quarter of its idle time.
        let idle = server().idle_timeout * 3 / 4;
        for pause in [Duration::ZERO, Duration::ZERO, idle, Duration::ZERO] {
            let_time_pass("the connection is parked", pause).await;
            wire.write_all(POST).await.unwrap();
            read_until(&mut wire, ECHO).await;
        }
        assert_eq!(rig.edge.counters().requests.read(), 4);
        assert_eq!(rig.edge.counters().open.read(), 1);
        drop(wire);
        wait_for(|| rig.edge.counters().open.read() == 0).await;
    }
}

#[tokio::test]
async fn heads_and_bodies_in_single_bytes_are_read() {
    let rig = Rig::plain(server()).await;
    let mut wire = rig.connect(b"").await;
    for chunked in [false, true] {
        let text = if chunked {
            "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\nh\r\n1\r\ni\r\n0\r\nX: 1\r\n\r\n"
        } else {
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
        };
        for byte in text.as_bytes() {
            wire.write_all(&[*byte]).await.unwrap();
            wire.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        read_until(&mut wire, ECHO).await;
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let rig = Rig::tls(server()).await;
    let slow = b"POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1";
    let answer = rig
        .exchange(
            &[
                slow,
                POST,
                b"GET /z HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            ]
            .concat(),
        )
        .await;
    let at = |text: &str| {
        answer
            .find(text)
            .unwrap_or_else(|| panic!("{text} in {answer}"))
    };
    assert!(at("POST /slow 127.0.0.1 1") < at(ECHO));
    assert!(at(ECHO) < at("GET /z"));
}

// Mutation: remove the `is_busy` test from `Guard::poll_head`.
#[tokio::test]
async fn a_bad_head_behind_a_good_request_does_not_cost_its_answer() {
    let rig = Rig::tls(server()).await;
    let slow = b"POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1";
    let answer = rig
        .exchange(&[slow.as_slice(), b"garbage\r\n\r\n"].concat())
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("HTTP/1.1 400 "), "{answer}");
    assert_eq!(rig.edge.counters().requests.read(), 1);
}

// Mutation: `check_head(..)?` -> `Ok(Framing::Empty)` in `Gathered::step`.
#[tokio::test]
async fn a_bad_head_is_refused_and_nothing_is_served() {
    let rig = Rig::tls(server()).await;
    for (head, status) in [
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\nHost: h\n\n".to_owned(), 400),
        (format!("POST / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "a".repeat(20_000)), 431),
        (format!("POST /{}", "a".repeat(20_000)), 431),
    ] {
        let answer = rig.exchange(head.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
        assert_eq!(rig.edge.counters().requests.read(), 0);
    }
    assert!(rig.has_event("HeadRefused"));
    rig.check_alive().await;
}

#[tokio::test]
async fn a_fault_within_a_chunked_body_ends_the_connection() {
    let rig = Rig::tls(server()).await;
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in ["x\r\n", "1\r\nab", "1\nab\n0\n\n", "1;\0\r\na\r\n0\r\n\r\n"] {
        let answer = rig.exchange(format!("{head}{body}").as_bytes()).await;
        assert!(!answer.contains(" 200 "), "{body:?}: {answer}");
    }
    rig.check_alive().await;
}

#[tokio::test]
async fn h2_serves_many_streams_on_one_connection() {
    let rig = Rig::tls(server()).await;
    let wire = rig.connect(b"h2").await;
    let (mut send, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(wire))
            .await
            .unwrap();
    tokio::spawn(connection);
    let body = "x".repeat(200_000);
    for _ in 0..5 {
        let request = http::Request::post("https://localhost/big")
            .body(Full::new(Bytes::from(body.clone())))
            .unwrap();
        let answer = send.send_request(request).await.unwrap();
        let echoed = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(echoed.len(), body.len() + "POST /big 127.0.0.1 ".len());
    }
    let twice = http::Request::post("https://localhost/")
        .header("host", "other")
        .body(Full::new(Bytes::new()))
        .unwrap();
    assert_eq!(send.send_request(twice).await.unwrap().status(), 400);
    assert_eq!(rig.edge.counters().requests.read(), 5);
    assert_eq!(rig.edge.counters().connections_h2.read(), 1);
}

/// Asserts that the connection is closed within two seconds of the limit, and not before half of it.
async fn check_cut(rig: &Rig, bytes: &[u8], limit: Duration, event: &str) {
    let start = Instant::now();
    let mut wire = rig.connect(b"http/1.1").await;
    wire.write_all(bytes).await.unwrap();
    read_all(&mut wire).await;
    let took = start.elapsed();
    assert!(
        took >= limit / 2 && took < limit + Duration::from_secs(2),
        "{event}: {took:?}"
    );
    assert!(event.is_empty() || rig.has_event(event), "{event}");
    rig.check_alive().await;
}

// Mutation: the deadline of the phase in question -> `Duration::from_secs(3600)`, or each byte moves it in `Watch::set`.
#[tokio::test]
async fn a_silent_peer_is_cut_in_each_phase_of_h1() {
    let rig = Rig::tls(server()).await;
    let (head, idle) = (server().header_timeout, server().idle_timeout);
    check_cut(&rig, b"", head, "HeadTimeout").await;
    check_cut(&rig, b"POST / HT", head, "HeadTimeout").await;
    check_cut(&rig, b"POST / HTTP/1.1\r\nHost: h\r\n", head, "HeadTimeout").await;
    check_cut(&rig, POST, idle, "").await;
    assert!(rig.edge.counters().idle_closed.read() >= 1);
    // A slow drip of bytes does not move the deadline.
    let mut wire = rig.connect(b"http/1.1").await;
    let mut is_cut = false;
    for byte in b"POST / HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
        is_cut = wire.write_all(&[*byte]).await.is_err();
        if is_cut {
            break;
        }
        let_time_pass("the pause of the drip", server().header_timeout / 8).await;
    }
    assert!(is_cut, "a dripping client is not cut");
    assert_eq!(rig.edge.counters().heads_timed_out.read(), 4);
}

// Mutation: the timer of `connection::open` is not polled.
#[tokio::test]
async fn a_silent_peer_is_cut_in_the_handshake() {
    let rig = Rig::tls(server()).await;
    for begin in [b"".as_slice(), b"\x16\x03\x01\x02"] {
        let mut stream = TcpStream::connect(rig.address).await.unwrap();
        stream.write_all(begin).await.unwrap();
        let mut rest = Vec::new();
        let read = timeout(Duration::from_secs(2), stream.read_to_end(&mut rest));
        let _ = read.await.expect("the connection stays open");
    }
    assert_eq!(rig.edge.counters().handshakes_timed_out.read(), 2);
    rig.check_alive().await;
}

// Mutation: remove `self.writes.note(..)` from `Guard::poll_write`.
#[tokio::test]
async fn a_peer_that_does_not_read_its_answer_is_cut() {
    for rig in [Rig::plain(server()).await, Rig::tls(server()).await] {
        let mut wire = rig.connect(b"http/1.1").await;
        wire.write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        wait_for(|| rig.edge.counters().writes_stalled.read() == 1).await;
        wait_for(|| rig.edge.counters().open.read() == 0).await;
        rig.check_alive().await;
    }
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags, 0, 0, 0, stream]);
    bytes.extend(payload);
    bytes
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// Mutation: `Sight::Partial` does not call `begin_head` in `http2`.
#[tokio::test]
async fn a_silent_peer_is_cut_in_each_phase_of_h2() {
    let rig = Rig::tls(server()).await;
    let settings = frame(4, 0, 0, &[]);
    for bytes in [
        Vec::new(),
        PREFACE[..9].to_vec(),
        PREFACE.to_vec(),
        [PREFACE, &settings].concat(),
        [PREFACE, &settings, &frame(1, 0, 1, b"\x82")].concat(),
        [
            PREFACE,
            &settings,
            &frame(1, 4, 1, b"\x82\x84\x87\x41\x01h")[..12],
        ]
        .concat(),
    ] {
        let start = Instant::now();
        let mut wire = rig.connect(b"h2").await;
        wire.write_all(&bytes).await.unwrap();
        read_all(&mut wire).await;
        assert!(start.elapsed() < Duration::from_secs(3), "{bytes:?}");
    }
    wait_for(|| rig.edge.counters().open.read() == 0).await;
    assert!(rig.edge.counters().heads_timed_out.read() >= 3);
    rig.check_alive().await;
}

// Mutation: `Sight::Flood` -> the same as `Sight::Whole`.
#[tokio::test]
async fn an_h2_flood_is_cut() {
    let rig = Rig::tls(server()).await;
    for (kind, payload) in [(6, [0_u8; 8].as_slice()), (4, &[])] {
        let mut wire = rig.connect(b"h2").await;
        let flood = frame(kind, 0, 0, payload).repeat(5000);
        let bytes = [PREFACE, &frame(4, 0, 0, &[]), &flood].concat();
        let (mut read, mut write) = tokio::io::split(&mut wire);
        let sending = async {
            let _ = write.write_all(&bytes).await;
        };
        let mut rest = Vec::new();
        let (_, read) = tokio::join!(
            sending,
            timeout(Duration::from_secs(5), read.read_to_end(&mut rest))
        );
        let _ = read.expect("the connection stays open");
    }
    assert!(rig.has_event("Flood"));
    rig.check_alive().await;
}

#[tokio::test]
async fn the_proxy_header_counts_from_trusted_peers_only() {
    let mut from_trusted = server();
    from_trusted.proxy_protocol = ProxyProtocol::Required;
    from_trusted.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let mut from_untrusted = server();
    from_untrusted.proxy_protocol = ProxyProtocol::Required;

    let rig = Rig::tls(from_trusted).await;
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    stream
        .write_all(b"PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n")
        .await
        .unwrap();
    let mut wire = rig.wrap(stream, b"http/1.1").await;
    wire.write_all(POST).await.unwrap();
    read_until(&mut wire, "POST /a 203.0.113.9 hi").await;

    // Mutation: remove the `is_trusted` test in `announced`.
    let rig = Rig::plain(from_untrusted).await;
    let answer = rig
        .exchange(&[b"PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n", POST].concat())
        .await;
    assert_eq!(answer, "");
    assert!(rig.has_event("ProxyHeaderRefused"));
    assert_eq!(rig.edge.counters().requests.read(), 0);
}

/// Fails when a balancer that names no address is treated as a proxy whose `X-Forwarded-For` counts, or escapes the
/// limits.
#[tokio::test]
async fn a_proxy_header_without_an_address_makes_no_proxy() {
    let mut behind = server();
    behind.proxy_protocol = ProxyProtocol::Required;
    behind.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    behind.max_connections_per_source = 1;
    behind.header_timeout = Duration::from_secs(60);
    let get =
        b"GET /z HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n";
    let v2 = |rest: &[u8]| [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), rest].concat();
    let proxied = |ip: [u8; 4]| {
        v2(&[
            b"\x21\x11\0\x0c".as_slice(),
            &ip,
            &[127, 0, 0, 1, 0, 1, 0, 2],
        ]
        .concat())
    };
    let rig = Rig::plain(behind).await;
    for (header, expected) in [
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (
            b"PROXY UNKNOWN 203.0.113.1 127.0.0.1 1 2\r\n".to_vec(),
            "127.0.0.1",
        ),
        // LOCAL, with and without an address; PROXY without one.
        (v2(b"\x20\x00\0\0"), "127.0.0.1"),
        (
            v2(b"\x20\x11\0\x0c\xcb\0\x71\x01\x7f\0\0\x01\0\x01\0\x02"),
            "127.0.0.1",
        ),
        (v2(b"\x21\x00\0\0"), "127.0.0.1"),
        (proxied([203, 0, 113, 1]), "203.0.113.1"),
        // The named client is itself a trusted proxy, so its list counts.
        (proxied([127, 0, 0, 7]), "203.0.113.9"),
    ] {
        let answer = rig.exchange(&[&header, get.as_slice()].concat()).await;
        assert!(
            answer.contains(&format!("GET /z {expected} ")),
            "{header:?}: {answer}"
        );
        wait_for(|| rig.edge.counters().open.read() == 0).await;
    }
    let mut held = rig.connect(b"").await;
    held.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
    wait_for(|| rig.edge.counters().connections_h1.read() == 8).await;
    assert_eq!(rig.exchange(b"PROXY UNKNOWN\r\n").await, "");
    assert_eq!(rig.edge.counters().refused_source.read(), 1);
}

// Mutation: `enter_source(..)` -> always a slot.
#[tokio::test]
async fn connections_over_the_limits_are_closed_and_slots_come_back() {
    let mut narrow = server();
    narrow.max_connections_per_source = 2;
    narrow.header_timeout = Duration::from_secs(60);
    let rig = Rig::plain(narrow).await;
    let first = rig.connect(b"").await;
    let second = rig.connect(b"").await;
    wait_for(|| rig.edge.counters().connections_h1.read() == 2).await;
    assert_eq!(rig.exchange(b"").await, "");
    assert_eq!(rig.edge.counters().refused_source.read(), 1);
    drop((first, second));
    wait_for(|| rig.edge.counters().open.read() == 0).await;
    rig.check_alive().await;
}

#[tokio::test]
async fn a_panic_ends_its_connection_only_and_gives_back_the_slot() {
    let rig = Rig::plain(server()).await;
    let answer = rig
        .exchange(b"GET /panic HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    assert_eq!(answer, "");
    wait_for(|| rig.edge.counters().open.read() == 0).await;
    rig.check_alive().await;
}

#[tokio::test]
async fn a_drain_closes_idle_connections_and_finishes_requests() {
    let mut patient = server();
    patient.idle_timeout = Duration::from_secs(60);
    let rig = Rig::tls(patient).await;
    let mut used = rig.connect(b"http/1.1").await;
    used.write_all(POST).await.unwrap();
    read_until(&mut used, ECHO).await;
    let mut busy = rig.connect(b"http/1.1").await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    wait_for(|| rig.edge.counters().requests.read() == 2).await;
    rig.drain.cancel();
    let start = Instant::now();
    read_all(&mut used).await;
    assert!(start.elapsed() < Duration::from_millis(400));
    let answer = read_all(&mut busy).await;
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(answer.contains("GET /slow"), "{answer}");
    drop((used, busy));
    timeout(Duration::from_secs(3), rig.served)
        .await
        .unwrap()
        .unwrap();
}

// Mutation: let `NEWCOMER_GRACE` be zero.
#[tokio::test]
async fn a_client_connected_before_a_drain_still_gets_a_response() {
    let mut patient = server();
    patient.header_timeout = Duration::from_secs(60);
    let rig = Rig::tls(patient).await;
    let unshaken = TcpStream::connect(rig.address).await.unwrap();
    let mut silent = rig.connect(b"http/1.1").await;
    let mut fresh = rig.connect(b"http/1.1").await;
    let fresh_h2 = rig.connect(b"h2").await;
    wait_for(|| rig.edge.counters().accepted.read() == 4).await;
    rig.drain.cancel();
    // Both pauses together are far shorter than the grace for newcomers.
    let pause = NEWCOMER_GRACE / 20;
    let_time_pass("the drain has begun", pause).await;
    let (begin, rest) = POST.split_at(20);
    fresh.write_all(begin).await.unwrap();
    let_time_pass("a head that comes in two parts", pause).await;
    fresh.write_all(rest).await.unwrap();
    let answer = read_all(&mut fresh).await;
    assert!(answer.ends_with(ECHO), "{answer:?}");
    let mut late = rig.wrap(unshaken, b"http/1.1").await;
    late.write_all(POST).await.unwrap();
    assert!(read_all(&mut late).await.ends_with(ECHO));
    let (mut send, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(fresh_h2))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("https://localhost/a").body(Full::new(Bytes::new()));
    let answer = send.send_request(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    drop(answer);
    let _ = timeout(Duration::from_secs(3), connection).await.unwrap();
    // A silent client does not delay the end.
    assert_eq!(read_all(&mut silent).await, "");
    drop((fresh, late, silent));
    timeout(Duration::from_secs(4), rig.served)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn an_abort_ends_what_a_drain_waits_for() {
    let rig = Rig::tls(server()).await;
    let mut busy = rig.connect(b"http/1.1").await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    wait_for(|| rig.edge.counters().requests.read() == 1).await;
    rig.drain.cancel();
    rig.abort.cancel();
    timeout(Duration::from_millis(400), rig.served)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read_all(&mut busy).await, "");
}

#[tokio::test]
async fn tls_cut_without_goodbye_leaves_no_request() {
    let rig = Rig::tls(server()).await;
    let mut wire = rig.connect(b"http/1.1").await;
    wire.write_all(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhi")
        .await
        .unwrap();
    wait_for(|| rig.edge.counters().requests.read() == 1).await;
    drop(wire);
    wait_for(|| rig.edge.counters().open.read() == 0).await;
    rig.check_alive().await;
}

#[tokio::test]
async fn the_task_of_a_connection_is_small() {
    let rig = Rig::plain(server()).await;
    let (stream, _other) = crate::edge::testing::socket_pair().await;
    let address = stream.peer_addr().unwrap();
    let handler = |_: http::Request<hyper::body::Incoming>, _| async {
        crate::net::response::HttpResponse::new(crate::net::response::ResponseBody::empty())
    };
    let task = crate::edge::connection::serve(
        std::sync::Arc::clone(&rig.edge),
        stream,
        address,
        handler,
        std::sync::Arc::default(),
        tokio_util::task::TaskTracker::new(),
    );
    let size = size_of_val(&task);
    assert!(size <= 1024, "{size}");
}

#[tokio::test]
async fn the_certificate_is_chosen_by_name_and_replaced_while_connections_live() {
    let folder = tempfile::tempdir().unwrap();
    let names: [(&str, &[&str]); 2] = [("a", &["a.example"]), ("b", &["*.b.example"])];
    let files = names.map(|(stem, names)| write_pair(folder.path(), stem, names, 30));
    let rig = Rig::with_certificates(files.to_vec(), None).await;
    for (asked, served) in [("a.example", 0), ("x.b.example", 1), ("other.example", 0)] {
        assert_eq!(
            rig.served_certificate(asked).await,
            der(&files[served]),
            "{asked}"
        );
    }
    assert!(!rig.edge.reload_certificates().unwrap());
    write_pair(folder.path(), "a", &["a.example"], 60);
    let mut live = rig.connect_unchecked("a.example", &[]).await.unwrap();
    assert!(rig.edge.reload_certificates().unwrap());
    assert_eq!(rig.served_certificate("a.example").await, der(&files[0]));
    live.write_all(POST).await.unwrap();
    read_until(&mut live, ECHO).await;
}

/// Fails when the first certificate of a name is sent to every client, whatever signatures it accepts.
#[tokio::test]
async fn the_certificate_type_follows_the_signatures_of_the_client() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (&rustls::version::TLS12, &rustls::version::TLS13);
    let ecdsa = write_pair(folder.path(), "ecdsa", &["a.example", "*.w.example"], 30);
    let rsa = write_rsa_pair(folder.path(), "rsa", &["a.example", "*.w.example"]);
    let other = write_pair(folder.path(), "other", &["other.example"], 30);
    let files = [&ecdsa, &rsa];
    for first in [0, 1] {
        let order = [
            files[first].clone(),
            other.clone(),
            files[1 - first].clone(),
        ];
        let rig = Rig::with_certificates(order.to_vec(), None).await;
        for name in ["a.example", "A.example", "x.w.example", "unknown.example"] {
            for version in [old, new] {
                for (kind, files) in [("RSA", &rsa), ("ECDSA", &ecdsa)] {
                    let shown = rig.shown_certificate(name, version, kind).await;
                    assert_eq!(shown, Some(der(files)), "{name} {version:?} {kind}");
                }
                // A client that accepts both gets the first.
                let shown = rig.shown_certificate(name, version, "").await;
                assert_eq!(shown, Some(der(files[first])), "{name} {version:?}");
            }
            // PKCS#1 is not allowed in handshakes of TLS 1.3.
            let shown = rig.shown_certificate(name, new, "!RSA_PSS").await;
            assert_eq!(shown, Some(der(&ecdsa)), "{name}");
            let shown = rig.shown_certificate(name, old, "RSA_PKCS1").await;
            assert_eq!(shown, Some(der(&rsa)), "{name}");
        }
        let shown = rig.shown_certificate("other.example", new, "RSA").await;
        assert_eq!(shown, None);
    }
}

// Mutation: `with_client_cert_verifier` -> `with_no_client_auth` in `tls`.
#[tokio::test]
async fn client_certificates_are_demanded_where_an_authority_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let own = write_pair(folder.path(), "own", &["localhost"], 30);
    let client = write_pair(folder.path(), "client", &["client"], 30);
    let unknown = write_pair(folder.path(), "unknown", &["client"], 30);
    let rig = Rig::with_certificates(vec![own], Some(client.cert.clone())).await;
    for (shown, is_served) in [
        (None, false),
        (Some(&unknown), false),
        (Some(&client), true),
    ] {
        let shown: Vec<_> = shown.into_iter().cloned().collect();
        let answer = match rig.connect_unchecked("localhost", &shown).await {
            Err(_) => String::new(),
            Ok(mut wire) => {
                let _ = wire
                    .write_all(b"GET /z HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                    .await;
                read_all(&mut wire).await
            }
        };
        assert_eq!(answer.starts_with("HTTP/1.1 200"), is_served, "{answer}");
    }
}

// Mutation: `BOTH` for `Tls13` in `tls::server_config`.
#[tokio::test]
async fn the_minimum_version_of_tls_is_configured() {
    let (old, new) = (&rustls::version::TLS12, &rustls::version::TLS13);
    for (min, is_old_served) in [(TlsVersion::Tls12, true), (TlsVersion::Tls13, false)] {
        let rig = Rig::with_min_version(min).await;
        assert_eq!(rig.agreed_version(&[old]).await.is_some(), is_old_served);
        let newest = rig.agreed_version(&[old, new]).await;
        assert_eq!(newest, Some(rustls::ProtocolVersion::TLSv1_3));
    }
}

// Mutation: `is_proxy: true` in `connection::serve` and no `is_trusted(peer)` in `source::sender`; each alone is enough.
#[tokio::test]
async fn forwarders_are_trusted_from_trusted_peers_only() {
    let mut behind = server();
    behind.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    for (server, expected) in [(behind, "203.0.113.9"), (server(), "127.0.0.1")] {
        let rig = Rig::plain(server).await;
        let answer = rig
            .exchange(b"GET /z HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n")
            .await;
        assert!(answer.contains(&format!("GET /z {expected} ")), "{answer}");
    }
}

// Mutation: the timer of `connection::open` is not polled.
#[tokio::test]
async fn a_missing_proxy_header_is_awaited_within_the_handshake() {
    let mut required = server();
    required.proxy_protocol = ProxyProtocol::Required;
    required.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let rig = Rig::plain(required).await;
    for begin in [
        "",
        "PROXY TCP4 203.0.113.9 ",
        "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
    ] {
        assert_eq!(rig.exchange(begin.as_bytes()).await, "");
    }
    assert_eq!(rig.edge.counters().handshakes_timed_out.read(), 3);
}

#[tokio::test]
async fn a_drain_says_goodbye_on_h2_and_an_abort_does_not_wait() {
    for is_abort in [false, true] {
        let rig = Rig::tls(server()).await;
        let wire = rig.connect(b"h2").await;
        let (mut send, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(wire))
                .await
                .unwrap();
        let connection = tokio::spawn(connection);
        let slow = http::Request::get("https://localhost/slow")
            .body(Full::new(Bytes::new()))
            .unwrap();
        let answer = tokio::spawn(send.send_request(slow));
        wait_for(|| rig.edge.counters().requests.read() == 1).await;
        rig.drain.cancel();
        if is_abort {
            rig.abort.cancel();
            timeout(Duration::from_millis(300), rig.served)
                .await
                .unwrap()
                .unwrap();
            assert!(answer.await.unwrap().is_err());
        } else {
            assert_eq!(answer.await.unwrap().unwrap().status(), 200);
            timeout(Duration::from_secs(3), rig.served)
                .await
                .unwrap()
                .unwrap();
        }
        let _ = timeout(Duration::from_secs(3), connection).await.unwrap();
    }
}

// Mutation: remove the `answering` test from `http2::Lookout::look`.
#[tokio::test]
async fn an_h2_peer_that_opens_no_window_is_cut() {
    let mut patient = server();
    patient.idle_timeout = Duration::from_secs(60);
    let rig = Rig::tls(patient).await;
    let mut wire = rig.connect(b"h2").await;
    // SETTINGS_INITIAL_WINDOW_SIZE = 0, then GET https://h/large.
    let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let request = frame(1, 5, 1, b"\x82\x87\x41\x01h\x04\x06/large");
    wire.write_all(&[PREFACE, &settings, &request].concat())
        .await
        .unwrap();
    read_all(&mut wire).await;
    assert_eq!(rig.edge.counters().requests.read(), 1);
    assert_eq!(rig.edge.counters().writes_stalled.read(), 1);
}
