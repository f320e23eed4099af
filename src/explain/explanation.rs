//! The explanation of a rejected request, and its builders.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::explain::cause::CauseFinding;
use crate::explain::evidence::CheckEvidence;
use crate::explain::past_request::RecordedRefusal;
use crate::gate::reject::Reject;
use crate::gate::verdict::GateCheck;

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

/// Builds the explanation of a reject; without a cause, the advice is the general one for its reason.
pub(super) fn explained(
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
pub(super) fn of_state(recorded: RecordedRefusal) -> RefusalExplanation {
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
pub(super) fn passed(check: GateCheck) -> RefusalExplanation {
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
