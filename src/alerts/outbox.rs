//! The messages of one receiver: what waits, what is being sent, and how many were sent in the last hour.
//!
//! Notes wait by alert, so the queue has at most one for each alert. They leave together in one message, at a bounded
//! rate. A message is remembered until the receiver has accepted it: a restart sends it again under the same id.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alerts::book::{AlertChange, AlertNote};
use crate::alerts::message::AlertMessage;
use crate::alerts::sender::SendFailure;
use crate::model::clock::millis;

const HOUR_MS: i64 = 3_600_000;

/// Intervals for which notes wait for others, so that problems of one cause share a message.
const GROUP_AFTER: u32 = 2;

/// Most attempts to send a message. With their pauses they take about two hours.
const MAX_ATTEMPTS: u32 = 12;

/// Longest pause before an attempt, in intervals, and whatever the receiver asks for in milliseconds.
const MAX_PAUSE: u32 = 120;

/// Most characters of an error that are remembered.
const MAX_ERROR: usize = 300;

/// Queue of one receiver, and its recent past.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ReceiverOutbox {
    /// Notes that wait, by alert.
    waiting: BTreeMap<u64, AlertNote>,
    /// When the first of them came.
    waiting_since_ms: i64,
    /// When messages of the last hour began.
    begun_ms: VecDeque<i64>,
    /// The message that is being sent.
    outgoing: Option<OutgoingMessage>,
    /// Failed attempts in a row.
    pub(super) failures: u32,
    /// Time of the first of them.
    pub(super) failing_since_ms: Option<i64>,
    /// Error of the last attempt, if it failed.
    pub(super) last_error: Option<String>,
    /// When the receiver accepted a message last.
    pub(super) accepted_ms: Option<i64>,
}

/// A message that the receiver has not accepted yet.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct OutgoingMessage {
    message: AlertMessage,
    attempts: u32,
    next_ms: i64,
}

/// The limits of a receiver.
#[derive(Clone, Copy)]
pub(super) struct OutboxLimits {
    pub(super) now_ms: i64,
    pub(super) interval: Duration,
    pub(super) max_per_hour: u32,
}

/// Consequence of a failed attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FailedSend {
    /// The message is sent again later.
    Later,
    /// The message is given up. The next one tries again.
    GivenUp,
}

impl ReceiverOutbox {
    /// Adds a note. A later note about the same alert replaces the earlier one.
    pub(super) fn push(&mut self, note: AlertNote) {
        // The wait counts from the first note, so that further ones cannot delay the message forever.
        if self.waiting.is_empty() {
            self.waiting_since_ms = note.at_ms;
        }
        let waits = self.waiting.get(&note.alert.id).map(|waits| waits.change);
        // A receiver that does not know the alert yet gets it as a new one.
        let change = match (waits, note.change) {
            (Some(AlertChange::Opened), AlertChange::Worse | AlertChange::Reminder) => {
                AlertChange::Opened
            }
            (_, change) => change,
        };
        let note = AlertNote { change, ..note };
        self.waiting.insert(note.alert.id, note);
    }

    /// Returns the message to send now, if there is one. The caller must send it and report the outcome.
    pub(super) fn due(
        &mut self,
        limits: OutboxLimits,
        id: impl FnOnce() -> String,
    ) -> Option<AlertMessage> {
        let now_ms = limits.now_ms;
        if let Some(outgoing) = &self.outgoing {
            // A message that was not accepted goes before new notes, which wait and leave together.
            return (outgoing.next_ms <= now_ms).then(|| outgoing.message.clone());
        }
        // A clock that was set back must not hold up messages for hours.
        self.begun_ms
            .retain(|begun| now_ms.saturating_sub(*begun) < HOUR_MS && *begun <= now_ms);
        let waited_ms = now_ms.saturating_sub(self.waiting_since_ms);
        let is_grouped = waited_ms >= millis(limits.interval * GROUP_AFTER) || waited_ms < 0;
        if self.waiting.is_empty() || !is_grouped || !self.has_room(limits) {
            return None;
        }
        let notes = std::mem::take(&mut self.waiting);
        let message = AlertMessage::new(id(), now_ms, notes.into_values().collect());
        self.begun_ms.push_back(now_ms);
        self.outgoing = Some(OutgoingMessage {
            message: message.clone(),
            attempts: 0,
            next_ms: now_ms,
        });
        Some(message)
    }

    /// Returns whether the receiver may get another message now.
    ///
    /// The first third of an hour's messages leave at once. The others are spread over the hour, so that a storm at its
    /// beginning does not delay a new problem until its end.
    fn has_room(&self, limits: OutboxLimits) -> bool {
        let begun = u32::try_from(self.begun_ms.len()).unwrap_or(u32::MAX);
        let most = limits.max_per_hour.max(1);
        let at_once = most.div_ceil(3);
        if begun < at_once {
            return true;
        }
        let pause = HOUR_MS / i64::from((most - at_once).max(1));
        let last_ms = self.begun_ms.back().copied().unwrap_or(0);
        begun < most && limits.now_ms.saturating_sub(last_ms) >= pause
    }

    /// Forgets the message, which the receiver has accepted.
    pub(super) fn accepted(&mut self, now_ms: i64) {
        self.outgoing = None;
        self.failures = 0;
        self.failing_since_ms = None;
        self.last_error = None;
        self.accepted_ms = Some(now_ms);
    }

    /// Plans the next attempt, or gives the message up.
    pub(super) fn failed(&mut self, failure: &SendFailure, limits: OutboxLimits) -> FailedSend {
        self.failures = self.failures.saturating_add(1);
        self.failing_since_ms.get_or_insert(limits.now_ms);
        self.last_error = Some(failure.text.chars().take(MAX_ERROR).collect());
        let Some(outgoing) = &mut self.outgoing else {
            return FailedSend::GivenUp;
        };
        outgoing.attempts += 1;
        if failure.is_final || outgoing.attempts >= MAX_ATTEMPTS {
            self.outgoing = None;
            return FailedSend::GivenUp;
        }
        // 1, 2, 4, ... intervals.
        let factor = 1_u32 << (outgoing.attempts - 1).min(16);
        let pause = limits.interval * factor.min(MAX_PAUSE);
        let wanted = failure.retry_after.unwrap_or_default();
        // A receiver may ask for a longer pause, but not for one of days.
        let pause_ms = millis(pause.max(wanted)).min(HOUR_MS);
        outgoing.next_ms = limits.now_ms.saturating_add(pause_ms);
        FailedSend::Later
    }

    /// Counts the notes that wait, those of a message that is being sent included.
    pub(super) fn waiting(&self) -> usize {
        let outgoing = self.outgoing.as_ref();
        let sent = outgoing.map_or(0, |outgoing| outgoing.message.notes.len());
        self.waiting.len().saturating_add(sent)
    }
}

#[cfg(test)]
mod tests;
