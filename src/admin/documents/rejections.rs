//! JSON shapes of rejected requests.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::documents::events::HeaderDocument;
use crate::admin::documents::values::ApiTimestamp;
use crate::admin::documents::verdicts::ReasonExplanation;

/// A rejected request in memory, or one that failed a check in monitor mode.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Rejection)]
pub(crate) struct RejectionDocument {
    /// Id of the request, as in the header `Hookgate-Request-Id` of its response.
    pub request_id: String,
    /// Time at which the request arrived.
    pub at: ApiTimestamp,
    /// Route that rejected the request.
    pub route: String,
    /// Reason of the rejection, a word of the reference of reasons, such as `bad-signature`.
    pub reason: String,
    /// True if monitor mode forwarded the request anyway.
    pub monitored: bool,
    /// IP address of the client.
    pub source: String,
    /// HTTP method of the request.
    pub method: String,
    /// Path and query, with tokens masked.
    pub target: String,
    /// Size of the part of the body in memory, in bytes.
    pub kept_bytes: u64,
    /// Size of the whole body in bytes, if it is known.
    pub body_bytes: Option<u64>,
}

/// Requests of a route that were rejected for one reason since the start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RejectionGroup {
    /// Name of the route.
    pub route: String,
    /// Reason of the rejection, as in verdicts.
    pub reason: String,
    /// Number of requests, including those no longer in memory.
    pub count: u64,
    /// Time of the first request.
    pub first: ApiTimestamp,
    /// Time of the last request.
    pub last: ApiTimestamp,
    /// Id of the newest request in memory.
    pub example: Option<String>,
}

/// Rejected requests in memory, with counts by route and reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Rejections)]
pub(crate) struct RejectionList {
    /// Name of the node that has these requests in memory, if several nodes can share the store.
    #[serde(default)]
    pub node: Option<String>,
    /// Counts by route and reason; the group with the newest request comes first.
    pub groups: Vec<RejectionGroup>,
    /// Rejected requests, newest first, at most `keep_rejected` of `[server]`.
    pub rejections: Vec<RejectionDocument>,
}

/// A rejected request with its headers. `/requests/{request_id}` returns the whole request as a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RejectionDetail {
    /// The request, as in lists.
    pub rejection: RejectionDocument,
    /// Headers in the order of the request; a value that may be a token is null.
    pub headers: Vec<HeaderDocument>,
    /// General explanation of the reason.
    pub explanation: ReasonExplanation,
}
