//! Checked values of `[store]`.

use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::document::TextSpan;
use hookgate_verify::model::secret::Secret;

use crate::model::database::DatabaseLocation;

/// Settings of `[store]`: location, limits and retention.
pub struct StoreSection {
    /// The database file of `sqlite:PATH`, or the database of `postgres://`.
    pub location: DatabaseLocation,
    /// Location of `url` in the config.
    pub url_span: TextSpan,
    /// Limit of the file in bytes; `None`: only `min_free` applies.
    pub max_size: Option<u64>,
    /// Limit of stored events; `None`: no limit.
    pub max_events: Option<u64>,
    /// Retention of events and attempts that have ended.
    pub retention: RetentionSection,
    /// Keeps the body of an event after its deliveries.
    pub keep_body: bool,
    /// Keys that encrypt payloads: the first one seals, all of them open. Empty: payloads are stored unencrypted.
    pub encryption_keys: Vec<Arc<Secret>>,
}

/// Retention (`[store] retention`). `None` in a field: forever.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetentionSection {
    /// Age limit of events whose deliveries were all delivered or cancelled.
    pub delivered: Option<Duration>,
    /// Age limit of dead letters.
    pub dead: Option<Duration>,
    /// Age limit of attempts whose deliveries have ended.
    pub attempts: Option<Duration>,
    /// File size in bytes above which the oldest ended events are deleted.
    pub size: Option<u64>,
}
