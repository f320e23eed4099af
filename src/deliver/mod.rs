//! Delivery of stored events: attempts until an event is delivered or a dead letter.
//!
//! One `worker` task per destination takes due deliveries from the store. `attempt` makes one exchange. `verdict` decides
//! what an outcome means, `schedule` when to retry and `breaker` when to pause; these three are pure. `outcome` stores
//! and logs the outcome. `plan` is one destination of the config, compiled.
//!
//! Delivery is at least once: an attempt whose outcome was not stored, because the process ended or the store failed,
//! is made again. Apps recognize repeats by `webhook-id`, which is the same for each attempt.

mod access_token;
mod attempt;
mod attempt_rate;
mod attempt_task;
pub(crate) mod breaker;
mod chance;
pub(crate) mod health;
mod outcome;
mod plan;
mod plan_error;
pub(crate) mod schedule;
mod shared_hold;
mod signing;
#[cfg(test)]
mod testing;
pub(crate) mod verdict;
mod worker;
mod worker_message;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::deliver::breaker::BreakerState;
use crate::deliver::chance::chance;
use crate::deliver::health::{SharedHealth, WorkerHealth};
use crate::deliver::outcome::AttemptFacts;
pub(crate) use crate::deliver::plan::DeliveryPlan;
pub(crate) use crate::deliver::plan_error::PlanError;
use crate::deliver::verdict::{AttemptFault, AttemptOutcome, DeliveryVerdict};
use crate::deliver::worker::DeliveryWorker;
use crate::deliver::worker_message::{WorkerMessage, WorkerShared};
use crate::model::clock::{ClockReading, instant, millis};
use crate::model::delivery::DeliveryId;
use crate::net::client::OutgoingClient;
use crate::record::TelemetryRecorder;
use crate::record::deliveries::AttemptedEvent;
use crate::store::Store;
use crate::store::rows::{AttemptRecord, DestinationId, FinishedAttempt};

/// Delivers the events in the store. It stays when the config is reloaded.
pub(crate) struct DeliveryEngine {
    store: Store,
    recorder: Arc<TelemetryRecorder>,
    /// Read for each commit, and therefore without a lock.
    workers: ArcSwap<HashMap<DestinationId, WorkerHandle>>,
    /// Held while workers are added or removed.
    changing: Mutex<()>,
    /// Tracks all workers and attempts, so that a stop can wait for them.
    tracker: TaskTracker,
    stop: CancellationToken,
}

/// The part of a worker that others use.
#[derive(Clone)]
struct WorkerHandle {
    plan: watch::Sender<Arc<DeliveryPlan>>,
    shared: Arc<WorkerShared>,
    stop: CancellationToken,
}

/// The first attempt of a hybrid route's delivery, made while its sender waited.
#[derive(Clone, Debug)]
pub(crate) struct FirstAttempt {
    /// The destination of the delivery.
    pub destination: DestinationId,
    /// The delivery, which is in flight with this attempt.
    pub delivery: DeliveryId,
    /// When the attempt started, by both clocks.
    pub started: ClockReading,
    /// Time to the head of the response, or to the error.
    pub took: Duration,
    /// The status of the app's response.
    pub status: Option<StatusCode>,
    /// The first bytes of the app's response.
    pub response_start: Bytes,
    /// The `Retry-After` header of the app's response.
    pub retry_after: Option<HeaderValue>,
    /// Why no response came: an error word of `forward`, and the error with its causes.
    pub error: Option<(&'static str, String)>,
    /// The event of the delivery.
    pub event: AttemptedEvent,
}

impl DeliveryEngine {
    /// Creates a deliverer that is idle until `follow` passes the destinations. The plans hold the pools of the client.
    pub(crate) fn new(
        store: Store,
        client: OutgoingClient,
        recorder: Arc<TelemetryRecorder>,
    ) -> Arc<Self> {
        drop(client);
        let engine = Arc::new(Self {
            store,
            recorder,
            workers: ArcSwap::default(),
            changing: Mutex::default(),
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        if engine.store.node_name().is_some() {
            let news = engine.store.news();
            // Weak, so that this task alone does not keep the workers of a dropped deliverer alive.
            let following = follow_news(Arc::downgrade(&engine), news);
            let stop = engine.stop.clone();
            engine
                .tracker
                .spawn(async move { stop.run_until_cancelled(following).await });
        }
        engine
    }

    /// Applies the destinations of a config: starts workers for new ones, updates existing ones and stops removed ones.
    /// A running attempt ends under the plan with which it started.
    pub(crate) async fn follow(&self, plans: Vec<DeliveryPlan>) {
        let _changing = self.changing.lock();
        if self.stop.is_cancelled() {
            return;
        }
        let old = self.workers.load_full();
        let mut new = HashMap::with_capacity(plans.len());
        for plan in plans {
            let plan = Arc::new(plan);
            let handle = match old.get(&plan.id) {
                Some(handle) => {
                    // The worker stays, and with it the state of its breaker and its running attempts.
                    handle.plan.send_replace(Arc::clone(&plan));
                    handle.clone()
                }
                None => self.start(&plan),
            };
            new.insert(plan.id, handle);
        }
        let gone = old.iter().filter(|(id, _)| !new.contains_key(*id));
        gone.for_each(|(_, handle)| handle.stop.cancel());
        self.workers.store(Arc::new(new));
    }

    /// Wakes the worker of a destination after a commit, a retry, a replay or a resume by an operator. Does not wait.
    pub(crate) fn wake(&self, destination: DestinationId) {
        if let Some(handle) = self.find(destination) {
            handle.shared.wake.notify_one();
        }
    }

    /// Wakes all workers: another process may have made work without notice.
    pub(crate) fn wake_all(&self) {
        for handle in self.workers.load().values() {
            handle.shared.wake.notify_one();
        }
    }

    /// Starts no more attempts and waits for the running ones. The caller limits the wait.
    pub(crate) async fn stop(&self) {
        // Under the lock, so that no `follow` starts a worker after this.
        {
            let _changing = self.changing.lock();
            self.stop.cancel();
        }
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Returns the health of all destinations, sorted by route and name.
    pub(crate) fn health(&self) -> Vec<WorkerHealth> {
        let now = instant();
        let workers = self.workers.load();
        let each = workers.values().map(|each| WorkerHealth {
            destination: self.store.resolve(each.plan.borrow().id),
            ..each.health(now)
        });
        let mut all: Vec<_> = each.collect();
        all.sort_by(|one, other| (&one.route, &one.name).cmp(&(&other.route, &other.name)));
        all
    }

    /// Judges and stores the outcome of an attempt that `forward` made, by the same rules as every other attempt.
    pub(crate) async fn finish_first(self: &Arc<Self>, attempt: FirstAttempt) {
        let now = ClockReading::read();
        let took = attempt.took;
        let outcome = attempt.outcome(now.unix_ms);
        let store_now_ms = self.store.now().unix_ms;
        let took_ms = millis(took);
        // The attempt began by the monotonic clock, and the age of a round is of the store's clock.
        let began_ms = store_now_ms.saturating_sub(took_ms);
        let facts = AttemptFacts {
            delivery: attempt.delivery,
            attempt: 1,
            round: 1,
            round_began_ms: began_ms,
            is_replay: false,
            accepted_ms: attempt.started.unix_ms,
            // The request already has a span for this attempt.
            trace: None,
            event: attempt.event.clone(),
        };
        let handle = self.find(attempt.destination);
        let plan = handle.as_ref().map(|handle| handle.plan.borrow().clone());
        // If the destination was removed meanwhile, its delivery waits until it comes back.
        let standard = schedule::standard();
        let retry = plan.as_ref().map_or(&standard, |plan| &plan.retry);
        let next = outcome::next(retry, &outcome, &facts, store_now_ms, chance());
        let record = attempt.record(&outcome, took);
        let finished = FinishedAttempt {
            delivery: attempt.delivery,
            attempt: 1,
            record: record.clone(),
            next,
        };
        outcome::finish(&self.store, finished).await;
        let (Some(handle), Some(plan)) = (handle, plan) else {
            return;
        };
        let shared = &handle.shared;
        shared.health.update(|noted| {
            let is_success = outcome.verdict() == DeliveryVerdict::Delivered;
            noted.ended(is_success, outcome.fault, now.unix_ms);
            noted.took(took);
        });
        let shown = outcome::shown(&self.store, next);
        let recorded = (&outcome, &record, took, shown);
        outcome::record_outcome(&self.recorder, &shared.counters, &plan, &facts, recorded);
        if outcome.verdict() == DeliveryVerdict::Gone {
            outcome::disable(&self.store, &self.recorder, &plan).await;
        }
        let _ = shared
            .messages
            .send(WorkerMessage::Elsewhere(outcome.signal(), next));
    }

    /// Finds a worker by its destination. Until a reload a worker may have the number that was given before the store could
    /// be opened, while the store and the admin API have the real one; an older request may have it the other way round.
    fn find(&self, destination: DestinationId) -> Option<WorkerHandle> {
        let workers = self.workers.load();
        let same = || {
            let real = self.store.resolve(destination);
            let mut all = workers.iter();
            all.find(|(id, _)| self.store.resolve(**id) == real)
                .map(|(_, handle)| handle)
        };
        workers.get(&destination).or_else(same).cloned()
    }

    fn start(&self, plan: &Arc<DeliveryPlan>) -> WorkerHandle {
        let (plan_tx, plan_rx) = watch::channel(Arc::clone(plan));
        let (news_tx, news_rx) = mpsc::unbounded_channel();
        let shared = Arc::new(WorkerShared {
            wake: Notify::new(),
            health: SharedHealth::default(),
            in_flight: AtomicUsize::new(0),
            counters: self.recorder.destination_counters(&plan.route, &plan.name),
            messages: news_tx,
        });
        let stop = self.stop.child_token();
        let worker = DeliveryWorker {
            store: self.store.clone(),
            recorder: Arc::clone(&self.recorder),
            tracker: self.tracker.clone(),
            shared: Arc::clone(&shared),
            plans: plan_rx,
            messages: news_rx,
            stop: stop.clone(),
        };
        self.tracker.spawn(worker.run());
        WorkerHandle {
            plan: plan_tx,
            shared,
            stop,
        }
    }
}

/// Wakes the workers of destinations for which other nodes made work.
async fn follow_news(engine: Weak<DeliveryEngine>, mut news: mpsc::Receiver<DestinationId>) {
    while let Some(destination) = news.recv().await {
        let Some(engine) = engine.upgrade() else {
            return;
        };
        engine.wake(destination);
    }
}

impl WorkerHandle {
    fn health(&self, now: std::time::Instant) -> WorkerHealth {
        let plan = self.plan.borrow().clone();
        let noted = self.shared.health.read();
        WorkerHealth {
            destination: plan.id,
            route: plan.route.clone(),
            name: plan.name.clone(),
            is_active: plan.pace.is_active,
            breaker: noted.breaker.unwrap_or(BreakerState::Closed),
            opens_in: noted
                .opens_at
                .map(|until| until.saturating_duration_since(now)),
            in_flight: self.shared.in_flight.load(Ordering::Relaxed),
            last_success_ms: noted.last_success_ms,
            last_failure_ms: noted.last_failure_ms,
            last_fault: noted.last_fault,
            latency: noted.latency,
            store_error: noted.store_error,
        }
    }
}

impl FirstAttempt {
    fn outcome(&self, now_ms: i64) -> AttemptOutcome {
        match (self.status, &self.error) {
            (Some(status), _) => {
                let asked = self.retry_after.as_ref();
                let asked = asked.and_then(|value| schedule::retry_after(value, now_ms));
                AttemptOutcome::answered(status, asked)
            }
            (None, Some((word, _))) => AttemptOutcome::failed(AttemptFault::parse(word)),
            (None, None) => AttemptOutcome::failed(AttemptFault::Abandoned),
        }
    }

    fn record(&self, outcome: &AttemptOutcome, took: Duration) -> AttemptRecord {
        let text = match &self.error {
            Some((_, text)) => text.clone(),
            None => outcome::status_text(outcome.status),
        };
        AttemptRecord {
            started_ms: self.started.unix_ms,
            duration_ms: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
            status: outcome.status.map(|status| status.as_u16()),
            error: outcome.fault.map(|fault| (fault.word().to_owned(), text)),
            response_start: self.response_start.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
