//! The store in one SQLite file: shared state, opening and closing.
//!
//! `writer` is the only thread that writes. `queue` hands it tasks, which `commit`, `begin`, `finish`, `change`,
//! `replay` and `purge` implement. `readers` serve queries beside it through `search` and `read`. `check`, `copy` and
//! `export` open a file by its path, even while a gate runs on it.

mod affordable;
mod audit;
mod begin;
mod carve;
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
mod opening;
mod order;
mod purge;
mod queue;
mod read;
mod readers;
mod reference;
mod replay;
pub(super) mod salvage;
mod seal;
mod search;
mod span;
pub(super) mod stats;
mod tally;
#[cfg(test)]
mod testing;
mod text;
mod undo;
mod wal;
mod work;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use rusqlite::Connection;

use crate::model::error;
use crate::model::ids::{DestinationName, RouteName};
use crate::store::rows::DestinationId;
use crate::store::sqlite::clock::StoreClock;
use crate::store::sqlite::connect::open_failed;
use crate::store::sqlite::names::Names;
use crate::store::sqlite::opening::{Aliases, Opened};
use crate::store::sqlite::purge::Sweeps;
use crate::store::sqlite::queue::Queue;
use crate::store::sqlite::readers::Readers;
use crate::store::sqlite::seal::Sealer;
use crate::store::sqlite::writer::Writer;
use crate::store::{Options, Stats, StoreError};

/// State that the writer, the readers and the handles share.
pub(super) struct Shared {
    path: PathBuf,
    options: Options,
    queue: Queue,
    readers: Readers,
    names: RwLock<Arc<Names>>,
    sealer: ArcSwap<Sealer>,
    clock: ArcSwap<StoreClock>,
    aliases: Mutex<Aliases>,
    sweeps: Mutex<Sweeps>,
    is_healthy: AtomicBool,
    /// True if the file was ever open in this process.
    was_opened: AtomicBool,
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

    fn sealer(&self) -> Arc<Sealer> {
        self.sealer.load_full()
    }

    fn clock(&self) -> Arc<StoreClock> {
        self.clock.load_full()
    }

    fn was_opened(&self) -> bool {
        self.was_opened.load(Ordering::Acquire)
    }

    fn aliases(&self) -> MutexGuard<'_, Aliases> {
        self.aliases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the alias of a destination, a number below zero, while the file has not been opened.
    fn alias(&self, route: &RouteName, name: &DestinationName) -> Option<i64> {
        let mut aliases = self.aliases();
        // Read under the lock, because the writer ends this phase under the same lock.
        (!self.was_opened()).then(|| aliases.number(route, name))
    }

    /// Returns the number of a destination in the file. Negative numbers are aliases from a time without a file.
    fn resolve(&self, destination: DestinationId) -> i64 {
        match destination.0 {
            // The common case takes no lock: only a store without a file gives out negative numbers.
            number @ 0.. => number,
            number => self.aliases().resolve(number),
        }
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
    #[expect(clippy::unused_self, reason = "tests wait here")]
    fn test_opening(&self) {}

    #[cfg(test)]
    fn test_opening(&self) {
        drop(self.faults.opening.lock());
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

/// An open store. Dropping the last handle closes it.
pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Inner {
    pub(super) fn open(mut options: Options) -> Result<Self, StoreError> {
        // SQLite names the log after the path that it opens, so all connections must use the same one.
        options.path = opening::canonical(&options.path);
        let path = options.path.clone();
        let opened = match opening::open(&options) {
            Ok(opened) => Some(opened),
            // A full or failing disk may recover, and proxy routes can work meanwhile. Every other error ends the
            // start.
            Err(err) if opening::is_of_the_disk(&err, &path) => {
                tracing::error!(
                    path = %path.display(),
                    error = %error::chain(&err),
                    "the store could not be opened and accepts no events yet: check the disk and its free space"
                );
                None
            }
            Err(err) => return Err(err),
        };
        Self::start(options, opened)
    }

    /// Starts the writer. Without an opened file it tries to open it, again and again.
    fn start(options: Options, opened: Option<Opened>) -> Result<Self, StoreError> {
        let path = options.path.clone();
        let clock = opened.as_ref().map(|opened| Arc::clone(&opened.clock));
        let sealer = opened.as_ref().map(|opened| Arc::clone(&opened.sealer));
        let names = opened.as_ref().map(|opened| Arc::clone(&opened.work.names));
        let shared = Arc::new(Shared {
            queue: Queue::default(),
            readers: Readers::new(path.clone(), opened.is_none()),
            names: RwLock::new(names.unwrap_or_default()),
            sealer: ArcSwap::new(sealer.unwrap_or_default()),
            clock: ArcSwap::new(clock.unwrap_or_default()),
            aliases: Mutex::default(),
            sweeps: Mutex::new(Sweeps::default()),
            is_healthy: AtomicBool::new(opened.is_some()),
            was_opened: AtomicBool::new(opened.is_some()),
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
        // The writer opens its connections before the thread starts, so that an error here ends the start.
        let writer = Writer::new(Arc::clone(&shared), opened);
        let writer = writer.map_err(|err| open_failed(&path, err))?;
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run())
            .map_err(|err| open_failed(&path, thread_failed(&err)))?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Writes all waiting tasks and ends the writer thread. Blocks.
    pub(super) fn close(&self) {
        self.shared.queue.close();
        let taken = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = taken {
            // The panic hook has already reported a panic of the thread, and its guard has closed the queue.
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

fn thread_failed(err: &std::io::Error) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOMEM);
    rusqlite::Error::SqliteFailure(code, Some(err.to_string()))
}

/// Returns all rows of a statement whose only column is a number.
fn numbers(
    conn: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> rusqlite::Result<Vec<i64>> {
    let mut stmt = conn.prepare_cached(sql)?;
    let rows = stmt.query_map(values, |row| row.get(0))?;
    rows.collect()
}
