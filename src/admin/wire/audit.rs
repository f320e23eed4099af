//! What operators did.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::wire::Moment;

/// What somebody did, or was not let do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its number: later ones have higher ones.
    pub id: i64,
    /// When it ended.
    pub at: Moment,
    /// The name of the token, or the user of the socket (`uid:0`).
    pub who: String,
    /// What the token may do: `viewer` or `operator`.
    pub role: String,
    /// The address, or the user of the socket.
    pub source: String,
    /// The `operationId` in this document.
    pub action: String,
    /// What the path named, where it named something.
    pub target: Option<String>,
    /// What else tells it from others: a search, how many were changed.
    pub detail: Option<String>,
    /// `done`, `refused` or `failed`.
    pub outcome: String,
    /// The status of the answer.
    pub status: u16,
}

/// A part of the actions, the newest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditEntries {
    /// The actions.
    pub actions: Vec<AuditEntry>,
    /// Where there are more: the `cursor` of the next part.
    pub next: Option<String>,
}
