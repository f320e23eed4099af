//! An open store: opening, closing, and tasks for the writer.

use parking_lot::Mutex;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::model::clock::ClockReading;
use crate::model::error;
use crate::store::error::StoreError;
use crate::store::sqlite::connect::open_failed;
use crate::store::sqlite::group_work::{GroupWork, TaskFailure};
use crate::store::sqlite::open::{self, OpenStore};
use crate::store::sqlite::options::SqliteOptions;
use crate::store::sqlite::queue::{TaskUrgency, enqueue_task};
use crate::store::sqlite::shared::StoreShared;
use crate::store::sqlite::writer::StoreWriter;

/// Bytes that a queue entry counts for, beside its payload.
const TASK_SIZE: usize = 512;

/// An open store. A clone is cheap, and the last clone closes the store.
///
/// Its methods are in the files of their subjects, beside the SQL that they run: writes are tasks for the writer thread,
/// queries run on the reader pool.
#[derive(Clone)]
pub(in crate::store) struct SqliteStore {
    pub(in crate::store) shared: Arc<StoreShared>,
    writer: Arc<WriterThread>,
}

/// The writer thread, which ends when this is dropped.
struct WriterThread {
    shared: Arc<StoreShared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl SqliteStore {
    /// Opens or creates the store, migrates it to the newest schema, and returns deliveries that a dead process had in
    /// flight to the queue (`Step::Interrupt`, with an attempt of unknown outcome on record). Blocks.
    ///
    /// If the disk is full or fails, this still returns a store. That store rejects every task with
    /// [`StoreError::Reopening`] and tries again until it can open the file.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(in crate::store) fn open(mut options: SqliteOptions) -> Result<Self, StoreError> {
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
    pub(super) fn start(
        options: SqliteOptions,
        opened: Option<OpenStore>,
    ) -> Result<Self, StoreError> {
        let path = options.path.clone();
        let shared = Arc::new(StoreShared::new(options, opened.as_ref()));
        // The writer opens its connections before the thread starts, so that an error here ends the start.
        let writer = StoreWriter::new(Arc::clone(&shared), opened);
        let writer = writer.map_err(|err| open_failed(&path, err))?;
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run())
            .map_err(|err| open_failed(&path, thread_failed(&err)))?;
        let writer = Arc::new(WriterThread {
            shared: Arc::clone(&shared),
            thread: Mutex::new(Some(thread)),
        });
        Ok(Self { shared, writer })
    }

    /// Runs a task on the writer thread, and returns when its result is durable.
    pub(super) async fn write<T, F>(
        &self,
        urgency: TaskUrgency,
        bytes: usize,
        run: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut GroupWork) -> Result<T, TaskFailure> + Send + 'static,
    {
        // Reject at once instead of queueing: the file may stay unavailable for as long as the disk fails.
        if !self.shared.is_healthy() {
            return Err(StoreError::Reopening);
        }
        let (task, answer) = enqueue_task(run);
        self.shared.queue.push(task, bytes + TASK_SIZE, urgency)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Returns the time of the store's clock, with the monotonic time. This clock decides when a delivery is due, when
    /// its round began and when a claim expires. Only elapsed time moves it, so that setting the wall clock delays
    /// nothing.
    pub(crate) fn now(&self) -> ClockReading {
        self.shared.clock().now()
    }

    /// Converts a time of the store's clock to the wall clock.
    pub(crate) fn to_wall_ms(&self, stored_ms: i64) -> i64 {
        stored_ms.saturating_sub(self.shared.clock().skew_ms())
    }

    /// Returns whether the store accepts commits now: `false` from a failed write until the file is open again.
    pub(crate) fn is_healthy(&self) -> bool {
        self.shared.is_healthy() && !self.shared.queue.is_closed()
    }

    /// Returns whether the file was ever open. It is `false` if the disk had no room at the start and still has not.
    /// Until then the content is unknown, and destinations have temporary numbers that only this store understands.
    pub(crate) fn was_opened(&self) -> bool {
        self.shared.was_opened()
    }

    /// Writes all waiting tasks and closes the file, for all clones. Blocks.
    pub(in crate::store) fn close(self) {
        self.writer.close();
    }
}

impl WriterThread {
    /// Writes all waiting tasks and ends the thread. Blocks.
    fn close(&self) {
        self.shared.queue.close();
        let taken = self.thread.lock().take();
        if let Some(thread) = taken {
            // The panic hook has already reported a panic of the thread, and its guard has closed the queue.
            let _ = thread.join();
        }
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.close();
    }
}

fn thread_failed(err: &std::io::Error) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOMEM);
    rusqlite::Error::SqliteFailure(code, Some(err.to_string()))
}
