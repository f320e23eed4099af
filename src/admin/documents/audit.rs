//! JSON shapes of the audit log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::documents::values::ApiTimestamp;

/// An action of an operator, or an attempt that was rejected.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AuditEntry {
    /// Number of the action; later actions have higher numbers.
    pub id: i64,
    /// Time at which the action ended.
    pub at: ApiTimestamp,
    /// Name of the token, or user of the Unix socket (`uid:0`).
    pub who: String,
    /// Role of the token: `viewer` or `operator`.
    pub role: String,
    /// Address of the client, or user of the Unix socket.
    pub source: String,
    /// Operation, by its `operationId` in this document.
    pub action: String,
    /// Values of the path parameters, joined by slashes; absent without parameters.
    pub target: Option<String>,
    /// Further detail, such as a search and the number of changes.
    pub detail: Option<String>,
    /// Outcome of the action: `done`, `refused` or `failed`.
    pub outcome: String,
    /// HTTP status of the response.
    pub status: u16,
}

/// A page of actions, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AuditEntries {
    /// Actions on this page, newest first.
    pub actions: Vec<AuditEntry>,
    /// The `cursor` of the next page, if there is one.
    pub next: Option<String>,
}
