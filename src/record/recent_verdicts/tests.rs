//! Tests of the last verdicts in memory.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;

use super::*;
use crate::model::clock::ClockReading;
use crate::model::ids::RouteName;
use crate::model::source::RequestSource;

fn exchange() -> ExchangeSummary {
    ExchangeSummary {
        response_status: StatusCode::OK,
        upstream_status: None,
        upstream_time: Duration::ZERO,
        forward_error: None,
        is_stored: false,
        total: Duration::from_micros(300),
    }
}

fn verdict(number: u8, route: &str, decision: GateDecision) -> Verdict {
    let peer: SocketAddr = "192.0.2.1:4711".parse().unwrap();
    let source = RequestSource {
        ip: peer.ip(),
        peer,
        is_tls: true,
    };
    let id = RequestId::new(1_700_000_000_123, [number; 10]);
    let mut verdict = Verdict::new(id, source, ClockReading::at_unix_seconds(0));
    verdict.route = Some(RouteName::new(route));
    verdict.decision = decision;
    verdict
}

fn keep(recent: &RecentVerdicts, number: u8, route: &str, decision: GateDecision) {
    recent.push(&verdict(number, route, decision), &exchange());
}

fn numbers(found: &[Arc<RecentVerdict>]) -> Vec<u64> {
    found.iter().map(|kept| kept.number).collect()
}

fn on(route: &str) -> VerdictQuery {
    VerdictQuery {
        route: Some(route.to_owned()),
        ..VerdictQuery::default()
    }
}

#[test]
fn lists_go_backwards_and_tails_forwards_over_both_rows() {
    let recent = RecentVerdicts::new(100);
    for number in 1..=9 {
        let decision = match number % 3 {
            0 => GateDecision::Refused(Reject::BadSignature),
            _ => GateDecision::Accepted,
        };
        keep(
            &recent,
            number,
            ["a", "b"][usize::from(number % 2)],
            decision,
        );
    }
    let any = VerdictQuery::default();
    assert_eq!(numbers(&recent.newest(None, &any, 4)), [9, 8, 7, 6]);
    assert_eq!(numbers(&recent.newest(Some(6), &any, 9)), [5, 4, 3, 2, 1]);
    assert_eq!(numbers(&recent.newest(None, &on("a"), 2)), [8, 6]);
    let (found, next) = recent.after(2, &any, 3);
    assert_eq!((numbers(&found), next), (vec![3, 4, 5], 5));
    let (found, next) = recent.after(2, &on("b"), 100);
    assert_eq!((numbers(&found), next), (vec![3, 5, 7, 9], 9));
    let refused = VerdictQuery {
        reason: Some(RejectReason::BadSignature),
        ..VerdictQuery::default()
    };
    assert_eq!(numbers(&recent.newest(None, &refused, 9)), [9, 6, 3]);
    let word = VerdictQuery {
        verdict: Some("accepted".to_owned()),
        ..on("a")
    };
    assert_eq!(numbers(&recent.newest(None, &word, 9)), [8, 4, 2]);
}

#[test]
fn one_is_found_by_its_request_id() {
    let recent = RecentVerdicts::new(1000);
    for number in 0..250 {
        keep(&recent, number, "a", GateDecision::Accepted);
        keep(&recent, 255, "b", GateDecision::Accepted);
    }
    let id = RequestId::new(1_700_000_000_123, [3; 10]);
    let found = recent.find(&id).unwrap();
    assert_eq!(found.verdict.request_id, id);
    assert_eq!(found.unix_ms(), 1_700_000_000_123);
    let unknown = RequestId::new(1_700_000_000_123, [251; 10]);
    assert!(recent.find(&unknown).is_none());
}

/// Fails if unverified requests can push out verdicts about genuine ones.
#[test]
fn a_flood_pushes_out_unverified_requests_only() {
    let recent = RecentVerdicts::new(10);
    for number in 0..5 {
        keep(&recent, number, "a", GateDecision::Accepted);
    }
    for _ in 0..1000 {
        keep(&recent, 0, "a", GateDecision::Refused(Reject::BadSignature));
    }
    let found = recent.newest(None, &VerdictQuery::default(), 100);
    assert_eq!(found.len(), 15);
    assert_eq!(numbers(&found[10..]), [5, 4, 3, 2, 1]);
    recent.set_capacity(2);
    let any = VerdictQuery::default();
    assert_eq!(numbers(&recent.newest(None, &any, 100)), [1005, 1004, 5, 4]);
    recent.set_capacity(0);
    keep(&recent, 0, "a", GateDecision::Accepted);
    assert!(recent.newest(None, &any, 100).is_empty());
}

/// Fails if text of a client is kept at any length, or if a token is kept that the log shows once.
#[test]
fn what_is_kept_of_one_request_is_bounded() {
    let recent = RecentVerdicts::new(10);
    let method = Method::from_bytes(&[b'X'; 10_000]).unwrap();
    let mut wide = verdict(0, "a", GateDecision::Refused(Reject::Method { method }));
    wide.shown = Some("the token".into());
    let error = Some(("connect", "ä".repeat(10_000)));
    let exchange = ExchangeSummary {
        forward_error: error,
        ..exchange()
    };
    recent.push(&wide, &exchange);
    let fault = "ä".repeat(10_000).into();
    keep(
        &recent,
        1,
        "a",
        GateDecision::Refused(Reject::NotStored { fault }),
    );
    let text = format!("{:?}", recent.newest(None, &VerdictQuery::default(), 2));
    assert!(text.len() < 5000, "{}", text.len());
    assert!(!text.contains("the token"));
}

/// Fails if a tail misses a verdict that arrives between its read and its wait.
#[tokio::test]
async fn a_tail_is_woken_by_what_comes() {
    let recent = Arc::new(RecentVerdicts::new(10));
    keep(&recent, 1, "a", GateDecision::Accepted);
    recent.wait(0).await;
    let waiting = {
        let recent = Arc::clone(&recent);
        tokio::spawn(async move { recent.wait(1).await })
    };
    tokio::task::yield_now().await;
    keep(&recent, 2, "a", GateDecision::Accepted);
    waiting.await.unwrap();
}
