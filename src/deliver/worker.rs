//! The worker of one destination: it takes due deliveries from the store and starts their attempts.
//!
//! Each destination has its own task, so one that hangs delays no other. The worker asks the store after a commit, when
//! a delivery becomes due, and when half of its attempts have ended, so that it takes many at once and never polls.
//! Attempts run as their own tasks. They report the end of the exchange, which frees a permit, and later the stored
//! outcome. At most `concurrency` events are in memory.
//!
//! If several nodes share the store, it keeps concurrency, rate and an open breaker for all of them: a take says why it
//! left due deliveries. The slow start, and the breaker that counts failures, stay with each node.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hookgate_verify::model::rate::RateLimit;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::deliver::attempt_rate::{AttemptBucket, ClockWatch, SlowStart};
use crate::deliver::attempt_task::AttemptTask;
use crate::deliver::breaker::{BreakerAllowance, BreakerState, CircuitBreaker, HealthSignal};
use crate::deliver::chance::chance;
use crate::deliver::plan::DeliveryPlan;
use crate::deliver::schedule;
use crate::deliver::shared_hold::SharedHold;
use crate::deliver::worker_message::{WorkerMessage, WorkerShared};
use crate::model::clock::{ClockReading, instant, millis};
use crate::model::error::chain;
use crate::record::TelemetryRecorder;
use crate::store::nodes::BreakerReport;
use crate::store::rows::{DueDelivery, NextState};
use crate::store::take::{TakeHold, TakeRate, TakeRequest};
use crate::store::{Store, StoreError};

/// Largest number of deliveries that one take returns. A take waits for the disk, so this bounds the rate of a fast
/// destination to this number times the takes that the disk allows.
const BATCH: usize = 256;

/// How long a few free permits wait for more of them, so that the store is asked less often.
const LINGER: Duration = Duration::from_millis(2);

/// Longest time without asking the store. A lost wake delays a delivery by no more than this.
const IDLE: Duration = Duration::from_secs(60);

/// First pause before asking again for a delivery that is due but was not returned.
const SECOND_LOOK: Duration = Duration::from_millis(250);

/// Largest random delay of the first attempt after a long silence, so that destinations do not start at the same
/// moment.
const SPREAD: Duration = Duration::from_secs(2);

/// First and longest pause after the store could not be asked.
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Longest such pause with a shared store. Asking costs nothing while its database is away, and deliveries must go on
/// soon after a failover.
const LONGEST_SHARED_REST: Duration = Duration::from_secs(2);

/// Pause before looking again whether this node may begin attempts.
const FENCED: Duration = Duration::from_secs(1);

/// Everything that a worker needs to run.
pub(super) struct DeliveryWorker {
    pub(super) store: Store,
    pub(super) recorder: Arc<TelemetryRecorder>,
    pub(super) tracker: TaskTracker,
    pub(super) shared: Arc<WorkerShared>,
    pub(super) plans: watch::Receiver<Arc<DeliveryPlan>>,
    pub(super) messages: mpsc::UnboundedReceiver<WorkerMessage>,
    pub(super) stop: CancellationToken,
}

/// Knowledge about the deliveries in the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NextDue {
    /// A delivery may be due.
    Ask,
    /// No delivery is due before this time, in milliseconds of the store's clock.
    DueAt(i64),
    /// No delivery waits for this destination.
    Nothing,
}

/// When to look at the store again, unless a message comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NextPoll {
    /// Look again at once, without waiting for a message.
    Now,
    /// Look again at this time.
    At(Instant),
}

struct WorkerLoop {
    worker: DeliveryWorker,
    plan: Arc<DeliveryPlan>,
    breaker: CircuitBreaker,
    /// `None` without a rate, and if the store keeps the rate for all nodes.
    bucket: Option<AttemptBucket>,
    hold: SharedHold,
    is_shared: bool,
    ramp: SlowStart,
    clock: ClockWatch,
    known: NextDue,
    exchanging: usize,
    unfinished: usize,
    /// No delivery is taken before this time.
    resting_until: Option<Instant>,
    rest: Duration,
    /// When a delivery was last taken.
    taken_at: Instant,
    /// When the store was last asked.
    polled_at: Instant,
    lingering_until: Option<Instant>,
    /// How often in a row the store returned no delivery although one was due.
    in_vain: u32,
    /// The store is not asked before this time, unless a message comes.
    in_vain_until: Option<Instant>,
    /// True until it is known whether many deliveries are overdue.
    is_fresh: bool,
}

impl DeliveryWorker {
    /// Runs until it is stopped. Running attempts then end by themselves.
    pub(super) async fn run(mut self) {
        let plan = Arc::clone(&self.plans.borrow_and_update());
        let now = self.store.now();
        let is_shared = self.store.node_name().is_some();
        // A shared store keeps the tokens of all nodes. A bucket here would only slow this node down further.
        let own_rate = plan.pace.rate.filter(|_| !is_shared);
        let mut running = WorkerLoop {
            breaker: CircuitBreaker::new(plan.pace.breaker),
            bucket: own_rate.map(|rate| AttemptBucket::new(rate, now.mono)),
            hold: SharedHold::default(),
            is_shared,
            plan,
            worker: self,
            ramp: SlowStart::default(),
            clock: ClockWatch::new(now),
            known: NextDue::Ask,
            exchanging: 0,
            unfinished: 0,
            resting_until: None,
            rest: FIRST_REST,
            taken_at: now.mono,
            polled_at: now.mono,
            lingering_until: None,
            in_vain: 0,
            in_vain_until: None,
            is_fresh: true,
        };
        running.run().await;
        // A destination that is gone must not report an open breaker.
        let counters = &running.worker.shared.counters;
        counters.breaker.store(0, Ordering::Relaxed);
    }
}

impl WorkerLoop {
    async fn run(&mut self) {
        loop {
            let look = self.take_due().await;
            self.show();
            let until = match look {
                NextPoll::Now if self.worker.stop.is_cancelled() => return,
                NextPoll::Now => continue,
                NextPoll::At(until) => tokio::time::Instant::from_std(until),
            };
            tokio::select! {
                // In this order: a stop and a new plan take precedence over more work.
                biased;
                () = self.worker.stop.cancelled() => return,
                changed = self.worker.plans.changed() => match changed {
                    Ok(()) => self.take_plan(),
                    Err(_) => return,
                },
                news = self.worker.messages.recv() => {
                    if let Some(news) = news {
                        self.take_news(news);
                    }
                }
                () = self.worker.shared.wake.notified() => self.take_wake(),
                () = tokio::time::sleep_until(until) => {}
            }
            // Handle all pending messages at once, so that one take fills all free permits.
            while let Ok(news) = self.worker.messages.try_recv() {
                self.take_news(news);
            }
        }
    }

    /// Takes from the store what may be attempted now.
    async fn take_due(&mut self) -> NextPoll {
        let now = self.worker.store.now();
        if self.clock.has_stepped(now) {
            // The machine slept, and the monotonic clock with it, so ask the store again.
            self.known = NextDue::Ask;
            self.is_fresh = true;
        }
        let idle = NextPoll::At(now.mono + IDLE);
        if now.mono.saturating_duration_since(self.polled_at) >= IDLE {
            // Bounds the delay after a lost wake.
            self.known = NextDue::Ask;
        }
        if !self.plan.pace.is_active {
            return idle;
        }
        if let Some(until) = self.resting_until.filter(|until| now.mono < *until) {
            return NextPoll::At(until);
        }
        self.resting_until = None;
        // A take would only have to be given back.
        if !self.worker.store.may_attempt() {
            return NextPoll::At(now.mono + FENCED);
        }
        if self.is_fresh {
            return self.find_overdue(now).await;
        }
        let in_vain_until = self.in_vain_until.filter(|until| now.mono < *until);
        if let Some(until) = in_vain_until.or_else(|| self.hold.until(now.mono)) {
            return NextPoll::At(until);
        }
        let as_of_ms = match self.known {
            NextDue::Ask => now.unix_ms,
            NextDue::Nothing => return idle,
            NextDue::DueAt(due_ms) if due_ms <= now.unix_ms => now.unix_ms,
            NextDue::DueAt(due_ms) if self.plan.is_plausible(due_ms, now.unix_ms) => {
                let wait = u64::try_from(due_ms.saturating_sub(now.unix_ms)).unwrap_or(0);
                return NextPoll::At(now.mono + Duration::from_millis(wait).min(IDLE));
            }
            // The due time comes from a wrong clock, so the delivery is due now.
            NextDue::DueAt(due_ms) => due_ms,
        };
        match self.capacity(now.mono) {
            Ok(room) => self.take(room, as_of_ms, now).await,
            // Without a time, the end of an attempt wakes the worker.
            Err(until) => NextPoll::At(until.unwrap_or(now.mono + IDLE)),
        }
    }

    /// Decides after a start or a clock step whether deliveries are overdue. If so, they begin slowly and after a
    /// random delay.
    async fn find_overdue(&mut self, now: ClockReading) -> NextPoll {
        let found = self.worker.store.next_due(self.plan.id).await;
        let due_ms = match found {
            Ok(due_ms) => due_ms,
            Err(error) => return self.rest(&error, now.mono),
        };
        self.is_fresh = false;
        self.known = NextDue::Ask;
        let overdue_ms = millis(schedule::OVERDUE);
        let is_odd = |due_ms: i64| {
            due_ms < now.unix_ms.saturating_sub(overdue_ms)
                || !self.plan.is_plausible(due_ms, now.unix_ms)
        };
        // A long queue is probable, so begin slowly and not at the same moment as other destinations.
        if due_ms.is_some_and(is_odd) {
            self.ramp.begin();
            self.resting_until = Some(now.mono + SPREAD.mul_f64(chance()));
        }
        NextPoll::Now
    }

    /// Returns how many deliveries may be taken. If it is zero, the error holds the time to look again, or
    /// `None` to wait for an attempt to end.
    fn capacity(&mut self, now: Instant) -> Result<usize, Option<Instant>> {
        let concurrency = self.plan.pace.concurrency;
        let allowed = self.ramp.limit(concurrency);
        let allowed = match self.breaker.allowed(now) {
            BreakerAllowance::All => allowed,
            BreakerAllowance::One => 1,
            BreakerAllowance::NoneUntil(until) => return Err(Some(until)),
            BreakerAllowance::None => return Err(None),
        };
        // Outcomes that wait for the store hold no event, but their number must be bounded too.
        let waiting = self.unfinished.saturating_sub(self.exchanging);
        // A shared store counts an attempt until it has the outcome, so asking earlier would be in vain.
        let taken = match self.is_shared {
            true => self.unfinished,
            false => self.exchanging,
        };
        let free = allowed
            .saturating_sub(taken)
            .min(concurrency.saturating_mul(2).saturating_sub(waiting))
            .min(BATCH);
        if free == 0 {
            return Err(None);
        }
        // Taking few at a time would cost one disk write each, so wait a moment for more free permits.
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

    async fn take(&mut self, room: usize, as_of_ms: i64, now: ClockReading) -> NextPoll {
        self.lingering_until = None;
        self.polled_at = now.mono;
        let pace = &self.plan.pace;
        let request = TakeRequest {
            destination: self.plan.id,
            limit: room,
            as_of_ms,
            concurrency: pace.concurrency,
            rate: pace.rate.map(take_rate),
            attempt_limit: pace.attempt_limit,
        };
        let taken = match self.worker.store.take(request).await {
            Ok(taken) => taken,
            Err(error) => return self.rest(&error, now.mono),
        };
        self.recover();
        self.hold.set(taken.hold, now);
        let (is_held, taken) = (taken.hold.is_some(), taken.due);
        let count = taken.len();
        if let Some(bucket) = &mut self.bucket {
            bucket.take(count);
        }
        for due in taken {
            self.begin(due);
        }
        self.known = NextDue::Ask;
        if count > 0 {
            self.in_vain = 0;
            self.taken_at = now.mono;
        }
        // The store returned as many as asked for, so more may be due; or it said until when a limit holds the rest.
        if count >= room || (is_held && count > 0) {
            return NextPoll::Now;
        }
        match self.worker.store.next_due(self.plan.id).await {
            // A limit of all nodes holds it back.
            Ok(Some(due_ms)) if is_held && due_ms <= as_of_ms => {}
            Ok(None) => {
                self.known = NextDue::Nothing;
                // A limit that holds nothing back is no reason to ask again.
                self.hold.clear();
            }
            // A delivery is due but was not returned: it was committed just now, or the store holds it back. Back off
            // instead of asking in a loop.
            Ok(Some(due_ms)) if count == 0 && due_ms <= as_of_ms => {
                self.in_vain = self.in_vain.saturating_add(1);
                if self.in_vain < 3 {
                    return NextPoll::Now;
                }
                let doubled = 2_u32.saturating_pow(self.in_vain.saturating_sub(3));
                let pause = SECOND_LOOK.saturating_mul(doubled).min(IDLE);
                self.in_vain_until = Some(now.mono + pause);
            }
            Ok(Some(due_ms)) => {
                self.known = NextDue::DueAt(due_ms);
                self.hold.clear();
            }
            Err(error) => return self.rest(&error, now.mono),
        }
        NextPoll::Now
    }

    fn begin(&mut self, due: DueDelivery) {
        self.breaker.begin();
        // Counted here and not in the task, so that the next `room` already sees this attempt.
        self.exchanging = self.exchanging.saturating_add(1);
        self.unfinished = self.unfinished.saturating_add(1);
        let job = AttemptTask {
            plan: Arc::clone(&self.plan),
            store: self.worker.store.clone(),
            recorder: Arc::clone(&self.worker.recorder),
            shared: Arc::clone(&self.worker.shared),
        };
        self.worker.shared.in_flight.fetch_add(1, Ordering::Relaxed);
        self.worker.tracker.spawn(job.run(due));
    }

    fn take_news(&mut self, news: WorkerMessage) {
        match news {
            WorkerMessage::Exchanged(signal) => {
                self.exchanging = self.exchanging.saturating_sub(1);
                self.ramp.grow(self.plan.pace.concurrency);
                self.apply_signal(signal);
            }
            WorkerMessage::Finished(next) => {
                self.in_vain_until = None;
                self.hold.wake();
                self.unfinished = self.unfinished.saturating_sub(1);
                self.update_next_due(next);
            }
            WorkerMessage::GivenBack => {
                self.unfinished = self.unfinished.saturating_sub(1);
                self.known = NextDue::Ask;
            }
            WorkerMessage::Elsewhere(signal, next) => {
                self.hold.wake();
                self.apply_signal(signal);
                self.update_next_due(next);
            }
        }
    }

    fn apply_signal(&mut self, signal: HealthSignal) {
        let before = self.breaker.state();
        self.breaker.end(signal, instant(), chance());
        let after = self.breaker.state();
        if before != BreakerState::Closed && after == BreakerState::Closed {
            // The destination is back and has a queue, so start slowly.
            self.ramp.begin();
            self.known = NextDue::Ask;
        }
        self.report_breaker(signal, before != after);
        if before != after {
            tracing::info!(
                route = %self.plan.route,
                destination = %self.plan.name,
                state = after.word(),
                "the circuit breaker of a destination changed its state"
            );
        }
    }

    /// Publishes a breaker that opened or closed, for the other nodes.
    fn report_breaker(&mut self, signal: HealthSignal, has_changed: bool) {
        let now = self.worker.store.now();
        // The probe of a breaker that another node opened may succeed here, where no breaker was open.
        let has_closed = signal == HealthSignal::Alive && self.hold.close_breaker();
        let report = match self.breaker.allowed(now.mono) {
            BreakerAllowance::NoneUntil(until) if has_changed => {
                let pause = until.saturating_duration_since(now.mono).as_millis();
                let pause_ms = i64::try_from(pause).unwrap_or(i64::MAX);
                BreakerReport::OpenUntil(now.unix_ms.saturating_add(pause_ms))
            }
            BreakerAllowance::All if has_changed || has_closed => BreakerReport::Closed,
            _ => return,
        };
        if has_closed {
            // The report is on its way, so a take at once would still find the breaker open.
            self.hold.set(Some(TakeHold::Full), now);
            self.ramp.begin();
        }
        self.worker.store.report_breaker(self.plan.id, report);
    }

    fn update_next_due(&mut self, next: NextState) {
        self.known = match (self.plan.is_ordered, self.known, next) {
            // A delivery that waited for this one may be next.
            (true, ..) => NextDue::Ask,
            // A delivery that was stored under an order, which the config no longer has, may be next too.
            (false, ..) if self.exchanging == 0 => NextDue::Ask,
            (false, NextDue::DueAt(known), NextState::Waiting(due_ms)) => {
                NextDue::DueAt(known.min(due_ms))
            }
            (false, NextDue::Nothing, NextState::Waiting(due_ms)) => NextDue::DueAt(due_ms),
            (false, known, _) => known,
        };
    }

    fn take_wake(&mut self) {
        self.known = NextDue::Ask;
        self.in_vain_until = None;
        self.hold.wake();
        // After a long silence a wake may end a pause during which a queue has formed.
        let silence = instant().saturating_duration_since(self.taken_at);
        self.is_fresh = self.is_fresh || silence > schedule::OVERDUE;
    }

    fn take_plan(&mut self) {
        let plan = Arc::clone(&self.worker.plans.borrow_and_update());
        let now = instant();
        // Another URL is another server, about which the breaker knows nothing.
        if plan.pace.url != self.plan.pace.url {
            self.breaker = CircuitBreaker::new(plan.pace.breaker);
        }
        self.breaker.set_threshold(plan.pace.breaker);
        let own_rate = plan.pace.rate.filter(|_| !self.is_shared);
        self.bucket = match (own_rate, self.bucket) {
            // An unchanged rate keeps its bucket, so that a reload grants no extra burst.
            (Some(rate), Some(bucket)) if bucket.rate() == rate => Some(bucket),
            (Some(rate), _) => Some(AttemptBucket::new(rate, now)),
            (None, _) => None,
        };
        // The new plan may allow what the former one did not.
        self.hold = SharedHold::default();
        self.plan = plan;
        self.take_wake();
    }

    /// Backs off, because the store could not be asked.
    fn rest(&mut self, error: &StoreError, now: Instant) -> NextPoll {
        let text = chain(error);
        // Log only the first failure in a row. The health of the destination shows that it continues.
        if self.rest == FIRST_REST {
            tracing::warn!(
                route = %self.plan.route,
                destination = %self.plan.name,
                error = %text,
                "deliveries could not be taken from the store; trying again"
            );
        }
        let trouble = Some(text);
        self.worker
            .shared
            .health
            .update(|noted| noted.store_error = trouble);
        // Random, so that the workers do not all ask the store again at the same moment.
        let until = now + self.rest.mul_f64(1.0 + chance());
        let longest = match self.is_shared {
            true => LONGEST_SHARED_REST,
            false => LONGEST_REST,
        };
        self.rest = (self.rest * 2).min(longest);
        self.resting_until = Some(until);
        self.known = NextDue::Ask;
        NextPoll::At(until)
    }

    fn recover(&mut self) {
        if self.rest != FIRST_REST {
            self.rest = FIRST_REST;
            self.worker
                .shared
                .health
                .update(|noted| noted.store_error = None);
        }
    }

    /// Publishes the breaker state for metrics and the admin API.
    fn show(&self) {
        let shared = &self.worker.shared;
        let state = self.breaker.state();
        let until = match self.breaker.allowed(instant()) {
            BreakerAllowance::NoneUntil(until) => Some(until),
            BreakerAllowance::All | BreakerAllowance::One | BreakerAllowance::None => None,
        };
        shared.health.update(|noted| {
            noted.breaker = Some(state);
            noted.opens_at = until;
        });
        let counters = &shared.counters;
        counters.breaker.store(state.code(), Ordering::Relaxed);
    }
}

fn take_rate(rate: RateLimit) -> TakeRate {
    TakeRate {
        count: rate.count.get(),
        period: rate.period,
        burst: rate.burst.get(),
    }
}
