//! The writer thread: it runs waiting tasks as one group in one transaction.
//!
//! It replies to a task only after the group is durable. After a failed write the state of the file is unknown, because
//! the system may have lost pages that it reports as written. The writer then closes all connections, makes the log
//! durable before it copies from it, opens the file again, copies and synchronizes the log, and checks the file. It
//! undoes a group that it reported as failed but finds in the file. Until then it rejects every task.

use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;

use crate::model::clock::instant;
use crate::model::error::chain;
use crate::store::error::StoreError;
use crate::store::sqlite::checkpoint::{WriteAheadLog, checkpoint};
use crate::store::sqlite::connect::{FileLock, open_failed};
use crate::store::sqlite::group_work::{GroupWork, UndoEntry};
use crate::store::sqlite::open::OpenStore;
use crate::store::sqlite::out_of_order::out_of_order;
use crate::store::sqlite::queue::{NextWork, TaskGroup};
use crate::store::sqlite::shared::StoreShared;
use crate::store::sqlite::{connect, limits, open, quick_check, wal};

/// After this pause without tasks the writer empties the log even if it is short, so that the next start is quick.
const QUIET: Duration = Duration::from_secs(3);

/// Pause between two tries to open the file again.
const PAUSE: Duration = Duration::from_secs(1);

/// File descriptors that opening the file needs: file and log for each connection, and the index of the log.
const RESERVE: usize = 16;

pub(super) struct StoreWriter {
    pub(super) shared: Arc<StoreShared>,
    pub(super) work: Option<GroupWork>,
    pub(super) log: WriteAheadLog,
    pub(super) lock: Option<FileLock>,
    /// Next look whether a process that leaves still writes.
    pub(super) next_watch: Instant,
    /// Deliveries in flight by this process, while the file is being opened again.
    own: HashSet<i64>,
    /// True if a failure may have lost pages of the file itself, not only of the log.
    is_file_in_doubt: bool,
    /// Placeholder descriptors, closed just before the file is opened again.
    reserve: Vec<File>,
    /// Number of tasks in the previous group.
    last: usize,
}

/// Closes the queue however the thread ends, a panic included, so that no caller waits forever.
struct CloseOnDrop(Arc<StoreShared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.queue.close();
        drop(self.0.queue.take_all());
        self.0.readers.close();
    }
}

impl StoreWriter {
    /// Creates the writer. If `opened` is `None`, the disk had no room, and `run` tries again.
    pub(super) fn new(
        shared: Arc<StoreShared>,
        opened: Option<OpenStore>,
    ) -> rusqlite::Result<Self> {
        let mut writer = Self {
            shared,
            work: None,
            log: WriteAheadLog::new(),
            lock: None,
            next_watch: instant(),
            own: HashSet::new(),
            is_file_in_doubt: false,
            reserve: Vec::new(),
            last: 0,
        };
        if let Some(opened) = opened {
            writer.take_over(opened)?;
            writer.shared.readers.fill();
        }
        writer.set_reserve();
        Ok(writer)
    }

    fn take_over(&mut self, opened: OpenStore) -> rusqlite::Result<()> {
        self.shared.sealer.store(opened.sealer);
        self.shared.clock.store(opened.clock);
        self.log.take_up(opened.lock.file(), &self.shared.path);
        self.lock = Some(opened.lock);
        self.shared.sharing.set_predecessor(opened.has_predecessor);
        self.take_up(opened.work)
    }

    fn set_reserve(&mut self) {
        let missing = RESERVE.saturating_sub(self.reserve.len());
        let opened = (0..missing).map_while(|_| File::open("/dev/null").ok());
        self.reserve.extend(opened);
    }

    fn take_up(&mut self, mut work: GroupWork) -> rusqlite::Result<()> {
        self.log.watch(&mut work.conn)?;
        self.shared.publish(Arc::clone(&work.names));
        self.work = Some(work);
        Ok(())
    }

    pub(super) fn run(mut self) {
        let _guard = CloseOnDrop(Arc::clone(&self.shared));
        // The disk was not usable at the start. Wait for it here, where tasks are rejected meanwhile.
        if self.work.is_none() && !self.recover(&[]) {
            return;
        }
        loop {
            self.follow_sharing();
            if let Err(err) = self.watch_predecessor() {
                self.fail(TaskGroup::default(), &err);
            }
            self.gather();
            match self.shared.queue.take(self.patience(QUIET)) {
                NextWork::Group(group) => self.write(group),
                NextWork::Quiet => self.rest(),
                NextWork::Closed => break,
            }
        }
        // Readers and a running step hold the log, so end them before it is emptied.
        self.shared.readers.shut();
        self.log.forget();
        #[cfg(test)]
        if self.shared.faults.is_abandoned.load(Ordering::SeqCst) {
            return;
        }
        // The process that follows copies the log.
        let is_shared = self.shared.sharing.is_shared();
        if let Some(work) = self.work.take().filter(|_| !is_shared) {
            close(work);
        }
    }

    /// Waits briefly for more tasks. Callers that got a reply together often send their next task together. Without
    /// this pause every second group would hold only one task.
    fn gather(&self) {
        let mut seen = self.shared.queue.len();
        // Only a few yields: the next task may be a single one that must not wait.
        for _ in 0..8 {
            // Small groups are not worth a pause.
            if seen >= self.last || self.last < 4 {
                return;
            }
            std::thread::yield_now();
            let now = self.shared.queue.len();
            if now == seen && now > 0 {
                return;
            }
            seen = now;
        }
    }

    fn write(&mut self, mut group: TaskGroup) {
        self.last = group.tasks.len();
        let began = instant();
        let done = self.transact(&mut group);
        let took = instant().saturating_duration_since(began);
        // Only now: during the transaction the bytes of the group are still in memory.
        self.shared.queue.release(group.bytes);
        if let Err(err) = done {
            self.fail(group, &err);
            return;
        }
        let count = u64::try_from(group.tasks.len()).unwrap_or(0);
        self.shared.count_group(count, took);
        for task in group.tasks {
            task.answer();
        }
        if let Err(err) = self.checkpoint() {
            // A failed checkpoint may have lost pages of the file itself.
            self.is_file_in_doubt = true;
            self.fail(TaskGroup::default(), &err);
        }
    }

    fn transact(&mut self, group: &mut TaskGroup) -> rusqlite::Result<()> {
        let work = self.work.as_mut().ok_or_else(out_of_order)?;
        work.limits.measure(&work.conn);
        // The limit counts the log too. Copying the log into the file may bring the store below the limit again.
        if work.limits.is_log_large() && !self.shared.sharing.is_shared() {
            let copied = checkpoint(&work.conn, "TRUNCATE");
            copied.inspect_err(|_| self.is_file_in_doubt = true)?;
            work.limits.measure(&work.conn);
        }
        work.start()?;
        for task in &mut group.tasks {
            task.run(work)?;
        }
        work.flush()?;
        // Publish new names before the commit: a reader that sees a new number must find its name.
        if work.are_names_new {
            work.are_names_new = false;
            self.shared.publish(Arc::clone(&work.names));
        }
        #[cfg(test)]
        self.shared
            .faults
            .fail_once(|faults| &faults.before_commit)?;
        work.commit()?;
        #[cfg(test)]
        self.shared
            .faults
            .fail_once(|faults| &faults.after_commit)?;
        // The group is durable and is about to be reported as done. Nothing of it may be undone, even if a later step
        // fails.
        work.ghosts.clear();
        Ok(())
    }

    fn checkpoint(&mut self) -> rusqlite::Result<()> {
        #[cfg(test)]
        self.shared.faults.fail_once(|faults| &faults.checkpoint)?;
        if self.shared.sharing.is_shared() {
            return Ok(());
        }
        let Some(work) = &mut self.work else {
            return Ok(());
        };
        if work.wants_empty_log && self.log.truncate(&work.conn)? {
            work.wants_empty_log = false;
            self.shared.truncations.fetch_add(1, Ordering::Release);
            self.shared.count_checkpoint();
            return Ok(());
        }
        let is_wanted = std::mem::take(&mut work.wants_checkpoint);
        let is_whole = self.log.tend(&work.conn, &self.shared.path, is_wanted)?;
        if is_whole {
            self.shared.count_checkpoint();
        }
        Ok(())
    }

    fn rest(&mut self) {
        let Some(work) = self
            .work
            .as_mut()
            .filter(|_| !self.shared.sharing.is_shared())
        else {
            return;
        };
        let emptied = match work.wants_empty_log {
            // A reader was busy at an earlier try.
            true => self.log.truncate(&work.conn).inspect(|is_whole| {
                work.wants_empty_log = !is_whole;
                self.shared
                    .truncations
                    .fetch_add(u64::from(*is_whole), Ordering::Release);
            }),
            false => self.log.empty(&work.conn),
        };
        match emptied {
            Ok(true) => self.shared.count_checkpoint(),
            Ok(false) => {}
            Err(err) => {
                self.is_file_in_doubt = true;
                self.fail(TaskGroup::default(), &err);
            }
        }
    }

    /// Rejects all waiting tasks, then opens the file again, however long that takes.
    fn fail(&mut self, group: TaskGroup, err: &rusqlite::Error) {
        self.shared.set_healthy(false);
        let since = instant();
        tracing::error!(
            path = %self.shared.path.display(),
            error = %chain(err),
            "a write to the store failed: it accepts no events until the file is open again and checked; check the disk"
        );
        let mut ghosts = Vec::new();
        if let Some(mut work) = self.work.take() {
            // The result does not matter, because the connection closes with `work`.
            let _ = work.conn.execute_batch("ROLLBACK");
            ghosts = std::mem::take(&mut work.ghosts);
            self.own = std::mem::take(&mut work.own);
        }
        // Tasks that wait are rejected too: their callers may retry elsewhere instead of waiting for the disk.
        let waiting = self.shared.queue.take_all();
        for task in group.tasks.into_iter().chain(waiting) {
            task.refuse(StoreError::Write(again(err)));
        }
        self.shared.readers.shut();
        self.log.forget();
        if self.shared.sharing.is_shared() {
            // Only a process that is alone may check the file. The one that follows finds the failure itself.
            self.shared.queue.close();
            return;
        }
        if !self.recover(&ghosts) {
            return;
        }
        let away = instant().saturating_duration_since(since);
        let away_ms = u64::try_from(away.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(
            away_ms,
            "the store file is open again: the store accepts events"
        );
    }

    /// Opens the file, however long that takes. Returns `false` if the store is closed meanwhile.
    fn recover(&mut self, ghosts: &[UndoEntry]) -> bool {
        let mut reported = String::new();
        loop {
            // Free the placeholders, so that the file can be opened even if sockets have taken all other descriptors.
            self.reserve.clear();
            let opened = match self.lock {
                Some(_) => self.reopen(ghosts).map_err(|err| chain(&err)),
                None => self.open_at_last().map_err(|err| chain(&err)),
            };
            let opened = opened.and_then(|()| self.let_in().map_err(|err| chain(&err)));
            match opened {
                Ok(()) => break,
                Err(_) if self.shared.queue.is_closed() => return false,
                Err(error) => {
                    // Log each distinct error once, not once a second.
                    if error != reported {
                        tracing::warn!(
                            error,
                            "the store cannot be opened yet; trying again every second"
                        );
                        reported = error;
                    }
                    self.shared.queue.pause(PAUSE);
                }
            }
            for task in self.shared.queue.take_all() {
                // These tasks passed the health check before the failure. They must not wait for the disk.
                task.refuse(StoreError::Reopening);
            }
        }
        self.set_reserve();
        self.is_file_in_doubt = false;
        true
    }

    /// Ends the time in which nothing is taken. Destinations that were named meanwhile get their real numbers first.
    fn let_in(&mut self) -> rusqlite::Result<()> {
        #[cfg(test)]
        drop(self.shared.faults.opening.lock());
        // Numbers below zero are given under this lock. One that was given later would never get a real number, and events
        // for it would go nowhere.
        let mut aliases = self.shared.aliases.lock();
        if !aliases.unsettled().is_empty() {
            let work = self.work.as_mut().ok_or_else(out_of_order)?;
            open::settle_aliases(&mut aliases, work)?;
            self.shared.publish(Arc::clone(&work.names));
        }
        self.shared.readers.reopen();
        self.shared.set_healthy(true);
        self.shared.was_opened.store(true, Ordering::Release);
        Ok(())
    }

    /// Opens the file that could not be opened at the start.
    fn open_at_last(&mut self) -> Result<(), StoreError> {
        let mut opened = open::open(&self.shared.options)?;
        let failed = |err| open_failed(&self.shared.path, err);
        // Before any task runs: destinations that were named meanwhile need their real numbers.
        let settled = open::settle_aliases(&mut self.shared.aliases.lock(), &mut opened.work);
        settled.map_err(failed)?;
        self.take_over(opened)
            .map_err(|err| open_failed(&self.shared.path, err))?;
        tracing::warn!("the store is open and accepts events");
        Ok(())
    }

    fn reopen(&mut self, ghosts: &[UndoEntry]) -> rusqlite::Result<()> {
        // Close the old connection first: it may hold pages that the file has lost.
        self.work = None;
        let Some(file) = self.lock.as_ref().map(FileLock::file) else {
            return Err(out_of_order());
        };
        let path = &self.shared.path;
        // The log must not be rewritten while a process that leaves writes to it.
        if self.lock.as_ref().is_some_and(FileLock::has_predecessor) {
            return Err(file_is_locked());
        }
        // The index of the log records how much of the log the file holds. It is wrong if the file has lost pages, and
        // SQLite rebuilds it only while no other process has the file open.
        if self.is_file_in_doubt && !FileLock::is_alone(&file) {
            return Err(file_is_locked());
        }
        // After a failed synchronization the system's cache holds pages that look written and are not. They must be
        // durable before anything is copied.
        wal::secure(path).map_err(|err| connect::io_failed(&err))?;
        let mut conn = connect::writer(path)?;
        connect::prepare_writer(&conn)?;
        // A reader of another process may prevent truncating the log. A passive checkpoint copies everything too.
        let copied = match checkpoint(&conn, "TRUNCATE") {
            Ok(false) => checkpoint(&conn, "PASSIVE"),
            copied => copied,
        };
        if !copied.inspect_err(|_| self.is_file_in_doubt = true)? {
            return Err(out_of_order());
        }
        quick_check::check(&mut conn)?;
        let limits = limits::StoreLimits::new(&self.shared.options);
        let keep_body = self.shared.options.keep_body;
        let mut work = GroupWork::new(conn, limits, keep_body, self.shared.clock())?;
        work.own = std::mem::take(&mut self.own);
        work.start()?;
        // Before any new task, or the retry of a rejected sender would be a duplicate.
        work.undo(ghosts)?;
        work.flush()?;
        work.commit()?;
        self.log.take_up(file, &self.shared.path);
        self.take_up(work)?;
        self.shared.count_reopened();
        Ok(())
    }
}

fn file_is_locked() -> rusqlite::Error {
    let text = "another process has the store file open: close it, so that the file can be checked"
        .to_owned();
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    rusqlite::Error::SqliteFailure(code, Some(text))
}

fn close(work: GroupWork) {
    let conn = work.conn;
    if checkpoint(&conn, "TRUNCATE").is_ok_and(|is_whole| is_whole) {
        // The log is empty, so SQLite may delete it with the last connection.
        let _ = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
    }
}

/// Copies an error for the next waiting caller, since SQLite errors cannot be cloned.
fn again(err: &rusqlite::Error) -> rusqlite::Error {
    match err {
        rusqlite::Error::SqliteFailure(code, text) => {
            rusqlite::Error::SqliteFailure(*code, text.clone())
        }
        other => {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR);
            rusqlite::Error::SqliteFailure(code, Some(other.to_string()))
        }
    }
}
