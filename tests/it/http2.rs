//! Tests of HTTP/2 attacks with hand-made frames.
//!
//! The gate answers with a reset, GOAWAY or 4xx. Nothing reaches the upstream, and honest senders are served.

use std::time::{Duration, Instant};

use crate::harness::blocking::Rig;
use crate::harness::rude::{Wire, frame, frames, is_ok, literals, preface, signature};

const LIMIT: Duration = Duration::from_secs(3);
const BODY: &str = "{\"a\":1}";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

type Fields = Vec<(String, String)>;

/// Returns the header fields of an honest signed request.
fn honest() -> Fields {
    let signature = signature(BODY.as_bytes());
    let fields: [(&str, &str); 9] = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/hook"),
        ("content-type", "application/json"),
        ("content-length", "7"),
        ("x-github-event", "push"),
        ("x-github-delivery", "raw"),
        ("x-hub-signature-256", &signature),
    ];
    fields
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

/// Changes or adds one field, or removes it if the value is `None`.
fn with(name: &str, value: Option<&str>) -> Fields {
    let mut fields = honest();
    let found = fields.iter().position(|field| field.0 == name);
    match (found, value) {
        (Some(at), Some(value)) => fields[at].1 = value.to_owned(),
        (Some(at), None) => drop(fields.remove(at)),
        (None, Some(value)) => fields.push((name.to_owned(), value.to_owned())),
        (None, None) => {}
    }
    fields
}

/// Appends a field.
fn and(name: &str, value: &str) -> Fields {
    let mut fields = honest();
    fields.push((name.to_owned(), value.to_owned()));
    fields
}

fn block(fields: &Fields) -> Vec<u8> {
    let borrowed: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    literals(&borrowed)
}

fn request(fields: &Fields, stream: u32) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, &block(fields));
    [head, frame(DATA, END_STREAM, stream, BODY.as_bytes())].concat()
}

/// Sends frames after the preface. Asserts that they are not served, that nothing reaches the upstream, and that
/// honest senders are served.
fn check(rig: &Rig, name: &str, bytes: &[u8]) {
    let before = rig.upstream_count();
    let mut wire = Wire::connect(rig.address(), b"h2");
    let _ = wire.send(&[preface().as_slice(), bytes].concat());
    let ending = wire.read_until(LIMIT, |bytes| {
        let mut frames = frames(bytes).into_iter();
        frames.any(|frame| matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY))
    });
    let frames = frames(&ending.bytes);
    let is_refused = ending.is_closed
        || frames
            .iter()
            .any(|frame| matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY));
    assert!(is_refused, "{name}: no answer");
    assert!(!is_ok(&frames, 1), "{name}: served");
    assert_eq!(rig.upstream_count(), before, "{name}: reached the app");
    rig.check_honest();
}

#[test]
fn an_honest_request_is_served() {
    let rig = Rig::start();
    let mut wire = Wire::connect(rig.address(), b"h2");
    wire.send(&[preface(), request(&honest(), 1)].concat())
        .unwrap();
    let ending = wire.read_until(LIMIT, |bytes| is_ok(&frames(bytes), 1));
    assert!(is_ok(&frames(&ending.bytes), 1));
    assert_eq!(rig.upstream_count(), 1);
}

// Mutation: return Ok(()) at once in edge::request_check::check_h2 (hyper and h2 refuse part of these by themselves).
#[test]
fn heads_with_two_meanings_are_refused() {
    let rig = Rig::start();
    let with = |name: &str, value: &str| with(name, Some(value));
    let without = |name: &str| self::with(name, None);
    let mut late_pseudo = honest();
    late_pseudo.rotate_left(1);
    for (name, fields) in [
        ("path without slash", with(":path", "hook")),
        ("empty path", with(":path", "")),
        ("absolute path", with(":path", "https://localhost/hook")),
        ("star", with(":path", "*")),
        ("path with space", with(":path", "/hook x")),
        ("path with line end", with(":path", "/hook\r\nX: y")),
        ("path with NUL", with(":path", "/hook\0")),
        ("no path", without(":path")),
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("no authority and no host", without(":authority")),
        ("lower-case method", with(":method", "post")),
        ("method with space", with(":method", "POST /x")),
        ("CONNECT", with(":method", "CONNECT")),
        ("TRACE", with(":method", "TRACE")),
        ("other host", and("host", "other")),
        ("authority with user", with(":authority", "user@localhost")),
        ("authority with path", with(":authority", "localhost/x")),
        ("empty authority", with(":authority", "")),
        ("two paths", and(":path", "/hook")),
        ("two methods", and(":method", "POST")),
        ("two authorities", and(":authority", "localhost")),
        ("pseudo-header after the others", late_pseudo),
        ("unknown pseudo-header", and(":hook", "x")),
        ("pseudo-header of answers", and(":status", "200")),
        ("protocol", and(":protocol", "websocket")),
        ("upper-case name", and("X-Upper", "y")),
        ("empty name", and("", "y")),
        ("name with colon", and("x:y", "z")),
        ("name with space", and("x y", "z")),
        ("name with line end", and("x\r\ny", "z")),
        ("value with line end", and("x", "y\r\nz: 1")),
        ("value with LF", and("x", "y\nz")),
        ("value with NUL", and("x", "y\0z")),
        ("connection", and("connection", "close")),
        ("keep-alive", and("keep-alive", "1")),
        ("transfer-encoding", and("transfer-encoding", "chunked")),
        ("upgrade", and("upgrade", "h2c")),
        ("te", and("te", "gzip")),
        ("two lengths", and("content-length", "7")),
        ("other length twice", and("content-length", "8")),
        ("length too short", with("content-length", "6")),
        ("length too long", with("content-length", "8")),
        ("length of letters", with("content-length", "seven")),
        ("length with plus", with("content-length", "+7")),
        ("two content types", and("content-type", "text/plain")),
    ] {
        check(&rig, name, &request(&fields, 1));
    }
}

// Mutation: no `return FrameStatus::BadTrailers` in edge::frame_watch (h2 refuses the rest by itself).
#[test]
fn odd_sequences_of_frames_are_refused() {
    let rig = Rig::start();
    let head = frame(HEADERS, END_HEADERS, 1, &block(&honest()));
    let trailers = |fields: &[(&str, &str)]| {
        let data = frame(DATA, 0, 1, BODY.as_bytes());
        [
            head.clone(),
            data,
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &literals(fields)),
        ]
        .concat()
    };
    let split = block(&honest());
    let (first, second) = split.split_at(20);
    for (name, bytes) in [
        ("pseudo-header in trailers", trailers(&[(":path", "/hook")])),
        ("trailers that do not end the stream", {
            let data = frame(DATA, 0, 1, BODY.as_bytes());
            [
                head.clone(),
                data,
                frame(HEADERS, END_HEADERS, 1, &literals(&[("x", "y")])),
            ]
            .concat()
        }),
        ("even stream", request(&honest(), 2)),
        ("stream 0", request(&honest(), 0)),
        (
            "data without head",
            frame(DATA, END_STREAM, 1, BODY.as_bytes()),
        ),
        (
            "continuation without head",
            frame(CONTINUATION, END_HEADERS, 1, second),
        ),
        (
            "frame within a block",
            [
                frame(HEADERS, 0, 1, first),
                frame(PING, 0, 0, &[0; 8]),
                frame(CONTINUATION, END_HEADERS, 1, second),
            ]
            .concat(),
        ),
        (
            "continuation of another stream",
            [
                frame(HEADERS, 0, 1, first),
                frame(CONTINUATION, END_HEADERS, 3, second),
            ]
            .concat(),
        ),
        (
            "broken compression",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 20]),
        ),
        (
            "padding beyond the frame",
            frame(HEADERS, END_HEADERS | 8, 1, &[200, 0x82]),
        ),
        ("short PING", frame(PING, 0, 0, &[0; 7])),
        ("short SETTINGS", frame(SETTINGS, 0, 0, &[0; 5])),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[])),
        ("window of zero", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        (
            "window too large",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        ),
        ("frame too large", frame(DATA, 0, 1, &[0; 20_000])),
        (
            "push from a client",
            frame(5, END_HEADERS, 1, &[0, 0, 0, 2]),
        ),
        ("reset of an idle stream", frame(RST_STREAM, 0, 1, &[0; 4])),
    ] {
        check(&rig, name, &bytes);
    }
}

// Mutation: read the signature from trailers in gate::signature.
#[test]
fn a_signature_in_trailers_does_not_count() {
    let rig = Rig::start();
    let fields = with("x-hub-signature-256", None);
    let trailer = signature(BODY.as_bytes());
    let bytes = [
        frame(HEADERS, END_HEADERS, 1, &block(&fields)),
        frame(DATA, 0, 1, BODY.as_bytes()),
        frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            &literals(&[("x-hub-signature-256", &trailer)]),
        ),
    ];
    check(&rig, "signature in trailers", &bytes.concat());
}

/// Sends a flood on one connection while honest senders use others.
fn check_flood(
    name: &str,
    first: &[u8],
    flood: impl Fn(u32) -> Vec<u8> + Send + Sync,
    is_cut: bool,
) {
    let rig = Rig::start();
    let before = rig.upstream_count();
    let mut wire = Wire::connect(rig.address(), b"h2");
    wire.send(&[preface().as_slice(), first].concat()).unwrap();
    let start = Instant::now();
    let address = rig.address();
    let honest = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            let mut round = 0;
            while start.elapsed() < Duration::from_secs(3) {
                round += 1;
                if wire.send(&flood(round)).is_err() {
                    return true;
                }
            }
            wire.read_to_end(Duration::from_millis(100)).is_closed
        });
        let mut honest = 0;
        while !flooding.is_finished() || honest < 3 {
            let sent = Instant::now();
            rig.check_honest();
            assert!(
                sent.elapsed() < Duration::from_secs(2),
                "{name}: honest senders wait"
            );
            honest += 1;
        }
        let was_cut = flooding.join().unwrap();
        assert!(was_cut || !is_cut, "{name}: not cut");
        honest
    });
    assert_eq!(
        rig.upstream_count(),
        before + honest,
        "{name}: reached the app"
    );
    assert!(
        rig.resident_kib() < 60 * 1024,
        "{name}: {} KiB",
        rig.resident_kib()
    );
    let _ = Wire::connect(address, b"h2");
}

// Mutation: `carries || self.spend(now_ms())` -> `true` in edge::frame_watch.
#[test]
fn floods_of_control_frames_are_cut() {
    check_flood(
        "PING",
        &[],
        |_| frame(PING, 0, 0, &[0; 8]).repeat(100),
        true,
    );
    check_flood(
        "SETTINGS",
        &[],
        |_| frame(SETTINGS, 0, 0, &[]).repeat(100),
        true,
    );
    check_flood(
        "PRIORITY",
        &[],
        |_| frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9]).repeat(100),
        true,
    );
    check_flood(
        "unknown frames",
        &[],
        |_| frame(0x77, 0, 0, &[]).repeat(100),
        true,
    );
    let head = frame(
        HEADERS,
        END_HEADERS,
        1,
        &block(&with("content-length", None)),
    );
    check_flood(
        "empty DATA",
        &head,
        |_| frame(DATA, 0, 1, &[]).repeat(100),
        true,
    );
}

// Mutation: as above, and no bound on pending and on own resets in edge::http2. Either bound alone is sufficient.
#[test]
fn rapid_and_provoked_resets_are_cut() {
    let head = block(&honest());
    check_flood(
        "rapid reset",
        &[],
        |round| {
            let streams = (0..50).map(|index| (round - 1) * 100 + index * 2 + 1);
            let pairs = streams.map(|stream| {
                [
                    frame(HEADERS, END_HEADERS, stream, &head),
                    frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]),
                ]
                .concat()
            });
            pairs.collect::<Vec<_>>().concat()
        },
        true,
    );
    check_flood(
        "provoked reset",
        &[],
        |round| {
            let streams = (0..50).map(|index| (round - 1) * 100 + index * 2 + 1);
            let pairs = streams.map(|stream| {
                [
                    frame(HEADERS, END_HEADERS, stream, &head),
                    frame(WINDOW_UPDATE, 0, stream, &[0; 4]),
                ]
                .concat()
            });
            pairs.collect::<Vec<_>>().concat()
        },
        true,
    );
}

// Mutation: `max_header_list_size(u32::MAX)` in edge::http2.
#[test]
fn endless_and_exploding_header_blocks_are_cut() {
    let begin = frame(HEADERS, 0, 1, &block(&honest()));
    let more = literals(&[("x-more", &"y".repeat(500))]);
    check_flood(
        "CONTINUATION",
        &begin,
        |_| frame(CONTINUATION, 0, 1, &more).repeat(10),
        true,
    );
    check_flood(
        "empty CONTINUATION",
        &begin,
        |_| frame(CONTINUATION, 0, 1, &[]).repeat(100),
        true,
    );

    // One entry of 4000 bytes in the table, then 15,000 references of one byte each.
    let mut bomb = vec![0x40];
    bomb.extend(&literals(&[("x", &"y".repeat(3900))])[1..]);
    bomb.extend([0xbe; 15_000]);
    let rig = Rig::start();
    let fields = block(&honest());
    let frames = frame(HEADERS, END_HEADERS, 1, &[fields, bomb].concat());
    check(
        &rig,
        "HPACK bomb",
        &[frames, frame(DATA, END_STREAM, 1, BODY.as_bytes())].concat(),
    );
    assert!(rig.resident_kib() < 60 * 1024);
}

// Mutation: `max_concurrent_streams(None)` in edge::http2.
#[test]
fn no_more_streams_than_promised_are_open() {
    let rig = Rig::start();
    let mut wire = Wire::connect(rig.address(), b"h2");
    let heads = (0..300).map(|index| frame(HEADERS, END_HEADERS, index * 2 + 1, &block(&honest())));
    let _ = wire.send(&[preface(), heads.collect::<Vec<_>>().concat()].concat());
    let ending = wire.read_until(LIMIT, |bytes| {
        frames(bytes)
            .iter()
            .filter(|frame| frame.kind == RST_STREAM)
            .count()
            >= 200
    });
    let resets = frames(&ending.bytes)
        .iter()
        .filter(|frame| frame.kind == RST_STREAM)
        .count();
    assert!(resets >= 200 || ending.is_closed, "{resets}");
    assert_eq!(rig.upstream_count(), 0);
    rig.check_honest();
}
