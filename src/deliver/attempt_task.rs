//! One attempt as its own task: it sends the event, judges the outcome, and records the result.
//!
//! The worker learns of the progress through messages. A panic ends only this attempt, which counts as failed.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::deliver::attempt::{attempt, broken_off};
use crate::deliver::breaker::HealthSignal;
use crate::deliver::chance::chance;
use crate::deliver::outcome::{self, AttemptFacts};
use crate::deliver::plan::DeliveryPlan;
use crate::deliver::verdict::{AttemptFault, DeliveryVerdict};
use crate::deliver::worker_message::{WorkerMessage, WorkerShared};
use crate::model::clock::ClockReading;
use crate::model::trace::{TraceContext, TracePart};
use crate::net::detach::{CaughtPanic, contain};
use crate::record::{TelemetryRecorder, otlp};
use crate::store::Store;
use crate::store::rows::{DueDelivery, FinishedAttempt};

/// The context that one attempt needs.
pub(super) struct AttemptTask {
    pub(super) plan: Arc<DeliveryPlan>,
    pub(super) store: Store,
    pub(super) recorder: Arc<TelemetryRecorder>,
    pub(super) shared: Arc<WorkerShared>,
}

impl AttemptTask {
    /// Returns the trace of the event's request, and adds its headers to the request to the destination.
    fn trace(&self, due: &mut DueDelivery) -> Option<TraceContext> {
        let event = &mut due.event;
        let headers = self.plan.continues_trace.then_some(&event.headers);
        let trace = self.recorder.trace(event.uid, headers)?;
        let part = TracePart::Attempt(due.delivery.0, due.attempt);
        otlp::insert_trace_headers(&mut event.headers, &trace, part);
        Some(trace)
    }

    /// Makes the attempt and stores its outcome. The in-flight permit is free when the exchange has ended, before the
    /// store writes: the next attempt need not wait for the disk.
    pub(super) async fn run(self, mut due: DueDelivery) {
        let (plan, shared) = (&self.plan, &self.shared);
        // Asked as late as possible. Without a lease another node may attempt this delivery at this very moment.
        if !self.store.may_attempt() {
            return self.give_back(&due).await;
        }
        let mut facts = AttemptFacts::of(&due);
        facts.trace = self.trace(&mut due);
        let started = ClockReading::read();
        shared.counters.in_flight.fetch_add(1, Ordering::Relaxed);
        let ended = {
            // Boxed, so that its memory is free before this waits for the store.
            let mut attempting = pin!(Box::pin(attempt(&plan.target, due)));
            match contain(attempting.as_mut()).await {
                Ok(ended) => ended,
                Err(CaughtPanic) => broken_off(
                    started,
                    AttemptFault::Panicked,
                    "an internal error: see the log",
                ),
            }
        };
        shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        shared.counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        let outcome = &ended.outcome;
        let (wall_ms, now_ms) = (ClockReading::read().unix_ms, self.store.now().unix_ms);
        let verdict = outcome.verdict();
        shared.health.update(|noted| {
            noted.ended(
                verdict == DeliveryVerdict::Delivered,
                outcome.fault,
                wall_ms,
            );
            noted.took(ended.took);
        });
        // The receiver is gone if the destination was removed or the gate stops.
        let _ = shared
            .messages
            .send(WorkerMessage::Exchanged(outcome.signal()));
        let next = outcome::next(&plan.retry, outcome, &facts, now_ms, chance());
        let finished = FinishedAttempt {
            delivery: facts.delivery,
            attempt: facts.attempt,
            record: ended.record.clone(),
            next,
        };
        // Store the outcome before it is logged, so that a log line never reports what a restart would undo.
        outcome::finish(&self.store, finished).await;
        let shown = outcome::shown(&self.store, next);
        let record = (outcome, &ended.record, ended.took, shown);
        outcome::record_outcome(&self.recorder, &shared.counters, plan, &facts, record);
        if verdict == DeliveryVerdict::Gone {
            outcome::disable(&self.store, &self.recorder, plan).await;
        }
        let _ = shared.messages.send(WorkerMessage::Finished(next));
    }

    /// Returns the delivery to the queue without sending anything.
    async fn give_back(&self, due: &DueDelivery) {
        let shared = &self.shared;
        shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        let nothing = WorkerMessage::Exchanged(HealthSignal::Nothing);
        let _ = shared.messages.send(nothing);
        outcome::give_back(&self.store, due.delivery, due.attempt).await;
        let _ = shared.messages.send(WorkerMessage::GivenBack);
    }
}
