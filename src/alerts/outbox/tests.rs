//! Tests of grouping, rates and retries, on an injected clock.

use super::*;
use crate::alerts::book::{AlertBook, BookTimes};
use crate::model::problem::{FoundProblem, ProblemKind};

const START: i64 = 1_800_000_000_000;
const INTERVAL: Duration = Duration::from_secs(15);
const STEP_MS: i64 = 15_000;

fn limits(now_ms: i64) -> OutboxLimits {
    OutboxLimits {
        now_ms,
        interval: INTERVAL,
        max_per_hour: 12,
    }
}

/// Returns a note about each of some new problems.
fn notes(book: &mut AlertBook, names: std::ops::Range<u32>, now_ms: i64) -> Vec<AlertNote> {
    let found = names.map(|name| {
        FoundProblem::new(
            ProblemKind::DeadLetters,
            format!("r{name}/ci"),
            "it has dead letters",
        )
    });
    let hold = |_| Duration::ZERO;
    let times = BookTimes {
        now_ms,
        interval: INTERVAL,
        hold: &hold,
        is_partial: false,
    };
    book.observe(found.collect(), times)
}

fn due(outbox: &mut ReceiverOutbox, now_ms: i64) -> Option<AlertMessage> {
    outbox.due(limits(now_ms), || format!("alert_{now_ms}"))
}

fn failure(is_final: bool) -> SendFailure {
    SendFailure {
        text: "it responds with 500".to_owned(),
        is_final,
        retry_after: None,
    }
}

/// Fails if a thousand problems at once make more than one message, or if a problem that follows waits for an hour.
#[test]
fn a_flood_of_problems_is_one_message_and_the_rate_is_bounded() {
    let (mut book, mut outbox) = (AlertBook::default(), ReceiverOutbox::default());
    let mut sent = Vec::new();
    let mut longest_ms = 0;
    let mut known = 0;
    let mut now_ms = START;
    // Six hours in which a new problem comes with each look, after a thousand at once.
    while now_ms < START + 6 * HOUR_MS {
        now_ms += STEP_MS;
        let next = if known == 0 { 1000 } else { known + 1 };
        for note in notes(&mut book, known..next, now_ms) {
            outbox.push(note);
        }
        known = next;
        if let Some(message) = due(&mut outbox, now_ms) {
            for note in &message.notes {
                longest_ms = longest_ms.max(now_ms - note.at_ms);
            }
            outbox.accepted(now_ms);
            sent.push((now_ms, message.notes.len()));
        }
    }
    assert_eq!(
        sent[0].1, 1002,
        "the first message has all of the first problems"
    );
    for (begun, _) in &sent {
        let within = sent
            .iter()
            .filter(|(at, _)| (*begun..*begun + HOUR_MS).contains(at));
        assert!(within.count() <= 12);
    }
    assert!(
        longest_ms <= 15 * 60_000,
        "a note waited for {longest_ms} ms"
    );
}

/// Fails if an alert that is over before its message is sent is reported as new, or if a new one appears as worse.
#[test]
fn the_latest_note_of_an_alert_is_sent() {
    let (mut book, mut outbox) = (AlertBook::default(), ReceiverOutbox::default());
    let note = notes(&mut book, 0..1, START).remove(0);
    outbox.push(note.clone());
    let worse = AlertNote {
        change: AlertChange::Worse,
        ..note.clone()
    };
    outbox.push(worse);
    assert_eq!(
        outbox.waiting.values().next().unwrap().change,
        AlertChange::Opened
    );
    outbox.push(AlertNote {
        change: AlertChange::Over,
        ..note
    });
    assert_eq!(outbox.waiting(), 1);
    assert_eq!(due(&mut outbox, START + STEP_MS), None);
    let message = due(&mut outbox, START + 2 * STEP_MS).unwrap();
    assert_eq!(message.notes[0].change, AlertChange::Over);
}

/// Fails if retries come without pauses or without an end, if they change the id, or if a success does not end them.
#[test]
fn a_receiver_that_is_away_is_tried_again_with_growing_pauses_and_not_forever() {
    let (mut book, mut outbox) = (AlertBook::default(), ReceiverOutbox::default());
    outbox.push(notes(&mut book, 0..1, START).remove(0));
    let mut now_ms = START + 2 * STEP_MS;
    let (mut tries, mut ids) = (Vec::new(), Vec::new());
    loop {
        if let Some(message) = due(&mut outbox, now_ms) {
            ids.push(message.id);
            tries.push((now_ms - START) / STEP_MS);
            if outbox.failed(&failure(false), limits(now_ms)) == FailedSend::GivenUp {
                break;
            }
        }
        now_ms += STEP_MS;
        assert!(now_ms < START + 24 * HOUR_MS);
    }
    assert_eq!(tries.len(), 12);
    let pauses: Vec<_> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 120, 120, 120, 120]);
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(
        (outbox.failures, outbox.failing_since_ms),
        (12, Some(START + 2 * STEP_MS))
    );
    // The next problem tries again.
    outbox.push(notes(&mut book, 0..2, now_ms).remove(0));
    now_ms += 2 * STEP_MS;
    assert!(due(&mut outbox, now_ms).is_some());
    let asked = SendFailure {
        retry_after: Some(Duration::from_secs(600)),
        ..failure(false)
    };
    assert_eq!(outbox.failed(&asked, limits(now_ms)), FailedSend::Later);
    assert_eq!(due(&mut outbox, now_ms + 599_000), None);
    assert!(due(&mut outbox, now_ms + 600_000).is_some());
    outbox.accepted(now_ms);
    assert_eq!(
        (outbox.failures, &outbox.last_error, outbox.waiting()),
        (0, &None, 0)
    );
    // A message that the receiver will never accept is not sent again.
    outbox.push(notes(&mut book, 0..3, now_ms).remove(0));
    assert!(due(&mut outbox, now_ms + HOUR_MS).is_some());
    assert_eq!(
        outbox.failed(&failure(true), limits(now_ms)),
        FailedSend::GivenUp
    );
    assert_eq!(due(&mut outbox, now_ms + 2 * HOUR_MS), None);
}

/// Fails if a message that was not accepted is lost by a restart, or if it gets another id.
#[test]
fn a_message_survives_a_restart_until_it_is_accepted() {
    let (mut book, mut outbox) = (AlertBook::default(), ReceiverOutbox::default());
    outbox.push(notes(&mut book, 0..1, START).remove(0));
    let message = due(&mut outbox, START + 2 * STEP_MS).unwrap();
    let text = serde_json::to_string(&outbox).unwrap();
    let mut outbox: ReceiverOutbox = serde_json::from_str(&text).unwrap();
    assert_eq!(due(&mut outbox, START + 2 * STEP_MS), Some(message));
}
