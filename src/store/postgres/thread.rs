//! The thread of a node: one runtime for its sessions, writers and beat.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio_util::task::TaskTracker;

use crate::store::error::StoreError;
use crate::store::postgres::shared::{Job, NodeShared};
use crate::store::postgres::{beat, commit, duty, finish, shared_claims, takeover};

/// Writers of events. Two keep the server busy while one group waits for the disk; more only make groups smaller.
const COMMIT_WRITERS: usize = 2;

/// Writers of outcomes, for the same reason.
const OUTCOME_WRITERS: usize = 2;

/// Longest wait at the end for work that was accepted.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Runs the node until its store is closed.
pub(super) fn run(
    shared: Arc<NodeShared>,
    jobs: mpsc::UnboundedReceiver<Job>,
    started: SyncSender<Result<(), StoreError>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(err) => {
            let _ = started.send(Err(StoreError::Connect {
                what: "its runtime could not be started".to_owned(),
                source: Some(err.into()),
            }));
            return;
        }
    };
    let local = LocalSet::new();
    local.block_on(&runtime, serve(shared, jobs, started));
}

async fn serve(
    shared: Arc<NodeShared>,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    started: SyncSender<Result<(), StoreError>>,
) {
    let tracker = TaskTracker::new();
    let heart = tokio::task::spawn_local(beat::run(Arc::clone(&shared), started));
    let release = tokio::task::spawn_local(takeover::run(Arc::clone(&shared)));
    let duties = tokio::task::spawn_local(duty::run(Arc::clone(&shared)));
    for _ in 0..COMMIT_WRITERS {
        tracker.spawn_local(commit::write_groups(Arc::clone(&shared)));
    }
    for _ in 0..OUTCOME_WRITERS {
        tracker.spawn_local(finish::write_groups(Arc::clone(&shared)));
    }
    tracker.spawn_local(shared_claims::write_claims(Arc::clone(&shared)));
    loop {
        tokio::select! {
            job = jobs.recv() => match job {
                Some(job) => drop(tracker.spawn_local(job(Arc::clone(&shared)))),
                None => break,
            },
            () = shared.closing.notified() => break,
        }
    }
    if shared.is_abandoned() {
        return;
    }
    // Jobs that were sent before the close still run; the channel rejects later ones.
    jobs.close();
    while let Some(job) = jobs.recv().await {
        tracker.spawn_local(job(Arc::clone(&shared)));
    }
    tracker.close();
    let _ = tokio::time::timeout(END_PATIENCE, tracker.wait()).await;
    // Only after the writers: without a beat this node could be declared dead while it still records outcomes.
    heart.abort();
    release.abort();
    duties.abort();
    // Last, because other nodes then take over what this one still has in flight.
    let _ = tokio::time::timeout(END_PATIENCE, beat::leave(&shared)).await;
}
