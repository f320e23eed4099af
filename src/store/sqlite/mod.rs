//! The store in one SQLite file: opening and closing.
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
mod index_ranges;
mod lane_counts;
mod limits;
mod list_numbers;
mod migrate;
mod names;
mod open;
mod out_of_order;
mod purge;
mod purge_sweeps;
mod queue;
mod quick_check;
mod read;
mod readers;
mod replay;
pub(super) mod salvage;
mod seal;
mod search;
mod shared;
pub(super) mod stats;
mod take_due;
#[cfg(test)]
mod testing;
mod text_search;
mod time_index;
mod undo_group;
mod wal;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::model::error;
use crate::store::error::StoreError;
use crate::store::options::StoreOptions;
use crate::store::sqlite::connect::open_failed;
use crate::store::sqlite::open::OpenStore;
use crate::store::sqlite::shared::StoreShared;
use crate::store::sqlite::writer::StoreWriter;

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
        let shared = Arc::new(StoreShared::new(options, opened.as_ref()));
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

impl Drop for StoreInner {
    fn drop(&mut self) {
        self.close();
    }
}

fn thread_failed(err: &std::io::Error) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOMEM);
    rusqlite::Error::SqliteFailure(code, Some(err.to_string()))
}
