//! Metrics about the store, read by a query when a scrape asks and cached for seconds.
//!
//! One query at a time runs on the store's readers, with a deadline: a scrape must never hold up the writer. If a query
//! fails, the previous values are shown, and `hookgate_store_look_timestamp_seconds` shows their age.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::model::clock::ClockReading;
use crate::model::delivery::DeliveryState;
use crate::record::{TelemetryRecorder, lock};
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
    /// Bytes that must stay free on the disk.
    pub min_free: u64,
    /// Maximum size of the store's file in bytes.
    pub max_size: Option<u64>,
}

struct StoreReading {
    at: ClockReading,
    stats: StoreStatistics,
    destinations: Vec<DestinationRow>,
    replays: ReplayCounts,
}

#[derive(Clone, Copy, Default)]
struct ReplayCounts {
    running: u64,
    paused: u64,
    /// Deliveries that open replays still have to make.
    remaining: u64,
}

impl TelemetryRecorder {
    /// Adds the metrics of this store.
    pub(crate) fn register_store(&self, store: Store, bounds: StoreBounds) {
        *lock(&self.store) = Some(Arc::new(StoreWatch {
            store,
            bounds,
            refresh_lock: tokio::sync::Mutex::default(),
            reading: Mutex::default(),
            failed: AtomicU64::new(0),
        }));
    }

    /// Queries the store if the last values are too old. A scrape calls it before it renders the metrics.
    pub(crate) async fn refresh_store_reading(&self) {
        let watch = lock(&self.store).clone();
        if let Some(watch) = watch {
            watch.refresh_reading().await;
        }
    }
}

impl StoreWatch {
    async fn refresh_reading(&self) {
        let looking = async {
            // A scrape that arrives meanwhile waits here and uses the values of this query.
            let _turn = self.refresh_lock.lock().await;
            if self.is_fresh() {
                return Ok(());
            }
            let seen = self.see().await?;
            *lock(&self.reading) = Some(Arc::new(seen));
            Ok::<_, StoreError>(())
        };
        // A failed query keeps the previous values, so the scrape still shows everything else.
        if !matches!(tokio::time::timeout(PATIENCE, looking).await, Ok(Ok(()))) {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_fresh(&self) -> bool {
        let seen = lock(&self.reading).clone();
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
        })
    }
}

/// Encodes the metrics of the store; without a store there are no rows.
pub(super) fn encode(
    recorder: &TelemetryRecorder,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let watch = lock(&recorder.store).clone();
    let Some(watch) = watch else {
        return Ok(());
    };
    // Health and bounds are known without a query, so they appear even if the store does not respond.
    let healthy = u64::from(watch.store.is_healthy());
    gauge(
        encoder,
        "hookgate_store_healthy",
        "1 if the store accepts commits; 0: a write failed and the store is being reopened",
        healthy,
    )?;
    let min_free = watch.bounds.min_free;
    gauge(
        encoder,
        "hookgate_store_min_free_bytes",
        "Minimum free space on the store's disk; below it no event is accepted (`min_free`)",
        min_free,
    )?;
    if let Some(max_size) = watch.bounds.max_size {
        gauge(
            encoder,
            "hookgate_store_max_size_bytes",
            "Maximum size of the store; beyond it no event is accepted (`max_size`)",
            max_size,
        )?;
    }
    encoder
        .encode_descriptor(
            "hookgate_store_looks_failed",
            "Scrapes that could not query the store and show older values",
            None,
            MetricType::Counter,
        )?
        .encode_counter::<NoLabelSet, u64, f64>(&watch.failed.load(Ordering::Relaxed), None)?;
    let seen = lock(&watch.reading).clone();
    // No query has succeeded yet.
    let Some(seen) = seen else {
        return Ok(());
    };
    file(encoder, &seen)?;
    replays(encoder, &seen)?;
    let known: BTreeSet<_> = lock(&recorder.destinations).keys().cloned().collect();
    // A destination that was removed from the config is shown while it has open or dead deliveries.
    let is_shown = |row: &&DestinationRow| {
        let is_known = known.contains(&(row.route.clone(), row.name.clone()));
        is_known || row.oldest_open_ms.is_some() || dead(row) > 0
    };
    let rows: Vec<_> = seen.destinations.iter().filter(is_shown).collect();
    queue(encoder, &rows)
}

fn file(encoder: &mut DescriptorEncoder<'_>, seen: &StoreReading) -> fmt::Result {
    let stats = &seen.stats;
    let gauges = [
        (
            "hookgate_store_events",
            "Events in the store",
            Some(stats.events),
        ),
        (
            "hookgate_store_claims",
            "Dedup keys of spent events in the store",
            Some(stats.claims),
        ),
        (
            "hookgate_store_size_bytes",
            "Size of the store's file and its write-ahead log",
            Some(stats.size),
        ),
        (
            "hookgate_store_spare_bytes",
            "Unused bytes in the store's file, which new rows use again",
            Some(stats.spare),
        ),
        (
            "hookgate_store_log_bytes",
            "Size of the write-ahead log, which checkpoints write back into the file",
            Some(stats.log),
        ),
        (
            "hookgate_store_disk_free_bytes",
            "Free space on the store's disk",
            stats.disk_free,
        ),
        (
            "hookgate_store_look_timestamp_seconds",
            "Time at which these values were read from the store",
            u64::try_from(seen.at.unix_seconds()).ok(),
        ),
    ];
    for (name, help, value) in gauges {
        if let Some(value) = value {
            gauge(encoder, name, help, value)?;
        }
    }
    let counters = [
        (
            "hookgate_store_groups",
            "Transactions of the store's writer",
            stats.groups,
        ),
        (
            "hookgate_store_grouped",
            "Commits, claimed deliveries and outcomes in these transactions",
            stats.grouped,
        ),
        (
            "hookgate_store_checkpoints",
            "Checkpoints: the write-ahead log was written back into the file",
            stats.checkpoints,
        ),
        (
            "hookgate_store_reopened",
            "Times that the store was reopened after a failed write",
            stats.reopened,
        ),
    ];
    for (name, help, value) in counters {
        encoder
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
    }
    let written = Duration::from_micros(stats.written_us).as_secs_f64();
    encoder
        .encode_descriptor(
            "hookgate_store_write_seconds",
            "Time that the writer spent on its transactions, until they were durable",
            None,
            MetricType::Counter,
        )?
        .encode_counter::<NoLabelSet, f64, f64>(&written, None)
}

fn replays(encoder: &mut DescriptorEncoder<'_>, seen: &StoreReading) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(
        "hookgate_replays_open",
        "Replays that are not finished, by state",
        None,
        MetricType::Gauge,
    )?;
    let states = [
        ("running", seen.replays.running),
        ("paused", seen.replays.paused),
    ];
    for (state, count) in states {
        metric
            .encode_family(&[("state", state)])?
            .encode_gauge(&count)?;
    }
    gauge(
        encoder,
        "hookgate_replay_deliveries_left",
        "Deliveries that open replays still have to make",
        seen.replays.remaining,
    )
}

/// Selects a yes-or-no value of a destination.
type DestinationFlag = fn(&DestinationRow) -> bool;

fn queue(encoder: &mut DescriptorEncoder<'_>, rows: &[&DestinationRow]) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(
        "hookgate_queue_deliveries",
        "Deliveries in the store by destination and state, without those that retention removed",
        None,
        MetricType::Gauge,
    )?;
    for row in rows {
        for (state, count) in DeliveryState::ALL.into_iter().zip(row.deliveries) {
            let [route, destination] = labels(row);
            let labels = [route, destination, ("state", state.word())];
            metric.encode_family(&labels)?.encode_gauge(&count)?;
        }
    }
    let now_ms = ClockReading::read().unix_ms;
    let age = move |row: &DestinationRow| {
        // The wall clock may have been set back; a negative age counts as zero.
        let since = row.oldest_open_ms.unwrap_or(now_ms);
        let age_ms = u64::try_from(now_ms.saturating_sub(since)).unwrap_or(0);
        Duration::from_millis(age_ms).as_secs_f64()
    };
    let mut metric = encoder.encode_descriptor(
        "hookgate_queue_oldest_age_seconds",
        "Age of the oldest pending delivery; 0 if no delivery is pending",
        None,
        MetricType::Gauge,
    )?;
    for row in rows {
        metric
            .encode_family(&labels(row))?
            .encode_gauge(&age(row))?;
    }
    let switches: [(_, _, DestinationFlag); 2] = [
        (
            "hookgate_destination_paused",
            "1 if an operator paused the destination or its route",
            |row| row.is_paused || row.is_route_paused,
        ),
        (
            "hookgate_destination_disabled",
            "1 if the destination was disabled because it responded with 410",
            |row| row.disabled.is_some(),
        ),
    ];
    for (name, help, read) in switches {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for row in rows {
            let value = u64::from(read(row));
            metric.encode_family(&labels(row))?.encode_gauge(&value)?;
        }
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    encoder
        .encode_descriptor(name, help, None, MetricType::Gauge)?
        .encode_gauge(&value)
}

fn labels(row: &DestinationRow) -> [(&str, &str); 2] {
    [
        ("route", row.route.as_str()),
        ("destination", row.name.as_str()),
    ]
}

fn dead(row: &DestinationRow) -> u64 {
    let all = DeliveryState::ALL.into_iter().zip(row.deliveries);
    let mut dead = all.filter(|(state, _)| *state == DeliveryState::Dead);
    dead.next().map_or(0, |(_, count)| count)
}
