//! Why was a request refused: which check of the gate refuses it, what that asked for and found, and what usually goes
//! wrong that makes it so.
//!
//! Off the hot path, for operators. The gate's own checks run once more over the request, at the time at which it came
//! and without claims and limits. Where the signature is the matter, hypotheses are tried one after the other: each
//! changes one thing (a secret's line end, the URL, the encoding of a signature) and asks the real verification again.
//! What makes it pass is the cause. Nothing verifies here by itself, all tries are bounded, and no text that comes out
//! of here holds a secret or a right signature.

mod body;
mod case;
pub mod cause;
mod head;
mod json;
mod place;
mod repeat;
mod said;
mod secret;
mod sender;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod trial;
mod url;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri, Version};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::model::Route;
use crate::explain::case::{Case, received, trial};
use crate::explain::cause::Finding;
pub use crate::explain::repeat::{EarlierRequest, is_repeat};
use crate::explain::said::Said;
pub use crate::explain::time::OtherAge;
use crate::explain::trial::Hunt;
use crate::gate::Gate;
use crate::gate::reject::{Reason, Reject};
use crate::gate::rules::Rules;
use crate::gate::verdict::{Check, Verdict};
use crate::model::clock::Now;
use crate::model::ids::{RequestId, RouteName};
use crate::model::source::Source;
use crate::scheme::SchemeError;

/// A signed time earlier than that (September 2001) is one in another unit.
const PLAUSIBLE: i64 = 1_000_000_000;

/// A request that has been.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// The target as it came.
    pub uri: Uri,
    /// The version.
    pub version: Version,
    /// The headers as they came.
    pub headers: HeaderMap,
    /// The body, or its start.
    pub body: Bytes,
    /// Whether more of the body came than is here.
    pub is_cut: bool,
    /// When it came, in milliseconds since the epoch; none: at the time that it signs.
    pub received_ms: Option<i64>,
    /// Who sent it; none: somebody who may.
    pub source: Option<IpAddr>,
    /// What the gate said when it came.
    pub recorded: Option<Recorded>,
    /// Ages of signed times of other routes' requests that were refused at about that time.
    pub others: Vec<OtherAge>,
}

/// What the gate said about a request when it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// Why it was refused.
    pub reason: Reason,
    /// By which check.
    pub check: Check,
}

/// Why a request is refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = RequestExplanation)]
pub struct Explanation {
    /// The route.
    pub route: Option<String>,
    /// Its provider, or `custom`.
    pub provider: Option<String>,
    /// Whether it would pass, under the config that it is held against.
    pub passes: bool,
    /// The check that refuses it; where it passes, the last one.
    pub check: String,
    /// The code of the reason, as in logs and metrics.
    pub reason: Option<String>,
    /// What that means.
    pub means: String,
    /// What the check asks for.
    pub expected: String,
    /// What it found.
    pub found: String,
    /// What is behind it, if that was found.
    pub cause: Option<Finding>,
    /// What to do next.
    pub fix: String,
    /// Hypotheses that were tried.
    pub tries: u32,
    /// What else there is to know.
    pub notes: Vec<String>,
}

/// Explains requests under the rules of one config.
pub struct Explainer {
    gate: Gate,
}

impl Seen {
    /// A request of which only the verdict is left.
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

impl Explainer {
    /// Takes the rules of a gate; its claims and limits stay out of it.
    ///
    /// # Errors
    /// As for [`Rules::compile`].
    pub fn new(gate: &Gate) -> Result<Self, SchemeError> {
        Ok(Self { gate: gate.bare()? })
    }

    /// The routes in their order.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.gate.all_rules().iter().map(|rules| &**rules.route())
    }

    /// Says why a request is refused: by the route that its host and path lead to, or by the one that is named.
    pub async fn explain(&self, name: Option<&RouteName>, seen: &Seen) -> Explanation {
        let led_to = self.gate.find(place::host(seen), seen.uri.path());
        let index = name.map_or(led_to, |name| self.gate.index_of(name));
        let Some((index, rules)) = index.and_then(|index| Some((index, self.gate.rules(index)?)))
        else {
            return self.no_route(seen);
        };
        let mut notes = Vec::new();
        let mut seen = seen.clone();
        self.settle(rules, &mut seen, &mut notes);
        let mut verdict = self.judge(index, rules, &seen).await;
        let reject = place::kept_back(&verdict.decision);
        let is_elsewhere = led_to != Some(index);
        if is_elsewhere && reject.is_none() {
            verdict.begin(Check::Route);
            return self.no_route(&seen);
        }
        if is_elsewhere {
            let path = seen.uri.path();
            notes.push(format!(
                "host and path (`{path}`) do not lead to this route"
            ));
        }
        let mut explanation = match (&reject, seen.recorded) {
            (Some(reject), _) => self.refused(rules, reject, &seen, &verdict),
            (None, Some(recorded)) if depends_on_state(recorded.reason) => of_state(recorded),
            (None, _) => passed(verdict.last_check()),
        };
        if let Some(recorded) = seen.recorded {
            let code = recorded.reason.explanation().code;
            if explanation.reason.as_deref() != Some(code) {
                notes.push(format!("it was refused as `{code}` when it came; the config has changed since, or the time"));
            }
        }
        explanation.route = Some(rules.route().name.as_str().to_owned());
        let provider = rules.route().provider.as_ref();
        explanation.provider = Some(provider.map_or("custom", |one| &one.id).to_owned());
        explanation.notes.splice(0..0, notes);
        explanation
    }

    /// Says what the verdict about a request tells, where the request itself was not kept: nothing can be tried.
    #[must_use]
    pub fn explain_verdict(&self, verdict: &Verdict) -> Explanation {
        let seen = Seen::unknown(verdict);
        let rules = verdict.route.as_ref();
        let rules = rules.and_then(|name| self.gate.rules(self.gate.index_of(name)?));
        let mut explanation = match (place::kept_back(&verdict.decision), rules) {
            (None, _) => passed(verdict.last_check()),
            (Some(reject), Some(rules)) => {
                let said = said::of_route(&reject, rules, &seen);
                let cause = place::evident(&reject, &seen);
                explained(verdict.last_check(), &reject, said, cause)
            }
            (Some(reject), None) => {
                let said = said::of_no_route(self, &reject);
                explained(verdict.last_check(), &reject, said, None)
            }
        };
        explanation.route = verdict.route.as_ref().map(ToString::to_string);
        explanation.provider = verdict.provider.as_ref().map(ToString::to_string);
        let note = "the request itself was not kept, so that nothing could be tried";
        explanation.notes.push(note.to_owned());
        explanation
    }

    /// Explains why a request counted as a duplicate or a replay.
    #[must_use]
    pub fn explain_repeat(verdict: &Verdict, earlier: Option<EarlierRequest>) -> Explanation {
        repeat::explain(verdict, earlier)
    }

    /// Fills in what is not known about a request, and says so.
    fn settle(&self, rules: &Rules, seen: &mut Seen, notes: &mut Vec<String>) {
        if seen.source.is_none() && rules.route().allow_ips.is_some() {
            notes.push("its source address is not known and was not checked".to_owned());
            seen.source = rules.some_allowed();
        }
        if seen.received_ms.is_none() {
            let now = Now::read();
            let signed = trial(rules.route(), seen, now).signed_seconds();
            let signed = signed.filter(|signed| *signed > PLAUSIBLE);
            if signed.is_some() {
                notes.push("when it came is not known, so its age was not checked".to_owned());
            }
            seen.received_ms = Some(time::when_signed(signed).unix_ms);
        }
    }

    /// Runs the gate's checks.
    async fn judge(&self, index: usize, rules: &Rules, seen: &Seen) -> Verdict {
        let now = received(seen);
        let ip = seen.source.or_else(|| rules.some_allowed());
        let ip = ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let source = Source {
            ip,
            peer: SocketAddr::new(ip, 0),
            is_tls: true,
        };
        let mut verdict = Verdict::new(RequestId::new(now.unix_ms, [0; 10]), source, now);
        let mut request = Request::new(Full::new(seen.body.clone()));
        request.method_mut().clone_from(&seen.method);
        request.uri_mut().clone_from(&seen.uri);
        request.headers_mut().clone_from(&seen.headers);
        if seen.is_cut {
            // What is here is judged; that it is not all is told apart.
            request.headers_mut().remove(http::header::CONTENT_LENGTH);
        }
        *request.version_mut() = seen.version;
        self.gate.admit_to(index, request, now, &mut verdict).await;
        verdict
    }

    fn no_route(&self, seen: &Seen) -> Explanation {
        let reject = Reject::no_route(place::host(seen), seen.uri.path());
        let said = said::of_no_route(self, &reject);
        let cause = place::no_route(self, seen);
        explained(Check::Route, &reject, said, cause)
    }

    fn refused(
        &self,
        rules: &Rules,
        reject: &Reject,
        seen: &Seen,
        verdict: &Verdict,
    ) -> Explanation {
        let said = said::of_route(reject, rules, seen);
        let mut hunt = Hunt::new();
        let cause = match reject {
            Reject::SourceNotAllowed { ip } => Some(place::source(rules, seen, *ip)),
            Reject::MissingMaterial { .. }
            | Reject::MalformedMaterial { .. }
            | Reject::StaleTimestamp { .. }
            | Reject::BadSignature
            | Reject::BodyAborted
            | Reject::NoCurrentSecret => {
                let mut base = trial(rules.route(), seen, received(seen));
                if matches!(reject, Reject::StaleTimestamp { .. }) {
                    base = base.at_any_time();
                }
                let case = Case {
                    explainer: self,
                    route: rules.route(),
                    reject,
                    seen,
                    base,
                };
                case.investigate(&mut hunt)
            }
            reject => place::evident(reject, seen),
        };
        let mut explanation = explained(verdict.last_check(), reject, said, cause);
        explanation.tries = hunt.tries();
        if explanation.cause.is_none() && hunt.is_spent() {
            let note = "the body is too large for all hypotheses to be tried in time";
            explanation.notes.push(note.to_owned());
        }
        explanation
    }
}

/// Whether a refusal follows from what else was going on, so that nobody can repeat it.
fn depends_on_state(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::SourceRate
            | Reason::SourceBudget
            | Reason::RouteRate
            | Reason::BodyTimeout
            | Reason::BodyAborted
            | Reason::KeyUnavailable
            | Reason::Unconfirmed
            | Reason::Duplicate
            | Reason::InFlight
            | Reason::FirstFailed
            | Reason::NotStored
            | Reason::Overload
            | Reason::Internal
    )
}

fn explained(check: Check, reject: &Reject, said: Said, cause: Option<Finding>) -> Explanation {
    let row = reject.explanation();
    let fix = match &cause {
        Some(cause) => cause.fix.clone(),
        None => format!("Usually: {} Look at: {}", row.usually, row.look_at),
    };
    Explanation {
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

/// What the gate said then is all that is known.
fn of_state(recorded: Recorded) -> Explanation {
    let row = recorded.reason.explanation();
    Explanation {
        route: None,
        provider: None,
        passes: false,
        check: recorded.check.name().to_owned(),
        reason: Some(row.code.to_owned()),
        means: row.means.to_owned(),
        expected: "a moment at which nothing stands in its way".to_owned(),
        found: "the request itself is in order".to_owned(),
        cause: None,
        fix: format!("Usually: {} Look at: {}", row.usually, row.look_at),
        tries: 0,
        notes: Vec::new(),
    }
}

fn passed(check: Check) -> Explanation {
    Explanation {
        route: None,
        provider: None,
        passes: true,
        check: check.name().to_owned(),
        reason: None,
        means: "Every check passes.".to_owned(),
        expected: String::new(),
        found: String::new(),
        cause: None,
        fix: "Nothing: the request would be taken.".to_owned(),
        tries: 0,
        notes: Vec::new(),
    }
}
