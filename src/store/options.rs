//! Options, limits and figures of the store.

use hookgate_verify::model::secret::Secret;

use crate::model::database::DatabaseLocation;

/// Settings with which a store is opened.
pub struct StoreOptions {
    /// Where the store is.
    pub location: DatabaseLocation,
    /// Keys that encrypt bodies, headers and response bytes. The first key encrypts, all keys decrypt. Empty: content
    /// is stored in clear.
    pub encryption_keys: Vec<Secret>,
    /// True if the body of an event stays after all its deliveries were delivered or cancelled.
    pub keep_body: bool,
    /// Largest size in bytes of the database. The store accepts nothing beyond it.
    pub max_size: Option<u64>,
    /// Largest number of events in the store.
    pub max_events: Option<u64>,
}

/// How long ended data stays in the store. `None` means forever.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetentionLimits {
    /// Age for events whose deliveries were all delivered or cancelled, and for events without deliveries.
    pub delivered_ms: Option<i64>,
    /// Age for events with a dead letter.
    pub dead_ms: Option<i64>,
    /// Age for attempts of deliveries that have ended.
    pub attempts_ms: Option<i64>,
    /// Size of the file in bytes above which the oldest ended events are deleted, whatever their age.
    pub size: Option<u64>,
    /// The shortest dedup window of all routes. Claims are deleted after their window in any case; this value sets how
    /// often the store looks for them.
    pub claims_ms: Option<i64>,
}

/// Counts of what one round of retention deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PurgeResult {
    /// Number of events that were deleted.
    pub events: u64,
    /// Number of attempts that were deleted, without those of deleted events.
    pub attempts: u64,
    /// Number of claims that were deleted because their window is over.
    pub claims: u64,
    /// Bytes that were returned to the file system.
    pub bytes: u64,
    /// True if another round has work to do. Each round is bounded, so that it never delays commits for long.
    pub is_more: bool,
}

/// Counters of the store. They are roughly up to date and cheap to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoreStatistics {
    /// Number of events in the file.
    pub events: u64,
    /// Number of deliveries by state, in the order of `DeliveryState::ALL`.
    pub deliveries: [u64; 6],
    /// Number of claims, including expired claims that are not deleted yet.
    pub claims: u64,
    /// Bytes of the file and its write-ahead log.
    pub size: u64,
    /// Bytes of unused pages in the file.
    pub spare: u64,
    /// When the oldest open delivery was created, in milliseconds since the epoch.
    pub oldest_open_ms: Option<i64>,
    /// Number of groups that were committed since the store was opened.
    pub groups: u64,
    /// Number of tasks (commits, takes and outcomes) in these groups.
    pub grouped: u64,
    /// How often the store was opened again after a failed write.
    pub reopened: u64,
    /// Bytes of the write-ahead log alone.
    pub log: u64,
    /// Bytes that are free on the disk for the user of this process.
    pub disk_free: Option<u64>,
    /// Microseconds that the writer spent on these groups, synchronization included.
    pub written_us: u64,
    /// How often a checkpoint copied the whole write-ahead log into the file.
    pub checkpoints: u64,
}
