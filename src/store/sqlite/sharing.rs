//! The time in which two processes write to one file: one leaves and ends its exchanges, the other one follows.
//!
//! SQLite lets several processes write one after the other. What only one process may do stays with the one that follows:
//! it takes deliveries, copies the log into the file and applies retention. The one that leaves commits what its last
//! exchanges need. `connect::FileLock` has the locks by which both know of each other.

use std::time::Duration;

use crate::model::clock::instant;
use crate::store::error::StoreError;
use crate::store::sqlite::open;
use crate::store::sqlite::queue::TaskUrgency;
use crate::store::sqlite::store::SqliteStore;
use crate::store::sqlite::writer::StoreWriter;

/// Pause between two looks whether the process that leaves still writes.
pub(super) const PERIOD: Duration = Duration::from_millis(100);

/// How long [`SqliteStore::take_back`] waits for the lock: the process that was to follow may still be ending.
const PATIENCE: Duration = Duration::from_secs(5);

impl SqliteStore {
    /// Lets another process open the file, while this one continues to commit. The caller takes no more deliveries.
    ///
    /// # Errors
    /// The file cannot be shared, for example because it is being opened again after a failed write.
    pub(in crate::store) async fn share(&self) -> Result<(), StoreError> {
        self.ask(true).await?;
        match self.shared.sharing.is_shared() {
            true => Ok(()),
            false => Err(StoreError::Reopening),
        }
    }

    /// Takes the file back, because no other process followed. Returns `false` if another process has it.
    pub(in crate::store) async fn take_back(&self) -> Result<bool, StoreError> {
        let began = instant();
        loop {
            // In each round, since the writer gives up at once while the other process holds the lock.
            self.ask(false).await?;
            if !self.shared.sharing.is_shared() {
                return Ok(true);
            }
            if began.elapsed() > PATIENCE {
                return Ok(false);
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Returns whether a process that leaves may still write to the file.
    pub(in crate::store) fn has_predecessor(&self) -> bool {
        self.shared.sharing.has_predecessor()
    }

    /// Has the writer share or take back the file, and waits until it has tried.
    async fn ask(&self, is_wanted: bool) -> Result<(), StoreError> {
        self.shared.sharing.set_wanted(is_wanted);
        // The writer acts between two groups: after the end of the first empty task, and before the second one.
        for _ in 0..2 {
            self.write(TaskUrgency::Outcome, 0, |_| Ok(())).await?;
        }
        Ok(())
    }
}

impl StoreWriter {
    /// Shares the file or takes it back, where a caller wants that. Runs between two groups.
    pub(super) fn follow_sharing(&mut self) {
        let sharing = &self.shared.sharing;
        let is_wanted = sharing.is_wanted();
        if is_wanted == sharing.is_shared() {
            return;
        }
        let Some(lock) = &self.lock else {
            return;
        };
        let done = match is_wanted {
            true => {
                // Its thread would copy the log beside that of the other process.
                self.log.forget();
                lock.share().map(|()| true)
            }
            false => lock.take_back(),
        };
        match done {
            Ok(true) => sharing.set_shared(is_wanted),
            Ok(false) => return,
            Err(err) => {
                tracing::warn!(%err, "the lock of the store file cannot be changed");
                return;
            }
        }
        if !is_wanted {
            // Only after the lock is back: two processes must never copy the log at the same time.
            self.log.take_up(lock.file(), &self.shared.path);
        }
    }

    /// Ends the time with a process that leaves, once it has ended: what it still had in flight returns to the queue.
    pub(super) fn watch_predecessor(&mut self) -> rusqlite::Result<()> {
        let sharing = &self.shared.sharing;
        // A process that leaves itself must not try the lock that it holds. The one that follows does this work.
        if !sharing.has_predecessor() || sharing.is_shared() || instant() < self.next_watch {
            return Ok(());
        }
        self.next_watch = instant() + PERIOD;
        let (Some(lock), Some(work)) = (&self.lock, &mut self.work) else {
            return Ok(());
        };
        if lock.has_predecessor() {
            return Ok(());
        }
        open::take_back(work)?;
        sharing.set_predecessor(false);
        tracing::info!("the former process no longer uses the store");
        Ok(())
    }

    /// Returns when the writer should look for a process that leaves, even without tasks.
    pub(super) fn patience(&self, quiet: Duration) -> Duration {
        match self.shared.sharing.has_predecessor() {
            true => PERIOD,
            false => quiet,
        }
    }
}
