//! Tests of the table of reasons: codes, statuses, and what an untrusted client can learn from them.

use std::collections::HashSet;

use super::*;

#[test]
fn codes_are_unique_and_kebab_case() {
    let codes = RejectReason::ALL.iter();
    let codes: HashSet<_> = codes.map(|reason| reason.explanation().code).collect();
    assert_eq!(codes.len(), RejectReason::ALL.len());
    for code in codes {
        let parts = code.split('-');
        for part in parts {
            assert!(!part.is_empty(), "{code}");
            assert!(part.bytes().all(|byte| byte.is_ascii_lowercase()), "{code}");
        }
    }
}

#[test]
fn all_lists_each_reason_at_its_own_index() {
    for (index, reason) in RejectReason::ALL.iter().copied().enumerate() {
        assert_eq!(reason.index(), index);
        assert_eq!(RejectReason::find(reason.explanation().code), Some(reason));
    }
    assert_eq!(RejectReason::find("no-such-reason"), None);
}

#[test]
fn every_status_is_an_error() {
    for reason in RejectReason::ALL {
        let status = reason.explanation().status;
        assert!(status.is_client_error() || status.is_server_error());
    }
    let odd = Reject::FirstFailed {
        status: StatusCode::OK,
    };
    assert_eq!(odd.status(), StatusCode::BAD_GATEWAY);
}

#[test]
fn an_untrusted_client_cannot_learn_which_part_of_the_authentication_failed() {
    let rejects = [
        Reject::MissingMaterial { name: "x".into() },
        Reject::MalformedMaterial {
            name: "x".into(),
            fault: "twice",
        },
        Reject::StaleTimestamp {
            age_seconds: 4,
            tolerance: Duration::from_secs(3),
        },
        Reject::BadSignature,
        Reject::UserNotAllowed { user: 1000 },
        Reject::NoCurrentSecret,
    ];
    for reject in rejects {
        assert_eq!(reject.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(reject.retry_after(), None);
    }
}

#[test]
fn evidence_from_untrusted_clients_is_bounded() {
    let Reject::NoRoute { host, path } = Reject::no_route("a", &"\u{e9}".repeat(9000)) else {
        panic!("another reject");
    };
    assert_eq!((&*host, path.chars().count()), ("a", EVIDENCE_LIMIT));
}
