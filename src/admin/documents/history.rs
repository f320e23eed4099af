//! JSON shapes of counts by time, by secret, and for routes in monitor mode.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::documents::values::ApiTimestamp;
use crate::admin::documents::verdicts::VerdictDocument;

/// The number of requests with one reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ReasonCount {
    /// Reason of the rejection, as in verdicts.
    pub reason: String,
    /// Number of requests with this reason.
    pub count: u64,
}

/// Counts of requests of a route in a minute or an hour.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Tally)]
pub(crate) struct IntervalDocument {
    /// Start of the minute or the hour.
    pub start: ApiTimestamp,
    /// Events that passed every check.
    pub accepted: u64,
    /// Duplicates, which the app did not receive again.
    pub duplicate: u64,
    /// URL checks of the provider.
    pub challenge: u64,
    /// Events that the route's filter kept from the app.
    pub filtered: u64,
    /// Rejected requests by reason.
    pub refused: Vec<ReasonCount>,
    /// Requests that failed a check and were forwarded in monitor mode, by reason.
    pub would_refuse: Vec<ReasonCount>,
}

impl IntervalDocument {
    /// Returns the number of requests that were not rejected.
    pub(crate) fn passed(&self) -> u64 {
        self.accepted + self.duplicate + self.challenge + self.filtered
    }

    /// Returns the number of requests that failed a check, including those in monitor mode.
    pub(crate) fn failed(&self) -> u64 {
        let each = self.refused.iter().chain(&self.would_refuse);
        each.map(|each| each.count).sum()
    }
}

/// Recent requests of a route. Minutes and hours without requests are left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = History)]
pub(crate) struct HistoryDocument {
    /// Name of the route.
    pub route: String,
    /// Name of the node whose counts these are, if several nodes can share the store.
    #[serde(default)]
    pub node: Option<String>,
    /// Start of this process and of its counts.
    pub counted_since: ApiTimestamp,
    /// Counts for the minutes of the last hour, oldest first.
    pub minutes: Vec<IntervalDocument>,
    /// Counts for the hours of the last two days, oldest first.
    pub hours: Vec<IntervalDocument>,
}

impl HistoryDocument {
    /// Returns the start of the last minute or hour with a request.
    pub(crate) fn last(&self) -> Option<ApiTimestamp> {
        // Minutes are more exact, but they cover only the last hour.
        let last = self.minutes.last().or(self.hours.last());
        last.map(|tally| tally.start)
    }

    /// Returns the number of requests in the last hour that were not rejected.
    pub(crate) fn passed(&self) -> u64 {
        self.minutes.iter().map(IntervalDocument::passed).sum()
    }

    /// Returns the number of requests in the last hour that failed a check, including those in monitor mode.
    pub(crate) fn failed(&self) -> u64 {
        self.minutes.iter().map(IntervalDocument::failed).sum()
    }
}

/// The effect of leaving monitor mode: the requests that the route would reject.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Promotion)]
pub(crate) struct PromotionDocument {
    /// Name of the route.
    pub route: String,
    /// True if the route rejects such requests already.
    pub enforced: bool,
    /// Start of the counts: 24 hours ago, or the start of the process; of several nodes, the latest start.
    pub since: ApiTimestamp,
    /// Number of requests since then.
    pub requests: u64,
    /// Number of those requests that would have been rejected.
    pub would_refuse: u64,
    /// The same requests by reason, the most frequent reason first.
    pub reasons: Vec<ReasonCount>,
    /// Live nodes whose counts are not known and not included.
    #[serde(default)]
    pub missing_nodes: Vec<String>,
    /// Name of the node that has the examples, if several nodes can share the store.
    #[serde(default)]
    pub node: Option<String>,
    /// Verdicts about the last of them that are in memory (`keep_verdicts`), newest first, at most 50.
    pub examples: Vec<VerdictDocument>,
}

/// A secret of the running config and its use, without its text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = SecretUse)]
pub(crate) struct SecretUseDocument {
    /// Name of the route.
    pub route: String,
    /// The `name` of the secret in the config, or its position.
    pub name: String,
    /// Time from which the secret is valid.
    pub not_before: Option<ApiTimestamp>,
    /// Time at which the secret expires.
    pub until: Option<ApiTimestamp>,
    /// Number of signatures that matched the secret since the process started, on all nodes.
    pub matches: u64,
    /// Time of the last match, on any node.
    pub last_match: Option<ApiTimestamp>,
}

/// The secrets of all routes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Secrets)]
pub(crate) struct SecretUseList {
    /// Start of this process and of its counts; of several nodes, the latest start.
    pub counted_since: ApiTimestamp,
    /// True if the counts include every live node. Otherwise an unused secret may still be in use.
    #[serde(default = "complete")]
    pub complete: bool,
    /// Secrets by route, in the order of the config.
    pub secrets: Vec<SecretUseDocument>,
}

/// A gate of an earlier version has no nodes, so its counts are complete.
fn complete() -> bool {
    true
}
