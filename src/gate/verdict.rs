//! The verdict: what the gate decided about one request, with the outcome of each check. Made beside every admission, so
//! that no path can skip it; `record` prints and counts it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;

use crate::gate::batch::BatchTypes;
use crate::gate::dedup::Key;
use crate::gate::filter::Sieve;
use crate::gate::laps::Laps;
use crate::gate::reject::Reject;
use crate::model::clock::Now;
use crate::model::ids::{EventId, RequestId, RouteName};
use crate::model::source::Source;
use crate::model::trace::Trace;

/// The checks in the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Check {
    /// Host and path.
    Route,
    /// Method, content type, declared length, framing.
    Framing,
    /// Allowlist.
    SourceIp,
    /// Per-source rate.
    SourceRate,
    /// Signature material and timestamp.
    Material,
    /// Reading the body.
    Body,
    /// The signature itself.
    Signature,
    /// The provider's URL check.
    Challenge,
    /// Event id and type.
    Identity,
    /// Whether the app gets events like this one.
    Filter,
    /// Whether the body is what the route's schemas ask for.
    Schema,
    /// The route's rate.
    RouteRate,
    /// The claim of the event id.
    Dedup,
    /// The commit to the store, where the route keeps events.
    Commit,
}

/// What came of one check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It passed, or had nothing to check on this route.
    Passed,
    /// The request was refused here, or would have been.
    Failed,
    /// The gate answered here with a 2xx.
    Answered,
    /// It did not come to this.
    NotReached,
}

/// How the gate ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Every check passed; the event goes to the app.
    Accepted,
    /// Answered by the gate with a 2xx: a challenge.
    Challenge,
    /// Answered by the gate with the first one's 2xx.
    Duplicate,
    /// Genuine, answered by the gate with a 2xx: the route's filter keeps it from the app.
    Filtered(Sieve),
    /// Refused.
    Refused(Reject),
    /// Monitor mode: would have been refused; forwarded all the same.
    Monitored(Reject),
}

/// What the gate decided about one request.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The request's id.
    pub request_id: RequestId,
    /// Who sent it.
    pub source: Source,
    /// Its method, once read.
    pub method: Option<Method>,
    /// Its trace, where one is told of; else it is one of its own.
    pub trace: Option<Trace>,
    /// The route, once found.
    pub route: Option<RouteName>,
    /// The index of the route in its generation, for counters.
    pub route_index: Option<usize>,
    /// The provider's id, or `custom`.
    pub provider: Option<Arc<str>>,
    last_check: Check,
    laps: Laps,
    /// What was decided.
    pub decision: Decision,
    /// Which secret matched, by label.
    pub secret: Option<Arc<str>>,
    /// The event's id.
    pub event_id: Option<EventId>,
    /// The event's type.
    pub event_type: Option<Box<str>>,
    /// The version of its payload.
    pub event_version: Option<Box<str>>,
    /// The types of a batch's events, where the route chooses by type.
    pub types: BatchTypes,
    /// The key under which dedup knows the event.
    pub dedup_key: Option<Key>,
    /// The same as words: what of a request is the key.
    pub dedup_by: Option<Arc<str>>,
    /// The key of its signed bytes, where dedup looks for replays.
    pub watched_key: Option<Key>,
    /// The app has taken the event before, and gets it again since its sender uses the response.
    pub is_copy: bool,
    /// The app has taken the same signed bytes as another event.
    pub is_replay: bool,
    /// The token that a URL check brought, where the route asks to see it.
    pub shown: Option<Box<str>>,
    /// Bytes of the body that were read.
    pub body_bytes: u64,
    /// When the request began.
    pub began: Instant,
    /// Time spent waiting for the first copy of the same event, a part of the time of [`Check::Dedup`].
    pub wait_time: Duration,
}

impl Check {
    /// Every check, in the order in which they run.
    pub const ALL: [Self; 14] = [
        Self::Route,
        Self::Framing,
        Self::SourceIp,
        Self::SourceRate,
        Self::Material,
        Self::Body,
        Self::Signature,
        Self::Challenge,
        Self::Identity,
        Self::Filter,
        Self::Schema,
        Self::RouteRate,
        Self::Dedup,
        Self::Commit,
    ];

    /// The word for it in logs and documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Framing => "framing",
            Self::SourceIp => "source-ip",
            Self::SourceRate => "source-rate",
            Self::Material => "material",
            Self::Body => "body",
            Self::Signature => "signature",
            Self::Challenge => "challenge",
            Self::Identity => "identity",
            Self::Filter => "filter",
            Self::Schema => "schema",
            Self::RouteRate => "route-rate",
            Self::Dedup => "dedup",
            Self::Commit => "commit",
        }
    }
}

impl Outcome {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Answered => "answered",
            Self::NotReached => "not-reached",
        }
    }
}

impl Decision {
    /// Every word of [`Self::word`].
    pub const WORDS: [&str; 6] = [
        "accepted",
        "challenge",
        "duplicate",
        "filtered",
        "refused",
        "monitored",
    ];

    /// The word for it in logs, metrics and documents.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Challenge => "challenge",
            Self::Duplicate => "duplicate",
            Self::Filtered(_) => "filtered",
            Self::Refused(_) => "refused",
            Self::Monitored(_) => "monitored",
        }
    }

    /// Why it was refused, or would have been.
    #[must_use]
    pub fn reject(&self) -> Option<&Reject> {
        match self {
            Self::Refused(reject) | Self::Monitored(reject) => Some(reject),
            Self::Accepted | Self::Challenge | Self::Duplicate | Self::Filtered(_) => None,
        }
    }
}

impl Verdict {
    /// A verdict on which no check has run yet.
    #[must_use]
    pub fn new(request_id: RequestId, source: Source, now: Now) -> Self {
        Self {
            request_id,
            source,
            method: None,
            trace: None,
            route: None,
            route_index: None,
            provider: None,
            last_check: Check::Route,
            laps: Laps::start(),
            decision: Decision::Accepted,
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

    /// The last check that was begun, which is the one that failed where one has.
    #[must_use]
    pub fn last_check(&self) -> Check {
        self.last_check
    }

    /// A check begins, and the one before it ends.
    pub(crate) fn begin(&mut self, check: Check) {
        self.laps.end(self.last_check);
        self.last_check = check;
    }

    /// A check begins after something else than a check.
    pub(crate) fn begin_after(&mut self, check: Check) {
        self.laps.skip();
        self.last_check = check;
    }

    /// The check that runs ends, and none begins.
    pub(crate) fn end(&mut self) {
        self.laps.end(self.last_check);
    }

    /// What was done since the last check began belongs to another one.
    pub(super) fn lap(&mut self, check: Check) {
        self.laps.end(check);
    }

    /// What is told is an earlier check, which failed before monitor mode went on.
    pub(super) fn failed_at(&mut self, check: Check) {
        self.last_check = check;
    }

    /// How long a check took; zero where it did not come to it.
    #[must_use]
    pub fn took(&self, check: Check) -> Duration {
        self.laps.of(check)
    }

    /// Time to the end of the checks of the head.
    #[must_use]
    pub fn head_time(&self) -> Duration {
        self.laps.of_all(Check::Route, Check::Material)
    }

    /// Time spent reading the body (the MAC is fed meanwhile).
    #[must_use]
    pub fn body_time(&self) -> Duration {
        self.took(Check::Body)
    }

    /// Time spent on signature, identity and limits after the body, without the wait for the first copy.
    #[must_use]
    pub fn verify_time(&self) -> Duration {
        let all = self.laps.of_all(Check::Signature, Check::Dedup);
        all.saturating_sub(self.wait_time)
    }

    /// Time until the store had the event on the disk, or did not take it.
    #[must_use]
    pub fn commit_time(&self) -> Duration {
        self.took(Check::Commit)
    }

    /// With these times of `head`, `body` and `verify`.
    #[cfg(test)]
    pub(crate) fn set_times(&mut self, head: Duration, body: Duration, verify: Duration) {
        self.laps.set(Check::Route, head);
        self.laps.set(Check::Body, body);
        self.laps.set(Check::Signature, verify);
    }

    /// What came of each check.
    pub fn outcomes(&self) -> impl Iterator<Item = (Check, Outcome)> {
        Check::ALL
            .map(|check| (check, self.outcome(check)))
            .into_iter()
    }

    /// Whether the request is known to come from somebody who can sign, or who needs not.
    #[must_use]
    pub fn is_vouched(&self) -> bool {
        let is_passed = matches!(
            self.decision,
            Decision::Accepted | Decision::Duplicate | Decision::Filtered(_)
        );
        is_passed || self.secret.is_some()
    }

    fn outcome(&self, check: Check) -> Outcome {
        // A check of a URL that nobody signs comes before material and signature, and instead of them.
        let is_skipped = self.last_check == Check::Challenge
            && self.secret.is_none()
            && (matches!(check, Check::Material | Check::Signature)
                || (check == Check::Body && self.body_bytes == 0));
        if is_skipped || check > self.last_check {
            return Outcome::NotReached;
        }
        match &self.decision {
            _ if check < self.last_check => Outcome::Passed,
            Decision::Accepted => Outcome::Passed,
            Decision::Refused(_) | Decision::Monitored(_) => Outcome::Failed,
            Decision::Challenge | Decision::Duplicate | Decision::Filtered(_) => Outcome::Answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    /// Fails when a check that did not run is told as one that passed.
    #[test]
    fn what_comes_after_the_last_check_was_not_reached() {
        let peer: SocketAddr = "192.0.2.1:4711".parse().unwrap();
        let source = Source {
            ip: peer.ip(),
            peer,
            is_tls: true,
        };
        let now = Now::at_unix_seconds(0);
        let mut verdict = Verdict::new(RequestId::new(0, [0; 10]), source, now);
        let words = |verdict: &Verdict| -> Vec<_> {
            verdict.outcomes().map(|(_, outcome)| outcome).collect()
        };
        verdict.last_check = Check::Signature;
        verdict.decision = Decision::Refused(Reject::BadSignature);
        let told = words(&verdict);
        assert!(told[..6].iter().all(|outcome| *outcome == Outcome::Passed));
        assert_eq!(told[6], Outcome::Failed);
        assert!(
            told[7..]
                .iter()
                .all(|outcome| *outcome == Outcome::NotReached)
        );

        verdict.last_check = Check::Challenge;
        verdict.decision = Decision::Challenge;
        let told = words(&verdict);
        assert_eq!(told[3], Outcome::Passed);
        assert_eq!(told[4..7], [Outcome::NotReached; 3]);
        assert_eq!(told[7], Outcome::Answered);
        assert!(!verdict.is_vouched());
    }
}
