//! The reader pool: a few read-only connections beside the writer, and a deadline for each query.
//!
//! A running query keeps the log from being copied into the file, so each query is bounded in time.

use parking_lot::{Mutex, RwLock};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::store::names::NameTable;
use crate::store::sqlite::connect;

/// Number of queries that run at the same time.
const READERS: usize = 4;

/// Deadline of a query that an operator waits for. A page needs a small part of it.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Deadline of long queries, such as counting the deliveries of a replay.
pub(super) const LONG_PATIENCE: Duration = Duration::from_secs(30);

/// Instructions of SQLite's virtual machine between two checks of the clock: some tens of microseconds.
pub(super) const STEPS: i32 = 2000;

pub(super) struct ReaderPool {
    pub(super) path: PathBuf,
    pub(super) permits: Semaphore,
    pub(super) idle: Mutex<Vec<Connection>>,
    /// Ends the running queries when set.
    pub(super) is_ending: Arc<AtomicBool>,
    /// Read-locked by each query. `true` while the file is being opened again: queries are rejected.
    pub(super) is_down: RwLock<bool>,
}

/// One read transaction: its connection, and the names of everything that it can see.
pub(super) struct ReadTransaction<'a> {
    pub(super) conn: &'a Connection,
    pub(super) names: Arc<NameTable>,
    /// Milliseconds by which the store's clock is ahead of the wall clock.
    pub(super) skew_ms: i64,
}

impl ReaderPool {
    pub(super) fn new(path: PathBuf, is_down: bool) -> Self {
        Self {
            path,
            permits: Semaphore::new(READERS),
            idle: Mutex::new(Vec::new()),
            is_ending: Arc::new(AtomicBool::new(false)),
            is_down: RwLock::new(is_down),
        }
    }

    /// Ends all running queries and closes all connections.
    pub(super) fn shut(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
        // Taking the write lock waits until each query has ended and returned its connection.
        *self.is_down.write() = true;
        self.close();
    }

    pub(super) fn close(&self) {
        let idle = std::mem::take(&mut *self.idle.lock());
        drop(idle);
    }

    /// Opens all connections now, because the process may have no free descriptor when it needs them.
    pub(super) fn fill(&self) {
        let missing = READERS.saturating_sub(self.idle.lock().len());
        for _ in 0..missing {
            let opened = connect::reader(&self.path).and_then(|conn| {
                // Only a connection that has read the file has the log open too.
                conn.query_row("SELECT one FROM total", [], |row| row.get::<_, i64>(0))?;
                Ok(conn)
            });
            match opened {
                Ok(conn) => self.idle.lock().push(conn),
                // The first query reports the error.
                Err(_) => return,
            }
        }
    }

    pub(super) fn reopen(&self) {
        self.fill();
        self.is_ending.store(false, Ordering::Relaxed);
        *self.is_down.write() = false;
    }
}
