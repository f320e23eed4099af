//! The sending of messages to receivers, and what becomes of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::alerts::center::AlertCenter;
use crate::alerts::distribution::limits;
use crate::alerts::message::AlertMessage;
use crate::alerts::outbox::{FailedSend, OutboxLimits};
use crate::alerts::plan::AlertPlan;
use crate::alerts::sender::SendFailure;
use crate::model::clock::ClockReading;

impl AlertCenter {
    /// Sends a message in a task of its own, so that a receiver that is away delays no other.
    pub(super) fn spawn_send(
        self: &Arc<Self>,
        plan: &Arc<AlertPlan>,
        name: String,
        message: AlertMessage,
    ) {
        let (center, plan) = (Arc::clone(self), Arc::clone(plan));
        tokio::spawn(async move {
            let Some(receiver) = plan.receivers.get(&name) else {
                return;
            };
            let sent = receiver.sender.send(&message, &center.host).await;
            let now_ms = ClockReading::read().unix_ms;
            center.finish(&name, limits(&plan, receiver, now_ms), sent);
        });
    }

    /// Records what became of a message.
    fn finish(&self, name: &str, limits: OutboxLimits, sent: Result<(), SendFailure>) {
        let counts = self.counts.lock().get(name).cloned().unwrap_or_default();
        let mut state = self.state.lock();
        state.sending.remove(name);
        let Some(outbox) = state.stored.outboxes.get_mut(name) else {
            return;
        };
        match sent {
            Ok(()) => {
                counts.sent.fetch_add(1, Ordering::Relaxed);
                if outbox.failures > 0 {
                    tracing::info!(receiver = name, "the alert receiver accepts messages again");
                }
                outbox.accepted(limits.now_ms);
            }
            Err(failure) => {
                counts.failed.fetch_add(1, Ordering::Relaxed);
                let is_first = outbox.failures == 0;
                let ended = outbox.failed(&failure, limits);
                if ended == FailedSend::GivenUp {
                    counts.given_up.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(
                        receiver = name,
                        error = failure.text,
                        "an alert message is given up: `hookgate alerts` lists the open alerts"
                    );
                } else if is_first {
                    tracing::warn!(
                        receiver = name,
                        error = failure.text,
                        "the alert receiver did not accept a message, it is sent again later"
                    );
                }
            }
        }
    }
}
