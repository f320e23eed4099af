//! The store of a running gate and those who work on it: the inbox, the deliverer, retention. Opened once; a reload changes
//! destinations and retention, and a changed `url` takes a restart.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::admin::Controls;
use crate::admin::controls::{DestinationHealth, ReloadAsk};
use crate::app::StartError;
use crate::app::generation::Destinations;
use crate::app::state::Shared;
use crate::config::model::{self, Config};
use crate::deliver::health::Health;
use crate::deliver::{Deliverer, Plan};
use crate::inbox::retention::Removed;
use crate::inbox::{Inbox, retention};
use crate::model::error::chain;
use crate::model::secret::Secret;
use crate::net::client::Client;
use crate::record::Recorder;
use crate::record::store::Bounds;
use crate::store::{Options, Retention, Store};

/// What a config with `[store]` brings.
#[derive(Clone)]
pub(super) struct Keeping {
    pub(super) store: Store,
    pub(super) deliverer: Arc<Deliverer>,
    retention: Arc<ArcSwap<Retention>>,
    removed: Arc<Removed>,
    bounds: Bounds,
}

impl Keeping {
    /// Opens the store of a config; none where it has none.
    pub(super) async fn open(
        config: &Config,
        client: &Client,
        recorder: &Arc<Recorder>,
    ) -> Result<Option<Self>, StartError> {
        let Some(wanted) = &config.store else {
            return Ok(None);
        };
        let options = options(wanted);
        // It may wait for a dead process's log to be worked off.
        let opened = tokio::task::spawn_blocking(|| Store::open(options)).await;
        let store = opened
            .map_err(|_| StartError::Panicked)?
            .map_err(StartError::Store)?;
        Ok(Some(Self {
            deliverer: Deliverer::new(store.clone(), client.clone(), Arc::clone(recorder)),
            retention: Arc::new(ArcSwap::from_pointee(Self::retained(config, wanted))),
            removed: Arc::default(),
            bounds: Bounds {
                min_free: wanted.min_free,
                max_size: wanted.max_size,
            },
            store,
        }))
    }

    pub(super) fn inbox(&self) -> Inbox {
        Inbox::new(self.store.clone())
    }

    /// What the admin door reaches.
    pub(super) fn controls(&self) -> Controls {
        let (waker, asked) = (Arc::clone(&self.deliverer), Arc::clone(&self.deliverer));
        Controls {
            store: Some(self.store.clone()),
            wake: Arc::new(move |destination| waker.wake(destination)),
            health: Arc::new(move || asked.health().iter().map(seen).collect()),
            ..Controls::without_store()
        }
    }

    /// Names the destinations of a config in the store.
    pub(super) async fn destinations(&self, config: &Config) -> Result<Destinations, StartError> {
        let mut all = Destinations::new();
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

    /// What the deliverer is to follow.
    pub(super) fn plans(
        config: &Config,
        destinations: &Destinations,
        client: &Client,
    ) -> Result<Vec<Plan>, StartError> {
        let mut plans = Vec::new();
        for route in &config.routes {
            let numbers = destinations.get(&route.name).map_or(&[][..], Vec::as_slice);
            for (destination, number) in route.destinations.iter().zip(numbers) {
                let plan = Plan::build(route, destination, *number, client);
                plans.push(plan.map_err(|source| StartError::Destination {
                    route: route.name.clone(),
                    destination: destination.name.clone(),
                    source,
                })?);
            }
        }
        Ok(plans)
    }

    /// Keeps by another config from now on.
    pub(super) fn keep(&self, retention: Option<Retention>) {
        if let Some(retention) = retention {
            self.retention.store(Arc::new(retention));
        }
    }

    /// How long what has ended is kept.
    pub(super) fn retained(config: &Config, wanted: &model::Store) -> Retention {
        let millis = |age: Option<Duration>| {
            age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
        };
        let dedup = config
            .routes
            .iter()
            .filter_map(|route| route.dedup.as_ref());
        let windows = dedup.map(|dedup| dedup.window);
        Retention {
            delivered_ms: millis(wanted.retention.delivered),
            dead_ms: millis(wanted.retention.dead),
            attempts_ms: millis(wanted.retention.attempts),
            size: wanted.retention.size,
            claims_ms: millis(windows.min()),
        }
    }

    /// Shows the store and its retention among the metrics.
    pub(super) fn register_metrics(&self, recorder: &Recorder) {
        recorder.register_store(self.store.clone(), self.bounds);
        let counters: [(_, _, Count); 5] = [
            (
                "hookgate_retention_events",
                "Events that retention removed.",
                |removed| &removed.events,
            ),
            (
                "hookgate_retention_attempts",
                "Attempts that retention removed, those of removed events left out.",
                |removed| &removed.attempts,
            ),
            (
                "hookgate_retention_claims",
                "Keys of spent events that were removed from the store since their window was over.",
                |removed| &removed.claims,
            ),
            (
                "hookgate_retention_freed_bytes",
                "Bytes that retention gave back to the file system.",
                |removed| &removed.bytes,
            ),
            (
                "hookgate_retention_failures",
                "Rounds of retention that failed.",
                |removed| &removed.failures,
            ),
        ];
        for (name, help, read) in counters {
            let removed = Arc::clone(&self.removed);
            let read = move || read(&removed).load(Ordering::Relaxed);
            recorder.register_counter(name, help, read);
        }
    }

    /// Keeps the store within its bounds until the gate ends.
    pub(super) fn tend(&self, stop: CancellationToken) {
        let (retention, removed) = (Arc::clone(&self.retention), Arc::clone(&self.removed));
        let work = retention::tend(self.store.clone(), retention, removed);
        tokio::spawn(async move { stop.run_until_cancelled(work).await });
    }
}

/// How often it is looked whether the store was opened.
const OPENED_PERIOD: Duration = Duration::from_millis(250);

/// Waits for a store that could not be opened at the start, since its disk had no room, and takes up what it holds then:
/// the events that apps took before the restart, and the numbers of destinations, by a reload of the config.
pub(super) async fn take_up_late(store: Store, state: Shared, reload: mpsc::Sender<ReloadAsk>) {
    while !store.was_opened() {
        tokio::time::sleep(OPENED_PERIOD).await;
    }
    let before = {
        let state = state.lock();
        state.unwrap_or_else(PoisonError::into_inner).clone()
    };
    let recalled = tokio::task::spawn_blocking(move || before.recall()).await;
    if let Ok(Err(error)) = recalled {
        tracing::warn!(
            error = chain(&error),
            "what apps took before the restart could not be read: a copy may reach an app once more"
        );
    }
    let (ask, answer) = oneshot::channel();
    // Without a config file there is nothing to be read again: numbers lead to each other in the store.
    if reload.send(ask).await.is_ok() {
        let _ = answer.await;
    }
}

/// Which count of retention.
type Count = fn(&Removed) -> &AtomicU64;

/// How a destination does, as the admin door shows it.
fn seen(health: &Health) -> DestinationHealth {
    DestinationHealth {
        id: health.destination,
        breaker: health.breaker.word(),
        in_flight: u64::try_from(health.in_flight).unwrap_or(u64::MAX),
        last_success_ms: health.last_success_ms,
        last_failure_ms: health.last_failure_ms,
    }
}

fn options(wanted: &model::Store) -> Options {
    let keys = wanted.encryption_keys.iter();
    Options {
        path: wanted.path.clone(),
        encryption_keys: keys.map(|key| Secret::new(key.expose().to_vec())).collect(),
        keep_body: wanted.keep_body,
        max_size: wanted.max_size,
        max_events: wanted.max_events,
        min_free: wanted.min_free,
    }
}
