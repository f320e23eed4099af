//! Tests of deadlines: a silent or very slow peer is disconnected in each phase, at no cost for others.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::blocking::Rig;
use crate::harness::rude::{Wire, frame, literals, preface, signature};

/// Deadline of the rig for all phases but `idle_timeout`, which is twice as long.
const DEADLINE: Duration = Duration::from_secs(1);
/// Extra time for slow machines.
const SLACK: Duration = Duration::from_secs(3);

fn head(length: usize) -> String {
    let signature = signature(b"{}");
    format!(
        "POST /hook HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\nX-GitHub-Delivery: raw\r\nX-Hub-Signature-256: {signature}\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// Asserts that the connection is closed after about the limit, and that honest senders are served meanwhile.
fn check_cut(rig: &Rig, name: &str, wire: &mut Wire, limit: Duration) {
    let before = rig.upstream_count();
    rig.check_honest();
    let ending = wire.read_to_end(limit + SLACK);
    assert!(
        ending.is_closed,
        "{name}: still open after {:?}",
        ending.took
    );
    assert_eq!(rig.upstream_count(), before + 1, "{name}");
    rig.check_honest();
}

// Mutation: no `timeout_at` around the opening in edge::connection::open.
#[test]
fn a_handshake_that_stops_is_cut() {
    let rig = Rig::start_with_deadlines();
    for begin in [
        b"".as_slice(),
        b"\x16",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ] {
        let mut socket = TcpStream::connect(rig.address()).unwrap();
        socket.write_all(begin).unwrap();
        socket.set_read_timeout(Some(DEADLINE + SLACK)).unwrap();
        rig.check_honest();
        let mut rest = Vec::new();
        let start = Instant::now();
        let ended = socket.read_to_end(&mut rest);
        let is_reset = ended
            .as_ref()
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
        assert!(
            ended.is_ok() || is_reset,
            "{begin:?}: {ended:?} after {:?}",
            start.elapsed()
        );
    }
}

// Mutation: `header_timeout`, `idle_timeout` -> an hour in edge::settings.
#[test]
fn a_silent_peer_is_cut_in_each_phase_of_http_1() {
    let rig = Rig::start_with_deadlines();
    for (name, bytes, limit) in [
        ("before the first byte", String::new(), DEADLINE),
        ("within the first line", "POST /ho".to_owned(), DEADLINE),
        (
            "within the head",
            "POST /hook HTTP/1.1\r\nHost: localhost\r\nX".to_owned(),
            DEADLINE,
        ),
        ("before the body", head(2), DEADLINE),
        ("within the body", format!("{}{{", head(2)), DEADLINE),
    ] {
        let mut wire = Wire::connect(rig.address(), b"http/1.1");
        wire.send(bytes.as_bytes()).unwrap();
        check_cut(&rig, name, &mut wire, limit);
    }
    let mut wire = Wire::connect(rig.address(), b"http/1.1");
    wire.send(format!("{}{{}}", head(2)).as_bytes()).unwrap();
    let first = wire.read_until(SLACK, |bytes| bytes.starts_with(b"HTTP/1.1 200"));
    assert!(!first.is_closed, "{}", first.text());
    check_cut(&rig, "between requests", &mut wire, DEADLINE * 2);
}

/// Fails when the first head has its deadline from its first byte on, or `idle_timeout` before it.
#[test]
fn the_first_head_is_awaited_from_the_handshake_on() {
    let rig = Rig::start_patient();
    let first = "POST /hook HTTP/1.1\r\nHost: localhost\r\nX";
    for (name, alpn, bytes) in [
        ("silent", b"http/1.1".as_slice(), Vec::new()),
        ("empty lines", b"http/1.1", b"\r\n\r\n".to_vec()),
        ("half of one", b"http/1.1", b"\r".to_vec()),
        ("half a head", b"http/1.1", first.as_bytes().to_vec()),
        ("silent", b"h2", Vec::new()),
        ("no request", b"h2", preface()),
    ] {
        let mut wire = Wire::connect(rig.address(), alpn);
        wire.send(&bytes).unwrap();
        // `idle_timeout` is a minute.
        let ending = wire.read_to_end(Duration::from_secs(20));
        assert!(ending.is_closed, "{name}");
    }
    rig.check_honest();
}

// Mutation: move the deadline with each byte: `begin_head` resets it in edge::watch; net::read_body's per read.
#[test]
fn a_dripping_peer_is_cut_all_the_same() {
    let rig = Rig::start_with_deadlines();
    let drip = |begin: String, drops: &[u8]| {
        let mut wire = Wire::connect(rig.address(), b"http/1.1");
        wire.send(begin.as_bytes()).unwrap();
        let start = Instant::now();
        while start.elapsed() < DEADLINE + SLACK {
            if wire.send(drops).is_err() {
                return;
            }
            // The pause of the drip is a read that times out.
            if wire
                .read_until(Duration::from_millis(200), |_| false)
                .is_closed
            {
                return;
            }
        }
        panic!("still open: {begin:?}");
    };
    drip(
        "POST /hook HTTP/1.1\r\nHost: localhost\r\nX: ".to_owned(),
        b"x",
    );
    drip(head(100_000), b"x");
    rig.check_honest();
}

// Mutation: `Sight::Partial` does not call `begin_head`, or an hour for `idle_timeout`, in edge::http2.
#[test]
fn a_silent_peer_is_cut_in_each_phase_of_http_2() {
    let rig = Rig::start_with_deadlines();
    let signature = signature(b"{}");
    let request = literals(&[
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/hook"),
        ("content-type", "application/json"),
        ("x-github-event", "push"),
        ("x-github-delivery", "raw"),
        ("x-hub-signature-256", &signature),
        ("content-length", "2"),
    ]);
    for (name, bytes, limit) in [
        ("before the preface", Vec::new(), DEADLINE),
        ("within the preface", preface()[..10].to_vec(), DEADLINE),
        ("after the preface", preface(), DEADLINE),
        (
            "within a frame head",
            [preface(), vec![0, 0]].concat(),
            DEADLINE,
        ),
        (
            "within a header block",
            [preface(), frame(1, 0, 1, &request)].concat(),
            DEADLINE,
        ),
        (
            "within a header frame",
            [preface(), frame(1, 4, 1, &request)[..30].to_vec()].concat(),
            DEADLINE,
        ),
        (
            "before the body",
            [preface(), frame(1, 4, 1, &request)].concat(),
            DEADLINE * 6,
        ),
        (
            "within the body",
            [preface(), frame(1, 4, 1, &request), frame(0, 0, 1, b"{")].concat(),
            DEADLINE * 6,
        ),
    ] {
        let mut wire = Wire::connect(rig.address(), b"h2");
        wire.send(&bytes).unwrap();
        check_cut(&rig, name, &mut wire, limit);
    }
    // All but those with a request: as idle connections they would have ended a little later.
    assert_eq!(rig.cut_for("head-timeout"), 6.0);
}

// Mutation: no `self.writes.note(..)` in the three places of edge::head_guard.
#[test]
fn a_peer_that_does_not_read_its_answers_is_cut() {
    let rig = Rig::start_with_deadlines();
    let before = rig.upstream_count();
    let mut wire = Wire::connect(rig.address(), b"http/1.1");
    // Endless 404 responses, which the client does not read.
    let request =
        "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".repeat(100);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if wire.send(request.as_bytes()).is_err() {
            assert_eq!(rig.upstream_count(), before);
            return rig.check_honest();
        }
    }
    panic!("still open");
}
