//! Writing the log back into the file.
//!
//! That takes as long as hundreds of commits, so a thread with a connection of its own does most of it beside them. What was
//! committed meanwhile is little, and the writer itself writes it back between two groups: only when the file holds all
//! that the log holds does the log begin anew.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use crate::store::sqlite::connect;
use crate::store::sqlite::readers::out_of_order;

/// Pages in the log at which it is written back: 64 MiB. Fewer mean writing the same page more often.
const ENOUGH: i64 = 16_000;

/// Pages more before the next try, where readers keep the log from beginning anew.
const AGAIN: i64 = 4_000;

/// What the writer itself writes back between two groups, at most: a few milliseconds.
const REST: i64 = 2_000;

/// Pages at which commits and readers have to wait.
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

pub(super) struct Log {
    /// Pages in it.
    pages: Arc<AtomicI64>,
    /// Where it is written back next.
    mark: i64,
    /// Who is writing back.
    thread: Option<JoinHandle<rusqlite::Result<Written>>>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self {
            pages: Arc::new(AtomicI64::new(0)),
            mark: ENOUGH,
            thread: None,
        }
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
        if pages < self.mark.saturating_sub(AGAIN) {
            self.mark = ENOUGH;
        }
        if pages >= TOO_MANY && pages >= self.mark {
            self.wait()?;
            self.mark = pages.saturating_add(AGAIN);
            return checkpoint(conn, "TRUNCATE");
        }
        let mut is_whole = false;
        if let Some(thread) = &self.thread {
            if !thread.is_finished() {
                return Ok(false);
            }
            let written = self.wait()?.unwrap_or(BUSY);
            let is_rest_short = pages.saturating_sub(written.back) <= REST;
            if is_rest_short {
                is_whole = checkpoint(conn, "PASSIVE")?;
            }
            // Otherwise what was committed meanwhile is written back in the same way at once, unless a reader is in the way.
            if is_rest_short || written.back < written.log {
                self.mark = pages.saturating_add(AGAIN);
            }
        }
        if pages >= self.mark || wanted {
            self.thread = Some(begin(path)?);
        }
        Ok(is_whole)
    }

    /// While nothing is to be committed: writes all of it back. `false`: there was nothing, or a reader was in the way.
    pub(super) fn empty(&mut self, conn: &Connection) -> rusqlite::Result<bool> {
        self.wait()?;
        if self.pages.swap(0, Ordering::Relaxed) == 0 {
            return Ok(false);
        }
        self.mark = ENOUGH;
        checkpoint(conn, "PASSIVE")
    }

    /// Forgets the log of a file that is opened anew. Nobody else has it open afterwards.
    pub(super) fn forget(&mut self) {
        // Whatever came of it, the file is opened anew.
        let _ = self.wait();
        self.mark = ENOUGH;
        self.pages.store(0, Ordering::Relaxed);
    }

    fn wait(&mut self) -> rusqlite::Result<Option<Written>> {
        let thread = self.thread.take();
        let done = thread.map(|thread| thread.join().unwrap_or_else(|_| Err(out_of_order())));
        done.transpose()
    }
}

fn begin(path: &Path) -> rusqlite::Result<JoinHandle<rusqlite::Result<Written>>> {
    let path = path.to_owned();
    let thread = std::thread::Builder::new().name("store-log".to_owned());
    let thread = thread.spawn(move || {
        let conn = connect::writer(&path)?;
        // Only a connection that has read the file knows that there is a log.
        conn.query_row("PRAGMA schema_version", [], |_| Ok(()))?;
        write_back(&conn, "PASSIVE")
    });
    thread.map_err(|_| out_of_order())
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
