//! Verdicts: what the gate decided about single requests.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::wire::Moment;

/// What the gate decided about one request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// Counts up since the start: the cursor of lists and tails.
    pub number: u64,
    /// The id of the request, which its answer had in `Hookgate-Request-Id`.
    pub request_id: String,
    /// When the request began.
    pub at: Moment,
    /// The address of the sender.
    pub source: String,
    /// The route, where one was found.
    pub route: Option<String>,
    /// The provider's id, or `custom`.
    pub provider: Option<String>,
    /// `accepted`, `challenge`, `duplicate`, `filtered`, `refused` or `monitored`.
    pub verdict: String,
    /// Why it was refused, or would have been, or was filtered: a word of a closed set.
    pub reason: Option<String>,
    /// The last check that was begun.
    pub check: String,
    /// The secret that matched, by name.
    pub secret: Option<String>,
    /// The provider's id of the event.
    pub event_id: Option<String>,
    /// The provider's type of the event.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// The status that the sender got.
    pub status: u16,
    /// The status that the app answered.
    pub upstream_status: Option<u16>,
    /// Why forwarding failed: a word of a closed set.
    pub forward_error: Option<String>,
    /// Whether the app has taken the event before, and got it again since its sender uses the response.
    pub is_copy: bool,
    /// Whether the app has taken the same signed bytes as another event.
    pub is_replayed_body: bool,
    /// Whether the event is in the store; its id there is `request_id`.
    pub is_stored: bool,
    /// Bytes of the body that were read.
    pub body_bytes: u64,
    /// From the head to the answer, in microseconds.
    pub total_us: u64,
}

/// What came of one check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CheckOutcome {
    /// Its name.
    pub check: String,
    /// `passed`, `failed`, `answered` or `not-reached`.
    pub outcome: String,
    /// How long it took, in nanoseconds; 0 where it was not reached.
    pub took_ns: u64,
}

/// How long a part of the way took.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Stage {
    /// `head` (the checks up to the signature's material), `body` (reading it), `verify` (the signature and the checks behind
    /// it), `wait` (for the first copy of the same event), `upstream` or `commit`.
    pub stage: String,
    /// In microseconds.
    pub took_us: u64,
}

/// What a reason means.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// What happened.
    pub means: String,
    /// What is usually behind it.
    pub usually: String,
    /// Where to look next.
    pub look_at: String,
}

/// A verdict with all its checks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct VerdictDetail {
    /// The verdict.
    pub verdict: Verdict,
    /// The checks in their order.
    pub checks: Vec<CheckOutcome>,
    /// How long the request spent where; what took no time is left out.
    pub stages: Vec<Stage>,
    /// What the reason means, where the request was refused or would have been.
    pub explanation: Option<Explanation>,
    /// The error of forwarding with its causes.
    pub error: Option<String>,
}

/// A part of the verdicts, the newest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Verdicts {
    /// The verdicts.
    pub verdicts: Vec<Verdict>,
    /// Where there are more: the `cursor` of the next part.
    pub next: Option<String>,
}

impl Verdicts {
    /// When the last one of each route came, for the routes among them.
    #[must_use]
    pub fn last_by_route(self) -> HashMap<String, Moment> {
        let mut last = HashMap::new();
        for verdict in self.verdicts {
            if let Some(route) = verdict.route {
                last.entry(route).or_insert(verdict.at);
            }
        }
        last
    }
}
