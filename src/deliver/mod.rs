//! Delivery -> attempts -> delivered, waiting or dead.
//!
//! `worker` takes from the store what is due, one task per destination; `attempt` makes one exchange; `judge` says what an
//! outcome means, `schedule` when to try again, `breaker` when not to; `settle` tells the store and the operator. `plan`
//! is a destination of the config, compiled. The last three decisions are pure.
//!
//! At least once: an attempt whose outcome was not stored, since the process ended or the store failed, is made again.
//! Apps can tell by `webhook-id`, which is the same for each attempt.

mod attempt;
pub mod breaker;
pub mod health;
mod job;
pub mod judge;
mod pace;
mod plan;
pub mod schedule;
mod settle;
mod signing;
#[cfg(test)]
mod testing;
mod worker;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::deliver::breaker::BreakerState;
use crate::deliver::health::{Health, Pulse};
use crate::deliver::judge::{Fault, Outcome, Verdict};
pub use crate::deliver::plan::{Plan, PlanError};
use crate::deliver::settle::Facts;
use crate::deliver::worker::{News, Shared, Worker};
use crate::model::clock::{Now, instant};
use crate::model::delivery::DeliveryId;
use crate::net::client::Client;
use crate::record::Recorder;
use crate::record::deliveries::AttemptedEvent;
use crate::store::Store;
use crate::store::rows::{AttemptRecord, DestinationId, Finished};

/// Delivers what is in the store. Outlives reloads.
pub struct Deliverer {
    store: Store,
    recorder: Arc<Recorder>,
    /// Read for each commit, so without a lock.
    workers: ArcSwap<HashMap<DestinationId, Handle>>,
    /// Held while workers come and go.
    changing: Mutex<()>,
    /// Workers and attempts.
    tracker: TaskTracker,
    stop: CancellationToken,
}

/// A worker, from the outside.
#[derive(Clone)]
struct Handle {
    plan: watch::Sender<Arc<Plan>>,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

/// The first attempt of a hybrid route's delivery, which was made while its sender waited.
#[derive(Clone, Debug)]
pub struct FirstAttempt {
    /// Where to.
    pub destination: DestinationId,
    /// Which delivery; it is in flight with its first attempt.
    pub delivery: DeliveryId,
    /// When it began.
    pub started: Now,
    /// To the head of the app's answer, or the error.
    pub took: Duration,
    /// What the app answered.
    pub answer: Option<StatusCode>,
    /// The start of what it said.
    pub answer_start: Bytes,
    /// Its `Retry-After`.
    pub retry_after: Option<HeaderValue>,
    /// Why there is no answer: a word of `forward`'s, and the error with its causes.
    pub error: Option<(&'static str, String)>,
    /// Of which event.
    pub event: AttemptedEvent,
}

impl Deliverer {
    /// Nothing is delivered until it is told what to follow. The plans hold the client's pools.
    #[must_use]
    pub fn new(store: Store, client: Client, recorder: Arc<Recorder>) -> Arc<Self> {
        drop(client);
        Arc::new(Self {
            store,
            recorder,
            workers: ArcSwap::default(),
            changing: Mutex::default(),
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
        })
    }

    /// Takes over what a config asks for: begins with new destinations, changes those that stay in place, and leaves those
    /// that are gone. Attempts that are under way end under the plan with which they began.
    pub async fn follow(&self, plans: Vec<Plan>) {
        let _changing = lock(&self.changing);
        if self.stop.is_cancelled() {
            return;
        }
        let old = self.workers.load_full();
        let mut new = HashMap::with_capacity(plans.len());
        for plan in plans {
            let plan = Arc::new(plan);
            let handle = match old.get(&plan.id) {
                Some(handle) => {
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

    /// Something may be due there: after a commit, and after a retry, a replay, or a resume by an operator. Does not wait.
    pub fn wake(&self, destination: DestinationId) {
        if let Some(handle) = self.find(destination) {
            handle.shared.wake.notify_one();
        }
    }

    /// Lets one attempt through where a breaker is open: an operator wants to know.
    pub fn probe(&self, destination: DestinationId) {
        if let Some(handle) = self.find(destination) {
            let _ = handle.shared.news.send(News::Probe);
        }
    }

    /// Begins no more attempts and waits for those under way. The caller sets the bound.
    pub async fn stop(&self) {
        {
            let _changing = lock(&self.changing);
            self.stop.cancel();
        }
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// How the destinations are doing, in the order of their names.
    #[must_use]
    pub fn health(&self) -> Vec<Health> {
        let now = instant();
        let workers = self.workers.load();
        let each = workers.values().map(|each| Health {
            destination: self.store.resolve(each.plan.borrow().id),
            ..each.health(now)
        });
        let mut all: Vec<_> = each.collect();
        all.sort_by(|one, other| (&one.route, &one.name).cmp(&(&other.route, &other.name)));
        all
    }

    /// Judges and stores the outcome of an attempt that `forward` made, by the rules of all others.
    pub async fn finish_first(self: &Arc<Self>, attempt: FirstAttempt) {
        let now = Now::read();
        let took = attempt.took;
        let outcome = attempt.outcome(now.unix_ms);
        let store_now_ms = self.store.now().unix_ms;
        let took_ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        let began_ms = store_now_ms.saturating_sub(took_ms);
        let facts = Facts {
            delivery: attempt.delivery,
            attempt: 1,
            round: 1,
            round_began_ms: began_ms,
            is_replay: false,
            accepted_ms: attempt.started.unix_ms,
            // The request has its span of it.
            trace: None,
            event: attempt.event.clone(),
        };
        let handle = self.find(attempt.destination);
        let plan = handle.as_ref().map(|handle| handle.plan.borrow().clone());
        // The destination has gone meanwhile: it is delivered when it comes back.
        let standard = schedule::standard();
        let retry = plan.as_ref().map_or(&standard, |plan| &plan.retry);
        let next = settle::next(retry, &outcome, &facts, store_now_ms, chance());
        let record = attempt.record(&outcome, took);
        let finished = Finished {
            delivery: attempt.delivery,
            attempt: 1,
            record: record.clone(),
            next,
        };
        settle::finish(&self.store, finished).await;
        let (Some(handle), Some(plan)) = (handle, plan) else {
            return;
        };
        let shared = &handle.shared;
        shared.pulse.note(|noted| {
            let is_success = outcome.verdict() == Verdict::Delivered;
            noted.ended(is_success, outcome.fault, now.unix_ms);
            noted.took(took);
        });
        let shown = settle::shown(&self.store, next);
        let told = (&outcome, &record, took, shown);
        settle::tell(&self.recorder, &shared.counters, &plan, &facts, told);
        if outcome.verdict() == Verdict::Gone {
            settle::disable(&self.store, &self.recorder, &plan).await;
        }
        let _ = shared.news.send(News::Elsewhere(outcome.signal(), next));
    }

    /// Finds a worker by its destination. Until a reload a worker may have the number that was given before the store could
    /// be opened, while the store and the admin API have the real one; an older request may have it the other way round.
    fn find(&self, destination: DestinationId) -> Option<Handle> {
        let workers = self.workers.load();
        let same = || {
            let real = self.store.resolve(destination);
            let mut all = workers.iter();
            all.find(|(id, _)| self.store.resolve(**id) == real)
                .map(|(_, handle)| handle)
        };
        workers.get(&destination).or_else(same).cloned()
    }

    fn start(&self, plan: &Arc<Plan>) -> Handle {
        let (plan_tx, plan_rx) = watch::channel(Arc::clone(plan));
        let (news_tx, news_rx) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            wake: Notify::new(),
            pulse: Pulse::default(),
            in_flight: AtomicUsize::new(0),
            counters: self.recorder.destination_counters(&plan.route, &plan.name),
            news: news_tx,
        });
        let stop = self.stop.child_token();
        let worker = Worker {
            store: self.store.clone(),
            recorder: Arc::clone(&self.recorder),
            tracker: self.tracker.clone(),
            shared: Arc::clone(&shared),
            plans: plan_rx,
            news: news_rx,
            stop: stop.clone(),
        };
        self.tracker.spawn(worker.run());
        Handle {
            plan: plan_tx,
            shared,
            stop,
        }
    }
}

impl Handle {
    fn health(&self, now: std::time::Instant) -> Health {
        let plan = self.plan.borrow().clone();
        let noted = self.shared.pulse.read();
        Health {
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
            store_trouble: noted.store_trouble,
        }
    }
}

impl FirstAttempt {
    fn outcome(&self, now_ms: i64) -> Outcome {
        match (self.answer, &self.error) {
            (Some(status), _) => {
                let asked = self.retry_after.as_ref();
                let asked = asked.and_then(|value| schedule::retry_after(value, now_ms));
                Outcome::answered(status, asked)
            }
            (None, Some((word, _))) => Outcome::failed(Fault::parse(word)),
            (None, None) => Outcome::failed(Fault::Abandoned),
        }
    }

    fn record(&self, outcome: &Outcome, took: Duration) -> AttemptRecord {
        let text = match &self.error {
            Some((_, text)) => text.clone(),
            None => settle::status_text(outcome.status),
        };
        AttemptRecord {
            started_ms: self.started.unix_ms,
            duration_ms: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
            status: outcome.status.map(|status| status.as_u16()),
            error: outcome.fault.map(|fault| (fault.word().to_owned(), text)),
            answer: self.answer_start.clone(),
        }
    }
}

/// From 0.0 up to 1.0, at random.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without a random source all come back at one moment; that is no reason not to come back.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

/// What is behind this lock is nothing that a panic could leave half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
