//! Tests of HTTP/1 attacks with raw bytes over TLS.
//!
//! Each case must be refused, nothing may reach the upstream, and the next honest request must be served. Each case
//! carries a valid signature where possible, so that only the check in question protects the app.

use std::time::Duration;

use crate::harness::blocking::Rig;
use crate::harness::rude::{Wire, signature};

const LIMIT: Duration = Duration::from_secs(8);
const BODY: &str = "{\"a\":1}";

/// Expected response.
#[derive(Clone, Copy, Debug)]
enum Expect {
    /// This status with a problem document, and the end of the connection.
    Closed(u16),
    /// Any refusal of 4xx.
    Refused,
}

/// Sends bytes on a new connection. Asserts that they are refused, that nothing reaches the upstream, and that honest
/// senders are served.
fn check(rig: &Rig, bytes: &[u8], expect: Expect) {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
    let before = rig.upstream_count();
    let mut wire = Wire::connect(rig.address(), b"http/1.1");
    let _ = wire.send(bytes);
    let is_enough = |got: &[u8]| matches!(expect, Expect::Refused) && !got.is_empty();
    let ending = wire.read_until(LIMIT, is_enough);
    let statuses = ending.statuses();
    match expect {
        Expect::Closed(status) => {
            assert!(
                ending.is_closed,
                "left open: {shown:?} -> {:?}",
                ending.text()
            );
            assert_eq!(statuses, [status], "{shown:?} -> {:?}", ending.text());
            // Refused by hookgate itself: hyper's own refusals have no body, and hyper refuses less.
            let is_ours = ending.text().contains("application/problem+json");
            assert!(is_ours, "{shown:?} -> {:?}", ending.text());
        }
        Expect::Refused => {
            let is_refusal = statuses.iter().all(|status| (400..500).contains(status));
            assert!(is_refusal, "{shown:?} -> {:?}", ending.text());
            assert!(
                ending.is_closed || !statuses.is_empty(),
                "no answer: {shown:?}"
            );
        }
    }
    assert_eq!(rig.upstream_count(), before, "reached the app: {shown:?}");
    rig.check_honest();
}

/// Returns a request with a valid signature and these header lines before the body.
fn signed(lines: &str, body: &str) -> Vec<u8> {
    let signature = signature(BODY.as_bytes());
    format!("POST /hook HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\nX-GitHub-Delivery: raw\r\nX-Hub-Signature-256: {signature}\r\n{lines}\r\n{body}")
        .into_bytes()
}

/// Returns the body as one chunk with the last chunk.
fn chunked() -> String {
    format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len())
}

fn check_all(lines_and_bodies: &[(&str, &str)], expect: Expect) {
    let rig = Rig::start();
    for (lines, body) in lines_and_bodies {
        check(&rig, &signed(lines, body), expect);
    }
}

// Mutation: `(true, Some(_)) => Err(..)` -> `(true, Some(_)) => Ok(Framing::Chunked)` in edge::head_check::check_head.
#[test]
fn both_framings_at_once_are_refused() {
    let chunked = chunked();
    check_all(
        &[
            ("Content-Length: 7\r\nTransfer-Encoding: chunked\r\n", BODY),
            (
                "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
                &chunked,
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 7\r\n",
                &chunked,
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
                &chunked,
            ),
            ("Content-Length: 7\r\nTransfer-Encoding: identity\r\n", BODY),
        ],
        Expect::Closed(400),
    );
}

// Mutation: `if !is_plain || self.is_chunked || ..` -> `if false` in edge::head_check::Seen::note.
#[test]
fn each_odd_transfer_encoding_is_refused() {
    let body = chunked();
    let lines = [
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: chun\tked\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: chunked\x00\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding\r\n: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
    ];
    let cases = lines.map(|line| (line, body.as_str()));
    check_all(&cases, Expect::Closed(400));
}

// Mutation: `checked_mul` -> `wrapping_mul`, or accept `+` in edge::head_check::plain_number (hyper refuses these by
// itself, in its own words).
#[test]
fn each_odd_content_length_is_refused() {
    let lines = [
        "Content-Length: 7\r\nContent-Length: 7\r\n",
        "Content-Length: 7\r\nContent-Length: 8\r\n",
        "Content-Length: 7, 7\r\n",
        "Content-Length: +7\r\n",
        "Content-Length: -7\r\n",
        "Content-Length: 0x7\r\n",
        "Content-Length: 7.0\r\n",
        "Content-Length: 7e0\r\n",
        "Content-Length: 7 7\r\n",
        "Content-Length: 7\x00\r\n",
        "Content-Length: 7;\r\n",
        "Content-Length:\r\n",
        "Content-Length: \r\n",
        "Content-Length: seven\r\n",
        "Content-Length: 18446744073709551623\r\n",
        "Content-Length: 99999999999999999999999999\r\n",
        "Content-Length : 7\r\n",
        "Content-Length:\r\n 7\r\n",
    ];
    check_all(&lines.map(|line| (line, BODY)), Expect::Closed(400));
}

// Mutation: remove the line-end test in edge::head_check::EndFinder::find and next_line.
#[test]
fn odd_lines_and_names_are_refused() {
    let lines = [
        "Content-Length: 7\r\nX: 1\r\n folded\r\n",
        "Content-Length: 7\r\nX: 1\r\n\tfolded\r\n",
        "Content-Length: 7\r\nX: 1\n",
        "Content-Length: 7\nX: 1\r\n",
        "Content-Length: 7\r\nX: 1\rY: 2\r\n",
        "Content-Length: 7\r\nX: a\0b\r\n",
        "Content-Length: 7\r\nX: a\x01b\r\n",
        "Content-Length: 7\r\nX: a\x7fb\r\n",
        "Content-Length: 7\r\nno colon\r\n",
        "Content-Length: 7\r\nnocolon\r\n",
        "Content-Length: 7\r\n: no name\r\n",
        "Content-Length: 7\r\nX : 1\r\n",
        "Content-Length: 7\r\nX\t: 1\r\n",
        "Content-Length: 7\r\nX\0: 1\r\n",
        "Content-Length: 7\r\nX(y): 1\r\n",
        "Content-Length: 7\r\n\u{fc}: 1\r\n",
        "Content-Length: 7\r\nContent-Type: text/plain\r\n",
    ];
    check_all(&lines.map(|line| (line, BODY)), Expect::Closed(400));
}

// Mutation: refuse the name `upgrade` in edge::head_check::Seen::note or gate::framing::check_head; remove it from
// `is_hop_by_hop`.
#[test]
fn a_wish_for_another_protocol_is_ignored() {
    let rig = Rig::start();
    let chunked = chunked();
    let before = rig.upstream_count();
    let mut count = 0;
    for lines in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: TLS/1.2\r\n",
        "Upgrade: h2c\r\n",
    ] {
        let mut wire = Wire::connect(rig.address(), b"http/1.1");
        for (framing, body) in [
            ("Content-Length: 7\r\n", BODY),
            ("Transfer-Encoding: chunked\r\n", &chunked),
        ] {
            // Twice on one connection, which keeps its protocol.
            let lines = format!("{lines}{framing}");
            wire.send(&signed(&lines, body)).unwrap();
            let ending = wire.read_until(LIMIT, |got| got.ends_with(b"taken"));
            let text = ending.text().to_ascii_lowercase();
            assert_eq!(ending.statuses(), [200], "{text}");
            assert!(!ending.is_closed, "{text}");
            for name in ["upgrade", "http2-settings", "switching"] {
                assert!(!text.contains(name), "{text}");
            }
            count += 1;
        }
    }
    assert_eq!(rig.upstream_count(), before + count);
    for request in rig.upstream_requests() {
        for name in ["upgrade", "http2-settings", "sec-websocket-key"] {
            assert_eq!(request.header(name), None);
        }
        let connection = request.header("connection").unwrap_or_default();
        assert!(!connection.to_ascii_lowercase().contains("upgrade"));
    }
    // HTTP/2 does not begin either, even if the client starts it at once.
    let mut wire = Wire::connect(rig.address(), b"http/1.1");
    let lines = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 7\r\n";
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice();
    wire.send(&[&signed(lines, BODY), preface].concat())
        .unwrap();
    assert_eq!(wire.read_to_end(LIMIT).statuses(), [200, 400]);
}

// Mutation: no `skip_empty_lines` in edge::head_guard.
#[test]
fn empty_lines_before_a_request_are_passed_over() {
    let rig = Rig::start();
    let last = signed("Content-Length: 7\r\nConnection: close\r\n", BODY);
    let kept = signed("Content-Length: 7\r\n", BODY);
    let chunks = signed("Transfer-Encoding: chunked\r\n", &chunked());
    let line = b"\r\n".as_slice();
    for (pieces, statuses) in [
        (vec![line, &last], vec![200]),
        (vec![line, line, line, &last], vec![200]),
        (vec![&kept, line, &last], vec![200, 200]),
        (vec![&chunks, line, line, &last], vec![200, 200]),
        (vec![line, &kept, line, &kept, line, &last], vec![200; 3]),
    ] {
        let before = rig.upstream_count();
        // At once, piece by piece, and byte by byte.
        let whole = pieces.concat();
        let bytes: Vec<_> = whole.chunks(1).collect();
        for parts in [vec![whole.as_slice()], pieces.clone(), bytes] {
            let mut wire = Wire::connect(rig.address(), b"http/1.1");
            for part in parts {
                wire.send(part).unwrap();
            }
            let ending = wire.read_to_end(LIMIT);
            assert_eq!(ending.statuses(), statuses, "{}", ending.text());
        }
        assert_eq!(rig.upstream_count(), before + 3 * statuses.len());
    }
}

/// Fails when the empty line after a body counts as the begin of the next head, which then has a deadline.
#[test]
fn an_empty_line_after_a_body_leaves_the_connection_idle() {
    let rig = Rig::start_patient();
    let mut wire = Wire::connect(rig.address(), b"http/1.1");
    let kept = signed("Content-Length: 7\r\n", BODY);
    wire.send(&[&kept, b"\r\n".as_slice()].concat()).unwrap();
    let first = wire.read_until(LIMIT, |got| got.ends_with(b"taken"));
    assert_eq!(first.statuses(), [200]);
    // Longer than `header_timeout`, so the connection is parked and such a deadline would be over.
    let idle = wire.read_until(Duration::from_millis(2500), |_| false);
    assert!(!idle.is_closed && idle.text().is_empty(), "{}", idle.text());
    wire.send(&kept).unwrap();
    let second = wire.read_until(LIMIT, |got| got.ends_with(b"taken"));
    assert_eq!(second.statuses(), [200]);
}

// Mutation: `MAX_EMPTY_LINES` -> 255, or `(true, _) => Err(..)` -> `(true, _) => break` in edge::head_guard.
#[test]
fn other_bytes_before_a_request_are_refused() {
    let rig = Rig::start();
    let request = signed("Content-Length: 7\r\n", BODY);
    let many = "\r\n".repeat(9);
    for before in [
        "\n",
        "\r",
        "\r\r\n",
        "\r\n\n",
        "\n\r\n",
        " \r\n",
        "\r\n ",
        "\r\n\0",
        "\r\n\r\n\r",
        "\x0b\r\n",
        &many,
    ] {
        let bytes = [before.as_bytes(), &request].concat();
        check(&rig, &bytes, Expect::Closed(400));
    }
    // The bound applies to each request, whether the lines come at once or not.
    let mut wire = Wire::connect(rig.address(), b"http/1.1");
    for _ in 0..9 {
        wire.send(b"\r\n").unwrap();
    }
    assert_eq!(wire.read_to_end(LIMIT).statuses(), [400]);
}

// Mutation: return Ok in edge::chunk_check::size_step for any byte; no MAX_EXTENSION, MAX_TRAILER or FORBIDDEN there.
// (hyper also refuses a line that ends otherwise, so only the unit test shows which of the two did.)
#[test]
fn chunk_tricks_are_refused() {
    let long = format!("7;{}\r\n{BODY}\r\n0\r\n\r\n", "x".repeat(300));
    let bodies = [
        "+7\r\n{\"a\":1}\r\n0\r\n\r\n",
        "-7\r\n{\"a\":1}\r\n0\r\n\r\n",
        "0x7\r\n{\"a\":1}\r\n0\r\n\r\n",
        " 7\r\n{\"a\":1}\r\n0\r\n\r\n",
        "7 \r\n{\"a\":1}\r\n0\r\n\r\n",
        "7_\r\n{\"a\":1}\r\n0\r\n\r\n",
        "\r\n{\"a\":1}\r\n0\r\n\r\n",
        "7\n{\"a\":1}\r\n0\r\n\r\n",
        "7\r{\"a\":1}\r\n0\r\n\r\n",
        "7\r\n{\"a\":1}\n0\r\n\r\n",
        "7\r\n{\"a\":1}0\r\n\r\n",
        "7\r\n{\"a\":1}xx0\r\n\r\n",
        "6\r\n{\"a\":1}\r\n0\r\n\r\n",
        "7;a\0b\r\n{\"a\":1}\r\n0\r\n\r\n",
        "7;a\nb\r\n{\"a\":1}\r\n0\r\n\r\n",
        "7;a\rb\r\n{\"a\":1}\r\n0\r\n\r\n",
        "10000000000000007\r\n{\"a\":1}\r\n0\r\n\r\n",
        "00000000000000000007\r\n{\"a\":1}\r\n0\r\n\r\n",
        "7\r\n{\"a\":1}\r\n0\n\n",
        "7\r\n{\"a\":1}\r\n0\r\n\n",
        "7\r\n{\"a\":1}\r\n0\r\nContent-Length: 7\r\n\r\n",
        "7\r\n{\"a\":1}\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "7\r\n{\"a\":1}\r\n0\r\nHost: other\r\n\r\n",
        "7\r\n{\"a\":1}\r\n0\r\nno colon\r\n\r\n",
        "7\r\n{\"a\":1}\r\n0\r\nX: 1\r\n folded\r\n\r\n",
        &long,
    ];
    let rig = Rig::start();
    for body in bodies {
        check(
            &rig,
            &signed("Transfer-Encoding: chunked\r\n", body),
            Expect::Refused,
        );
    }
    let endless = format!("7;{}", "x".repeat(1 << 20));
    check(
        &rig,
        &signed("Transfer-Encoding: chunked\r\n", &endless),
        Expect::Refused,
    );
    // The second has no more than hyper accepts.
    for lines in [
        "X: 1\r\n".repeat(2000),
        format!("X: {}\r\n", "x".repeat(6000)),
    ] {
        let trailers = format!("7\r\n{BODY}\r\n0\r\n{lines}\r\n");
        check(
            &rig,
            &signed("Transfer-Encoding: chunked\r\n", &trailers),
            Expect::Refused,
        );
    }
}

// Mutation: let the arm of the named fault return Ok in edge::head_check::{check_request_line, check_method,
// check_target}.
#[test]
fn odd_first_lines_are_refused() {
    let rig = Rig::start();
    for line in [
        "POST /hook",
        "POST /hook HTTP/0.9",
        "POST /hook HTTP/1.2",
        "POST /hook HTTP/2.0",
        "POST /hook HTTP/3.0",
        "POST /hook http/1.1",
        "POST /hook HTTP/1.1 ",
        "POST /hook HTTP/1.1 x",
        "POST  /hook HTTP/1.1",
        "POST\t/hook\tHTTP/1.1",
        " POST /hook HTTP/1.1",
        "post /hook HTTP/1.1",
        "PO ST /hook HTTP/1.1",
        "P(ST /hook HTTP/1.1",
        "CONNECT localhost:443 HTTP/1.1",
        "CONNECT /hook HTTP/1.1",
        "TRACE /hook HTTP/1.1",
        "PRI * HTTP/2.0",
        "OPTIONS * HTTP/1.1",
        "POST hook HTTP/1.1",
        "POST ?hook HTTP/1.1",
        "POST /hook#x HTTP/1.1",
        "POST /hook\0 HTTP/1.1",
        "POST /ho\tok HTTP/1.1",
        "POST /h\u{f6}\u{f6}k HTTP/1.1",
        "POST http://other/hook HTTP/1.1",
        "POST https://user@localhost/hook HTTP/1.1",
        "POST https:///hook HTTP/1.1",
        "POST ftp://localhost/hook HTTP/1.1",
        "POST file:///etc/passwd HTTP/1.1",
    ] {
        let rest = signed("Content-Length: 7\r\n", BODY);
        let rest = &rest["POST /hook HTTP/1.1".len()..];
        check(&rig, &[line.as_bytes(), rest].concat(), Expect::Closed(400));
    }
    check(&rig, b"GET /hook\r\n", Expect::Closed(400));
    check(
        &rig,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        Expect::Closed(400),
    );
    let old = String::from_utf8(signed("Transfer-Encoding: chunked\r\n", &chunked())).unwrap();
    let old = old.replacen("HTTP/1.1", "HTTP/1.0", 1);
    check(&rig, old.as_bytes(), Expect::Closed(400));
}

// Mutation: return Ok(()) at once in edge::head_check::Seen::check_host.
#[test]
fn the_host_occurs_once_and_is_one() {
    let rig = Rig::start();
    for hosts in [
        "",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: localhost\r\nHost: other\r\n",
        "Host:\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: user@localhost\r\n",
        "Host: localhost, other\r\n",
        "Host: localhost:port\r\n",
        "Host: localhost:99999\r\n",
        "Host: [::1\r\n",
        "Host: loc\u{e4}lhost\r\n",
        "Host : localhost\r\n",
    ] {
        let text = String::from_utf8(signed("Content-Length: 7\r\n", BODY)).unwrap();
        let text = text.replacen("Host: localhost\r\n", hosts, 1);
        check(&rig, text.as_bytes(), Expect::Closed(400));
    }
    // The absolute form with the same host is the same request.
    let text =
        String::from_utf8(signed("Content-Length: 7\r\nConnection: close\r\n", BODY)).unwrap();
    let text = text.replacen("POST /hook", "POST https://localhost/hook", 1);
    let before = rig.upstream_count();
    let mut wire = Wire::connect(rig.address(), b"http/1.1");
    wire.send(text.as_bytes()).unwrap();
    assert_eq!(wire.read_to_end(LIMIT).statuses(), [200]);
    assert_eq!(rig.upstream_count(), before + 1);
}

// Mutation: normalize or decode the path before it is matched in gate::route.
#[test]
fn a_path_is_matched_as_it_is_written() {
    let rig = Rig::start();
    for path in [
        "//hook",
        "/hook/",
        "/Hook",
        "/%68ook",
        "/hook%2f",
        "/hook%00",
        "/hook;a=b",
        "/hook\\",
        "/./hook",
        "/x/../hook",
        "/hook/..",
        "/%2e/hook",
        "/hook%20",
        "/hook%0d%0aX:%20y",
        "/%c0%afhook",
        "/ho%6fk",
        "/hook//",
    ] {
        let rest = signed("Content-Length: 7\r\nConnection: close\r\n", BODY);
        let rest = &rest["POST /hook".len()..];
        let bytes = [b"POST ", path.as_bytes(), rest].concat();
        check(&rig, &bytes, Expect::Closed(404));
    }
}

// Mutation: `seen.len() >= max` and `self.bytes.len() >= max` -> `false` in edge::head_guard::Gathered::step.
#[test]
fn a_huge_head_is_refused_before_its_end() {
    let rig = Rig::start();
    let long = format!("X: {}\r\n", "x".repeat(1 << 20));
    check(&rig, &signed(&long, ""), Expect::Closed(431));
    let many = "X: y\r\n".repeat(200);
    check(&rig, &signed(&many, ""), Expect::Closed(431));
    let endless = format!("POST /{}", "x".repeat(1 << 20));
    check(&rig, endless.as_bytes(), Expect::Closed(431));
}

// Mutation: gate::framing does not compare Content-Length with max_body.
#[test]
fn a_huge_body_is_refused_before_it_is_read() {
    let rig = Rig::start();
    let terabyte = signed("Content-Length: 1000000000000\r\n", BODY);
    check(&rig, &terabyte, Expect::Closed(413));
    let expecting = signed(
        "Content-Length: 1000000000000\r\nExpect: 100-continue\r\n",
        "",
    );
    check(&rig, &expecting, Expect::Closed(413));
    let unsigned = "POST /hook HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n";
    check(&rig, unsigned.as_bytes(), Expect::Closed(401));
}

// Mutation: no `received.check(..)` in net::read_body.
#[test]
fn endless_chunks_are_refused_at_the_limit() {
    let rig = Rig::start();
    let mut bytes = signed("Transfer-Encoding: chunked\r\n", "");
    bytes.extend(
        format!("10000\r\n{}\r\n", "x".repeat(0x10000))
            .repeat(64)
            .into_bytes(),
    );
    check(&rig, &bytes, Expect::Refused);
}

// Mutation: `break` on an error of a body frame in net::read_body.
#[test]
fn half_a_body_never_reaches_the_app() {
    let rig = Rig::start();
    let before = rig.upstream_count();
    for (lines, body) in [
        ("Content-Length: 8\r\n", BODY),
        ("Transfer-Encoding: chunked\r\n", "7\r\n{\"a\":1}\r\n"),
        ("Transfer-Encoding: chunked\r\n", "7\r\n{\"a\":1}\r\n0\r\n"),
        ("Transfer-Encoding: chunked\r\n", "8\r\n{\"a\":1}"),
    ] {
        for is_polite in [true, false] {
            let mut wire = Wire::connect(rig.address(), b"http/1.1");
            wire.send(&signed(lines, body)).unwrap();
            if is_polite {
                wire.finish();
                let ending = wire.read_to_end(LIMIT);
                assert!(!ending.statuses().contains(&200), "{}", ending.text());
            } else {
                wire.cut();
            }
            rig.check_honest();
        }
    }
    // Only the honest ones.
    assert_eq!(rig.upstream_count(), before + 8);
}

// Mutation: read the signature from `Incoming`'s trailers in gate::signature.
#[test]
fn a_signature_in_a_trailer_does_not_count() {
    let rig = Rig::start();
    let trailer = signature(BODY.as_bytes());
    let bytes = format!(
        "POST /hook HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\nX-GitHub-Delivery: raw\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n7\r\n{BODY}\r\n0\r\nX-Hub-Signature-256: {trailer}\r\n\r\n"
    );
    check(&rig, bytes.as_bytes(), Expect::Closed(401));
}

// Mutation: hand hyper everything that was read in edge::head_guard::Guard::poll_hand_over.
#[test]
fn a_request_behind_a_request_is_one_of_its_own() {
    let rig = Rig::start();
    let before = rig.upstream_count();
    let honest = signed("Content-Length: 7\r\n", BODY);
    let last = signed(
        "Transfer-Encoding: chunked\r\nConnection: close\r\n",
        &chunked(),
    );
    let mut wire = Wire::connect(rig.address(), b"http/1.1");
    wire.send(&[honest.as_slice(), &last].concat()).unwrap();
    assert_eq!(wire.read_to_end(LIMIT).statuses(), [200, 200]);
    assert_eq!(rig.upstream_count(), before + 2);

    // The hidden second request is refused, and the first one still gets its response.
    let hidden = "GET /hook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut wire = Wire::connect(rig.address(), b"http/1.1");
    wire.send(&[honest.as_slice(), hidden.as_bytes()].concat())
        .unwrap();
    assert_eq!(wire.read_to_end(LIMIT).statuses(), [200, 400]);
    assert_eq!(rig.upstream_count(), before + 3);
    rig.check_honest();
}
