//! Copying the write-ahead log back into the file (checkpoints).
//!
//! Synchronizing thousands of pages at once would hold up commits for a tenth of a second. So a thread with its own
//! connection copies in small steps beside the commits and synchronizes each step, which SQLite itself leaves to the
//! last step. When the log is long enough and the file lacks only recent pages, the writer copies the rest between two
//! groups, and the log starts over.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use crate::model::clock::instant;
use crate::store::sqlite::connect;
use crate::store::sqlite::out_of_order::out_of_order;

/// Pages in the log from which it should start over: 64 MiB.
const ENOUGH: i64 = 16_000;

/// Pages between two steps, at least. Fewer pages mean copying the same page more often; more pages hold up commits.
const STEP: i64 = 1_000;

/// Time between the starts of two steps, at least. Under a load that fills the disk, larger steps write less.
const PAUSE: Duration = Duration::from_millis(50);

/// Pages that the writer itself copies between two groups, at most. This takes a few milliseconds.
const REST: i64 = 500;

/// Pages from which commits wait until the whole log is copied, however slow the disk is: about 72 MB, which a log
/// exceeds by at most one group. Then only a reader in the log can keep it from starting over.
const BOUND: i64 = 17_500;

/// Additional pages before the next try, if readers keep the log from starting over.
const AGAIN: i64 = 1_000;

/// Pages from which commits also wait for readers.
const TOO_MANY: i64 = 64_000;

/// How long a checkpoint waits for readers.
const PATIENCE: Duration = Duration::from_millis(100);

/// How far a checkpoint has copied the log.
struct CheckpointProgress {
    /// Number of pages in the log.
    log: i64,
    /// Number of these pages that the file holds.
    back: i64,
}

/// A thread that runs one step and returns its connection for the next one.
type CheckpointStep = JoinHandle<rusqlite::Result<(Connection, CheckpointProgress)>>;

pub(super) struct WriteAheadLog {
    /// The file, for synchronizing what was copied; `None` before it is open.
    file: Option<Arc<File>>,
    /// Number of pages in the log.
    pages: Arc<AtomicI64>,
    /// Number of these pages that the file holds.
    back: i64,
    /// Number of pages at which the next step begins.
    next: i64,
    not_before: Instant,
    /// Number of pages at which the log should start over.
    mark: i64,
    /// The step that is running.
    step: Option<CheckpointStep>,
    /// The idle connection for the next step.
    spare: Option<Connection>,
}

impl WriteAheadLog {
    pub(super) fn new() -> Self {
        Self {
            file: None,
            pages: Arc::new(AtomicI64::new(0)),
            back: 0,
            next: STEP,
            not_before: instant(),
            mark: ENOUGH,
            step: None,
            spare: None,
        }
    }

    /// Takes over an opened file. Opens the connection for the steps now, because the process may have no free
    /// descriptor later.
    pub(super) fn take_up(&mut self, file: Arc<File>, path: &Path) {
        self.file = Some(file);
        self.spare = stepper(path).ok();
    }

    /// Counts the pages that this connection commits.
    pub(super) fn watch(&self, conn: &mut Connection) -> rusqlite::Result<()> {
        let counted = Arc::clone(&self.pages);
        conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            counted.store(i64::from(pages), Ordering::Relaxed);
            Ok(())
        }))
    }

    /// Runs between two groups: copies the log if it is long enough or if that is `wanted`. Returns `true` if the file
    /// just received everything that was left in the log.
    pub(super) fn tend(
        &mut self,
        conn: &Connection,
        path: &Path,
        wanted: bool,
    ) -> rusqlite::Result<bool> {
        let pages = self.pages.load(Ordering::Relaxed);
        if wanted {
            // Start a step and the final copy now, however short the log is.
            (self.next, self.mark) = (pages, pages);
        }
        let is_running = self.step.as_ref().is_some_and(|step| !step.is_finished());
        // Let the step run beside the commits until the log is too long.
        if is_running && pages < BOUND {
            return Ok(false);
        }
        if let Some(written) = self.wait()? {
            self.back = self.back.max(written.back);
            if pages >= self.mark && written.back == written.log {
                // No reader is in the way: after one more short step the rest is short enough.
                (self.next, self.not_before) = (pages, instant());
            }
        }
        // SQLite started the log over, so the counts of the old log no longer apply.
        if pages < self.back {
            self.restart();
        }
        if pages >= self.mark {
            // `TRUNCATE` waits for readers, `PASSIVE` does not.
            let mode = match pages.saturating_sub(self.back) {
                _ if pages >= TOO_MANY => Some("TRUNCATE"),
                _ if pages >= BOUND => Some("PASSIVE"),
                ..=REST => Some("PASSIVE"),
                _ => None,
            };
            if let Some(mode) = mode {
                // If a reader prevents the restart of the log, do not try again after every group.
                self.mark = pages.saturating_add(AGAIN);
                return checkpoint(conn, mode);
            }
        }
        let now = instant();
        if pages >= self.next && now >= self.not_before {
            (self.next, self.not_before) = (pages.saturating_add(STEP), now + PAUSE);
            // A missing connection or thread, for example because descriptors ran out, is not a failure of the file.
            // The step runs later, or the writer copies once the log reaches its bound.
            let spare = self.spare.take().or_else(|| stepper(path).ok());
            if let (Some(spare), Some(file)) = (spare, &self.file) {
                self.step = begin(spare, Arc::clone(file));
            }
        }
        Ok(false)
    }

    /// Resets the counts, because the next commit is the first in the log.
    fn restart(&mut self) {
        (self.back, self.next, self.mark) = (0, STEP, ENOUGH);
    }

    /// Copies the whole log while no task waits. Returns `false` if the log was empty or a reader was in the way.
    pub(super) fn empty(&mut self, conn: &Connection) -> rusqlite::Result<bool> {
        self.wait()?;
        if self.pages.swap(0, Ordering::Relaxed) == 0 {
            return Ok(false);
        }
        self.restart();
        checkpoint(conn, "PASSIVE")
    }

    /// Copies the whole log and empties its file, so that no byte of a deleted row is left in it. Returns `false` if a
    /// reader was in the way.
    pub(super) fn truncate(&mut self, conn: &Connection) -> rusqlite::Result<bool> {
        self.wait()?;
        let is_whole = checkpoint(conn, "TRUNCATE")?;
        if is_whole {
            self.pages.store(0, Ordering::Relaxed);
            self.restart();
        }
        Ok(is_whole)
    }

    /// Forgets the log of a file that will be opened again. After this no connection of this type is open.
    pub(super) fn forget(&mut self) {
        // The result does not matter, because the file is opened again.
        let _ = self.wait();
        self.spare = None;
        self.restart();
        self.pages.store(0, Ordering::Relaxed);
    }

    fn wait(&mut self) -> rusqlite::Result<Option<CheckpointProgress>> {
        let Some(step) = self.step.take() else {
            return Ok(None);
        };
        let (spare, written) = step.join().unwrap_or_else(|_| Err(out_of_order()))?;
        self.spare = Some(spare);
        Ok(Some(written))
    }
}

/// Opens a connection that copies the log beside the writer.
fn stepper(path: &Path) -> rusqlite::Result<Connection> {
    let conn = connect::writer(path)?;
    // Only a connection that has read the file knows about the log.
    conn.query_row("PRAGMA schema_version", [], |_| Ok(()))?;
    Ok(conn)
}

fn begin(conn: Connection, file: Arc<File>) -> Option<CheckpointStep> {
    let thread = std::thread::Builder::new().name("store-log".to_owned());
    let thread = thread.spawn(move || {
        let written = write_back(&conn, "PASSIVE")?;
        // SQLite synchronizes the file only after the last page, so each step does it itself.
        file.sync_data().map_err(|_| out_of_order())?;
        Ok((conn, written))
    });
    thread.ok()
}

/// Copies the log into the file. Returns `true` if all of it was copied. A lock of another process is not an error,
/// because the next try may succeed.
pub(super) fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<bool> {
    let written = write_back(conn, mode)?;
    Ok(written.log == written.back)
}

fn write_back(conn: &Connection, mode: &str) -> rusqlite::Result<CheckpointProgress> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    // Wait for readers, but briefly: all commits wait meanwhile.
    conn.busy_timeout(PATIENCE)?;
    let done = conn.query_row(&sql, [], |row| {
        let (is_busy, log, back): (bool, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(match is_busy {
            true => BUSY,
            false => CheckpointProgress { log, back },
        })
    });
    conn.busy_timeout(connect::PATIENCE)?;
    match done {
        Err(err) if err.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(BUSY),
        done => done,
    }
}

/// The progress of a checkpoint that a lock prevented: unknown.
const BUSY: CheckpointProgress = CheckpointProgress { log: 1, back: 0 };
