//! JSON shapes of verdicts, the gate's results for single requests.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::documents::values::ApiTimestamp;

/// The verdict about one request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Verdict)]
pub(crate) struct VerdictDocument {
    /// Number of the verdict since the start; the cursor of lists and tails.
    pub number: u64,
    /// Id of the request, as in the header `Hookgate-Request-Id` of its response.
    pub request_id: String,
    /// Time at which the request arrived.
    pub at: ApiTimestamp,
    /// IP address of the client.
    pub source: String,
    /// Name of the route, if one matched.
    pub route: Option<String>,
    /// Id of the provider, or `custom`.
    pub provider: Option<String>,
    /// Decision: `accepted`, `challenge`, `duplicate`, `filtered`, `refused` or `monitored`.
    pub verdict: String,
    /// Reason of a rejection, also in monitor mode, or the filter that matched: a word of a closed set.
    pub reason: Option<String>,
    /// Name of the last check that began.
    pub check: String,
    /// Name of the secret that matched.
    pub secret: Option<String>,
    /// The provider's id of the event.
    pub event_id: Option<String>,
    /// The provider's type of the event.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// HTTP status of the response to the sender.
    pub status: u16,
    /// HTTP status of the app's response.
    pub upstream_status: Option<u16>,
    /// Error of forwarding, as a word of a closed set.
    pub forward_error: Option<String>,
    /// True if the app had accepted the event before and received it again, because its sender uses the response.
    pub is_copy: bool,
    /// True if the app had accepted the same signed bytes as another event.
    pub is_replayed_body: bool,
    /// True if the event is in the store, where its id is `request_id`.
    pub is_stored: bool,
    /// Number of body bytes that the gate read.
    pub body_bytes: u64,
    /// Time from the request head to the response, in microseconds.
    pub total_us: u64,
}

/// The outcome of one check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CheckOutcome {
    /// Name of the check.
    pub check: String,
    /// Outcome of the check: `passed`, `failed`, `answered` or `not-reached`.
    pub outcome: String,
    /// Duration in nanoseconds; 0 if the check was not reached.
    pub took_ns: u64,
}

/// The duration of one stage of a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Stage)]
pub(crate) struct StageTiming {
    /// Name of the stage: `head` (checks of the head), `body` (reading it), `verify` (the signature and later checks),
    /// `wait` (for the first copy of the same event), `upstream` (the app) or `commit` (to the store).
    pub stage: String,
    /// Duration in microseconds.
    pub took_us: u64,
}

/// General explanation of a reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Explanation)]
pub(crate) struct ReasonExplanation {
    /// Meaning of the reason.
    pub means: String,
    /// Usual cause of the rejection.
    pub usually: String,
    /// Next place to look.
    pub look_at: String,
}

/// A verdict with all its checks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct VerdictDetail {
    /// The verdict, as in lists.
    pub verdict: VerdictDocument,
    /// Checks of the request, in their order.
    pub checks: Vec<CheckOutcome>,
    /// Stages of the request with their durations; stages that took no time are left out.
    pub stages: Vec<StageTiming>,
    /// General explanation of the reason, if the request failed a check.
    pub explanation: Option<ReasonExplanation>,
    /// Text of the forwarding error with its causes.
    pub error: Option<String>,
}

/// A page of verdicts, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Verdicts)]
pub(crate) struct VerdictList {
    /// Name of the node that has these verdicts in memory, if several nodes can share the store.
    #[serde(default)]
    pub node: Option<String>,
    /// Verdicts on this page, newest first.
    pub verdicts: Vec<VerdictDocument>,
    /// The `cursor` of the next page, if there is one.
    pub next: Option<String>,
}

impl VerdictList {
    /// Returns the time of the last verdict of each route on this page.
    pub(crate) fn last_by_route(self) -> HashMap<String, ApiTimestamp> {
        let mut last = HashMap::new();
        // Verdicts come newest first, so the first one of a route is its last.
        for verdict in self.verdicts {
            if let Some(route) = verdict.route {
                last.entry(route).or_insert(verdict.at);
            }
        }
        last
    }
}
