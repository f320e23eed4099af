//! Tests of the life of an alert, on an injected clock.

use super::*;

const START: i64 = 1_800_000_000_000;
const INTERVAL: Duration = Duration::from_secs(15);
const STEP_MS: i64 = 15_000;

/// A book with a clock that moves one interval with each look.
struct Watched {
    book: AlertBook,
    now_ms: i64,
    is_partial: bool,
}

fn hold(kind: ProblemKind) -> Duration {
    match kind {
        ProblemKind::Failing => INTERVAL * 4,
        _ => Duration::ZERO,
    }
}

impl Watched {
    fn new() -> Self {
        Self {
            book: AlertBook::default(),
            now_ms: START,
            is_partial: false,
        }
    }

    /// Looks once; returns the changes with the numbers of their alerts.
    fn look(&mut self, found: &[FoundProblem]) -> Vec<(AlertChange, u64)> {
        self.now_ms += STEP_MS;
        let times = BookTimes {
            now_ms: self.now_ms,
            interval: INTERVAL,
            hold: &hold,
            is_partial: self.is_partial,
        };
        let notes = self.book.observe(found.to_vec(), times);
        notes
            .iter()
            .map(|note| (note.change, note.alert.id))
            .collect()
    }

    /// Looks until something changes; returns the change and the hours that passed.
    fn until(&mut self, found: &[FoundProblem]) -> (AlertChange, i64) {
        let began_ms = self.now_ms;
        loop {
            let changes = self.look(found);
            if let Some((change, _)) = changes.first() {
                return (*change, (self.now_ms - began_ms) / HOUR_MS);
            }
            assert!(
                self.now_ms - began_ms < 30 * 24 * HOUR_MS,
                "nothing happened"
            );
        }
    }
}

fn dead(level: u32) -> FoundProblem {
    FoundProblem::new(
        ProblemKind::DeadLetters,
        "shop/upstream",
        "it has dead letters",
    )
    .with_level(level)
}

fn failing() -> FoundProblem {
    FoundProblem::new(ProblemKind::Failing, "shop/upstream", "it fails")
}

/// Fails if an alert opens twice, if it is over while the problem comes and goes, or if its number is used again.
#[test]
fn an_alert_opens_once_and_is_over_when_the_problem_stays_away() {
    let mut watched = Watched::new();
    assert_eq!(watched.look(&[dead(0)]), [(AlertChange::Opened, 1)]);
    assert_eq!(watched.look(&[dead(0)]), []);
    for _ in 0..19 {
        assert_eq!(watched.look(&[]), []);
    }
    // It comes back just in time.
    assert_eq!(watched.look(&[dead(0)]), []);
    for _ in 0..OVER_AFTER {
        assert_eq!(watched.look(&[]), []);
    }
    assert_eq!(watched.look(&[]), [(AlertChange::Over, 1)]);
    assert_eq!(watched.book.open(), []);
    assert_eq!(watched.look(&[dead(0)]), [(AlertChange::Opened, 2)]);
}

/// Fails if problems that cannot be found while the store is away count as over.
#[test]
fn nothing_is_over_while_the_store_is_away() {
    let mut watched = Watched::new();
    watched.look(&[dead(0)]);
    watched.is_partial = true;
    for _ in 0..100 {
        assert_eq!(watched.look(&[]), []);
    }
    assert_eq!(watched.book.open()[0].absent_ms, None);
    watched.is_partial = false;
    assert_eq!(watched.until(&[]).0, AlertChange::Over);
}

/// Fails if a breaker that is open for a moment is an alert, or if one that is open for long is not.
#[test]
fn a_problem_that_passes_by_itself_is_no_alert() {
    let mut watched = Watched::new();
    for _ in 0..4 {
        assert_eq!(watched.look(&[failing()]), []);
    }
    assert_eq!(watched.look(&[]), []);
    for _ in 0..4 {
        assert_eq!(watched.look(&[failing()]), []);
    }
    assert_eq!(watched.book.open(), []);
    assert_eq!(watched.look(&[failing()]), [(AlertChange::Opened, 2)]);
}

/// Fails if reminders do not come at growing intervals, or if they come after an acknowledgment.
#[test]
fn reminders_come_less_and_less_often_and_end_with_an_acknowledgment() {
    let mut watched = Watched::new();
    watched.look(&[dead(0)]);
    let hours: Vec<_> = (0..7).map(|_| watched.until(&[dead(0)])).collect();
    let expected = [4, 8, 12, 48, 168, 168, 168];
    assert_eq!(hours, expected.map(|hours| (AlertChange::Reminder, hours)));
    let notes = watched.book.acknowledge(1, "ann", watched.now_ms).unwrap();
    assert_eq!(notes[0].change, AlertChange::Acknowledged);
    for _ in 0..200_000 {
        assert_eq!(watched.look(&[dead(0)]), []);
    }
    // A second acknowledgment changes nothing.
    assert_eq!(
        watched.book.acknowledge(1, "bob", watched.now_ms),
        Some(Vec::new())
    );
    let known = watched.book.open()[0].acknowledged.clone().unwrap();
    assert_eq!(known.by, "ann");
    assert_eq!(watched.book.acknowledge(2, "ann", watched.now_ms), None);
    let (change, _) = watched.until(&[]);
    assert_eq!(change, AlertChange::Over);
}

/// Fails if an acknowledged alert is silent although it gets worse, or if it speaks again at a level that it had before.
#[test]
fn an_acknowledged_alert_speaks_again_when_it_gets_worse() {
    let mut watched = Watched::new();
    watched.look(&[dead(1)]);
    watched.book.acknowledge(1, "ann", watched.now_ms).unwrap();
    assert_eq!(watched.look(&[dead(0)]), []);
    assert_eq!(watched.look(&[dead(1)]), []);
    assert_eq!(watched.look(&[dead(2)]), [(AlertChange::Worse, 1)]);
    assert_eq!(watched.book.open()[0].acknowledged, None);
    assert_eq!(watched.look(&[dead(2)]), []);
}

/// Fails if problems can make the book grow without end, or if a text with control characters is stored.
#[test]
fn the_book_is_bounded() {
    let mut watched = Watched::new();
    let many: Vec<_> = (0..MAX_ALERTS + 500)
        .map(|index| {
            let text = "x\r\ny\u{7}".repeat(1000);
            FoundProblem::new(ProblemKind::Backlog, format!("route{index}/ci"), text)
        })
        .collect();
    assert_eq!(watched.look(&many).len(), MAX_ALERTS);
    let open = watched.book.open();
    assert_eq!(open.len(), MAX_ALERTS);
    assert!(
        open.iter()
            .all(|alert| alert.text.chars().count() == MAX_TEXT)
    );
    assert!(!open[0].text.contains(char::is_control));
    let text = serde_json::to_string(&watched.book).unwrap();
    assert_eq!(
        serde_json::from_str::<AlertBook>(&text).unwrap(),
        watched.book
    );
}
