//! The store in one SQLite file: shared state, opening and closing.
//!
//! `writer` is the only thread that writes. `queue` hands it tasks, which `commit`, `take_due`, `finish`, `change`,
//! `replay` and `purge` implement. `readers` serve queries beside it through `search` and `read`. `check`, `copy` and
//! `export` open a file by its path, even while a gate runs on it.

mod async_api;
mod audit;
mod carve;
mod change;
pub(super) mod check;
mod checkpoint;
mod clock;
mod clock_row;
mod commit;
mod connect;
pub(super) mod copy;
mod count;
mod event;
pub(super) mod export;
mod fifo;
mod filter;
mod finish;
mod group_work;
mod head;
mod id_index;
mod lane_counts;
mod limits;
mod list_numbers;
mod merge;
mod migrate;
mod names;
mod open;
mod out_of_order;
mod purge;
mod queue;
mod quick_check;
mod read;
mod readers;
mod replay;
pub(super) mod salvage;
mod seal;
mod search;
pub(super) mod stats;
mod take_due;
#[cfg(test)]
mod testing;
mod text_search;
mod time_index;
mod undo_group;
mod wal;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};

use crate::model::error;
use crate::model::ids::{DestinationName, RouteName};
use crate::store::error::StoreError;
use crate::store::options::{StoreOptions, StoreStatistics};
use crate::store::rows::DestinationId;
use crate::store::sqlite::clock::StoreClock;
use crate::store::sqlite::connect::open_failed;
use crate::store::sqlite::list_numbers::numbers;
use crate::store::sqlite::names::NameTable;
use crate::store::sqlite::open::{DestinationAliases, OpenStore};
use crate::store::sqlite::purge::PurgeSweeps;
use crate::store::sqlite::queue::WriterQueue;
use crate::store::sqlite::readers::ReaderPool;
use crate::store::sqlite::seal::ContentSealer;
use crate::store::sqlite::writer::StoreWriter;

/// State that the writer, the readers and the handles share.
pub(super) struct StoreShared {
    path: PathBuf,
    options: StoreOptions,
    queue: WriterQueue,
    readers: ReaderPool,
    names: RwLock<Arc<NameTable>>,
    sealer: ArcSwap<ContentSealer>,
    clock: ArcSwap<StoreClock>,
    aliases: Mutex<DestinationAliases>,
    sweeps: Mutex<PurgeSweeps>,
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

impl StoreShared {
    fn names(&self) -> Arc<NameTable> {
        Arc::clone(&self.names.read())
    }

    fn publish(&self, names: Arc<NameTable>) {
        *self.names.write() = names;
    }

    fn is_healthy(&self) -> bool {
        self.is_healthy.load(Ordering::Acquire)
    }

    fn set_healthy(&self, is_healthy: bool) {
        self.is_healthy.store(is_healthy, Ordering::Release);
    }

    fn sealer(&self) -> Arc<ContentSealer> {
        self.sealer.load_full()
    }

    fn clock(&self) -> Arc<StoreClock> {
        self.clock.load_full()
    }

    fn was_opened(&self) -> bool {
        self.was_opened.load(Ordering::Acquire)
    }

    /// Returns the alias of a destination, a number below zero, while the file has not been opened.
    fn alias(&self, route: &RouteName, name: &DestinationName) -> Option<i64> {
        let mut aliases = self.aliases.lock();
        // Read under the lock, because the writer ends this phase under the same lock.
        (!self.was_opened()).then(|| aliases.number(route, name))
    }

    /// Returns the number of a destination in the file. Negative numbers are aliases from a time without a file.
    fn resolve(&self, destination: DestinationId) -> i64 {
        match destination.0 {
            // The common case takes no lock: only a store without a file gives out negative numbers.
            number @ 0.. => number,
            number => self.aliases.lock().resolve(number),
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

    fn with_counters(&self, stats: StoreStatistics) -> StoreStatistics {
        StoreStatistics {
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
            true => Err(out_of_order::out_of_order()),
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
            true => Err(out_of_order::out_of_order()),
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
pub(super) struct StoreInner {
    pub(super) shared: Arc<StoreShared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl StoreInner {
    pub(super) fn open(mut options: StoreOptions) -> Result<Self, StoreError> {
        // SQLite names the log after the path that it opens, so all connections must use the same one.
        options.path = open::canonical(&options.path);
        let path = options.path.clone();
        let opened = match open::open(&options) {
            Ok(opened) => Some(opened),
            // A full or failing disk may recover, and proxy routes can work meanwhile. Every other error ends the
            // start.
            Err(err) if open::is_of_the_disk(&err, &path) => {
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
    fn start(options: StoreOptions, opened: Option<OpenStore>) -> Result<Self, StoreError> {
        let path = options.path.clone();
        let clock = opened.as_ref().map(|opened| Arc::clone(&opened.clock));
        let sealer = opened.as_ref().map(|opened| Arc::clone(&opened.sealer));
        let names = opened.as_ref().map(|opened| Arc::clone(&opened.work.names));
        let shared = Arc::new(StoreShared {
            queue: WriterQueue::default(),
            readers: ReaderPool::new(path.clone(), opened.is_none()),
            names: RwLock::new(names.unwrap_or_default()),
            sealer: ArcSwap::new(sealer.unwrap_or_default()),
            clock: ArcSwap::new(clock.unwrap_or_default()),
            aliases: Mutex::default(),
            sweeps: Mutex::new(PurgeSweeps::default()),
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
        let writer = StoreWriter::new(Arc::clone(&shared), opened);
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
        let taken = self.thread.lock().take();
        if let Some(thread) = taken {
            // The panic hook has already reported a panic of the thread, and its guard has closed the queue.
            let _ = thread.join();
        }
    }
}

impl Drop for StoreInner {
    fn drop(&mut self) {
        self.close();
    }
}

fn thread_failed(err: &std::io::Error) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOMEM);
    rusqlite::Error::SqliteFailure(code, Some(err.to_string()))
}
