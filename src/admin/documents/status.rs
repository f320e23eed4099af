//! JSON shapes of the status of the gate and its store.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::documents::values::{ApiTimestamp, StateCounts};

/// Content and health of the store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct StoreStats {
    /// True if the store accepts commits now.
    pub healthy: bool,
    /// Number of events in the store.
    pub events: u64,
    /// Number of deliveries in each state.
    pub deliveries: StateCounts,
    /// Number of claims, including expired ones that were not removed yet.
    pub claims: u64,
    /// Size of the database file and its write-ahead log, in bytes.
    pub size: u64,
    /// Free space inside the database file, in bytes.
    pub spare: u64,
    /// Time at which the oldest open delivery was created.
    pub oldest_open: Option<ApiTimestamp>,
    /// Number of groups committed since the store was opened.
    pub groups: u64,
    /// Number of writes in these groups: commits, starts of attempts, and outcomes.
    pub grouped: u64,
    /// Number of times that the store was reopened after a failed write.
    pub reopened: u64,
}

/// Status of the gate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Status)]
pub(crate) struct StatusDocument {
    /// Version of the program.
    pub version: String,
    /// True if the gate accepts requests; false while it starts or drains.
    pub ready: bool,
    /// True if the token is limited to routes. All counts are then of these routes, and those of the whole gate are 0.
    #[serde(default)]
    pub limited: bool,
    /// True if the token may see what senders sent.
    #[serde(default = "shown")]
    pub payload: bool,
    /// Time at which this process started.
    pub started: ApiTimestamp,
    /// True if the config has a store.
    pub has_store: bool,
    /// True if the store accepts commits now; null without a store.
    pub store_healthy: Option<bool>,
    /// Name of the node that answers, if several nodes can share the store; otherwise null.
    #[serde(default)]
    pub node: Option<String>,
    /// Number of nodes that are alive; null if the store cannot say.
    #[serde(default)]
    pub nodes: Option<u64>,
    /// Number of open live tails.
    pub tails: u64,
    /// Seconds since this process started.
    #[serde(default)]
    pub uptime_seconds: u64,
    /// Number of routes in the running config.
    #[serde(default)]
    pub routes: u64,
    /// Number of in-flight requests.
    #[serde(default)]
    pub in_flight: u64,
    /// Number of open connections on the public listeners.
    #[serde(default)]
    pub connections: u64,
    /// Number of open deliveries: pending, waiting or in flight.
    #[serde(default)]
    pub backlog: u64,
    /// Time at which the oldest open delivery was created.
    #[serde(default)]
    pub oldest_waiting: Option<ApiTimestamp>,
    /// List of what needs attention, most urgent first; empty if nothing does.
    #[serde(default)]
    pub needs: Vec<AttentionItem>,
}

/// A gate of an earlier version has no tokens without payload.
fn shown() -> bool {
    true
}

/// An item that needs attention.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Need)]
pub(crate) struct AttentionItem {
    /// Kind of the item, as a word of a closed set, such as `dead_letters`.
    pub what: String,
    /// Sentence that describes the problem and what to do.
    pub text: String,
}
