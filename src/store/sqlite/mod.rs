//! The store in one SQLite file: what its parts share, opening and closing.
//!
//! `writer` is the only thread that writes; `queue` brings it its tasks, whose work is in `commit`, `begin`, `finish`,
//! `change`, `replay` and `purge`. `readers` look beside it: `search`, `read`. `check`, `copy` and `export` work on a file by
//! its path, whoever has it open.

mod affordable;
mod audit;
mod begin;
mod change;
pub(super) mod check;
mod clock;
mod commit;
mod connect;
pub(super) mod copy;
mod count;
mod event;
pub(super) mod export;
mod filter;
mod finish;
mod handle;
mod head;
mod limits;
mod log;
mod merge;
mod migrate;
mod names;
mod order;
mod purge;
mod queue;
mod read;
mod readers;
mod reference;
mod replay;
mod seal;
mod search;
mod span;
pub(super) mod stats;
mod tally;
#[cfg(test)]
mod testing;
mod text;
mod undo;
mod work;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use crate::model::clock::Now;
use crate::store::sqlite::clock::{BootTime, SavedClock, StoreClock, Trust};
use crate::store::sqlite::connect::{Lock, open_failed};
use crate::store::sqlite::limits::Limits;
use crate::store::sqlite::names::Names;
use crate::store::sqlite::purge::Sweeps;
use crate::store::sqlite::queue::Queue;
use crate::store::sqlite::readers::Readers;
use crate::store::sqlite::seal::Sealer;
use crate::store::sqlite::work::{Failure, Work};
use crate::store::sqlite::writer::Writer;
use crate::store::{Options, Stats, StoreError};

/// What writer, readers and handles share.
pub(super) struct Shared {
    path: PathBuf,
    options: Options,
    queue: Queue,
    readers: Readers,
    names: RwLock<Arc<Names>>,
    sealer: Arc<Sealer>,
    clock: Arc<StoreClock>,
    sweeps: Mutex<Sweeps>,
    is_healthy: AtomicBool,
    groups: AtomicU64,
    grouped: AtomicU64,
    reopened: AtomicU64,
    written_us: AtomicU64,
    checkpoints: AtomicU64,
    #[cfg(test)]
    pub(super) faults: testing::Faults,
}

impl Shared {
    fn names(&self) -> Arc<Names> {
        Arc::clone(&self.names.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn publish(&self, names: Arc<Names>) {
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = names;
    }

    fn is_healthy(&self) -> bool {
        self.is_healthy.load(Ordering::Acquire)
    }

    fn set_healthy(&self, is_healthy: bool) {
        self.is_healthy.store(is_healthy, Ordering::Release);
    }

    fn count_group(&self, tasks: u64, took: Duration) {
        self.groups.fetch_add(1, Ordering::Relaxed);
        self.grouped.fetch_add(tasks, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.written_us.fetch_add(micros, Ordering::Relaxed);
    }

    fn count_checkpoint(&self) {
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
    }

    fn count_reopened(&self) {
        self.reopened.fetch_add(1, Ordering::Relaxed);
    }

    fn sweeps(&self) -> MutexGuard<'_, Sweeps> {
        self.sweeps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_counters(&self, stats: Stats) -> Stats {
        Stats {
            groups: self.groups.load(Ordering::Relaxed),
            grouped: self.grouped.load(Ordering::Relaxed),
            reopened: self.reopened.load(Ordering::Relaxed),
            written_us: self.written_us.load(Ordering::Relaxed),
            checkpoints: self.checkpoints.load(Ordering::Relaxed),
            ..stats
        }
    }

    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "tests put a failure here"
    )]
    fn test_failure(&self, _: bool) -> rusqlite::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn test_failure(&self, is_committed: bool) -> rusqlite::Result<()> {
        let fault = match is_committed {
            true => &self.faults.after_commit,
            false => &self.faults.before_commit,
        };
        match fault.swap(false, Ordering::SeqCst) {
            true => Err(readers::out_of_order()),
            false => Ok(()),
        }
    }

    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "tests put a failure here"
    )]
    fn test_checkpoint(&self) -> rusqlite::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn test_checkpoint(&self) -> rusqlite::Result<()> {
        match self.faults.checkpoint.swap(false, Ordering::SeqCst) {
            true => Err(readers::out_of_order()),
            false => Ok(()),
        }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests put an end here")]
    fn is_abandoned(&self) -> bool {
        false
    }

    #[cfg(test)]
    fn is_abandoned(&self) -> bool {
        self.faults.is_abandoned.load(Ordering::SeqCst)
    }
}

/// An open store: the last handle that goes closes it.
pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    thread: Mutex<Option<(JoinHandle<()>, Lock)>>,
}

impl Inner {
    pub(super) fn open(options: Options) -> Result<Self, StoreError> {
        let path = options.path.clone();
        let lock = Lock::take(&path)?;
        connect::create(&path)?;
        let failed = |err| open_failed(&path, err);
        let conn = connect::writer(&path).map_err(failed)?;
        let found = migrate::form(&conn, &path)?;
        connect::prepare_writer(&conn).map_err(failed)?;
        migrate::migrate(&conn, found).map_err(failed)?;
        let keys = &options.encryption_keys;
        let sealer = Arc::new(Sealer::open(&conn, keys, true).map_err(failed)?);
        read::check_keys(&conn, &sealer, &path)?;
        let limits = Limits::new(&options);
        let saved = SavedClock::load(&conn).map_err(failed)?;
        let (clock, trust) = StoreClock::resume(&saved, Now::read().unix_ms, BootTime::read());
        let clock = Arc::new(clock);
        let work = Work::new(conn, limits, options.keep_body, Arc::clone(&clock));
        let mut work = work.map_err(failed)?;
        take_back(&mut work).map_err(failed)?;
        if let Trust::Behind(behind_ms) = trust {
            tracing::warn!(
                behind_ms,
                "the wall clock is behind the times in the store: deliveries that wait are attempted now"
            );
            work.end_pauses().map_err(failed)?;
        }
        let shared = Arc::new(Shared {
            queue: Queue::default(),
            readers: Readers::new(path.clone()),
            names: RwLock::new(Arc::clone(&work.names)),
            sealer,
            clock,
            sweeps: Mutex::new(Sweeps::default()),
            is_healthy: AtomicBool::new(true),
            groups: AtomicU64::new(0),
            grouped: AtomicU64::new(0),
            reopened: AtomicU64::new(0),
            written_us: AtomicU64::new(0),
            checkpoints: AtomicU64::new(0),
            #[cfg(test)]
            faults: testing::Faults::default(),
            path: path.clone(),
            options,
        });
        let writer = Writer::new(Arc::clone(&shared), work).map_err(failed)?;
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run())
            .map_err(|err| open_failed(&path, thread_failed(&err)))?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some((thread, lock))),
        })
    }

    /// Writes what waits, and ends the thread. Blocks.
    pub(super) fn close(&self) {
        self.shared.queue.close();
        let taken = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((thread, lock)) = taken {
            let _ = thread.join();
            drop(lock);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// Gives back what a dead process had in flight, before anybody asks.
fn take_back(work: &mut Work) -> rusqlite::Result<()> {
    work.start()?;
    match work.interrupt_all() {
        Ok(()) => {}
        Err(Failure::Sql(err)) => return Err(err),
        // A state that cannot be is left where it is; `check` tells of it.
        Err(Failure::Refused(_)) => {}
    }
    work.flush()?;
    work.commit()
}

fn thread_failed(err: &std::io::Error) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOMEM);
    rusqlite::Error::SqliteFailure(code, Some(err.to_string()))
}

/// All rows of a statement that holds one number in each.
fn numbers(
    conn: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> rusqlite::Result<Vec<i64>> {
    let mut stmt = conn.prepare_cached(sql)?;
    let rows = stmt.query_map(values, |row| row.get(0))?;
    rows.collect()
}
