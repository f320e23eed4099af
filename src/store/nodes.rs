//! The nodes that share a store, and what each publishes about itself.

use serde::{Deserialize, Serialize};

/// A node that shares the store.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct NodeRow {
    /// The number of the node, which is new with each start.
    pub id: i64,
    /// The name from the config, or the host's name.
    pub name: String,
    /// Version of hookgate.
    pub version: String,
    /// When the node registered, in milliseconds since the epoch, by the database's clock.
    pub started_ms: i64,
    /// Milliseconds since its last beat, as the asking node has seen it.
    pub quiet_ms: u64,
    /// When the node ended, or was declared dead; `None` while it is alive.
    pub ended_ms: Option<i64>,
    /// True for the node that was asked.
    pub is_self: bool,
    /// What the node published with its last beat.
    pub report: NodeReport,
}

/// What a node publishes about itself. Later versions may add fields, so each has a default.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct NodeReport {
    /// Digest of the config that runs, in hexadecimal.
    pub config_digest: String,
    /// Difference between the node's wall clock and the database's, in milliseconds.
    pub clock_offset_ms: i64,
    /// Open connections of clients.
    pub connections: u64,
    /// Requests in flight.
    pub requests_in_flight: u64,
    /// Attempts in flight.
    pub attempts_in_flight: u64,
    /// Destinations whose circuit breaker is open, as `route/destination`.
    pub open_breakers: Vec<String>,
}

/// The state of a circuit breaker, for all nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BreakerReport {
    /// No attempt begins before this time of the store's clock, in milliseconds.
    OpenUntil(i64),
    /// Attempts succeed again.
    Closed,
}
