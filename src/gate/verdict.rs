//! The verdict: the gate's decision about one request, with the outcome of each check.
//!
//! The gate fills one in beside every admission, so that no code path can skip it; `record` logs and counts it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hookgate_verify::identity::batch::BatchTypes;
use hookgate_verify::identity::dedup_key::DedupKey;
use hookgate_verify::identity::event_id::EventId;
use http::Method;

pub use crate::gate::check::GateCheck;
use crate::gate::check_timings::CheckTimings;
use crate::gate::filter_kind::FilterKind;
use crate::gate::reject::Reject;
use crate::model::clock::ClockReading;
use crate::model::ids::{RequestId, RouteName};
use crate::model::source::RequestSource;
use crate::model::trace::TraceContext;

/// The outcome of one check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CheckResult {
    /// The check passed, or had nothing to do on this route.
    Passed,
    /// The request was rejected here, or would have been in block mode.
    Failed,
    /// The gate responded here with a 2xx.
    Answered,
    /// An earlier check ended the request.
    NotReached,
}

/// The decision about one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GateDecision {
    /// Every check passed; the event goes to the app.
    Accepted,
    /// The gate responded to a URL check.
    Challenge,
    /// The gate repeated the first copy's 2xx.
    Duplicate,
    /// Genuine, but the route's filter excludes it: the gate responded with a 2xx.
    Filtered(FilterKind),
    /// A check failed: the request was rejected.
    Refused(Reject),
    /// A check failed in monitor mode: the request was forwarded anyway.
    Monitored(Reject),
}

/// The gate's decision about one request, with the facts that the log shows.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// Id that hookgate assigned to the request.
    pub request_id: RequestId,
    /// Source address of the request.
    pub source: RequestSource,
    /// Method of the request, once its head is read.
    pub method: Option<Method>,
    /// Trace context, if traces are exported: the sender's if the route continues it, otherwise a new one.
    pub trace: Option<TraceContext>,
    /// Name of the route, once found.
    pub route: Option<RouteName>,
    /// Id of the provider, or `custom`.
    pub provider: Option<Arc<str>>,
    last_check: GateCheck,
    timings: CheckTimings,
    /// The decision, final once the checks have ended.
    pub decision: GateDecision,
    /// Label of the secret that matched.
    pub secret: Option<Arc<str>>,
    /// Event id, once the signature is right.
    pub event_id: Option<EventId>,
    /// Event type, once the signature is right.
    pub event_type: Option<Box<str>>,
    /// Version of the event's payload.
    pub event_version: Option<Box<str>>,
    /// Event types of a batch, if the route selects by type.
    pub types: BatchTypes,
    /// The dedup key of the event.
    pub dedup_key: Option<DedupKey>,
    /// Description of the request parts that the dedup key is made of.
    pub dedup_by: Option<Arc<str>>,
    /// Key of the signed bytes, if dedup looks for replays.
    pub watched_key: Option<DedupKey>,
    /// True if the app has already accepted the event and receives it again, because its sender uses the response.
    pub is_copy: bool,
    /// True if the app has already accepted the same signed bytes as another event.
    pub is_replay: bool,
    /// The token of a URL check, if the route is set to show it.
    pub shown: Option<Box<str>>,
    /// Number of body bytes that were read.
    pub body_bytes: u64,
    /// Time at which the request began.
    pub began: Instant,
    /// Time spent waiting for the first copy of the same event; part of the time of [`GateCheck::Dedup`].
    pub wait_time: Duration,
}

impl CheckResult {
    /// Returns the outcome as the admin API shows it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Answered => "answered",
            Self::NotReached => "not-reached",
        }
    }
}

impl GateDecision {
    /// Every value that [`Self::word`] returns.
    pub(crate) const WORDS: [&str; 6] = [
        "accepted",
        "challenge",
        "duplicate",
        "filtered",
        "refused",
        "monitored",
    ];

    /// Returns the decision as logs and metrics show it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Challenge => "challenge",
            Self::Duplicate => "duplicate",
            Self::Filtered(_) => "filtered",
            Self::Refused(_) => "refused",
            Self::Monitored(_) => "monitored",
        }
    }

    /// Returns the reject of a rejected request, or of one that would have been rejected in block mode.
    pub(crate) fn reject(&self) -> Option<&Reject> {
        match self {
            Self::Refused(reject) | Self::Monitored(reject) => Some(reject),
            Self::Accepted | Self::Challenge | Self::Duplicate | Self::Filtered(_) => None,
        }
    }
}

impl Verdict {
    /// Creates a verdict for which no check has run yet.
    pub(crate) fn new(request_id: RequestId, source: RequestSource, now: ClockReading) -> Self {
        Self {
            request_id,
            source,
            method: None,
            trace: None,
            route: None,
            provider: None,
            last_check: GateCheck::Route,
            timings: CheckTimings::start(),
            decision: GateDecision::Accepted,
            secret: None,
            event_id: None,
            event_type: None,
            event_version: None,
            types: BatchTypes::default(),
            dedup_key: None,
            dedup_by: None,
            watched_key: None,
            is_copy: false,
            is_replay: false,
            shown: None,
            body_bytes: 0,
            began: now.mono,
            wait_time: Duration::ZERO,
        }
    }

    /// Returns the check that was begun last: the failed one, if a check failed.
    pub(crate) fn last_check(&self) -> GateCheck {
        self.last_check
    }

    /// Begins a check and ends the previous one.
    pub(crate) fn begin(&mut self, check: GateCheck) {
        self.timings.end(self.last_check);
        self.last_check = check;
    }

    /// Begins a check after time that belongs to no check.
    pub(crate) fn begin_after(&mut self, check: GateCheck) {
        self.timings.skip();
        self.last_check = check;
    }

    /// Ends the current check without beginning another.
    pub(crate) fn end(&mut self) {
        self.timings.end(self.last_check);
    }

    /// Counts the time since the last check began for another check.
    pub(super) fn begin_check(&mut self, check: GateCheck) {
        self.timings.end(check);
    }

    /// Reports an earlier check as the failed one, after which monitor mode went on.
    pub(super) fn failed_at(&mut self, check: GateCheck) {
        self.last_check = check;
    }

    /// Returns the time that a check took; zero if it was not reached.
    pub(crate) fn took(&self, check: GateCheck) -> Duration {
        self.timings.of(check)
    }

    /// Returns the time of the checks of the head.
    pub(crate) fn head_time(&self) -> Duration {
        self.timings.of_all(GateCheck::Route, GateCheck::Material)
    }

    /// Returns the time of reading the body, during which the MAC is computed.
    pub(crate) fn body_time(&self) -> Duration {
        self.took(GateCheck::Body)
    }

    /// Returns the time of the checks after the body, without the wait for the first copy.
    pub(crate) fn verify_time(&self) -> Duration {
        let all = self.timings.of_all(GateCheck::Signature, GateCheck::Dedup);
        all.saturating_sub(self.wait_time)
    }

    /// Returns the time until the store had committed the event, or failed to.
    pub(crate) fn commit_time(&self) -> Duration {
        self.took(GateCheck::Commit)
    }

    /// Sets the times of the head, the body and the verification.
    #[cfg(test)]
    pub(crate) fn set_times(&mut self, head: Duration, body: Duration, verify: Duration) {
        self.timings.set(GateCheck::Route, head);
        self.timings.set(GateCheck::Body, body);
        self.timings.set(GateCheck::Signature, verify);
    }

    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (GateCheck, CheckResult)> {
        GateCheck::ALL
            .map(|check| (check, self.outcome(check)))
            .into_iter()
    }

    /// Returns whether the request is known to come from the sender: it was verified, or its route needs no signature.
    pub(crate) fn is_verified(&self) -> bool {
        let is_passed = matches!(
            self.decision,
            GateDecision::Accepted | GateDecision::Duplicate | GateDecision::Filtered(_)
        );
        is_passed || self.secret.is_some()
    }

    fn outcome(&self, check: GateCheck) -> CheckResult {
        // An unsigned URL check ends before material and signature, which then did not run.
        let is_skipped = self.last_check == GateCheck::Challenge
            && self.secret.is_none()
            && (matches!(check, GateCheck::Material | GateCheck::Signature)
                || (check == GateCheck::Body && self.body_bytes == 0));
        if is_skipped || check > self.last_check {
            return CheckResult::NotReached;
        }
        match &self.decision {
            _ if check < self.last_check => CheckResult::Passed,
            GateDecision::Accepted => CheckResult::Passed,
            GateDecision::Refused(_) | GateDecision::Monitored(_) => CheckResult::Failed,
            GateDecision::Challenge | GateDecision::Duplicate | GateDecision::Filtered(_) => {
                CheckResult::Answered
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    /// Fails when a check that did not run is reported as passed.
    #[test]
    fn what_comes_after_the_last_check_was_not_reached() {
        let peer: SocketAddr = "192.0.2.1:4711".parse().unwrap();
        let source = RequestSource {
            ip: peer.ip(),
            peer,
            is_tls: true,
        };
        let now = ClockReading::at_unix_seconds(0);
        let mut verdict = Verdict::new(RequestId::new(0, [0; 10]), source, now);
        let words = |verdict: &Verdict| -> Vec<_> {
            verdict.outcomes().map(|(_, outcome)| outcome).collect()
        };
        verdict.last_check = GateCheck::Signature;
        verdict.decision = GateDecision::Refused(Reject::BadSignature);
        let place = |wanted| {
            let mut checks = GateCheck::ALL.iter();
            checks.position(|check| *check == wanted).unwrap()
        };
        let at = place(GateCheck::Signature);
        let outcomes = words(&verdict);
        assert!(
            outcomes[..at]
                .iter()
                .all(|outcome| *outcome == CheckResult::Passed)
        );
        assert_eq!(outcomes[at], CheckResult::Failed);
        assert!(
            outcomes[at + 1..]
                .iter()
                .all(|outcome| *outcome == CheckResult::NotReached)
        );

        verdict.last_check = GateCheck::Challenge;
        verdict.decision = GateDecision::Challenge;
        let outcomes = words(&verdict);
        let challenge = place(GateCheck::Challenge);
        assert_eq!(outcomes[at - 1], CheckResult::NotReached);
        assert_eq!(outcomes[challenge], CheckResult::Answered);
        assert!(!verdict.is_verified());
    }
}
