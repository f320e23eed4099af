//! The table of the demo: each request with its verdict, its reason, and what the app received.

use std::sync::Arc;

use bytes::Bytes;

use crate::cli::demo::events::ExpectedOutcome;
use crate::cli::demo::logged_verdict::LoggedVerdict;
use crate::cli::output;
use crate::gate::reject::RejectReason;
use crate::testing::{ReceivedRequest, ReceivedResponse};

/// Outcome of one request at the client, the gate and the app.
pub(super) struct StepOutcome {
    pub(super) title: &'static str,
    pub(super) expected: ExpectedOutcome,
    pub(super) reply: ReceivedResponse,
    pub(super) decision: Option<LoggedVerdict>,
    pub(super) upstream_requests: Vec<Arc<ReceivedRequest>>,
    pub(super) signed: Bytes,
}

impl StepOutcome {
    /// Returns true if response, log and app are all as expected.
    pub(super) fn is_good(&self) -> bool {
        let is_expected = |decision| self.expected.matches_verdict(decision);
        if !self.decision.as_ref().is_some_and(is_expected) {
            return false;
        }
        match self.expected {
            ExpectedOutcome::Forwarded | ExpectedOutcome::Flagged => {
                // Exactly one request, with exactly the bytes that were signed.
                let is_same = matches!(self.upstream_requests.as_slice(), [seen] if seen.request.body == self.signed);
                self.reply.status == 200 && is_same
            }
            ExpectedOutcome::Duplicate => {
                // The status alone does not show that the gate responded in place of the app.
                let is_marked = self.reply.header("hookgate-duplicate").is_some();
                self.reply.status == 200 && is_marked && self.upstream_requests.is_empty()
            }
            ExpectedOutcome::RateLimited => {
                self.reply.status == RejectReason::SourceRate.explanation().status.as_u16()
                    && self.upstream_requests.is_empty()
            }
            ExpectedOutcome::Refused(reason) => {
                self.reply.status == reason.explanation().status.as_u16()
                    && self.upstream_requests.is_empty()
            }
        }
    }

    fn decided(&self) -> String {
        let status = self.reply.status;
        let Some(decision) = &self.decision else {
            return format!("{status}, and the log has no line for it");
        };
        let reason = decision.reason.as_deref().and_then(RejectReason::find);
        let reason = reason.map(|reason| match self.expected {
            // The line of the last request is suppressed in the log; its status shows that the rate limit worked.
            ExpectedOutcome::RateLimited if self.is_good() => RejectReason::SourceRate,
            _ => reason,
        });
        let why = match reason {
            Some(reason) => format!("{}. {}", reason.explanation().code, plain(reason)),
            None if decision.verdict == "duplicate" => {
                "the app has received this event already, so it is not forwarded again".to_owned()
            }
            None if decision.is_replayed_body => {
                "genuine, but the app has received these bytes under another id: marked".to_owned()
            }
            None => "genuine, fresh and new".to_owned(),
        };
        format!("{}, {status}: {why}", decision.verdict)
    }

    fn app_saw(&self) -> String {
        match self.upstream_requests.as_slice() {
            [] => "nothing".to_owned(),
            [seen] if seen.request.body == self.signed => {
                let event_type = seen.request.header("hookgate-event-type");
                let bytes = self.signed.len();
                format!(
                    "{}: {bytes} bytes, as signed",
                    event_type.unwrap_or_default()
                )
            }
            [_] => "a body that differs from the signed one".to_owned(),
            several => format!("{} requests", several.len()),
        }
    }
}

/// Returns the meaning of a reason in one sentence, without backticks.
fn plain(reason: RejectReason) -> String {
    reason.explanation().means.replace('`', "")
}

/// Formats the table.
pub(super) fn table(outcomes: &[StepOutcome]) -> String {
    let mut table = output::table(&["", "Request", "Verdict and reason", "App received"]);
    for outcome in outcomes {
        let mark = if outcome.is_good() { "ok" } else { "WRONG" };
        table.add_row([
            mark.to_owned(),
            outcome.title.to_owned(),
            outcome.decided(),
            outcome.app_saw(),
        ]);
    }
    table.to_string()
}
