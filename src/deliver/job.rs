//! One attempt as its own task: it sends the event, judges the outcome, and records the result.
//!
//! The worker learns of the progress through messages. A panic ends only this attempt, which counts as failed.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::deliver::attempt::{attempt, broken_off};
use crate::deliver::chance;
use crate::deliver::judge::{Fault, Verdict};
use crate::deliver::plan::Plan;
use crate::deliver::settle::{self, Facts};
use crate::deliver::worker::{News, Shared};
use crate::model::clock::Now;
use crate::model::trace::{Part, Trace};
use crate::net::outlive::{Panicked, contain};
use crate::record::{Recorder, otlp};
use crate::store::Store;
use crate::store::rows::{Due, Finished};

/// The context that one attempt needs.
pub(super) struct Job {
    pub(super) plan: Arc<Plan>,
    pub(super) store: Store,
    pub(super) recorder: Arc<Recorder>,
    pub(super) shared: Arc<Shared>,
}

impl Job {
    /// Returns the trace of the event's request, and adds its headers to the request to the destination.
    fn trace(&self, due: &mut Due) -> Option<Trace> {
        let event = &mut due.event;
        let told = self.plan.continues_trace.then_some(&event.headers);
        let trace = self.recorder.trace(event.uid, told)?;
        let part = Part::Attempt(due.delivery.0, due.attempt);
        otlp::tell(&mut event.headers, &trace, part);
        Some(trace)
    }

    /// Makes the attempt and stores its outcome. The in-flight permit is free when the exchange has ended, before the
    /// store writes: the next attempt need not wait for the disk.
    pub(super) async fn run(self, mut due: Due) {
        let (plan, shared) = (&self.plan, &self.shared);
        let mut facts = Facts::of(&due);
        facts.trace = self.trace(&mut due);
        let started = Now::read();
        shared.counters.in_flight.fetch_add(1, Ordering::Relaxed);
        let ended = {
            // Boxed, so that its memory is free before this waits for the store.
            let mut attempting = pin!(Box::pin(attempt(&plan.to, due)));
            match contain(attempting.as_mut()).await {
                Ok(ended) => ended,
                Err(Panicked) => {
                    broken_off(started, Fault::Panicked, "an internal error: see the log")
                }
            }
        };
        shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        shared.counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        let outcome = &ended.outcome;
        let (wall_ms, now_ms) = (Now::read().unix_ms, self.store.now().unix_ms);
        let verdict = outcome.verdict();
        shared.pulse.note(|noted| {
            noted.ended(verdict == Verdict::Delivered, outcome.fault, wall_ms);
            noted.took(ended.took);
        });
        // The receiver is gone if the destination was removed or the gate stops.
        let _ = shared.news.send(News::Exchanged(outcome.signal()));
        let next = settle::next(&plan.retry, outcome, &facts, now_ms, chance());
        let finished = Finished {
            delivery: facts.delivery,
            attempt: facts.attempt,
            record: ended.record.clone(),
            next,
        };
        // Store the outcome before it is logged, so that a log line never reports what a restart would undo.
        settle::finish(&self.store, finished).await;
        let shown = settle::shown(&self.store, next);
        let told = (outcome, &ended.record, ended.took, shown);
        settle::tell(&self.recorder, &shared.counters, plan, &facts, told);
        if verdict == Verdict::Gone {
            settle::disable(&self.store, &self.recorder, plan).await;
        }
        let _ = shared.news.send(News::Finished(next));
    }
}
