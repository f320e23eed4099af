//! Notes for receivers: which receiver gets a note, and within which limits it gets a message.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;

use crate::alerts::book::AlertNote;
use crate::alerts::outbox::{OutboxLimits, ReceiverOutbox};
use crate::alerts::plan::{AlertPlan, PlannedReceiver};
use crate::model::problem::{FoundProblem, ProblemKind};

/// Hands notes to the receivers that want them.
pub(super) fn distribute(
    plan: &AlertPlan,
    outboxes: &mut BTreeMap<String, ReceiverOutbox>,
    notes: Vec<AlertNote>,
) {
    for note in notes {
        let Some(kind) = note.alert.kind() else {
            continue;
        };
        for (name, receiver) in &plan.receivers {
            // A receiver that is away cannot be notified of it.
            let is_itself = kind == ProblemKind::Receiver && note.alert.subject == *name;
            let is_wanted = receiver.conditions.contains(&kind) && !is_itself;
            if is_wanted && receiver.wants(note.change) {
                outboxes.entry(name.clone()).or_default().push(note.clone());
            }
        }
    }
}

/// Returns the receivers that do not accept messages.
pub(super) fn receiver_problems(outboxes: &BTreeMap<String, ReceiverOutbox>) -> Vec<FoundProblem> {
    let failing = outboxes.iter().filter(|(_, outbox)| outbox.failures > 0);
    let each = failing.map(|(name, outbox)| {
        let error = outbox.last_error.as_deref().unwrap_or("unknown");
        let text = format!(
            "the alert receiver `{name}` does not accept messages ({error}): try it with `hookgate alerts test {name}`"
        );
        FoundProblem::new(ProblemKind::Receiver, name, text)
    });
    each.collect()
}

/// Returns the limits of a receiver's queue at a time.
pub(super) fn limits(plan: &AlertPlan, receiver: &PlannedReceiver, now_ms: i64) -> OutboxLimits {
    OutboxLimits {
        now_ms,
        interval: plan.watch.interval,
        max_per_hour: receiver.max_per_hour,
    }
}

/// Returns a new id for a message.
pub(super) fn message_id() -> String {
    let mut bytes = [0; 12];
    // Without a random source TLS cannot work, so nothing is sent then.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    format!("alert_{}", HEXLOWER.encode(&bytes))
}
