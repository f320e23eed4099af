//! What the store holds, as a scrape shows it: read from the file when a scrape asks, and kept for a few seconds.
//!
//! One look at a time, on the store's readers, with a deadline: scrapes never hold up the writer. Where a look fails the
//! one before it is shown on, and its time says how old it is.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::model::clock::Now;
use crate::model::delivery::DeliveryState;
use crate::record::{Recorder, lock};
use crate::store::rows::DestinationRow;
use crate::store::{Stats, Store, StoreError};

/// A look that is younger serves the next scrape as well.
const FRESH: Duration = Duration::from_secs(3);

/// How long a scrape waits for a look.
const PATIENCE: Duration = Duration::from_secs(2);

/// Replays that are looked at.
const REPLAYS: u64 = 100;

/// The store of the gate, and what was last seen in it.
pub(super) struct Watch {
    store: Store,
    bounds: Bounds,
    turn: tokio::sync::Mutex<()>,
    seen: Mutex<Option<Arc<Seen>>>,
    failed: AtomicU64,
}

/// The bounds that `[store]` sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Bytes that stay free on the disk.
    pub min_free: u64,
    /// Bytes of the file.
    pub max_size: Option<u64>,
}

struct Seen {
    at: Now,
    stats: Stats,
    destinations: Vec<DestinationRow>,
    replays: Replays,
}

#[derive(Clone, Copy, Default)]
struct Replays {
    running: u64,
    paused: u64,
    /// Deliveries that are still to be made.
    left: u64,
}

impl Recorder {
    /// Shows what is in this store.
    pub fn register_store(&self, store: Store, bounds: Bounds) {
        *lock(&self.store) = Some(Arc::new(Watch {
            store,
            bounds,
            turn: tokio::sync::Mutex::default(),
            seen: Mutex::default(),
            failed: AtomicU64::new(0),
        }));
    }

    /// Looks into the store where the last look is too old: for a scrape, before it takes the text.
    pub async fn look_into_store(&self) {
        let watch = lock(&self.store).clone();
        if let Some(watch) = watch {
            watch.look().await;
        }
    }
}

impl Watch {
    async fn look(&self) {
        let looking = async {
            // Whoever comes meanwhile waits for this look and takes what it saw.
            let _turn = self.turn.lock().await;
            if self.is_fresh() {
                return Ok(());
            }
            let seen = self.see().await?;
            *lock(&self.seen) = Some(Arc::new(seen));
            Ok::<_, StoreError>(())
        };
        if !matches!(tokio::time::timeout(PATIENCE, looking).await, Ok(Ok(()))) {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_fresh(&self) -> bool {
        let seen = lock(&self.seen).clone();
        seen.is_some_and(|seen| Now::read().mono.saturating_duration_since(seen.at.mono) < FRESH)
    }

    async fn see(&self) -> Result<Seen, StoreError> {
        let at = Now::read();
        let mut replays = Replays::default();
        let rows = self.store.replays(REPLAYS).await?;
        for row in rows.iter().filter(|row| !row.is_ended) {
            match row.is_paused {
                true => replays.paused += 1,
                false => replays.running += 1,
            }
            replays.left += row.total.saturating_sub(row.done);
        }
        Ok(Seen {
            at,
            stats: self.store.stats().await?,
            destinations: self.store.destinations().await?,
            replays,
        })
    }
}

/// The rows of the store, none where there is none.
pub(super) fn encode(recorder: &Recorder, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let watch = lock(&recorder.store).clone();
    let Some(watch) = watch else {
        return Ok(());
    };
    let healthy = u64::from(watch.store.is_healthy());
    gauge(
        encoder,
        "hookgate_store_healthy",
        "Whether the store takes commits; 0: a write failed, and it is being opened anew",
        healthy,
    )?;
    let min_free = watch.bounds.min_free;
    gauge(
        encoder,
        "hookgate_store_min_free_bytes",
        "Bytes that have to stay free on the disk: below it nothing is accepted",
        min_free,
    )?;
    if let Some(max_size) = watch.bounds.max_size {
        gauge(
            encoder,
            "hookgate_store_max_size_bytes",
            "Bytes that the store may have: beyond it nothing is accepted",
            max_size,
        )?;
    }
    encoder
        .encode_descriptor(
            "hookgate_store_looks_failed",
            "Scrapes that could not look into the store, and show what was seen before",
            None,
            MetricType::Counter,
        )?
        .encode_counter::<NoLabelSet, u64, f64>(&watch.failed.load(Ordering::Relaxed), None)?;
    let seen = lock(&watch.seen).clone();
    let Some(seen) = seen else {
        return Ok(());
    };
    file(encoder, &seen)?;
    replays(encoder, &seen)?;
    let known: BTreeSet<_> = lock(&recorder.destinations).keys().cloned().collect();
    // One that the config has no longer is shown while something is left there.
    let is_shown = |row: &&DestinationRow| {
        let is_known = known.contains(&(row.route.clone(), row.name.clone()));
        is_known || row.oldest_open_ms.is_some() || dead(row) > 0
    };
    let rows: Vec<_> = seen.destinations.iter().filter(is_shown).collect();
    queue(encoder, &rows)
}

fn file(encoder: &mut DescriptorEncoder<'_>, seen: &Seen) -> fmt::Result {
    let stats = &seen.stats;
    let gauges = [
        (
            "hookgate_store_events",
            "Events in the store",
            Some(stats.events),
        ),
        (
            "hookgate_store_claims",
            "Keys of spent events in the store",
            Some(stats.claims),
        ),
        (
            "hookgate_store_size_bytes",
            "Bytes of the store's file and its log",
            Some(stats.size),
        ),
        (
            "hookgate_store_spare_bytes",
            "Bytes in the file that hold nothing and are used again",
            Some(stats.spare),
        ),
        (
            "hookgate_store_log_bytes",
            "Bytes of the log, which checkpoints write back into the file",
            Some(stats.log),
        ),
        (
            "hookgate_store_disk_free_bytes",
            "Bytes that are free on the store's disk",
            stats.disk_free,
        ),
        (
            "hookgate_store_look_timestamp_seconds",
            "When these values were read from the store",
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
            "Commits, takings and outcomes in these transactions",
            stats.grouped,
        ),
        (
            "hookgate_store_checkpoints",
            "Times that the log was written back into the file",
            stats.checkpoints,
        ),
        (
            "hookgate_store_reopened",
            "Times that the store was opened anew after a failed write",
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
            "Time that the writer spent on its transactions, until they were on the disk",
            None,
            MetricType::Counter,
        )?
        .encode_counter::<NoLabelSet, f64, f64>(&written, None)
}

fn replays(encoder: &mut DescriptorEncoder<'_>, seen: &Seen) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(
        "hookgate_replays_open",
        "Replays that are not over",
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
        "Deliveries that open replays have still to make",
        seen.replays.left,
    )
}

/// Whether something is so at a destination.
type Switch = fn(&DestinationRow) -> bool;

fn queue(encoder: &mut DescriptorEncoder<'_>, rows: &[&DestinationRow]) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(
        "hookgate_queue_deliveries",
        "Deliveries in the store by destination and state; those that retention removed are gone",
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
    let now_ms = Now::read().unix_ms;
    let age = move |row: &DestinationRow| {
        let since = row.oldest_open_ms.unwrap_or(now_ms);
        let age_ms = u64::try_from(now_ms.saturating_sub(since)).unwrap_or(0);
        Duration::from_millis(age_ms).as_secs_f64()
    };
    let mut metric = encoder.encode_descriptor(
        "hookgate_queue_oldest_age_seconds",
        "Age of the oldest delivery that is not over; 0 where there is none",
        None,
        MetricType::Gauge,
    )?;
    for row in rows {
        metric
            .encode_family(&labels(row))?
            .encode_gauge(&age(row))?;
    }
    let switches: [(_, _, Switch); 2] = [
        (
            "hookgate_destination_paused",
            "Whether an operator paused the destination or its route",
            |row| row.is_paused || row.is_route_paused,
        ),
        (
            "hookgate_destination_disabled",
            "Whether the destination was switched off since it answered 410",
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
