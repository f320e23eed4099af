//! Views of the alerts for the API, the console and the metrics, and test messages.

use std::sync::atomic::Ordering;

use crate::alerts::book::OpenAlert;
use crate::alerts::center::{AlertCenter, CenterRole};
use crate::alerts::distribution::{message_id, receiver_problems};
use crate::alerts::message::AlertMessage;
use crate::model::clock::ClockReading;
use crate::model::problem::{FoundProblem, ProblemKind};

/// Outcome of a test message to one receiver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TestOutcome {
    /// Name of the receiver.
    pub name: String,
    /// The `type` of the receiver in the config.
    pub kind: &'static str,
    /// Error; `None` if it accepted the message.
    pub error: Option<String>,
}

/// State of one receiver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ReceiverReport {
    /// Name of the receiver.
    pub name: String,
    /// The `type` of the receiver in the config.
    pub kind: &'static str,
    /// Alerts about which it has not been notified yet.
    pub waiting: u64,
    /// Failed attempts in a row.
    pub failures: u64,
    /// Time of the first of these, in milliseconds since the epoch.
    pub failing_since_ms: Option<i64>,
    /// Error of the last one.
    pub last_error: Option<String>,
    /// When it accepted a message last, in milliseconds since the epoch.
    pub accepted_ms: Option<i64>,
}

/// Everything that the API shows about alerts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct AlertOverview {
    /// Open alerts, most urgent first.
    pub alerts: Vec<OpenAlert>,
    /// Receivers of the config, by name.
    pub receivers: Vec<ReceiverReport>,
}

impl AlertCenter {
    /// Sends a test message to one receiver, or to all. Returns an empty list if the config has no such receiver.
    pub(crate) async fn test(&self, name: Option<&str>) -> Vec<TestOutcome> {
        let plan = self.plan();
        let wanted = plan.receivers.iter();
        let wanted = wanted.filter(|(known, _)| name.is_none_or(|name| name == *known));
        let now_ms = ClockReading::read().unix_ms;
        let sends = wanted.map(|(name, receiver)| async move {
            let message = AlertMessage::test(message_id(), now_ms);
            let sent = receiver.sender.send(&message, &self.host).await;
            TestOutcome {
                name: name.clone(),
                kind: receiver.kind,
                error: sent.err().map(|failure| failure.text),
            }
        });
        // All at once, so that one that is away does not delay the others. The config bounds their number.
        futures_util::future::join_all(sends).await
    }

    /// Returns the open alerts and the state of the receivers.
    pub(crate) fn overview(&self) -> AlertOverview {
        let plan = self.plan();
        if !plan.has_receivers() {
            return AlertOverview::default();
        }
        let state = self.state.lock();
        let receivers = plan.receivers.iter().map(|(name, receiver)| {
            let outbox = state.stored.outboxes.get(name);
            let outbox = outbox.cloned().unwrap_or_default();
            ReceiverReport {
                name: name.clone(),
                kind: receiver.kind,
                waiting: outbox.waiting() as u64,
                failures: outbox.failures.into(),
                failing_since_ms: outbox.failing_since_ms,
                last_error: outbox.last_error,
                accepted_ms: outbox.accepted_ms,
            }
        });
        AlertOverview {
            alerts: state.stored.book.open(),
            receivers: receivers.collect(),
        }
    }

    /// Returns the open problems that only the rounds can find: those of the learned traffic, and of receivers.
    pub(crate) fn judged_problems(&self) -> Vec<FoundProblem> {
        let overview = self.overview();
        let judged = overview.alerts.iter().filter_map(|alert| {
            let kind = alert.kind()?;
            let is_judged = matches!(kind, ProblemKind::Quiet | ProblemKind::Refusals);
            is_judged.then(|| FoundProblem::new(kind, &alert.subject, &alert.text))
        });
        let mut problems: Vec<_> = judged.collect();
        problems.extend(receiver_problems(&self.state.lock().stored.outboxes));
        problems
    }

    /// Returns the number of open alerts by kind, for the metrics. A node that does not lead has no numbers.
    pub(crate) fn open_by_kind(&self) -> Vec<(Vec<String>, u64)> {
        let overview = self.overview();
        let leads = matches!(self.state.lock().role, CenterRole::Leads(_));
        let each = ProblemKind::ALL.into_iter().map(|(word, _)| {
            let open = overview.alerts.iter().filter(|alert| alert.kind == word);
            (
                vec![word.to_owned()],
                if leads { open.count() as u64 } else { 0 },
            )
        });
        each.collect()
    }

    /// Returns the number of messages by receiver and outcome, for the metrics.
    pub(crate) fn messages_by_outcome(&self) -> Vec<(Vec<String>, u64)> {
        let counts = self.counts.lock();
        let each = counts.iter().flat_map(|(name, counts)| {
            let outcomes = [
                ("sent", &counts.sent),
                ("failed", &counts.failed),
                ("given_up", &counts.given_up),
            ];
            outcomes.map(|(word, count)| {
                let labels = vec![name.clone(), word.to_owned()];
                (labels, count.load(Ordering::Relaxed))
            })
        });
        each.collect()
    }
}
