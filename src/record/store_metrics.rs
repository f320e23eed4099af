//! Metrics about the store, read by a query when a scrape asks and cached for seconds.
//!
//! One query at a time runs on the store's readers, with a deadline: a scrape must never hold up the writer. If a query
//! fails, the previous values are shown, and `hookgate_store_look_timestamp_seconds` shows their age.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::DescriptorEncoder;

use crate::model::clock::ClockReading;
use crate::model::delivery::DeliveryState;
use crate::record::destination_counters::DestinationKey;
use crate::record::family_encoder::{FamilyEncoder, single};
use crate::record::metric_table::storage;
use crate::store::rows::DestinationRow;
use crate::store::{Store, StoreError, StoreStatistics};

/// Age below which the values of the last query serve the next scrape too.
const FRESH: Duration = Duration::from_secs(3);

/// Maximum time that a scrape waits for a query.
const PATIENCE: Duration = Duration::from_secs(2);

/// Maximum number of replays that a query reads.
const REPLAYS: u64 = 100;

/// The store, and the values that the last query read from it.
pub(super) struct StoreWatch {
    store: Store,
    bounds: StoreBounds,
    refresh_lock: tokio::sync::Mutex<()>,
    reading: Mutex<Option<Arc<StoreReading>>>,
    failed: AtomicU64,
}

/// Limits of disk space that `[store]` sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StoreBounds {
    /// Bytes that must stay free on the disk; `None` for PostgreSQL.
    pub min_free: Option<u64>,
    /// Maximum size of the store's file in bytes.
    pub max_size: Option<u64>,
}

struct StoreReading {
    at: ClockReading,
    stats: StoreStatistics,
    destinations: Vec<DestinationRow>,
    replays: ReplayCounts,
    /// Nodes that are alive.
    nodes: u64,
}

#[derive(Clone, Copy, Default)]
struct ReplayCounts {
    running: u64,
    paused: u64,
    /// Deliveries that open replays still have to make.
    remaining: u64,
}

impl StoreWatch {
    pub(super) fn new(store: Store, bounds: StoreBounds) -> Self {
        Self {
            store,
            bounds,
            refresh_lock: tokio::sync::Mutex::default(),
            reading: Mutex::default(),
            failed: AtomicU64::new(0),
        }
    }

    /// Queries the store if the last values are too old.
    pub(super) async fn refresh_reading(&self) {
        let looking = async {
            // A scrape that arrives meanwhile waits here and uses the values of this query.
            let _turn = self.refresh_lock.lock().await;
            if self.is_fresh() {
                return Ok(());
            }
            let seen = self.see().await?;
            *self.reading.lock() = Some(Arc::new(seen));
            Ok::<_, StoreError>(())
        };
        // A failed query keeps the previous values, so the scrape still shows everything else.
        if !matches!(tokio::time::timeout(PATIENCE, looking).await, Ok(Ok(()))) {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_fresh(&self) -> bool {
        let seen = self.reading.lock().clone();
        seen.is_some_and(|seen| {
            ClockReading::read()
                .mono
                .saturating_duration_since(seen.at.mono)
                < FRESH
        })
    }

    async fn see(&self) -> Result<StoreReading, StoreError> {
        let at = ClockReading::read();
        let mut replays = ReplayCounts::default();
        // A bounded number of rows, so that a scrape never reads the whole table.
        let rows = self.store.replays(REPLAYS).await?;
        for row in rows.iter().filter(|row| !row.is_ended) {
            match row.is_paused {
                true => replays.paused += 1,
                false => replays.running += 1,
            }
            replays.remaining += row.total.saturating_sub(row.done);
        }
        Ok(StoreReading {
            at,
            stats: self.store.stats().await?,
            destinations: self.store.destinations().await?,
            replays,
            nodes: self.count_nodes().await?,
        })
    }

    async fn count_nodes(&self) -> Result<u64, StoreError> {
        if self.store.node_name().is_none() {
            return Ok(1);
        }
        let nodes = self.store.nodes().await?;
        Ok(nodes.iter().filter(|node| node.ended_ms.is_none()).count() as u64)
    }
}

/// Encodes the metrics of the store. `known` are the destinations of the config.
pub(super) fn encode(
    watch: &StoreWatch,
    known: &BTreeSet<DestinationKey>,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    // Health and bounds are known without a query, so they appear even if the store does not respond.
    let healthy = u64::from(watch.store.is_healthy());
    single(encoder, &storage::STORE_HEALTHY, healthy)?;
    let bounds = &watch.bounds;
    if let Some(min_free) = bounds.min_free {
        single(encoder, &storage::STORE_MIN_FREE_BYTES, min_free)?;
    }
    if let Some(max_size) = bounds.max_size {
        single(encoder, &storage::STORE_MAX_SIZE_BYTES, max_size)?;
    }
    let failed = watch.failed.load(Ordering::Relaxed);
    single(encoder, &storage::STORE_LOOKS_FAILED, failed)?;
    let seen = watch.reading.lock().clone();
    // No query has succeeded yet.
    let Some(seen) = seen else {
        return Ok(());
    };
    contents(encoder, &seen)?;
    if watch.store.node_name().is_none() {
        file(encoder, &seen.stats)?;
    }
    replays(encoder, &seen)?;
    // A destination that was removed from the config is shown while it has open or dead deliveries.
    let is_shown = |row: &&DestinationRow| {
        let is_known = known.contains(&(row.route.clone(), row.name.clone()));
        is_known || row.oldest_open_ms.is_some() || dead(row) > 0
    };
    let rows: Vec<_> = seen.destinations.iter().filter(is_shown).collect();
    queue(encoder, &rows)
}

/// Encodes what only the file of one process has.
fn file(encoder: &mut DescriptorEncoder<'_>, stats: &StoreStatistics) -> fmt::Result {
    for (row, value) in [
        (&storage::STORE_SPARE_BYTES, Some(stats.spare)),
        (&storage::STORE_LOG_BYTES, Some(stats.log)),
        (&storage::STORE_DISK_FREE_BYTES, stats.disk_free),
        (&storage::STORE_CHECKPOINTS, Some(stats.checkpoints)),
    ] {
        if let Some(value) = value {
            single(encoder, row, value)?;
        }
    }
    Ok(())
}

fn contents(encoder: &mut DescriptorEncoder<'_>, seen: &StoreReading) -> fmt::Result {
    let stats = &seen.stats;
    let read_at = u64::try_from(seen.at.unix_seconds()).ok();
    for (row, value) in [
        (&storage::STORE_EVENTS, Some(stats.events)),
        (&storage::STORE_CLAIMS, Some(stats.claims)),
        (&storage::STORE_SIZE_BYTES, Some(stats.size)),
        (&storage::STORE_NODES, Some(seen.nodes)),
        (&storage::STORE_LOOK_TIMESTAMP_SECONDS, read_at),
        (&storage::STORE_GROUPS, Some(stats.groups)),
        (&storage::STORE_GROUPED, Some(stats.grouped)),
        (&storage::STORE_REOPENED, Some(stats.reopened)),
    ] {
        if let Some(value) = value {
            single(encoder, row, value)?;
        }
    }
    let written = Duration::from_micros(stats.written_us).as_secs_f64();
    FamilyEncoder::begin(encoder, &storage::STORE_WRITE_SECONDS)?.seconds(&[], written)
}

fn replays(encoder: &mut DescriptorEncoder<'_>, seen: &StoreReading) -> fmt::Result {
    let mut family = FamilyEncoder::begin(encoder, &storage::REPLAYS_OPEN)?;
    family.count(&["running"], seen.replays.running)?;
    family.count(&["paused"], seen.replays.paused)?;
    let remaining = seen.replays.remaining;
    single(encoder, &storage::REPLAY_DELIVERIES_LEFT, remaining)
}

fn queue(encoder: &mut DescriptorEncoder<'_>, rows: &[&DestinationRow]) -> fmt::Result {
    let mut family = FamilyEncoder::begin(encoder, &storage::QUEUE_DELIVERIES)?;
    for row in rows {
        let [route, destination] = labels(row);
        for (state, count) in DeliveryState::ALL.into_iter().zip(row.deliveries) {
            family.count(&[route, destination, state.word()], count)?;
        }
    }
    let now_ms = ClockReading::read().unix_ms;
    let mut family = FamilyEncoder::begin(encoder, &storage::QUEUE_OLDEST_AGE_SECONDS)?;
    for row in rows {
        // The wall clock may have been set back; a negative age counts as zero.
        let since = row.oldest_open_ms.unwrap_or(now_ms);
        let age_ms = u64::try_from(now_ms.saturating_sub(since)).unwrap_or(0);
        family.seconds(&labels(row), Duration::from_millis(age_ms).as_secs_f64())?;
    }
    let mut family = FamilyEncoder::begin(encoder, &storage::DESTINATION_PAUSED)?;
    for row in rows {
        let is_paused = row.is_paused || row.is_route_paused;
        family.count(&labels(row), u64::from(is_paused))?;
    }
    let mut family = FamilyEncoder::begin(encoder, &storage::DESTINATION_DISABLED)?;
    for row in rows {
        family.count(&labels(row), u64::from(row.disabled.is_some()))?;
    }
    Ok(())
}

fn labels(row: &DestinationRow) -> [&str; 2] {
    [row.route.as_str(), row.name.as_str()]
}

fn dead(row: &DestinationRow) -> u64 {
    let all = DeliveryState::ALL.into_iter().zip(row.deliveries);
    let mut dead = all.filter(|(state, _)| *state == DeliveryState::Dead);
    dead.next().map_or(0, |(_, count)| count)
}
