//! Tests of the schedule: each pause, its bounds, and clocks that step.

use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_700_000_000_000;

fn failed(round: u32) -> FailedAttempt {
    FailedAttempt {
        round,
        round_began_ms: NOW,
        now_ms: NOW,
        retry_after: None,
        chance: 0.0,
    }
}

fn wait(retry: &RetryPolicy, failed: &FailedAttempt) -> Option<i64> {
    match after_failure(retry, failed) {
        NextState::Waiting(due) => Some(due - failed.now_ms),
        NextState::Dead => None,
        NextState::Delivered => panic!("a failure delivers nothing"),
    }
}

fn list(pauses: &[u64]) -> RetryPolicy {
    let pauses: Vec<_> = pauses.iter().copied().map(Duration::from_secs).collect();
    RetryPolicy {
        pauses: RetryPauses::List(pauses),
        max_attempts: 100,
        max_age: None,
        jitter: 0.0,
    }
}

#[test]
fn the_standard_schedule_is_the_one_of_standard_webhooks() {
    let retry = standard();
    let waits: Vec<_> = (1..=11)
        .map(|round| wait(&retry, &failed(round)).map(|ms| ms / 1000))
        .collect();
    let hours = |hours: i64| Some(hours * 3600);
    let expected = [
        Some(5),
        Some(300),
        Some(1800),
        hours(2),
        hours(5),
        hours(10),
        hours(14),
        hours(20),
        hours(24),
        None,
        None,
    ];
    assert_eq!(waits, expected);
}

#[test]
fn the_last_pause_counts_for_all_that_follow() {
    let retry = list(&[1, 7]);
    assert_eq!(wait(&retry, &failed(50)), Some(7_000));
    assert_eq!(wait(&list(&[]), &failed(1)), Some(1_000));
}

#[test]
fn exponential_pauses_grow_up_to_their_cap() {
    let retry = RetryPolicy {
        pauses: RetryPauses::Exponential {
            base: Duration::from_secs(1),
            factor: 3.0,
            cap: Duration::from_secs(20),
        },
        ..list(&[])
    };
    let waits: Vec<_> = [1, 2, 3, 4, 99, u32::MAX - 1]
        .map(|round| {
            let failed = failed(round);
            let retry = RetryPolicy {
                max_attempts: u32::MAX,
                ..retry.clone()
            };
            wait(&retry, &failed).unwrap()
        })
        .to_vec();
    assert_eq!(waits, [1_000, 3_000, 9_000, 20_000, 20_000, 20_000]);
}

#[test]
fn an_age_ends_it_before_the_attempt_that_would_be_too_late() {
    let retry = RetryPolicy {
        max_age: Some(Duration::from_secs(100)),
        ..list(&[60])
    };
    let at = |age_s: i64| FailedAttempt {
        now_ms: NOW + age_s * 1000,
        ..failed(1)
    };
    assert_eq!(wait(&retry, &at(40)), Some(60_000));
    assert_eq!(wait(&retry, &at(41)), None);
    // A clock that went back makes no delivery older.
    assert_eq!(wait(&retry, &at(-500)), Some(60_000));
}

#[test]
fn what_the_destination_asks_for_takes_the_place_of_the_pause_within_bounds() {
    let retry = list(&[60]);
    for (asked, expected) in [
        (0, 1_000),
        (5, 5_000),
        (600, 600_000),
        (u64::MAX, 86_400_000),
    ] {
        let failed = FailedAttempt {
            retry_after: Some(Duration::from_secs(asked)),
            ..failed(1)
        };
        assert_eq!(wait(&retry, &failed), Some(expected), "{asked}");
    }
}

// Fails when a destination can delay its deliveries for longer than a day.
#[test]
fn retry_after_is_limited() {
    let read = |text: &str| retry_after(&HeaderValue::from_str(text).unwrap(), NOW);
    assert_eq!(read("120"), Some(Duration::from_secs(120)));
    // NOW is Tue, 14 Nov 2023 22:13:20 GMT.
    let minute = Some(Duration::from_secs(60));
    assert_eq!(read("Tue, 14 Nov 2023 22:14:20 GMT"), minute);
    for huge in ["99999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        assert_eq!(read(huge), Some(LONGEST_RETRY_AFTER), "{huge}");
    }
    assert_eq!(read("soon"), None);
}

// Fails when `is_plausible` returns true: a delivery from a clock that was a year ahead would wait for a year.
#[test]
fn a_due_time_beyond_every_pause_is_not_believed() {
    let retry = standard();
    let day = 86_400_000;
    assert!(is_plausible(&retry, NOW - 3 * day, NOW));
    assert!(is_plausible(&retry, NOW + day, NOW));
    assert!(is_plausible(&retry, NOW + day * 11 / 10, NOW));
    assert!(!is_plausible(&retry, NOW + day * 12 / 10, NOW));
    assert!(!is_plausible(&retry, i64::MAX, NOW));
    assert!(!is_plausible(&list(&[5]), NOW + 3 * day, NOW));
}

fn any_retry() -> impl Strategy<Value = RetryPolicy> {
    let lists = proptest::collection::vec(0u64..200_000, 0..6)
        .prop_map(|all| RetryPauses::List(all.into_iter().map(Duration::from_secs).collect()));
    let exponential = (1u64..1000, 1.0f64..10.0, 1u64..200_000).prop_map(|(base, factor, cap)| {
        RetryPauses::Exponential {
            base: Duration::from_secs(base),
            factor,
            cap: Duration::from_secs(cap.max(base)),
        }
    });
    let age = proptest::option::of((1u64..1_000_000).prop_map(Duration::from_secs));
    (prop_oneof![lists, exponential], 1u32..50, age, 0.0f64..=1.0).prop_map(
        |(pauses, max_attempts, max_age, jitter)| RetryPolicy {
            pauses,
            max_attempts,
            max_age,
            jitter,
        },
    )
}

proptest! {
    #[test]
    fn a_due_time_is_in_the_future_plausible_and_within_the_bounds(
        retry in any_retry(),
        round in 1u32..60,
        age in -1_000_000i64..10_000_000,
        asked in proptest::option::of(0u64..10_000_000),
        chance in 0.0f64..1.0,
    ) {
        let failed = FailedAttempt {
            round,
            round_began_ms: NOW - age,
            now_ms: NOW,
            retry_after: asked.map(Duration::from_secs),
            chance,
        };
        match after_failure(&retry, &failed) {
            NextState::Delivered => prop_assert!(false),
            NextState::Dead => {
                let is_spent = round >= retry.max_attempts;
                prop_assert!(is_spent || retry.max_age.is_some());
            }
            NextState::Waiting(due) => {
                prop_assert!(round < retry.max_attempts);
                prop_assert!(due >= NOW);
                prop_assert!(is_plausible(&retry, due, NOW));
                // A plausible due time stays plausible as time goes by, and if the clock goes back a little.
                prop_assert!(is_plausible(&retry, due, due));
                if let Some(max_age) = retry.max_age {
                    prop_assert!(due - failed.round_began_ms <= max_age.as_millis() as i64);
                }
                if let Some(asked) = asked {
                    let least = asked.clamp(1, 86_400) * 1000;
                    prop_assert!(due - NOW >= least as i64);
                    prop_assert!(due - NOW <= 2 * least as i64 + 1);
                }
            }
        }
    }

    #[test]
    fn no_header_breaks_the_reading(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let read = retry_after(&value, NOW);
            prop_assert!(read.is_none_or(|wait| wait <= LONGEST_RETRY_AFTER));
        }
    }

    #[test]
    fn nothing_overflows(now in any::<i64>(), began in any::<i64>(), chance in any::<f64>()) {
        let failed = FailedAttempt { round: 1, round_began_ms: began, now_ms: now, retry_after: None, chance };
        let _ = after_failure(&standard(), &failed);
        let _ = is_plausible(&standard(), began, now);
    }
}
