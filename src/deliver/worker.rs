//! One task per destination: takes what is due from the store, no more than may be attempted at once, and sleeps in
//! between. No destination knows of another, so the trouble of one delays none.
//!
//! It asks the store when something was committed, when something becomes due, and when half of its attempts have ended,
//! so that it takes many at once; it never asks again and again. Attempts run as tasks of their own and say when they have
//! ended their exchange, which makes room, and when the store has taken their outcome. At most `concurrency` events are in
//! memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::deliver::breaker::{Allowed, Breaker, BreakerState, Signal};
use crate::deliver::chance;
use crate::deliver::health::Pulse;
use crate::deliver::job::Job;
use crate::deliver::pace::{Bucket, ClockWatch, Ramp};
use crate::deliver::plan::Plan;
use crate::deliver::schedule;
use crate::model::clock::{Now, instant};
use crate::model::error::chain;
use crate::record::Recorder;
use crate::record::deliveries::DestinationCounters;
use crate::store::rows::{Due, Next};
use crate::store::{Store, StoreError};

/// Deliveries that are taken at once at most. Taking waits for the disk, so a fast destination gets as many events a second as
/// fit into one taking, times the takings that the disk allows.
const BATCH: usize = 256;

/// How long a few free places wait for more of them, so that the store is asked less often.
const LINGER: Duration = Duration::from_millis(2);

/// How long nothing is looked at where nothing happens: a wake that was lost costs no more than that.
const IDLE: Duration = Duration::from_secs(60);

/// Before what is due and was not given is asked for once more.
const SECOND_LOOK: Duration = Duration::from_millis(250);

/// Before the first attempt after a long silence: not all destinations at one moment.
const SPREAD: Duration = Duration::from_secs(2);

/// After the store could not be asked.
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(10);

/// What a worker shares with its attempts and with the deliverer.
pub(super) struct Shared {
    pub(super) wake: Notify,
    pub(super) pulse: Pulse,
    pub(super) in_flight: AtomicUsize,
    pub(super) counters: Arc<DestinationCounters>,
    /// As many messages as there are attempts; each has two at most.
    pub(super) news: mpsc::UnboundedSender<News>,
}

/// What a worker is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum News {
    /// An exchange has ended and left its place.
    Exchanged(Signal),
    /// The store knows what became of an attempt.
    Finished(Next),
    /// The same of an attempt that another room made.
    Elsewhere(Signal, Next),
    /// An operator wants to see at once whether the destination is back.
    Probe,
}

/// All that a worker needs.
pub(super) struct Worker {
    pub(super) store: Store,
    pub(super) recorder: Arc<Recorder>,
    pub(super) tracker: TaskTracker,
    pub(super) shared: Arc<Shared>,
    pub(super) plans: watch::Receiver<Arc<Plan>>,
    pub(super) news: mpsc::UnboundedReceiver<News>,
    pub(super) stop: CancellationToken,
}

/// What is known of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// There may be something due.
    Ask,
    /// Nothing is due before then. Milliseconds of the store's clock.
    DueAt(i64),
    /// Nothing waits.
    Nothing,
}

/// When to look again, if nothing happens before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Look {
    /// At once.
    Now,
    /// Then.
    At(Instant),
}

struct Running {
    worker: Worker,
    plan: Arc<Plan>,
    breaker: Breaker,
    bucket: Option<Bucket>,
    ramp: Ramp,
    clock: ClockWatch,
    known: Known,
    exchanging: usize,
    unfinished: usize,
    /// Nothing is taken before then.
    resting_until: Option<Instant>,
    rest: Duration,
    /// When something was last taken.
    taken_at: Instant,
    /// When the store was last asked.
    asked_at: Instant,
    lingering_until: Option<Instant>,
    /// How often in a row the store gave nothing of what it said was due.
    in_vain: u32,
    /// It is not asked before then, unless something happens.
    in_vain_until: Option<Instant>,
    /// Whether it has to be found out whether much is overdue.
    is_fresh: bool,
}

impl Worker {
    /// Runs until it is told to stop. Attempts that are under way then end by themselves.
    pub(super) async fn run(mut self) {
        let plan = Arc::clone(&self.plans.borrow_and_update());
        let now = self.store.now();
        let mut running = Running {
            breaker: Breaker::new(plan.pace.breaker),
            bucket: plan.pace.rate.map(|rate| Bucket::new(rate, now.mono)),
            plan,
            worker: self,
            ramp: Ramp::default(),
            clock: ClockWatch::new(now),
            known: Known::Ask,
            exchanging: 0,
            unfinished: 0,
            resting_until: None,
            rest: FIRST_REST,
            taken_at: now.mono,
            asked_at: now.mono,
            lingering_until: None,
            in_vain: 0,
            in_vain_until: None,
            is_fresh: true,
        };
        running.run().await;
        // What is gone has no breaker.
        let counters = &running.worker.shared.counters;
        counters.breaker.store(0, Ordering::Relaxed);
    }
}

impl Running {
    async fn run(&mut self) {
        loop {
            let look = self.look().await;
            self.show();
            let until = match look {
                Look::Now if self.worker.stop.is_cancelled() => return,
                Look::Now => continue,
                Look::At(until) => tokio::time::Instant::from_std(until),
            };
            tokio::select! {
                biased;
                () = self.worker.stop.cancelled() => return,
                changed = self.worker.plans.changed() => match changed {
                    Ok(()) => self.take_plan(),
                    Err(_) => return,
                },
                news = self.worker.news.recv() => {
                    if let Some(news) = news {
                        self.take_news(news);
                    }
                }
                () = self.worker.shared.wake.notified() => self.take_wake(),
                () = tokio::time::sleep_until(until) => {}
            }
            while let Ok(news) = self.worker.news.try_recv() {
                self.take_news(news);
            }
        }
    }

    /// Takes from the store what may be attempted now.
    async fn look(&mut self) -> Look {
        let now = self.worker.store.now();
        if self.clock.has_stepped(now) {
            // The machine slept, and the monotonic clock with it: what is due has to be looked up again.
            self.known = Known::Ask;
            self.is_fresh = true;
        }
        let idle = Look::At(now.mono + IDLE);
        if now.mono.saturating_duration_since(self.asked_at) >= IDLE {
            // A wake that was lost must not cost more than this.
            self.known = Known::Ask;
        }
        if !self.plan.pace.is_active {
            return idle;
        }
        if let Some(until) = self.resting_until.filter(|until| now.mono < *until) {
            return Look::At(until);
        }
        self.resting_until = None;
        if self.is_fresh {
            return self.look_for_overdue(now).await;
        }
        if let Some(until) = self.in_vain_until.filter(|until| now.mono < *until) {
            return Look::At(until);
        }
        let as_of_ms = match self.known {
            Known::Ask => now.unix_ms,
            Known::Nothing => return idle,
            Known::DueAt(due_ms) if due_ms <= now.unix_ms => now.unix_ms,
            Known::DueAt(due_ms) if self.plan.is_plausible(due_ms, now.unix_ms) => {
                let wait = u64::try_from(due_ms.saturating_sub(now.unix_ms)).unwrap_or(0);
                return Look::At(now.mono + Duration::from_millis(wait).min(IDLE));
            }
            // Written under a clock that was wrong: it counts as due.
            Known::DueAt(due_ms) => due_ms,
        };
        match self.room(now.mono) {
            Ok(room) => self.take(room, as_of_ms, now).await,
            Err(until) => Look::At(until.unwrap_or(now.mono + IDLE)),
        }
    }

    /// After a start or a step of the clock: what has waited for long is not begun at one moment.
    async fn look_for_overdue(&mut self, now: Now) -> Look {
        let found = self.worker.store.next_due(self.plan.id).await;
        let due_ms = match found {
            Ok(due_ms) => due_ms,
            Err(error) => return self.rest(&error, now.mono),
        };
        self.is_fresh = false;
        self.known = Known::Ask;
        let overdue_ms = i64::try_from(schedule::OVERDUE.as_millis()).unwrap_or(i64::MAX);
        let is_odd = |due_ms: i64| {
            due_ms < now.unix_ms.saturating_sub(overdue_ms)
                || !self.plan.is_plausible(due_ms, now.unix_ms)
        };
        if due_ms.is_some_and(is_odd) {
            self.ramp.begin();
            self.resting_until = Some(now.mono + SPREAD.mul_f64(chance()));
        }
        Look::Now
    }

    /// How many may be taken; else when to look again, none: when an attempt has ended.
    fn room(&mut self, now: Instant) -> Result<usize, Option<Instant>> {
        let concurrency = self.plan.pace.concurrency;
        let allowed = self.ramp.limit(concurrency);
        let allowed = match self.breaker.allowed(now) {
            Allowed::All => allowed,
            Allowed::One => 1,
            Allowed::NoneUntil(until) => return Err(Some(until)),
            Allowed::None => return Err(None),
        };
        // Outcomes that the store has not taken yet hold no event, but are not to pile up either.
        let waiting = self.unfinished.saturating_sub(self.exchanging);
        let free = allowed
            .saturating_sub(self.exchanging)
            .min(concurrency.saturating_mul(2).saturating_sub(waiting))
            .min(BATCH);
        if free == 0 {
            return Err(None);
        }
        let is_few = free < allowed.min(BATCH).div_ceil(2);
        if is_few && self.exchanging > 0 {
            let until = *self.lingering_until.get_or_insert(now + LINGER);
            if now < until {
                return Err(Some(until));
            }
        }
        let Some(bucket) = &mut self.bucket else {
            return Ok(free);
        };
        match bucket.available(now) {
            0 => Err(Some(now + bucket.wait())),
            available => Ok(free.min(available)),
        }
    }

    async fn take(&mut self, room: usize, as_of_ms: i64, now: Now) -> Look {
        self.lingering_until = None;
        self.asked_at = now.mono;
        let taken = self.worker.store.begin(self.plan.id, room, as_of_ms).await;
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => return self.rest(&error, now.mono),
        };
        self.recover();
        let count = taken.len();
        if let Some(bucket) = &mut self.bucket {
            bucket.take(count);
        }
        for due in taken {
            self.begin(due);
        }
        self.known = Known::Ask;
        if count > 0 {
            self.in_vain = 0;
            self.taken_at = now.mono;
        }
        if count >= room {
            return Look::Now;
        }
        match self.worker.store.next_due(self.plan.id).await {
            Ok(None) => self.known = Known::Nothing,
            // Due, and not given: it was committed a moment ago, or the store holds it back. Nothing is asked in a circle.
            Ok(Some(due_ms)) if count == 0 && due_ms <= as_of_ms => {
                self.in_vain = self.in_vain.saturating_add(1);
                if self.in_vain < 3 {
                    return Look::Now;
                }
                let doubled = 2_u32.saturating_pow(self.in_vain.saturating_sub(3));
                let pause = SECOND_LOOK.saturating_mul(doubled).min(IDLE);
                self.in_vain_until = Some(now.mono + pause);
            }
            Ok(Some(due_ms)) => self.known = Known::DueAt(due_ms),
            Err(error) => return self.rest(&error, now.mono),
        }
        Look::Now
    }

    fn begin(&mut self, due: Due) {
        self.breaker.begin();
        self.exchanging = self.exchanging.saturating_add(1);
        self.unfinished = self.unfinished.saturating_add(1);
        let job = Job {
            plan: Arc::clone(&self.plan),
            store: self.worker.store.clone(),
            recorder: Arc::clone(&self.worker.recorder),
            shared: Arc::clone(&self.worker.shared),
        };
        self.worker.shared.in_flight.fetch_add(1, Ordering::Relaxed);
        self.worker.tracker.spawn(job.run(due));
    }

    fn take_news(&mut self, news: News) {
        match news {
            News::Exchanged(signal) => {
                self.exchanging = self.exchanging.saturating_sub(1);
                self.ramp.grow(self.plan.pace.concurrency);
                self.note(signal);
            }
            News::Finished(next) => {
                self.in_vain_until = None;
                self.unfinished = self.unfinished.saturating_sub(1);
                self.note_next(next);
            }
            News::Elsewhere(signal, next) => {
                self.note(signal);
                self.note_next(next);
            }
            News::Probe => {
                self.breaker.half_open();
                self.known = Known::Ask;
            }
        }
    }

    fn note(&mut self, signal: Signal) {
        let before = self.breaker.state();
        self.breaker.end(signal, instant(), chance());
        let after = self.breaker.state();
        if before != BreakerState::Closed && after == BreakerState::Closed {
            // It is back, and has a queue before it.
            self.ramp.begin();
            self.known = Known::Ask;
        }
        if before != after {
            tracing::info!(
                route = %self.plan.route,
                destination = %self.plan.name,
                state = after.word(),
                "the breaker of a destination changed"
            );
        }
    }

    fn note_next(&mut self, next: Next) {
        self.known = match (self.plan.is_ordered, self.known, next) {
            // One that waited for this one may be next.
            (true, ..) => Known::Ask,
            // So may one that was stored under an order which the config does not have any more.
            (false, ..) if self.exchanging == 0 => Known::Ask,
            (false, Known::DueAt(known), Next::Waiting(due_ms)) => Known::DueAt(known.min(due_ms)),
            (false, Known::Nothing, Next::Waiting(due_ms)) => Known::DueAt(due_ms),
            (false, known, _) => known,
        };
    }

    fn take_wake(&mut self) {
        self.known = Known::Ask;
        self.in_vain_until = None;
        // After a long silence a wake may be the end of a pause, behind which much has gathered.
        let silence = instant().saturating_duration_since(self.taken_at);
        self.is_fresh = self.is_fresh || silence > schedule::OVERDUE;
    }

    fn take_plan(&mut self) {
        let plan = Arc::clone(&self.worker.plans.borrow_and_update());
        let now = instant();
        if plan.pace.url != self.plan.pace.url {
            self.breaker = Breaker::new(plan.pace.breaker);
        }
        self.breaker.set_threshold(plan.pace.breaker);
        self.bucket = match (plan.pace.rate, self.bucket) {
            (Some(rate), Some(bucket)) if bucket.rate() == rate => Some(bucket),
            (Some(rate), _) => Some(Bucket::new(rate, now)),
            (None, _) => None,
        };
        self.plan = plan;
        self.take_wake();
    }

    /// The store could not be asked: it gets time.
    fn rest(&mut self, error: &StoreError, now: Instant) -> Look {
        let text = chain(error);
        if self.rest == FIRST_REST {
            tracing::warn!(
                route = %self.plan.route,
                destination = %self.plan.name,
                error = %text,
                "deliveries could not be taken from the store, trying again"
            );
        }
        let trouble = Some(text);
        self.worker
            .shared
            .pulse
            .note(|noted| noted.store_trouble = trouble);
        let until = now + self.rest.mul_f64(1.0 + chance());
        self.rest = (self.rest * 2).min(LONGEST_REST);
        self.resting_until = Some(until);
        self.known = Known::Ask;
        Look::At(until)
    }

    fn recover(&mut self) {
        if self.rest != FIRST_REST {
            self.rest = FIRST_REST;
            self.worker
                .shared
                .pulse
                .note(|noted| noted.store_trouble = None);
        }
    }

    /// For metrics and the operator's door.
    fn show(&self) {
        let shared = &self.worker.shared;
        let state = self.breaker.state();
        let until = match self.breaker.allowed(instant()) {
            Allowed::NoneUntil(until) => Some(until),
            Allowed::All | Allowed::One | Allowed::None => None,
        };
        shared.pulse.note(|noted| {
            noted.breaker = Some(state);
            noted.opens_at = until;
        });
        let counters = &shared.counters;
        counters.breaker.store(state.code(), Ordering::Relaxed);
    }
}
