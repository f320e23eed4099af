//! Explains why a request was rejected: the check, its evidence and the likely cause.
//!
//! Runs for operators, off the hot path. The gate's own checks run once more over the request, at the time of its
//! arrival and without claims and limits. If the signature does not verify, hypotheses are tried one after the other:
//! each changes one thing (a secret's line end, the URL, the encoding of a signature) and runs the real verification
//! again. The change that makes it pass is the cause.
//!
//! This module must never verify by itself. All tries are bounded, and no text that it returns may hold a secret or a
//! valid signature.

mod body;
mod case;
pub(crate) mod cause;
mod evidence;
mod head;
mod json;
mod repeat;
mod request_checks;
mod secret;
mod sender;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod trial;
mod url;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use hookgate_verify::scheme::SchemeError;
use http::{HeaderMap, Method, Request, Uri, Version};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::model::Route;
use crate::explain::case::{RefusalCase, received, trial};
use crate::explain::cause::CauseFinding;
use crate::explain::evidence::CheckEvidence;
pub(crate) use crate::explain::repeat::{EarlierRequest, is_repeat};
pub(crate) use crate::explain::time::OtherAge;
use crate::explain::trial::TrialBudget;
use crate::gate::Gate;
use crate::gate::reject::{Reject, RejectReason};
use crate::gate::route::RouteTable;
use crate::gate::rules::RouteRules;
use crate::gate::verdict::{GateCheck, Verdict};
use crate::model::clock::ClockReading;
use crate::model::ids::{RequestId, RouteName};
use crate::model::source::RequestSource;

/// A signed time before this (September 2001) must be in another unit.
const PLAUSIBLE: i64 = 1_000_000_000;

/// A past request to explain, as far as it was kept.
#[derive(Clone, Debug)]
pub(crate) struct PastRequest {
    /// HTTP method of the request.
    pub method: Method,
    /// Request target as received, except that tokens may be masked.
    pub uri: Uri,
    /// HTTP version of the request.
    pub version: Version,
    /// Headers as received, except that tokens may be masked.
    pub headers: HeaderMap,
    /// Body, or its start if it was cut.
    pub body: Bytes,
    /// True if more of the body arrived than is kept here.
    pub is_cut: bool,
    /// Time of arrival in milliseconds since the Unix epoch; `None` means the signed time.
    pub received_ms: Option<i64>,
    /// Source address; `None` means an address that the route allows.
    pub source: Option<IpAddr>,
    /// Result of the gate when the request arrived.
    pub recorded: Option<RecordedRefusal>,
    /// Ages of the signed times of other routes' requests that were rejected at about the same time.
    pub others: Vec<OtherAge>,
}

/// Reject of a request when it arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RecordedRefusal {
    /// Reason for which the gate rejected the request.
    pub reason: RejectReason,
    /// Check that rejected the request.
    pub check: GateCheck,
}

/// Explanation of a rejected request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = RequestExplanation)]
pub(crate) struct RefusalExplanation {
    /// Name of the route, if one matched.
    pub route: Option<String>,
    /// Provider of the route, or `custom`.
    pub provider: Option<String>,
    /// True if the request would pass all checks under the config that was used.
    pub passes: bool,
    /// Check that rejects the request; if it passes, the last check.
    pub check: String,
    /// Reason code, as in logs and metrics.
    pub reason: Option<String>,
    /// Meaning of the reason, in a sentence.
    pub means: String,
    /// Input that the check requires.
    pub expected: String,
    /// Input that the check found instead.
    pub found: String,
    /// Cause of the reject, if one was found.
    pub cause: Option<CauseFinding>,
    /// Next step for the operator.
    pub fix: String,
    /// Number of hypotheses that were tried.
    pub tries: u32,
    /// Further remarks, such as parts that could not be checked.
    pub notes: Vec<String>,
}

/// Explainer of requests under the rules of one config.
pub(crate) struct RefusalExplainer {
    gate: Gate,
    routes: RouteTable<RouteRules>,
}

impl PastRequest {
    /// Returns a placeholder for a request of which only the verdict is left.
    fn unknown(verdict: &Verdict) -> Self {
        Self {
            method: Method::POST,
            uri: Uri::from_static("/"),
            version: Version::HTTP_11,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            is_cut: true,
            received_ms: Some(verdict.request_id.unix_ms()),
            source: Some(verdict.source.ip),
            recorded: None,
            others: Vec::new(),
        }
    }
}

impl RefusalExplainer {
    /// Creates an explainer from the rules of a gate, without its claims and limits.
    ///
    /// # Errors
    /// Returns an error if a secret does not fit its scheme.
    pub(crate) fn new<'r>(
        gate: &Gate,
        rules: impl IntoIterator<Item = &'r RouteRules>,
    ) -> Result<Self, SchemeError> {
        let rules: Result<Vec<RouteRules>, SchemeError> =
            rules.into_iter().map(RouteRules::bare).collect();
        Ok(Self {
            gate: gate.bare(),
            routes: RouteTable::build(rules?),
        })
    }

    /// Returns the routes in the order of the config.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().map(|rules| &**rules.route())
    }

    /// Explains a request under the named route, or under the one that its host and path match.
    pub(crate) async fn explain(
        &self,
        name: Option<&RouteName>,
        seen: &PastRequest,
    ) -> RefusalExplanation {
        let led_to = self
            .routes
            .find(request_checks::host(seen), seen.uri.path());
        // A named route wins, so that a capture from another path can be explained too.
        let found = name.map_or(led_to, |name| self.routes.named(name));
        let Some(rules) = found else {
            return self.no_route(seen);
        };
        let mut notes = Vec::new();
        let mut seen = seen.clone();
        self.settle(rules, &mut seen, &mut notes);
        let mut verdict = self.judge(rules, &seen).await;
        let reject = request_checks::filter_reject(&verdict.decision);
        // A request file may be explained under another route than its path matches, for example a capture from a
        // proxy.
        let is_elsewhere = !led_to.is_some_and(|led_to| Arc::ptr_eq(led_to, rules));
        if is_elsewhere && reject.is_none() {
            verdict.begin(GateCheck::Route);
            return self.no_route(&seen);
        }
        if is_elsewhere {
            let path = seen.uri.path();
            notes.push(format!(
                "host and path (`{path}`) do not lead to this route; the named route was used"
            ));
        }
        let mut explanation = match (&reject, seen.recorded) {
            (Some(reject), _) => self.refused(rules, reject, &seen, &verdict),
            // The request passes now, and its reject depended on limits or failures at that time.
            (None, Some(recorded)) if depends_on_state(recorded.reason) => of_state(recorded),
            (None, _) => passed(verdict.last_check()),
        };
        if let Some(recorded) = seen.recorded {
            let code = recorded.reason.explanation().code;
            // The operator sees another reason in the log, so the difference needs a remark.
            if explanation.reason.as_deref() != Some(code) {
                notes.push(format!("it was rejected as `{code}` when it arrived; the config has changed since then, or the result depends on the time"));
            }
        }
        explanation.route = Some(rules.route().name.as_str().to_owned());
        let provider = rules.route().provider.as_ref();
        explanation.provider = Some(provider.map_or("custom", |one| &one.id).to_owned());
        explanation.notes.splice(0..0, notes);
        explanation
    }

    /// Explains a request by its verdict alone, if the request was not kept. No hypothesis can be tried.
    pub(crate) fn explain_verdict(&self, verdict: &Verdict) -> RefusalExplanation {
        let seen = PastRequest::unknown(verdict);
        let rules = verdict.route.as_ref();
        let rules = rules.and_then(|name| self.routes.named(name));
        let mut explanation = match (request_checks::filter_reject(&verdict.decision), rules) {
            (None, _) => passed(verdict.last_check()),
            (Some(reject), Some(rules)) => {
                let said = evidence::of_route(&reject, rules, &seen);
                let cause = request_checks::evident(&reject, &seen);
                explained(verdict.last_check(), &reject, said, cause)
            }
            (Some(reject), None) => {
                let said = evidence::of_no_route(self, &reject);
                explained(verdict.last_check(), &reject, said, None)
            }
        };
        explanation.route = verdict.route.as_ref().map(ToString::to_string);
        explanation.provider = verdict.provider.as_ref().map(ToString::to_string);
        let note = "the request itself was not kept, so no cause could be tried";
        explanation.notes.push(note.to_owned());
        explanation
    }

    /// Explains why a request counted as a duplicate or a replay.
    pub(crate) fn explain_repeat(
        verdict: &Verdict,
        earlier: Option<EarlierRequest>,
    ) -> RefusalExplanation {
        repeat::explain(verdict, earlier)
    }

    /// Fills in an unknown source and time of a request, with a note for each.
    fn settle(&self, rules: &RouteRules, seen: &mut PastRequest, notes: &mut Vec<String>) {
        if seen.source.is_none() && rules.route().allow_ips.is_some() {
            notes.push("the source address is not known and was not checked".to_owned());
            // Any allowed address, so that an unknown source does not hide the reason of a later check.
            seen.source = rules.some_allowed();
        }
        if seen.received_ms.is_none() {
            let now = ClockReading::read();
            let signed = trial(rules.route(), seen, now).signed_seconds();
            let signed = signed.filter(|signed| *signed > PLAUSIBLE);
            if signed.is_some() {
                notes.push(
                    "the time of arrival is not known, so the signature's age was not checked"
                        .to_owned(),
                );
            }
            seen.received_ms = Some(time::when_signed(signed).unix_ms);
        }
    }

    /// Runs the gate's checks over the request, at its time of arrival.
    async fn judge(&self, rules: &RouteRules, seen: &PastRequest) -> Verdict {
        let now = received(seen);
        let ip = seen.source.or_else(|| rules.some_allowed());
        let ip = ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let source = RequestSource {
            ip,
            peer: SocketAddr::new(ip, 0),
            // The scheme of the connection is not kept; behind TLS is the common case.
            is_tls: true,
        };
        // The request id only carries the time here, so its random part may be zero.
        let mut verdict = Verdict::new(RequestId::new(now.unix_ms, [0; 10]), source, now);
        let mut request = Request::new(Full::new(seen.body.clone()));
        request.method_mut().clone_from(&seen.method);
        request.uri_mut().clone_from(&seen.uri);
        request.headers_mut().clone_from(&seen.headers);
        if seen.is_cut {
            // The declared length is of the whole body; with it, the kept start would be rejected as aborted.
            request.headers_mut().remove(http::header::CONTENT_LENGTH);
        }
        *request.version_mut() = seen.version;
        self.gate
            .admit(rules, None, request, now, &mut verdict)
            .await;
        verdict
    }

    /// Explains a request that matches no route.
    fn no_route(&self, seen: &PastRequest) -> RefusalExplanation {
        let reject = Reject::no_route(request_checks::host(seen), seen.uri.path());
        let said = evidence::of_no_route(self, &reject);
        let cause = request_checks::no_route(self, seen);
        explained(GateCheck::Route, &reject, said, cause)
    }

    /// Explains a reject, and investigates its cause if the signature is concerned.
    fn refused(
        &self,
        rules: &RouteRules,
        reject: &Reject,
        seen: &PastRequest,
        verdict: &Verdict,
    ) -> RefusalExplanation {
        let said = evidence::of_route(reject, rules, seen);
        let mut hunt = TrialBudget::new();
        let cause = match reject {
            Reject::SourceNotAllowed { ip } => Some(request_checks::source(rules, seen, *ip)),
            Reject::MissingMaterial { .. }
            | Reject::MalformedMaterial { .. }
            | Reject::StaleTimestamp { .. }
            | Reject::BadSignature
            | Reject::BodyAborted
            | Reject::NoCurrentSecret => {
                let mut base = trial(rules.route(), seen, received(seen));
                if matches!(reject, Reject::StaleTimestamp { .. }) {
                    // Other hypotheses can only be tested if the age of the signature does not reject each try.
                    base = base.at_any_time();
                }
                let case = RefusalCase {
                    explainer: self,
                    route: rules.route(),
                    reject,
                    request: seen,
                    base,
                };
                case.investigate(&mut hunt)
            }
            reject => request_checks::evident(reject, seen),
        };
        let mut explanation = explained(verdict.last_check(), reject, said, cause);
        explanation.tries = hunt.tries();
        if explanation.cause.is_none() && hunt.is_spent() {
            let note = "not every hypothesis could be tried in time, because the body is too large";
            explanation.notes.push(note.to_owned());
        }
        explanation
    }
}

/// Returns true if a reject depended on the state at that moment, so that it cannot be reproduced.
fn depends_on_state(reason: RejectReason) -> bool {
    matches!(
        reason,
        RejectReason::SourceRate
            | RejectReason::SourceBudget
            | RejectReason::RouteRate
            | RejectReason::BodyTimeout
            | RejectReason::BodyAborted
            | RejectReason::KeyUnavailable
            | RejectReason::Unconfirmed
            | RejectReason::Duplicate
            | RejectReason::InFlight
            | RejectReason::FirstFailed
            | RejectReason::NotStored
            | RejectReason::Overload
            | RejectReason::Internal
    )
}

/// Builds the explanation of a reject; without a cause, the advice is the general one for its reason.
fn explained(
    check: GateCheck,
    reject: &Reject,
    said: CheckEvidence,
    cause: Option<CauseFinding>,
) -> RefusalExplanation {
    let row = reject.explanation();
    let fix = match &cause {
        Some(cause) => cause.fix.clone(),
        None => format!("Usually: {} Look at: {}", row.usually, row.look_at),
    };
    RefusalExplanation {
        route: None,
        provider: None,
        passes: false,
        check: check.name().to_owned(),
        reason: Some(row.code.to_owned()),
        means: row.means.to_owned(),
        expected: said.expected,
        found: said.found,
        cause,
        fix,
        tries: 0,
        notes: Vec::new(),
    }
}

/// Builds the explanation of a reject that depended on the state at that moment.
fn of_state(recorded: RecordedRefusal) -> RefusalExplanation {
    let row = recorded.reason.explanation();
    RefusalExplanation {
        route: None,
        provider: None,
        passes: false,
        check: recorded.check.name().to_owned(),
        reason: Some(row.code.to_owned()),
        means: row.means.to_owned(),
        expected: "no limit reached, no failure, and no other copy of the event at that moment"
            .to_owned(),
        found: "the request itself passes every check".to_owned(),
        cause: None,
        fix: format!("Usually: {} Look at: {}", row.usually, row.look_at),
        tries: 0,
        notes: Vec::new(),
    }
}

/// Builds the explanation of a request that passes.
fn passed(check: GateCheck) -> RefusalExplanation {
    RefusalExplanation {
        route: None,
        provider: None,
        passes: true,
        check: check.name().to_owned(),
        reason: None,
        means: "Every check passes.".to_owned(),
        expected: String::new(),
        found: String::new(),
        cause: None,
        fix: "Nothing to do: the request would be accepted.".to_owned(),
        tries: 0,
        notes: Vec::new(),
    }
}
