//! Tests that the app gets the signed bytes and the sender's own headers.
//!
//! This holds for every chunking, case of names, and version of HTTP.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::harness::LIMIT;
use crate::harness::app::{App, ok};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender};

/// Form in which the request is written.
#[derive(Clone, Debug)]
enum Way {
    /// With `Content-Length`, split into TLS records of these lengths.
    Length(Vec<usize>),
    /// In chunks of these lengths.
    Chunked(Vec<usize>),
    /// By a client of HTTP/2.
    Http2,
}

#[derive(Clone, Debug)]
struct Case {
    body: Vec<u8>,
    way: Way,
    headers: Vec<(String, String)>,
    /// Pattern of the capital letters in header names, applied in turn.
    capitals: Vec<bool>,
}

fn cases() -> impl Strategy<Value = Case> {
    let size = prop_oneof![4 => 0..200_usize, 2 => 0..20_000_usize, 1 => 60_000..150_000_usize];
    let body = size.prop_flat_map(|size| proptest::collection::vec(any::<u8>(), size));
    let lengths = proptest::collection::vec(1..9000_usize, 1..8);
    let way = prop_oneof![
        lengths.clone().prop_map(Way::Length),
        lengths.prop_map(Way::Chunked),
        Just(Way::Http2),
    ];
    // Names that neither hookgate nor HTTP gives a meaning to; values with every legal ASCII character.
    let headers =
        proptest::collection::vec(("x-t[a-z0-9]{0,2}", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..8);
    let capitals = proptest::collection::vec(any::<bool>(), 1..40);
    (body, way, headers, capitals).prop_map(|(body, way, headers, capitals)| Case {
        body,
        way,
        headers,
        capitals,
    })
}

fn pieces<'a>(body: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = body;
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at((*length).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

fn with_capitals(hook: &Hook, capitals: &[bool]) -> Hook {
    let mut hook = hook.clone();
    let mut turns = capitals.iter().cycle();
    for (name, _) in &mut hook.headers {
        *name = name
            .chars()
            .map(|letter| match turns.next() {
                Some(true) => letter.to_ascii_uppercase(),
                _ => letter.to_ascii_lowercase(),
            })
            .collect();
    }
    hook
}

async fn send(gate: &Gate, hook: &Hook, case: &Case) -> u16 {
    let mut raw = match &case.way {
        Way::Http2 => return gate.client_h2().send(hook).await.status,
        _ => gate.raw().await,
    };
    let hook = with_capitals(hook, &case.capitals);
    match &case.way {
        Way::Length(lengths) => {
            let bytes = hook.to_http1();
            for piece in pieces(&bytes, lengths) {
                raw.send(piece).await;
            }
        }
        Way::Chunked(lengths) => {
            raw.send(&hook.head_http1("Transfer-Encoding: chunked\r\n"))
                .await;
            for (index, piece) in pieces(&hook.body, lengths).into_iter().enumerate() {
                // hyper accepts 16 KiB of chunk extensions in one body, which bounds what a sender can have it skip.
                let extension = if index < 1000 { ";ext=\"x\"" } else { "" };
                let mut chunk = format!("{:X}{extension}\r\n", piece.len()).into_bytes();
                chunk.extend_from_slice(piece);
                chunk.extend_from_slice(b"\r\n");
                raw.send(&chunk).await;
            }
            raw.send(b"0\r\n\r\n").await;
        }
        Way::Http2 => unreachable!("sent above"),
    }
    raw.read_answer(LIMIT)
        .await
        .map_or(0, |answer| answer.status)
}

// Mutation: trim the body, sort or join header values, or drop a header in `request::common`.
#[test]
fn what_reaches_the_app_equals_what_was_signed() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let app = App::start(ok());
    // Two cases may have the same body, and dedup would rightly drop the second.
    let route = Provider::Github.route("hook", &app.url("/in"), "dedup = false\n");
    let gate = runtime.block_on(Gate::start(&route));
    let mut runner = TestRunner::new(Config::with_cases(96));
    let outcome = runner.run(&cases(), |case| {
        let mut hook = Sender::new(Provider::Github).sign("/hook?a=%62", "id-1", &case.body);
        hook.headers.extend(case.headers.clone());
        let status = runtime.block_on(send(&gate, &hook, &case));
        prop_assert_eq!(status, 200);
        let seen = app
            .requests()
            .pop()
            .ok_or_else(|| TestCaseError::fail("nothing came"))?;
        prop_assert!(seen.body == case.body, "other bytes");
        prop_assert_eq!(seen.target(), "/in?a=%62");
        prop_assert_eq!(
            seen.header("content-length"),
            Some(case.body.len().to_string())
        );
        for (name, _) in &hook.headers {
            let sent = hook.headers.iter().filter(|(other, _)| other == name);
            let sent: Vec<String> = sent.map(|(_, value)| value.clone()).collect();
            prop_assert_eq!(seen.headers(name), sent, "{}", name);
        }
        Ok(())
    });
    outcome.unwrap();
}
