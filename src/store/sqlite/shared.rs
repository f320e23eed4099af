//! State that the writer, the readers and the handles of one store share.

use parking_lot::{Mutex, RwLock};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use rusqlite::{Connection, ErrorCode};

use crate::model::clock;
use crate::model::ids::{DestinationName, RouteName};
use crate::store::aliases::DestinationAliases;
use crate::store::error::StoreError;
use crate::store::names::NameTable;
use crate::store::options::StoreStatistics;
use crate::store::purge_sweeps::PurgeSweeps;
use crate::store::rows::DestinationId;
use crate::store::seal::ContentSealer;
use crate::store::sqlite::clock::StoreClock;
use crate::store::sqlite::connect;
use crate::store::sqlite::file_sharing::FileSharing;
use crate::store::sqlite::open::OpenStore;
use crate::store::sqlite::options::SqliteOptions;
use crate::store::sqlite::queue::WriterQueue;
use crate::store::sqlite::readers::{ReadTransaction, ReaderPool, STEPS};
#[cfg(test)]
use crate::store::sqlite::testing::Faults;

pub(in crate::store) struct StoreShared {
    pub(super) path: PathBuf,
    pub(super) options: SqliteOptions,
    pub(super) queue: WriterQueue,
    pub(super) readers: ReaderPool,
    pub(super) names: RwLock<Arc<NameTable>>,
    pub(super) sealer: ArcSwap<ContentSealer>,
    pub(super) clock: ArcSwap<StoreClock>,
    pub(super) aliases: Mutex<DestinationAliases>,
    pub(super) sweeps: Mutex<PurgeSweeps>,
    pub(super) sharing: FileSharing,
    is_healthy: AtomicBool,
    /// True if the file was ever open in this process.
    pub(super) was_opened: AtomicBool,
    groups: AtomicU64,
    grouped: AtomicU64,
    reopened: AtomicU64,
    written_us: AtomicU64,
    checkpoints: AtomicU64,
    /// How often the log was emptied after a deletion that had to leave no byte.
    pub(super) truncations: AtomicU64,
    #[cfg(test)]
    pub(in crate::store) faults: Faults,
}

impl StoreShared {
    pub(super) fn new(options: SqliteOptions, opened: Option<&OpenStore>) -> Self {
        let clock = opened.map(|opened| Arc::clone(&opened.clock));
        let sealer = opened.map(|opened| Arc::clone(&opened.sealer));
        let names = opened.map(|opened| Arc::clone(&opened.work.names));
        Self {
            queue: WriterQueue::default(),
            readers: ReaderPool::new(options.path.clone(), opened.is_none()),
            names: RwLock::new(names.unwrap_or_default()),
            sealer: ArcSwap::new(sealer.unwrap_or_default()),
            clock: ArcSwap::new(clock.unwrap_or_default()),
            aliases: Mutex::default(),
            sweeps: Mutex::default(),
            sharing: FileSharing::new(opened.is_some_and(|opened| opened.has_predecessor)),
            is_healthy: AtomicBool::new(opened.is_some()),
            was_opened: AtomicBool::new(opened.is_some()),
            groups: AtomicU64::new(0),
            grouped: AtomicU64::new(0),
            reopened: AtomicU64::new(0),
            written_us: AtomicU64::new(0),
            checkpoints: AtomicU64::new(0),
            truncations: AtomicU64::new(0),
            #[cfg(test)]
            faults: Faults::default(),
            path: options.path.clone(),
            options,
        }
    }

    pub(super) fn names(&self) -> Arc<NameTable> {
        Arc::clone(&self.names.read())
    }

    pub(super) fn publish(&self, names: Arc<NameTable>) {
        *self.names.write() = names;
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.is_healthy.load(Ordering::Acquire)
    }

    pub(super) fn set_healthy(&self, is_healthy: bool) {
        self.is_healthy.store(is_healthy, Ordering::Release);
    }

    pub(super) fn sealer(&self) -> Arc<ContentSealer> {
        self.sealer.load_full()
    }

    pub(super) fn clock(&self) -> Arc<StoreClock> {
        self.clock.load_full()
    }

    pub(super) fn was_opened(&self) -> bool {
        self.was_opened.load(Ordering::Acquire)
    }

    /// Returns the alias of a destination, a number below zero, while the file has not been opened.
    pub(super) fn alias(&self, route: &RouteName, name: &DestinationName) -> Option<i64> {
        let mut aliases = self.aliases.lock();
        // Read under the lock, because the writer ends this phase under the same lock.
        (!self.was_opened()).then(|| aliases.number(route, name))
    }

    /// Returns the number of a destination in the file. Negative numbers are aliases from a time without a file.
    pub(super) fn resolve(&self, destination: DestinationId) -> i64 {
        match destination.0 {
            // The common case takes no lock: only a store without a file gives out negative numbers.
            number @ 0.. => number,
            number => self.aliases.lock().resolve(number),
        }
    }

    pub(super) fn count_group(&self, tasks: u64, took: Duration) {
        self.groups.fetch_add(1, Ordering::Relaxed);
        self.grouped.fetch_add(tasks, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.written_us.fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn count_checkpoint(&self) {
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_reopened(&self) {
        self.reopened.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn with_counters(&self, stats: StoreStatistics) -> StoreStatistics {
        StoreStatistics {
            groups: self.groups.load(Ordering::Relaxed),
            grouped: self.grouped.load(Ordering::Relaxed),
            reopened: self.reopened.load(Ordering::Relaxed),
            written_us: self.written_us.load(Ordering::Relaxed),
            checkpoints: self.checkpoints.load(Ordering::Relaxed),
            ..stats
        }
    }

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
