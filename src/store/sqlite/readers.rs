//! The reader pool: a few read-only connections beside the writer, and a deadline for each query.
//!
//! A running query keeps the log from being copied into the file, so each query is bounded in time.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rusqlite::{Connection, ErrorCode};
use tokio::sync::Semaphore;

use crate::model::clock;
use crate::store::error::StoreError;
use crate::store::sqlite::StoreShared;
use crate::store::sqlite::connect;
use crate::store::sqlite::names::NameTable;

/// Number of queries that run at the same time.
const READERS: usize = 4;

/// Deadline of a query that an operator waits for. A page needs a small part of it.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Deadline of long queries, such as counting the deliveries of a replay.
pub(super) const LONG_PATIENCE: Duration = Duration::from_secs(30);

/// Instructions of SQLite's virtual machine between two checks of the clock: some tens of microseconds.
const STEPS: i32 = 2000;

pub(super) struct ReaderPool {
    path: PathBuf,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
    /// Ends the running queries when set.
    is_ending: Arc<AtomicBool>,
    /// Read-locked by each query. `true` while the file is being opened again: queries are rejected.
    is_down: RwLock<bool>,
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

impl StoreShared {
    /// Runs a query on a thread that may block.
    pub(super) async fn read<T, F>(
        self: &Arc<Self>,
        patience: Duration,
        f: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&ReadTransaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let shared = Arc::clone(self);
        // Wait for a permit here, so that waiting queries take no blocking threads.
        let permit = self.readers.permits.acquire().await;
        let permit = permit.map_err(|_| StoreError::Closed)?;
        let looked = tokio::task::spawn_blocking(move || shared.read_blocking(patience, f)).await;
        drop(permit);
        looked.map_err(|_| StoreError::Closed)?
    }

    pub(super) fn read_blocking<T>(
        &self,
        patience: Duration,
        f: impl FnOnce(&ReadTransaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        if self.queue.is_closed() {
            return Err(StoreError::Closed);
        }
        let readers = &self.readers;
        // Held until the connection is returned, so that `shut` waits for every query.
        let is_down = readers.is_down.read();
        if *is_down {
            return Err(StoreError::Reopening);
        }
        let idle = readers.idle.lock().pop();
        let mut conn = match idle {
            Some(conn) => conn,
            None => connect::reader(&readers.path).map_err(StoreError::Read)?,
        };
        let looked = self.read_with(&mut conn, patience, f);
        // A connection with an error is not reused, unless its query only ran past the deadline.
        let is_sound = match &looked {
            Ok(_) => true,
            Err(err) => {
                err.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
                    && conn.progress_handler(0, None::<fn() -> bool>).is_ok()
                    && (conn.is_autocommit() || conn.execute_batch("ROLLBACK").is_ok())
            }
        };
        if is_sound && !self.queue.is_closed() {
            readers.idle.lock().push(conn);
        }
        drop(is_down);
        looked.map_err(StoreError::Read)
    }

    fn read_with<T>(
        &self,
        conn: &mut Connection,
        patience: Duration,
        f: impl FnOnce(&ReadTransaction<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let began = clock::instant();
        let is_ending = Arc::clone(&self.readers.is_ending);
        let is_over = move || began.elapsed() > patience || is_ending.load(Ordering::Relaxed);
        conn.progress_handler(STEPS, Some(is_over))?;
        conn.prepare_cached("BEGIN")?.execute([])?;
        // The transaction sees the file as of its first query, so load the names after that: they are at least as new.
        let sql = "SELECT one FROM total";
        conn.prepare_cached(sql)?
            .query_row([], |row| row.get::<_, i64>(0))?;
        let looked = f(&ReadTransaction {
            conn,
            names: self.names(),
            skew_ms: self.clock().skew_ms(),
        });
        // Remove the handler first, or a deadline that has passed would interrupt the rollback too.
        conn.progress_handler(0, None::<fn() -> bool>)?;
        conn.prepare_cached("ROLLBACK")?.execute([])?;
        looked
    }
}
