//! The open alerts: when each began, who acknowledged it, and what its receivers have to know next.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::clock::millis;
use crate::model::problem::{FoundProblem, ProblemKind};

/// Most alerts that are remembered. Further problems are counted only.
const MAX_ALERTS: usize = 2000;

/// Most characters of a subject or a sentence, some of which come from files and error messages.
const MAX_TEXT: usize = 500;

const HOUR_MS: i64 = 3_600_000;

/// Time from one notification about a lasting problem to the next. The last one repeats.
const REMINDERS_MS: [i64; 5] = [
    4 * HOUR_MS,
    8 * HOUR_MS,
    12 * HOUR_MS,
    48 * HOUR_MS,
    7 * 24 * HOUR_MS,
];

/// Intervals for which a problem must be absent before it is over, so that one that comes and goes is one alert.
const OVER_AFTER: u32 = 20;

/// All alerts of a gate, or of all nodes that share a store.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct AlertBook {
    alerts: BTreeMap<u64, OpenAlert>,
    last_id: u64,
}

/// A problem that holds, or held just now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct OpenAlert {
    /// Number of the alert, never used again.
    pub id: u64,
    /// Kind of the problem, by its word.
    pub kind: String,
    /// The thing that has the problem.
    pub subject: String,
    /// Sentence that describes the problem and what to do.
    pub text: String,
    /// How bad it is.
    pub level: u32,
    /// When the problem was first found, in milliseconds since the epoch.
    pub since_ms: i64,
    /// When it became an alert; `None` while it may still pass by itself.
    pub opened_ms: Option<i64>,
    /// Since when it was not found any more.
    pub absent_ms: Option<i64>,
    /// Acknowledgment by an operator; `None` if there is no acknowledgment.
    pub acknowledged: Option<AlertAcknowledgment>,
    /// When receivers were notified last.
    notified_ms: i64,
    /// How many reminders were due so far.
    reminders: u32,
}

/// An operator's statement that the alert is known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct AlertAcknowledgment {
    /// Name of the operator's token.
    pub by: String,
    /// When it was acknowledged, in milliseconds since the epoch.
    pub at_ms: i64,
}

/// Something that receivers have to know about an alert.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct AlertNote {
    pub(super) alert: OpenAlert,
    pub(super) change: AlertChange,
    pub(super) at_ms: i64,
}

/// Kind of a note.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AlertChange {
    /// The problem is new.
    Opened,
    /// The problem got worse.
    Worse,
    /// The problem lasts.
    Reminder,
    /// An operator knows about it.
    Acknowledged,
    /// The problem is over.
    Over,
}

impl OpenAlert {
    /// Returns the kind; `None` if a later version wrote it.
    pub(crate) fn kind(&self) -> Option<ProblemKind> {
        ProblemKind::of_word(&self.kind)
    }
}

/// Time and holds for one comparison.
#[derive(Clone, Copy)]
pub(super) struct BookTimes<'a> {
    pub(super) now_ms: i64,
    pub(super) interval: Duration,
    /// Time for which a problem of a kind must last before it is an alert.
    pub(super) hold: &'a dyn Fn(ProblemKind) -> Duration,
    /// True if not all problems could be found. Then no alert ends.
    pub(super) is_partial: bool,
}

impl AlertBook {
    /// Compares the problems of now with the alerts, and returns what receivers have to know.
    pub(super) fn observe(
        &mut self,
        found: Vec<FoundProblem>,
        times: BookTimes<'_>,
    ) -> Vec<AlertNote> {
        let mut known: BTreeMap<(String, String), u64> = BTreeMap::new();
        for alert in self.alerts.values() {
            known.insert((alert.kind.clone(), alert.subject.clone()), alert.id);
        }
        let mut notes = Vec::new();
        let mut present = std::collections::BTreeSet::new();
        for problem in found {
            let subject = cut(&problem.subject);
            let key = (problem.kind.word().to_owned(), subject);
            let id = match known.get(&key) {
                Some(id) => *id,
                // Known alerts go on at the bound, so that a flood of problems cannot end those before it.
                None if self.alerts.len() >= MAX_ALERTS => continue,
                None => self.begin(&problem, &key, times.now_ms),
            };
            // A later problem of this round with the same key then finds the alert instead of beginning a second one.
            known.insert(key, id);
            // Two nodes may find the same problem; the first one counts.
            if present.insert(id)
                && let Some(alert) = self.alerts.get_mut(&id)
            {
                notes.extend(alert.continues(&problem, times));
            }
        }
        // A problem that could not be looked for is not absent.
        if !times.is_partial {
            self.alerts
                .retain(|id, alert| present.contains(id) || !alert.has_ended(times, &mut notes));
        }
        notes
    }

    fn begin(&mut self, problem: &FoundProblem, key: &(String, String), now_ms: i64) -> u64 {
        self.last_id += 1;
        let alert = OpenAlert {
            id: self.last_id,
            kind: key.0.clone(),
            subject: key.1.clone(),
            text: cut(&problem.text),
            level: problem.level,
            since_ms: now_ms,
            opened_ms: None,
            absent_ms: None,
            acknowledged: None,
            notified_ms: now_ms,
            reminders: 0,
        };
        self.alerts.insert(alert.id, alert);
        self.last_id
    }

    /// Acknowledges an alert. Returns what receivers have to know, or `None` if there is no such alert.
    pub(super) fn acknowledge(&mut self, id: u64, by: &str, now_ms: i64) -> Option<Vec<AlertNote>> {
        let alert = self.alerts.get_mut(&id)?;
        // A problem that may still pass by itself is not shown, so it cannot be acknowledged.
        alert.opened_ms?;
        if alert.acknowledged.is_some() {
            return Some(Vec::new());
        }
        alert.acknowledged = Some(AlertAcknowledgment {
            by: cut(by),
            at_ms: now_ms,
        });
        Some(vec![alert.note(AlertChange::Acknowledged, now_ms)])
    }

    /// Returns the alerts that are open, most urgent first.
    pub(super) fn open(&self) -> Vec<OpenAlert> {
        let open = self
            .alerts
            .values()
            .filter(|alert| alert.opened_ms.is_some());
        let mut open: Vec<_> = open.cloned().collect();
        let rank = |alert: &OpenAlert| {
            let mut all = ProblemKind::ALL.into_iter();
            all.position(|(word, _)| word == alert.kind)
        };
        open.sort_by_key(|alert| (rank(alert), alert.since_ms, alert.id));
        open
    }
}

impl OpenAlert {
    /// Takes over what was found now.
    fn continues(&mut self, problem: &FoundProblem, times: BookTimes<'_>) -> Option<AlertNote> {
        let now_ms = times.now_ms;
        self.text = cut(&problem.text);
        self.absent_ms = None;
        let before = std::mem::replace(&mut self.level, problem.level);
        if self.opened_ms.is_none() {
            let lasted_ms = now_ms.saturating_sub(self.since_ms);
            if lasted_ms < millis((times.hold)(problem.kind)) {
                return None;
            }
            self.opened_ms = Some(now_ms);
            self.notified_ms = now_ms;
            return Some(self.note(AlertChange::Opened, now_ms));
        }
        if self.level > before {
            // An operator who knew of the smaller problem does not know of this one.
            self.acknowledged = None;
            self.notified_ms = now_ms;
            return Some(self.note(AlertChange::Worse, now_ms));
        }
        // A level that falls stays the known one until the alert is over: what rises and falls is not worse each time.
        self.level = self.level.max(before);
        let pause = usize::try_from(self.reminders).unwrap_or(usize::MAX);
        let pause = pause.min(REMINDERS_MS.len() - 1);
        let pause = REMINDERS_MS.get(pause).copied().unwrap_or(i64::MAX);
        if self.acknowledged.is_none() && now_ms.saturating_sub(self.notified_ms) >= pause {
            self.reminders = self.reminders.saturating_add(1);
            self.notified_ms = now_ms;
            return Some(self.note(AlertChange::Reminder, now_ms));
        }
        None
    }

    /// Returns whether an absent problem is over.
    fn has_ended(&mut self, times: BookTimes<'_>, notes: &mut Vec<AlertNote>) -> bool {
        // Receivers never heard of it, so it ends without a note.
        if self.opened_ms.is_none() {
            return true;
        }
        let since_ms = *self.absent_ms.get_or_insert(times.now_ms);
        let absent_ms = times.now_ms.saturating_sub(since_ms);
        if absent_ms < millis(times.interval * OVER_AFTER) {
            return false;
        }
        notes.push(self.note(AlertChange::Over, times.now_ms));
        true
    }

    fn note(&self, change: AlertChange, at_ms: i64) -> AlertNote {
        AlertNote {
            alert: self.clone(),
            change,
            at_ms,
        }
    }
}

/// Cuts a text to [`MAX_TEXT`] characters, without control characters.
fn cut(text: &str) -> String {
    let shown = text.chars().map(|letter| match letter.is_control() {
        true => ' ',
        false => letter,
    });
    shown.take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests;
