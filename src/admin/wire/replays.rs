//! Replays.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::wire::Moment;

/// Where a replay stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// It is being worked off.
    Running,
    /// An operator stopped it.
    Paused,
    /// All its deliveries were made.
    Ended,
}

/// Old events that are delivered again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Replay {
    /// Its number.
    pub id: i64,
    /// When it was asked for.
    pub created: Moment,
    /// Where it stands.
    pub state: ReplayState,
    /// Deliveries to be made.
    pub total: u64,
    /// Deliveries made, or left out.
    pub done: u64,
    /// Left out because the body was not kept.
    pub skipped: u64,
}

/// The replays, the newest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Replays {
    /// The replays.
    pub replays: Vec<Replay>,
}

/// What became of asking for a replay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReplayAsked {
    /// Whether it was only counted.
    pub dry_run: bool,
    /// Deliveries that it makes, or would make.
    pub count: u64,
    /// The replay, where it was begun.
    pub replay: Option<Replay>,
}
