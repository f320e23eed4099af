//! Store of a running gate, with its users: inbox, deliverer and retention.
//!
//! The store is opened once. A reload can change destinations and retention; all other changes of `[store]` need a
//! restart.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use hookgate_verify::model::secret::Secret;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::admin::controls::{DestinationHealth, ReloadRequest};
use crate::admin::{self, AdminControls, AdminState};
use crate::app::cross_reload::CrossReloadHandle;
use crate::app::error::StartError;
use crate::app::generation::DestinationIds;
use crate::app::systemd;
use crate::config::model::{self, GateConfig};
use crate::deliver::health::WorkerHealth;
use crate::deliver::{DeliveryEngine, DeliveryPlan};
use crate::inbox::retention::RetentionCounters;
use crate::inbox::{Inbox, retention};
use crate::model::clock::millis;
use crate::model::database::DatabaseLocation;
use crate::model::error::chain;
use crate::net::client::OutgoingClient;
use crate::record::TelemetryRecorder;
use crate::record::metric_table::storage;
use crate::record::store_metrics::StoreBounds;
use crate::store::{RetentionLimits, Store, StoreOptions};

/// Store and background work of a config with `[store]`.
#[derive(Clone)]
pub(super) struct StoreRuntime {
    pub(super) store: Store,
    pub(super) deliverer: Arc<DeliveryEngine>,
    retention: Arc<ArcSwap<RetentionLimits>>,
    removed: Arc<RetentionCounters>,
    bounds: StoreBounds,
}

impl StoreRuntime {
    /// Opens the store of a config; returns `None` without `[store]`.
    pub(super) async fn open(
        config: &GateConfig,
        client: &OutgoingClient,
        recorder: &Arc<TelemetryRecorder>,
    ) -> Result<Option<Self>, StartError> {
        let Some(wanted) = &config.store else {
            return Ok(None);
        };
        let state_dir = config.server.state_dir.clone();
        let options = options(wanted, state_dir.unwrap_or_else(systemd::state_dir));
        // Blocking: after a crash the store first replays its write-ahead log.
        let opened = tokio::task::spawn_blocking(|| Store::open(options)).await;
        let store = opened
            .map_err(|_| StartError::Panicked)?
            .map_err(StartError::Store)?;
        Ok(Some(Self {
            deliverer: DeliveryEngine::new(store.clone(), client.clone(), Arc::clone(recorder)),
            retention: Arc::new(ArcSwap::from_pointee(Self::retained(config, wanted))),
            removed: Arc::default(),
            bounds: StoreBounds {
                min_free: wanted.location.min_free(),
                max_size: wanted.max_size,
            },
            store,
        }))
    }

    pub(super) fn inbox(&self) -> Inbox {
        Inbox::new(self.store.clone())
    }

    /// Returns the parts of the gate that the admin API can read and control.
    pub(super) fn controls(&self) -> AdminControls {
        let (waker, asked) = (Arc::clone(&self.deliverer), Arc::clone(&self.deliverer));
        AdminControls {
            store: Some(self.store.clone()),
            wake: Arc::new(move |destination| waker.wake(destination)),
            health: Arc::new(move || asked.health().iter().map(destination_health).collect()),
            ..AdminControls::without_store()
        }
    }

    /// Registers the destinations of a config in the store and returns their ids.
    pub(super) async fn destinations(
        &self,
        config: &GateConfig,
    ) -> Result<DestinationIds, StartError> {
        let upstreams = config
            .routes
            .iter()
            .filter_map(|route| route.upstream.as_ref());
        let limits = upstreams.map(|upstream| upstream.connect_timeout + upstream.timeout);
        // One limit for all hybrid routes, the longest: a first attempt has no plan of its own.
        if let Some(limit) = limits.max() {
            self.store.set_first_attempt(limit);
        }
        let mut all = DestinationIds::new();
        for route in &config.routes {
            let mut numbers = Vec::with_capacity(route.destinations.len());
            for destination in &route.destinations {
                let number = self.store.destination(&route.name, &destination.name).await;
                numbers.push(number.map_err(StartError::Store)?);
            }
            all.insert(route.name.clone(), numbers);
        }
        Ok(all)
    }

    /// Builds the delivery plans of all destinations.
    pub(super) fn plans(
        config: &GateConfig,
        destinations: &DestinationIds,
        client: &OutgoingClient,
    ) -> Result<Vec<DeliveryPlan>, StartError> {
        let mut plans = Vec::new();
        for route in &config.routes {
            let numbers = destinations.get(&route.name).map_or(&[][..], Vec::as_slice);
            for (destination, number) in route.destinations.iter().zip(numbers) {
                let plan = DeliveryPlan::build(route, destination, *number, client);
                plans.push(plan.map_err(|source| StartError::Destination {
                    route: route.name.clone(),
                    destination: destination.name.clone(),
                    source,
                })?);
            }
        }
        Ok(plans)
    }

    /// Applies the retention of a new config.
    pub(super) fn set_retention(&self, retention: Option<RetentionLimits>) {
        if let Some(retention) = retention {
            self.retention.store(Arc::new(retention));
        }
    }

    /// Returns the retention of a config: `[store.retention]`, and the shortest dedup window for claims.
    pub(super) fn retained(config: &GateConfig, wanted: &model::StoreSection) -> RetentionLimits {
        let dedup = config
            .routes
            .iter()
            .filter_map(|route| route.dedup.as_ref());
        let windows = dedup.map(|dedup| dedup.window);
        RetentionLimits {
            delivered_ms: wanted.retention.delivered.map(millis),
            dead_ms: wanted.retention.dead.map(millis),
            attempts_ms: wanted.retention.attempts.map(millis),
            size: wanted.retention.size,
            claims_ms: windows.min().map(millis),
        }
    }

    /// Adds the metrics of the store and its retention.
    pub(super) fn register_metrics(&self, recorder: &TelemetryRecorder) {
        recorder.register_store(self.store.clone(), self.bounds);
        let counters: [(_, RetentionAccessor); 5] = [
            (&storage::RETENTION_EVENTS, |removed| &removed.events),
            (&storage::RETENTION_ATTEMPTS, |removed| &removed.attempts),
            (&storage::RETENTION_CLAIMS, |removed| &removed.claims),
            (&storage::RETENTION_FREED_BYTES, |removed| &removed.bytes),
            (&storage::RETENTION_FAILURES, |removed| &removed.failures),
        ];
        for (row, read) in counters {
            let removed = Arc::clone(&self.removed);
            recorder.register_metric(row, move || read(&removed).load(Ordering::Relaxed));
        }
    }

    /// Starts the task that applies retention until the gate ends.
    pub(super) fn tend(&self, stop: CancellationToken) {
        let (retention, removed) = (Arc::clone(&self.retention), Arc::clone(&self.removed));
        let work = retention::tend(self.store.clone(), retention, removed);
        tokio::spawn(async move { stop.run_until_cancelled(work).await });
    }
}

/// Interval at which a late store is checked.
const OPENED_PERIOD: Duration = Duration::from_millis(250);

/// Waits for a store that could not be opened at the start because its disk was full. Then restores the claims of
/// events that apps accepted before the restart, and reloads the config to get the ids of destinations.
pub(super) async fn take_up_late(
    store: Store,
    state: CrossReloadHandle,
    reload: mpsc::Sender<ReloadRequest>,
) {
    while !store.was_opened() {
        tokio::time::sleep(OPENED_PERIOD).await;
    }
    let before = { state.lock().clone() };
    let recalled = tokio::task::spawn_blocking(move || before.recall()).await;
    if let Ok(Err(error)) = recalled {
        tracing::warn!(
            error = chain(&error),
            "cannot read from the store which events apps accepted before the restart: a duplicate may reach an app again"
        );
    }
    let (ask, answer) = oneshot::channel();
    // Without a config file a reload fails, which is harmless: the store maps preliminary ids to the real ones.
    if reload.send(ask).await.is_ok() {
        let _ = answer.await;
    }
}

/// Pause between two looks for deliveries of a process that leaves.
const FOLLOWED_PERIOD: Duration = Duration::from_millis(250);

/// Looks for deliveries that a process that leaves commits or returns, until it has ended.
pub(super) async fn follow_predecessor(store: Store, deliverer: Arc<DeliveryEngine>) {
    while store.has_predecessor() {
        tokio::time::sleep(FOLLOWED_PERIOD).await;
        deliverer.wake_all();
    }
    // Once more: its last deliveries return to the queue when it has ended.
    deliverer.wake_all();
}

/// Pause between two reports of this node. Other nodes need them to the minute, not to the second.
const REPORT_PERIOD: Duration = Duration::from_secs(10);

/// Publishes what this node reports about itself, for all nodes.
pub(super) async fn publish(store: Store, state: Arc<AdminState>) {
    loop {
        store.publish(admin::node_report(&state));
        tokio::time::sleep(REPORT_PERIOD).await;
    }
}

/// Selects a counter of retention.
type RetentionAccessor = fn(&RetentionCounters) -> &AtomicU64;

/// Converts the health of a destination for the admin API.
fn destination_health(health: &WorkerHealth) -> DestinationHealth {
    DestinationHealth {
        id: health.destination,
        route: health.route.clone(),
        name: health.name.clone(),
        breaker: health.breaker.word(),
        in_flight: u64::try_from(health.in_flight).unwrap_or(u64::MAX),
        last_success_ms: health.last_success_ms,
        last_failure_ms: health.last_failure_ms,
    }
}

fn options(wanted: &model::StoreSection, state_folder: PathBuf) -> StoreOptions {
    let keys = wanted.encryption_keys.iter();
    let mut location = wanted.location.clone();
    if let DatabaseLocation::Postgres(settings) = &mut location {
        settings.state_folder = Some(state_folder);
    }
    StoreOptions {
        location,
        encryption_keys: keys.map(|key| Secret::new(key.expose().to_vec())).collect(),
        keep_body: wanted.keep_body,
        max_size: wanted.max_size,
        max_events: wanted.max_events,
    }
}
