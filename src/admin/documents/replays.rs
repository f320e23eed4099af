//! JSON shapes of replays.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::documents::values::ApiTimestamp;

/// State of a replay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReplayState {
    /// The gate creates its deliveries.
    Running,
    /// An operator paused the replay.
    Paused,
    /// The gate has created all its deliveries.
    Ended,
}

/// A replay of old events and its progress.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Replay)]
pub(crate) struct ReplayDocument {
    /// Number of the replay.
    pub id: i64,
    /// Time at which an operator began the replay.
    pub created: ApiTimestamp,
    /// Current state of the replay.
    pub state: ReplayState,
    /// Number of deliveries to create.
    pub total: u64,
    /// Number of deliveries created or skipped so far.
    pub done: u64,
    /// Number of deliveries skipped because the store no longer has the body.
    pub skipped: u64,
}

/// The last replays.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Replays)]
pub(crate) struct ReplayList {
    /// Replays, newest first.
    pub replays: Vec<ReplayDocument>,
}

/// Response to a request for a replay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ReplayAsked)]
pub(crate) struct ReplayCreated {
    /// True if the deliveries were only counted.
    pub dry_run: bool,
    /// Number of deliveries that the replay creates or would create.
    pub count: u64,
    /// The replay; null if the deliveries were only counted.
    pub replay: Option<ReplayDocument>,
}
