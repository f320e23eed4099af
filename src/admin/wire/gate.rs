//! The gate itself and its store.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::wire::{Counts, Moment};

/// What is in the store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StoreStats {
    /// Whether a commit would be taken now.
    pub healthy: bool,
    /// Events.
    pub events: u64,
    /// Deliveries by state.
    pub deliveries: Counts,
    /// Claims, expired ones that were not swept yet included.
    pub claims: u64,
    /// Bytes of the file and its log.
    pub size: u64,
    /// Bytes in the file that hold nothing.
    pub spare: u64,
    /// When the oldest open delivery was made.
    pub oldest_open: Option<Moment>,
    /// Groups that were committed since the store was opened.
    pub groups: u64,
    /// Commits, takings and outcomes in these groups.
    pub grouped: u64,
    /// Times that the store was opened anew after a failed write.
    pub reopened: u64,
}

/// How the gate does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// Whether the gate takes requests; not while it starts or drains.
    pub ready: bool,
    /// When this process began to answer.
    pub started: Moment,
    /// Whether there is a store.
    pub has_store: bool,
    /// Whether a commit to the store would be taken now; none: there is no store.
    pub store_healthy: Option<bool>,
    /// Live tails that are open.
    pub tails: u64,
    /// Seconds since it began to answer.
    #[serde(default)]
    pub uptime_seconds: u64,
    /// Routes of the running config.
    #[serde(default)]
    pub routes: u64,
    /// Requests that are worked on now.
    #[serde(default)]
    pub in_flight: u64,
    /// Connections that are open on the public listeners.
    #[serde(default)]
    pub connections: u64,
    /// Deliveries that are to be attempted, or are being attempted.
    #[serde(default)]
    pub backlog: u64,
    /// When the oldest of them was made.
    #[serde(default)]
    pub oldest_waiting: Option<Moment>,
    /// What a person should look at, the most urgent first; empty: all is well.
    #[serde(default)]
    pub needs: Vec<Need>,
}

/// Something that a person should look at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Need {
    /// What it is: a word of a closed set, such as `dead_letters`.
    pub what: String,
    /// A sentence that says it, and what to do.
    pub text: String,
}
