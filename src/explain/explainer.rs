//! The explainer: runs the gate's checks over a past request, and explains their result.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hookgate_verify::scheme::SchemeError;
use http::Request;
use http_body_util::Full;

use crate::config::model::Route;
use crate::explain::case::{RefusalCase, each_route, trial};
use crate::explain::explanation::{RefusalExplanation, explained, of_state, passed};
use crate::explain::investigate::investigate;
use crate::explain::past_request::PastRequest;
use crate::explain::repeat::EarlierRequest;
use crate::explain::trial::TrialBudget;
use crate::explain::{evidence, repeat, request_checks, time};
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

/// Explainer of requests under the rules of one config.
pub(crate) struct RefusalExplainer {
    gate: Gate,
    routes: RouteTable<RouteRules>,
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
        each_route(&self.routes)
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
                let said = evidence::of_no_route(&self.routes, &reject);
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
        let now = seen.received();
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
        let said = evidence::of_no_route(&self.routes, &reject);
        let cause = request_checks::no_route(&self.routes, seen);
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
                let mut base = trial(rules.route(), seen, seen.received());
                if matches!(reject, Reject::StaleTimestamp { .. }) {
                    // Other hypotheses can only be tested if the age of the signature does not reject each try.
                    base = base.at_any_time();
                }
                let case = RefusalCase {
                    routes: &self.routes,
                    route: rules.route(),
                    reject,
                    request: seen,
                    base,
                };
                investigate(&case, &mut hunt)
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
