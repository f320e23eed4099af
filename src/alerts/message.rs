//! One message about some alerts, in the form that every kind of receiver renders.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::alerts::book::{AlertChange, AlertNote};
use crate::alerts::text::{moment_text, span_text};
use crate::model::problem::ProblemKind;

/// Most alerts of one kind that a message names. The others are counted.
const MAX_NAMED: usize = 10;

/// A message for one receiver.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct AlertMessage {
    /// The same for each attempt to send it, so that a receiver recognizes a copy.
    pub(super) id: String,
    /// When the message was made, in milliseconds since the epoch.
    pub(super) at_ms: i64,
    pub(super) notes: Vec<AlertNote>,
    /// True for a message that only shows that messages arrive.
    pub(super) is_test: bool,
}

/// Notes about problems of one kind.
pub(super) struct MessageGroup {
    pub(super) heading: &'static str,
    pub(super) lines: Vec<String>,
    /// Notes that have no line.
    pub(super) left_out: usize,
}

impl AlertMessage {
    pub(super) fn new(id: String, at_ms: i64, notes: Vec<AlertNote>) -> Self {
        Self {
            id,
            at_ms,
            notes,
            is_test: false,
        }
    }

    /// Creates a message that only shows that messages arrive.
    pub(super) fn test(id: String, at_ms: i64) -> Self {
        Self {
            is_test: true,
            ..Self::new(id, at_ms, Vec::new())
        }
    }

    /// Returns a title such as `hookgate edge-1: 3 new, 1 over`.
    pub(super) fn title(&self, host: &str) -> String {
        if self.is_test {
            return format!("hookgate {host}: test message");
        }
        let mut counts: Vec<String> = Vec::new();
        for (change, word) in [
            (AlertChange::Opened, "new"),
            (AlertChange::Worse, "worse"),
            (AlertChange::Reminder, "still open"),
            (AlertChange::Acknowledged, "acknowledged"),
            (AlertChange::Over, "over"),
        ] {
            let count = self
                .notes
                .iter()
                .filter(|note| note.change == change)
                .count();
            if count > 0 {
                counts.push(format!("{count} {word}"));
            }
        }
        format!("hookgate {host}: {}", counts.join(", "))
    }

    /// Returns the notes by kind of problem, most urgent first.
    pub(super) fn groups(&self) -> Vec<MessageGroup> {
        if self.is_test {
            return vec![MessageGroup {
                heading: "Test",
                lines: vec!["Alerts of this gate arrive here.".to_owned()],
                left_out: 0,
            }];
        }
        let mut by_kind: BTreeMap<usize, Vec<&AlertNote>> = BTreeMap::new();
        for note in &self.notes {
            let mut all = ProblemKind::ALL.into_iter();
            let rank = all.position(|(word, _)| word == note.alert.kind);
            by_kind
                .entry(rank.unwrap_or(usize::MAX))
                .or_default()
                .push(note);
        }
        let groups = by_kind.into_values().map(|mut notes| {
            // What is new comes before what is over.
            notes.sort_by_key(|note| (rank_of(note.change), note.alert.id));
            let kind = notes.first().and_then(|note| note.alert.kind());
            MessageGroup {
                heading: kind.map_or("Other problems", ProblemKind::heading),
                lines: notes
                    .iter()
                    .take(MAX_NAMED)
                    .map(|note| line(note))
                    .collect(),
                left_out: notes.len().saturating_sub(MAX_NAMED),
            }
        });
        groups.collect()
    }

    /// Renders the groups as plain text of at most `budget` characters. `escape` makes a line harmless for the receiver.
    pub(super) fn plain(&self, budget: usize, escape: impl Fn(&str) -> String) -> String {
        let end = escape(END);
        let end_length = end.chars().count();
        let mut text = String::new();
        let mut used = 0;
        let mut is_cut = false;
        for group in self.groups() {
            let mut add = |line: &str, text: &mut String| {
                // Escaping may lengthen a line, so its length counts afterward.
                let line = escape(line);
                let length = line.chars().count() + 1;
                // Room for the last line, which says that something is missing.
                is_cut |= used + length + end_length > budget;
                if !is_cut {
                    used += length;
                    let _ = writeln!(text, "{line}");
                }
            };
            if !text.is_empty() {
                add("", &mut text);
            }
            add(group.heading, &mut text);
            for line in &group.lines {
                add(&format!("- {line}"), &mut text);
            }
            if group.left_out > 0 {
                add(&format!("- and {} more", group.left_out), &mut text);
            }
        }
        if is_cut {
            text.push_str(&end);
        }
        text.truncate(text.trim_end().len());
        text
    }
}

/// Last line of a text that was cut.
const END: &str = "More: run `hookgate alerts`.";

fn rank_of(change: AlertChange) -> u8 {
    match change {
        AlertChange::Opened => 0,
        AlertChange::Worse => 1,
        AlertChange::Reminder => 2,
        AlertChange::Acknowledged => 3,
        AlertChange::Over => 4,
    }
}

/// Renders one note as a line.
fn line(note: &AlertNote) -> String {
    let alert = &note.alert;
    let (id, text) = (alert.id, &alert.text);
    let since = moment_text(alert.since_ms);
    let lasted = span_text(note.at_ms.saturating_sub(alert.since_ms));
    match note.change {
        AlertChange::Opened => format!("New: {text} (alert {id})"),
        AlertChange::Worse => format!("Worse: {text} (alert {id}, since {since})"),
        AlertChange::Reminder => format!("Still open after {lasted}: {text} (alert {id})"),
        AlertChange::Acknowledged => {
            let by = alert.acknowledged.as_ref().map_or("", |known| &known.by);
            format!("Acknowledged by {by}: {text} (alert {id})")
        }
        AlertChange::Over => format!("Over after {lasted}: {text} (alert {id})"),
    }
}
