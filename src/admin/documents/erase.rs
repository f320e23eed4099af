//! JSON shapes of erasing events.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Result of one step of erasing events.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Erased)]
pub(crate) struct EraseStep {
    /// True if the events were only counted.
    pub dry_run: bool,
    /// Number of events that this step erased or would erase.
    pub count: u64,
    /// Number of deliveries that this step ended before an attempt.
    pub cancelled: u64,
    /// Number of deliveries whose attempt was in progress: its request may still have reached the app.
    pub in_flight: u64,
    /// Number of requests and verdicts that this step removed, or would remove, from the memory of the node that
    /// answers.
    pub memory: u64,
    /// The `cursor` of the next step; null after the last one.
    pub next: Option<String>,
    /// Part of the store that the steps so far have read, in percent.
    pub percent: u8,
    /// After the last step: true if no byte of the events is left in the files of the store. False if a reader was in the
    /// way, and with PostgreSQL, whose server removes old versions of rows by a vacuum.
    pub scrubbed: Option<bool>,
    /// Name of the node whose memory was searched, if several nodes can share the store.
    pub node: Option<String>,
}
