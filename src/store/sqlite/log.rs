//! Writing the log back into the file.
//!
//! Thousands of pages that are made durable at once hold up whoever commits meanwhile for a tenth of a second. So a thread
//! with a connection of its own writes back in small steps beside the commits, and makes each step durable: SQLite itself
//! leaves that to the last step, which is the writer's own. When the log is long enough, and the file lacks only what was
//! committed just now, the writer writes that back between two groups, and the log begins anew.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use crate::model::clock::instant;
use crate::store::sqlite::connect;
use crate::store::sqlite::readers::out_of_order;

/// Pages in the log at which it is to begin anew: 64 MiB.
const ENOUGH: i64 = 16_000;

/// Pages that are written back at once, at least. Fewer mean writing the same page more often; more hold up who commits.
const STEP: i64 = 1_000;

/// From the begin of one step to the next, at least: under a load that fills the disk, larger steps write less.
const PAUSE: Duration = Duration::from_millis(50);

/// What the writer itself writes back between two groups, at most: a few milliseconds.
const REST: i64 = 500;

/// Pages at which commits wait until all of the log is written back, however long the disk takes: some 72 MB, which a log
/// exceeds by one group at most. Only a reader that stays in the log keeps it from starting over then.
const BOUND: i64 = 17_500;

/// Pages more before the next try, where readers keep the log from beginning anew.
const AGAIN: i64 = 1_000;

/// Pages at which commits wait for readers too.
const TOO_MANY: i64 = 64_000;

/// For readers to end.
const PATIENCE: Duration = Duration::from_millis(100);

/// How far the log was written back.
struct Written {
    /// Pages in the log.
    log: i64,
    /// Those of them that the file holds.
    back: i64,
}

/// A thread that writes back, and gives its connection back for the next step.
type Step = JoinHandle<rusqlite::Result<(Connection, Written)>>;

pub(super) struct Log {
    /// The file, to make durable what was written back; none before it was opened.
    file: Option<Arc<File>>,
    /// Pages in the log.
    pages: Arc<AtomicI64>,
    /// Those of them that the file holds.
    back: i64,
    /// Where the next step begins, and when at the earliest.
    next: i64,
    not_before: Instant,
    /// Where the log is to begin anew.
    mark: i64,
    /// Who is writing back.
    step: Option<Step>,
    /// The connection of the last step.
    spare: Option<Connection>,
}

impl Log {
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

    /// Takes up a file that was opened, and opens the connection for the steps before it is needed: when descriptors have
    /// run out, none can be opened.
    pub(super) fn take_up(&mut self, file: Arc<File>, path: &Path) {
        self.file = Some(file);
        self.spare = stepper(path).ok();
    }

    /// Counts what this connection commits.
    pub(super) fn watch(&self, conn: &mut Connection) -> rusqlite::Result<()> {
        let counted = Arc::clone(&self.pages);
        conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            counted.store(i64::from(pages), Ordering::Relaxed);
            Ok(())
        }))
    }

    /// Between two groups: sees to it that the log is written back where it is long enough, or where that is `wanted`.
    /// `true`: just now the file got all that was left in it.
    pub(super) fn tend(
        &mut self,
        conn: &Connection,
        path: &Path,
        wanted: bool,
    ) -> rusqlite::Result<bool> {
        let pages = self.pages.load(Ordering::Relaxed);
        if wanted {
            (self.next, self.mark) = (pages, pages);
        }
        let is_running = self.step.as_ref().is_some_and(|step| !step.is_finished());
        if is_running && pages < BOUND {
            return Ok(false);
        }
        if let Some(written) = self.wait()? {
            self.back = self.back.max(written.back);
            if pages >= self.mark && written.back == written.log {
                // Nobody is in the way: one more short step, and the rest is short enough.
                (self.next, self.not_before) = (pages, instant());
            }
        }
        if pages < self.back {
            self.begin_anew();
        }
        if pages >= self.mark {
            let mode = match pages.saturating_sub(self.back) {
                _ if pages >= TOO_MANY => Some("TRUNCATE"),
                _ if pages >= BOUND => Some("PASSIVE"),
                ..=REST => Some("PASSIVE"),
                _ => None,
            };
            if let Some(mode) = mode {
                self.mark = pages.saturating_add(AGAIN);
                return checkpoint(conn, mode);
            }
        }
        let now = instant();
        if pages >= self.next && now >= self.not_before {
            (self.next, self.not_before) = (pages.saturating_add(STEP), now + PAUSE);
            // Without a connection or a thread for it, since descriptors have run out say, the step is made later, or by the
            // writer where the log has reached its bound. That is no failure of the file.
            let spare = self.spare.take().or_else(|| stepper(path).ok());
            if let (Some(spare), Some(file)) = (spare, &self.file) {
                self.step = begin(spare, Arc::clone(file));
            }
        }
        Ok(false)
    }

    /// The next commit is the first in the log.
    fn begin_anew(&mut self) {
        (self.back, self.next, self.mark) = (0, STEP, ENOUGH);
    }

    /// While nothing is to be committed: writes all of it back. `false`: there was nothing, or a reader was in the way.
    pub(super) fn empty(&mut self, conn: &Connection) -> rusqlite::Result<bool> {
        self.wait()?;
        if self.pages.swap(0, Ordering::Relaxed) == 0 {
            return Ok(false);
        }
        self.begin_anew();
        checkpoint(conn, "PASSIVE")
    }

    /// Forgets the log of a file that is opened anew. Nobody else has it open afterwards.
    pub(super) fn forget(&mut self) {
        // Whatever came of it, the file is opened anew.
        let _ = self.wait();
        self.spare = None;
        self.begin_anew();
        self.pages.store(0, Ordering::Relaxed);
    }

    fn wait(&mut self) -> rusqlite::Result<Option<Written>> {
        let Some(step) = self.step.take() else {
            return Ok(None);
        };
        let (spare, written) = step.join().unwrap_or_else(|_| Err(out_of_order()))?;
        self.spare = Some(spare);
        Ok(Some(written))
    }
}

/// A connection that writes back beside the writer's.
fn stepper(path: &Path) -> rusqlite::Result<Connection> {
    let conn = connect::writer(path)?;
    // Only a connection that has read the file knows that there is a log.
    conn.query_row("PRAGMA schema_version", [], |_| Ok(()))?;
    Ok(conn)
}

fn begin(conn: Connection, file: Arc<File>) -> Option<Step> {
    let thread = std::thread::Builder::new().name("store-log".to_owned());
    let thread = thread.spawn(move || {
        let written = write_back(&conn, "PASSIVE")?;
        file.sync_data().map_err(|_| out_of_order())?;
        Ok((conn, written))
    });
    thread.ok()
}

/// Writes the log back into the file; `true`: all of it. A lock of somebody else is no failure, since it is tried again.
pub(super) fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<bool> {
    let written = write_back(conn, mode)?;
    Ok(written.log == written.back)
}

fn write_back(conn: &Connection, mode: &str) -> rusqlite::Result<Written> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    // Readers are waited for, but not for long: everybody else waits meanwhile.
    conn.busy_timeout(PATIENCE)?;
    let done = conn.query_row(&sql, [], |row| {
        let (is_busy, log, back): (bool, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(match is_busy {
            true => BUSY,
            false => Written { log, back },
        })
    });
    conn.busy_timeout(connect::PATIENCE)?;
    match done {
        Err(err) if err.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(BUSY),
        done => done,
    }
}

/// Nothing is known of how far it came.
const BUSY: Written = Written { log: 1, back: 0 };
