//! The end of an attempt: its outcome is stored, counted and logged.
//!
//! The first attempt of a hybrid route, made while its sender waited, ends here too. An outcome that the store does not
//! accept is stored again until that succeeds or the gate ends. In the latter case the delivery is still in flight in
//! the store, and the next start attempts it again.

use std::time::Duration;

use http::StatusCode;

use crate::config::model::RetryPolicy;
use crate::deliver::plan::DeliveryPlan;
use crate::deliver::schedule::{self, FailedAttempt};
use crate::deliver::verdict::{AttemptFault, AttemptOutcome, DeliveryVerdict, GONE_REASON};
use crate::model::delivery::{DeliveryId, DeliveryState};
use crate::model::error::chain;
use crate::model::trace::TraceContext;
use crate::record::TelemetryRecorder;
use crate::record::deliveries::{AttemptReport, AttemptedEvent, DestinationCounters};
use crate::store::rows::{AttemptRecord, DestinationId, DueDelivery, FinishedAttempt, NextState};
use crate::store::{Store, StoreError};

/// The identity of an attempt and its event.
#[derive(Clone, Debug)]
pub(super) struct AttemptFacts {
    pub(super) delivery: DeliveryId,
    pub(super) attempt: u32,
    pub(super) round: u32,
    pub(super) round_began_ms: i64,
    pub(super) is_replay: bool,
    /// When the event was accepted, in milliseconds since the epoch.
    pub(super) accepted_ms: i64,
    pub(super) trace: Option<TraceContext>,
    pub(super) event: AttemptedEvent,
}

impl AttemptFacts {
    pub(super) fn of(due: &DueDelivery) -> Self {
        let event = &due.event;
        Self {
            delivery: due.delivery,
            attempt: due.attempt,
            round: due.round,
            round_began_ms: due.round_began_ms,
            is_replay: due.is_replay,
            accepted_ms: event.received_ms,
            trace: None,
            event: AttemptedEvent {
                uid: event.uid,
                event_id: event.event_id.clone(),
                event_type: event.event_type.clone(),
            },
        }
    }
}

/// First and longest pause between two tries to store an outcome.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Converts the due time to the wall clock, for operators.
pub(super) fn shown(store: &Store, next: NextState) -> NextState {
    match next {
        NextState::Waiting(due_ms) => NextState::Waiting(store.to_wall_ms(due_ms)),
        NextState::Delivered | NextState::Dead => next,
    }
}

/// Returns the next state of the delivery.
pub(super) fn next(
    retry: &RetryPolicy,
    outcome: &AttemptOutcome,
    facts: &AttemptFacts,
    now_ms: i64,
    chance: f64,
) -> NextState {
    match outcome.verdict() {
        DeliveryVerdict::Delivered => NextState::Delivered,
        DeliveryVerdict::Gone | DeliveryVerdict::Hopeless => NextState::Dead,
        DeliveryVerdict::Retry { after } => schedule::after_failure(
            retry,
            &FailedAttempt {
                round: facts.round,
                round_began_ms: facts.round_began_ms,
                now_ms,
                retry_after: after,
                chance,
            },
        ),
    }
}

/// Stores an outcome, and retries for as long as necessary. Returns `false` if the store is closed or has another
/// attempt for this delivery.
pub(super) async fn finish(store: &Store, finished: FinishedAttempt) -> bool {
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match store.finish(finished.clone()).await {
            Ok(is_taken) => return is_taken,
            // The gate is stopping. The next start finds the delivery in flight and attempts it again.
            Err(StoreError::Closed) => return false,
            Err(error) => error,
        };
        tracing::warn!(
            delivery = finished.delivery.0,
            error = %chain(&error),
            "the outcome of an attempt could not be stored; trying again"
        );
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Returns a delivery to the queue that was not attempted, and retries for as long as necessary.
pub(super) async fn give_back(store: &Store, delivery: DeliveryId, attempt: u32) {
    let mut pause = FIRST_PAUSE;
    loop {
        match store.give_back(delivery, attempt).await {
            Ok(()) | Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::debug!(
                    delivery = delivery.0,
                    error = %chain(&error),
                    "a delivery could not be returned to the queue; trying again"
                );
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Disables a destination that responded with 410, and logs an error if the store does not accept that.
pub(super) async fn disable(store: &Store, recorder: &TelemetryRecorder, plan: &DeliveryPlan) {
    recorder.destination_disabled(&plan.route, &plan.name, GONE_REASON);
    if let Err(error) = try_disable(store, plan.id).await {
        tracing::error!(
            destination = %plan.name,
            error = %chain(&error),
            "a destination that responded with 410 Gone could not be disabled and is attempted again: pause it by hand"
        );
    }
}

async fn try_disable(store: &Store, id: DestinationId) -> Result<(), StoreError> {
    let mut pause = FIRST_PAUSE;
    loop {
        match store.disable(id, Some(GONE_REASON)).await {
            // Bounded, unlike `finish`: in the end the error log asks the operator to act.
            Err(error) if pause < LONGEST_PAUSE && !matches!(error, StoreError::Closed) => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            done => return done,
        }
    }
}

/// Describes an error status for the operator.
pub(super) fn status_text(status: Option<StatusCode>) -> String {
    match status {
        Some(status) if status.is_redirection() => {
            format!("it responded with {status}; redirects are not followed")
        }
        Some(status) => format!("it responded with {status}"),
        None => String::new(),
    }
}

/// Counts and logs an attempt.
pub(super) fn record_outcome(
    recorder: &TelemetryRecorder,
    counters: &DestinationCounters,
    plan: &DeliveryPlan,
    facts: &AttemptFacts,
    ended: (&AttemptOutcome, &AttemptRecord, Duration, NextState),
) {
    let (outcome, record, took, next) = ended;
    let (state, due_ms) = match next {
        NextState::Delivered => (DeliveryState::Delivered, None),
        NextState::Waiting(due_ms) => (DeliveryState::Waiting, Some(due_ms)),
        NextState::Dead => (DeliveryState::Dead, None),
    };
    let error = record.error.as_ref();
    recorder.attempt(
        counters,
        &AttemptReport {
            route: &plan.route,
            destination: &plan.name,
            delivery: facts.delivery,
            attempt: facts.attempt,
            event: &facts.event,
            is_replay: facts.is_replay,
            trace: facts.trace,
            accepted_ms: facts.accepted_ms,
            outcome: outcome.label(),
            status: record.status,
            error: error.map(|(word, text)| (word.as_str(), text.as_str())),
            took,
            state,
            due_ms,
            is_alarming: outcome.fault == Some(AttemptFault::Damaged),
        },
    );
}
