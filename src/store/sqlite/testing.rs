//! Access for tests to the inside of a store: faults, and the state of the writer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::model::ids::{DestinationName, RouteName};
use crate::store::error::StoreError;
use crate::store::rows::DestinationId;
use crate::store::sqlite::group_work::GroupWork;
use crate::store::sqlite::options::SqliteOptions;
use crate::store::sqlite::out_of_order::out_of_order;
use crate::store::sqlite::queue::{TaskUrgency, enqueue_task};
use crate::store::sqlite::shared::StoreShared;
use crate::store::sqlite::store::SqliteStore;

/// Faults that a test injects.
#[derive(Default)]
pub(in crate::store) struct Faults {
    /// Fails the next transaction before its commit.
    pub(in crate::store) before_commit: AtomicBool,
    /// Commits the next transaction and reports it as failed.
    pub(in crate::store) after_commit: AtomicBool,
    /// Fails the next checkpoint of the log.
    pub(in crate::store) checkpoint: AtomicBool,
    /// Holds back a file that was opened: while this is locked, it accepts nothing.
    pub(in crate::store) opening: Mutex<()>,
    /// Ends the writer thread without writing or closing, as if the process were killed.
    pub(in crate::store) is_abandoned: AtomicBool,
}

impl Faults {
    /// Returns an error if the fault is set, and clears it.
    pub(super) fn fail_once(&self, fault: impl Fn(&Self) -> &AtomicBool) -> rusqlite::Result<()> {
        match fault(self).swap(false, Ordering::SeqCst) {
            true => Err(out_of_order()),
            false => Ok(()),
        }
    }
}

impl StoreShared {
    pub(in crate::store) fn set_healthy_for_test(&self, is_healthy: bool) {
        self.set_healthy(is_healthy);
    }

    pub(in crate::store) fn waiting_for_test(&self) -> usize {
        self.queue.len()
    }

    pub(in crate::store) fn names_for_test(&self) -> usize {
        self.names().destinations.len()
    }

    pub(in crate::store) fn alias_for_test(
        &self,
        route: &RouteName,
        name: &DestinationName,
    ) -> DestinationId {
        DestinationId(self.alias(route, name).unwrap())
    }

    pub(in crate::store) fn kinds_for_test(&self) -> usize {
        self.names().kinds.len()
    }
}

impl SqliteStore {
    /// Starts a store whose file could not be opened.
    pub(in crate::store) fn open_late(options: SqliteOptions) -> Self {
        Self::start(options, None).unwrap()
    }

    /// Limits the file to this number of pages, which SQLite reports like a full disk.
    pub(in crate::store) async fn limit_pages(&self, most: i64) {
        let run = move |work: &mut GroupWork| {
            work.conn
                .pragma_update_and_check(None, "max_page_count", most, |_| Ok(()))?;
            Ok(())
        };
        self.write(TaskUrgency::Outcome, 0, run).await.unwrap();
    }

    pub(in crate::store) async fn pragmas_for_test(&self) -> Vec<String> {
        let run = |work: &mut GroupWork| {
            let mut found = Vec::new();
            for pragma in [
                "journal_mode",
                "synchronous",
                "auto_vacuum",
                "mmap_size",
                "wal_autocheckpoint",
                "foreign_keys",
            ] {
                let sql = format!("PRAGMA {pragma}");
                let value = work.conn.query_row(&sql, [], |row| row.get(0));
                found.push(match value? {
                    rusqlite::types::Value::Text(text) => text,
                    rusqlite::types::Value::Integer(number) => number.to_string(),
                    other => format!("{other:?}"),
                });
            }
            Ok(found)
        };
        self.write(TaskUrgency::Outcome, 0, run).await.unwrap()
    }

    /// Runs a query that never ends on its own.
    pub(in crate::store) async fn look_for_ever(
        &self,
        patience: Duration,
    ) -> Result<i64, StoreError> {
        let look = self.shared.read(patience, |look| {
            let sql = "WITH RECURSIVE it (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM it)
                SELECT max(n) FROM it";
            look.conn.query_row(sql, [], |row| row.get(0))
        });
        look.await
    }

    /// Makes the next checkpoint fail, which follows the group with all earlier tasks. The writer must be held up
    /// meanwhile.
    pub(in crate::store) fn fail_checkpoint(&self) {
        let shared = std::sync::Arc::clone(&self.shared);
        let (task, _) = enqueue_task(move |_| {
            shared.faults.checkpoint.store(true, Ordering::SeqCst);
            Ok(())
        });
        self.shared
            .queue
            .push(task, 0, TaskUrgency::Outcome)
            .unwrap();
    }

    /// Holds up the writer until the returned sender is dropped.
    pub(in crate::store) fn hold(&self) -> std::sync::mpsc::Sender<()> {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let (task, _) = enqueue_task(move |_| {
            let _ = receiver.recv();
            Ok(())
        });
        self.shared
            .queue
            .push(task, 0, TaskUrgency::Outcome)
            .unwrap();
        while self.shared.queue.len() > 0 {
            std::thread::yield_now();
        }
        sender
    }
}
