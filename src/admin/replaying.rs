//! Works off replays: makes their deliveries in small steps, with pauses in which live traffic is written.
//!
//! A replay that was not over when the process ended goes on when the next one starts, since the store keeps how far it
//! is. A store that fails is asked again later, ever less often.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::admin::controls::Controls;
use crate::model::clock::Now;
use crate::model::error::chain;
use crate::store::rows::DestinationId;
use crate::store::{Store, StoreError};

/// Deliveries made at once: a step is one group of the store's writer, and nobody waits behind it for long.
const STEP: u64 = 200;

/// For each moment that a step takes, so many pass without one: four fifths of the writer are left to live traffic.
const SHARE: u32 = 4;

/// Between two steps, at least and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// How often a look is taken without a bell: something may have been lost between two processes.
const IDLE: Duration = Duration::from_secs(60);

/// After the first failure of the store, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Replays that are looked at; more than that are never open.
const KNOWN: u64 = 1000;

/// Works off all replays until `stop` is cancelled. Returns at once where there is no store.
pub async fn run_replays(controls: Controls, stop: CancellationToken) {
    let Some(store) = controls.store.clone() else {
        return;
    };
    let mut backoff = BACKOFF.0;
    loop {
        let wait = match stop.run_until_cancelled(work_off(&store, &controls)).await {
            None => return,
            Some(Ok(())) => {
                backoff = BACKOFF.0;
                IDLE
            }
            Some(Err(err)) => {
                tracing::warn!(error = %chain(&err), "replays are held up by the store");
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

/// Takes steps with each replay in turn until none is left that can go on.
async fn work_off(store: &Store, controls: &Controls) -> Result<(), StoreError> {
    let (mut open, mut destinations) = look(store).await?;
    let mut failed = None;
    while let Some(id) = open.pop_front() {
        let began = Instant::now();
        let row = match store.step_replay(id, STEP, Now::read().unix_ms).await {
            Ok(row) => row,
            // One whose look takes too long must not hold up those behind it.
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
                    "a replay is over"
                );
            } else if !row.is_paused {
                open.push_back(id);
            }
        }
        // The row does not say where its deliveries go; to look for nothing costs a worker little.
        for destination in &destinations {
            (controls.wake)(*destination);
        }
        let pause = began.elapsed().saturating_mul(SHARE);
        tokio::select! {
            () = sleep(pause.clamp(PAUSE.0, PAUSE.1)) => {}
            () = controls.replays.notified() => (open, destinations) = look(store).await?,
        }
    }
    failed.map_or(Ok(()), Err)
}

/// The replays that can go on, the oldest first, and all destinations.
async fn look(store: &Store) -> Result<(VecDeque<i64>, Vec<DestinationId>), StoreError> {
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
