//! The task that creates the deliveries of replays, in small steps.
//!
//! Live traffic goes first: between two steps the task pauses, so that the store can write accepted events. The store
//! records the progress, so a replay continues after a restart.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::admin::controls::AdminControls;
use crate::model::clock::ClockReading;
use crate::model::error::chain;
use crate::store::rows::DestinationId;
use crate::store::{Store, StoreError};

/// Deliveries created in a step. A step is one group of the store's writer, so it must not delay other groups for long.
const STEP: u64 = 200;

/// Length of a pause in multiples of the step before it: four fifths of the writer's time stay for live traffic.
const SHARE: u32 = 4;

/// Shortest and longest pause between two steps.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// Time between two checks without a notification, which may get lost, for instance when the process restarts.
const IDLE: Duration = Duration::from_secs(60);

/// First and longest wait after failures of the store; it doubles with each one.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Replays read from the store; there are never more open ones.
const KNOWN: u64 = 1000;

/// Processes replays until `stop` is cancelled. Returns at once if there is no store.
pub(crate) async fn run_replays(controls: AdminControls, stop: CancellationToken) {
    let Some(store) = controls.store.clone() else {
        return;
    };
    let mut backoff = BACKOFF.0;
    loop {
        // Dropping the work in the middle loses nothing: each step is one transaction of the store.
        let wait = match stop.run_until_cancelled(work_off(&store, &controls)).await {
            None => return,
            Some(Ok(())) => {
                backoff = BACKOFF.0;
                IDLE
            }
            Some(Err(err)) => {
                tracing::warn!(error = %chain(&err), "replays wait because the store fails; the next try follows");
                backoff = (backoff * 2).min(BACKOFF.1);
                backoff
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = controls.replays.notified() => {}
            () = sleep(wait) => {}
        }
    }
}

/// Takes steps with each replay in turn until all have ended or are paused.
async fn work_off(store: &Store, controls: &AdminControls) -> Result<(), StoreError> {
    let (mut open, mut destinations) = load_open_replays(store).await?;
    let mut failed = None;
    while let Some(id) = open.pop_front() {
        let began = Instant::now();
        let row = match store
            .step_replay(id, STEP, ClockReading::read().unix_ms)
            .await
        {
            Ok(row) => row,
            // A replay whose query takes too long must not block the others.
            Err(err) => {
                failed = Some(err);
                continue;
            }
        };
        if let Some(row) = row {
            if row.is_ended {
                tracing::info!(
                    replay = id,
                    deliveries = row.done.saturating_sub(row.skipped),
                    skipped = row.skipped,
                    "replay ended"
                );
            } else if !row.is_paused {
                // To the end of the line, so that a large replay does not starve a small one.
                open.push_back(id);
            }
        }
        // The row does not name the destinations of the new deliveries, so wake all: an empty query costs little.
        for destination in &destinations {
            (controls.wake)(*destination);
        }
        let pause = began.elapsed().saturating_mul(SHARE);
        tokio::select! {
            () = sleep(pause.clamp(PAUSE.0, PAUSE.1)) => {}
            // A replay was begun, paused or resumed: read the list again.
            () = controls.replays.notified() => (open, destinations) = load_open_replays(store).await?,
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Reads the replays that can continue, oldest first, and all destinations.
async fn load_open_replays(
    store: &Store,
) -> Result<(VecDeque<i64>, Vec<DestinationId>), StoreError> {
    let rows = store.replays(KNOWN).await?;
    let open = rows.iter().rev();
    let open = open.filter(|row| !row.is_ended && !row.is_paused);
    let open: VecDeque<_> = open.map(|row| row.id).collect();
    if open.is_empty() {
        return Ok((open, Vec::new()));
    }
    let destinations = store.destinations().await?;
    Ok((open, destinations.into_iter().map(|row| row.id).collect()))
}
