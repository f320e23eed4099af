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
    /// The report that the node published with its last beat.
    pub report: NodeReport,
}

/// Report of a node about itself. Later versions may add fields, so each has a default.
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
    /// When the report was made, in milliseconds of the store's clock. An old one says nothing about the present.
    pub published_ms: i64,
    /// Since when the node counts requests, in milliseconds since the epoch.
    pub counted_since_ms: i64,
    /// Requests by route and hour of the last day. Routes and hours without requests are left out.
    pub routes: Vec<RouteReport>,
    /// Secrets that matched since the node counts.
    pub secrets: Vec<SecretReport>,
    /// True if the node counts more than it publishes.
    pub is_partial: bool,
}

/// Requests of one route on one node.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RouteReport {
    /// Name of the route.
    pub route: String,
    /// Hours with requests, oldest first.
    pub hours: Vec<HourReport>,
}

/// Requests of one route in one hour on one node.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HourReport {
    /// Start of the hour, in milliseconds since the epoch.
    pub start_ms: i64,
    /// All requests.
    pub requests: u64,
    /// Requests that monitor mode forwarded in spite of a failed check, by the code of the reason.
    pub would_refuse: Vec<(String, u64)>,
}

/// Use of one secret on one node.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SecretReport {
    /// Name of the route.
    pub route: String,
    /// Label of the secret in its route.
    pub label: String,
    /// Number of matches.
    pub matches: u64,
    /// Time of the last match, in milliseconds since the epoch.
    pub last_ms: i64,
}

/// The state of a circuit breaker, for all nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BreakerReport {
    /// No attempt begins before this time of the store's clock, in milliseconds.
    OpenUntil(i64),
    /// Attempts succeed again.
    Closed,
}
