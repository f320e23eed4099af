//! Requests that were refused.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::wire::{Explanation, Header, Moment};

/// A refused request that is kept, or one that monitor mode let through.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Rejection {
    /// Its id, which its answer had in `Hookgate-Request-Id`.
    pub request_id: String,
    /// When it came.
    pub at: Moment,
    /// The route that refused it.
    pub route: String,
    /// Why: a word of the reference of reasons, such as `bad-signature`.
    pub reason: String,
    /// Whether monitor mode let it through all the same.
    pub monitored: bool,
    /// The address of the sender.
    pub source: String,
    /// The method.
    pub method: String,
    /// Path and query, without tokens.
    pub target: String,
    /// Bytes of the body that are kept.
    pub kept_bytes: u64,
    /// Bytes of the whole body, where that is known.
    pub body_bytes: Option<u64>,
}

/// What a route refused for one reason since the start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RejectionGroup {
    /// The route.
    pub route: String,
    /// Why.
    pub reason: String,
    /// Requests, those that are not kept included.
    pub count: u64,
    /// The first.
    pub first: Moment,
    /// The last.
    pub last: Moment,
    /// The newest that is kept.
    pub example: Option<String>,
}

/// The requests that are kept, the newest first, and how many there were.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Rejections {
    /// By route and reason; what happened last comes first.
    pub groups: Vec<RejectionGroup>,
    /// The requests, as many as `keep_rejected` of `[server]` says at most.
    pub rejections: Vec<Rejection>,
}

/// A refused request with its headers. `/requests/{request_id}` gives all of it as a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RejectionDetail {
    /// The request.
    pub rejection: Rejection,
    /// Its headers as they came; without a value where it may be a token.
    pub headers: Vec<Header>,
    /// What the reason means.
    pub explanation: Explanation,
}
