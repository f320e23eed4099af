//! The one thread that writes. It takes what is waiting as a group, runs it as one transaction, and answers when that is
//! durable.
//!
//! After a failure nothing is known of the file: pages may be lost that the system believes to be written. So all
//! connections are closed; the log is made durable, before anything is copied from it; the file is opened anew, what its
//! log holds is written into it and synchronised, and it is checked. What was told as failed and stands in it after all is taken out again. Until then all is refused.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::config::DbConfig;

use crate::model::clock::instant;
use crate::model::error::chain;
use crate::store::StoreError;
use crate::store::sqlite::connect::{Lock, open_failed};
use crate::store::sqlite::log::{Log, checkpoint};
use crate::store::sqlite::opening::Opened;
use crate::store::sqlite::queue::{Group, Next};
use crate::store::sqlite::readers::out_of_order;
use crate::store::sqlite::work::{Ghost, Work};
use crate::store::sqlite::{Shared, affordable, connect, limits, opening, wal};

/// After such a pause the log is written back although it is short, so that the next start is quick.
const QUIET: Duration = Duration::from_secs(3);

/// Between two tries to open the file anew.
const PAUSE: Duration = Duration::from_secs(1);

/// Descriptors that opening the file takes: file and log of each connection, and the index.
const RESERVE: usize = 16;

pub(super) struct Writer {
    shared: Arc<Shared>,
    work: Option<Work>,
    log: Log,
    lock: Option<Lock>,
    /// A failure may have lost pages of the file itself, not of the log alone.
    is_file_in_doubt: bool,
    /// Descriptors that are kept free for opening the file again.
    reserve: Vec<File>,
    /// Tasks in the group before.
    last: usize,
}

/// Nobody may wait for a thread that has ended, however it ended.
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.queue.close();
        drop(self.0.queue.take_all());
        self.0.readers.close();
    }
}

impl Writer {
    /// `opened`: none where there was no room for it; then it is tried again and again.
    pub(super) fn new(shared: Arc<Shared>, opened: Option<Opened>) -> rusqlite::Result<Self> {
        let mut writer = Self {
            shared,
            work: None,
            log: Log::new(),
            lock: None,
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

    fn take_over(&mut self, opened: Opened) -> rusqlite::Result<()> {
        self.shared.sealer.store(opened.sealer);
        self.shared.clock.store(opened.clock);
        self.log.take_up(opened.lock.file(), &self.shared.path);
        self.lock = Some(opened.lock);
        self.take_up(opened.work)
    }

    fn set_reserve(&mut self) {
        let missing = RESERVE.saturating_sub(self.reserve.len());
        let opened = (0..missing).map_while(|_| File::open("/dev/null").ok());
        self.reserve.extend(opened);
    }

    fn take_up(&mut self, mut work: Work) -> rusqlite::Result<()> {
        self.log.watch(&mut work.conn)?;
        self.shared.publish(Arc::clone(&work.names));
        self.work = Some(work);
        Ok(())
    }

    pub(super) fn run(mut self) {
        let _guard = CloseOnDrop(Arc::clone(&self.shared));
        if self.work.is_none() && !self.recover(&[]) {
            return;
        }
        loop {
            self.gather();
            match self.shared.queue.take(QUIET) {
                Next::Group(group) => self.write(group),
                Next::Quiet => self.rest(),
                Next::Closed => break,
            }
        }
        self.shared.readers.shut();
        self.log.forget();
        if self.shared.is_abandoned() {
            return;
        }
        if let Some(work) = self.work.take() {
            close(work);
        }
    }

    /// Those who were answered together often ask again together: they get a moment to do so, or each second group would
    /// be of one.
    fn gather(&self) {
        let mut seen = self.shared.queue.len();
        for _ in 0..8 {
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

    fn write(&mut self, mut group: Group) {
        self.last = group.tasks.len();
        let began = instant();
        let done = self.transact(&mut group);
        let took = instant().saturating_duration_since(began);
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
            self.is_file_in_doubt = true;
            self.fail(Group::default(), &err);
        }
    }

    fn transact(&mut self, group: &mut Group) -> rusqlite::Result<()> {
        let work = self.work.as_mut().ok_or_else(out_of_order)?;
        work.limits.measure(&work.conn);
        if work.limits.is_log_large() {
            let copied = checkpoint(&work.conn, "TRUNCATE");
            copied.inspect_err(|_| self.is_file_in_doubt = true)?;
            work.limits.measure(&work.conn);
        }
        work.start()?;
        for task in &mut group.tasks {
            task.run(work)?;
        }
        work.flush()?;
        if work.are_names_new {
            work.are_names_new = false;
            self.shared.publish(Arc::clone(&work.names));
        }
        self.shared.test_failure(false)?;
        work.commit()?;
        self.shared.test_failure(true)?;
        // Durable, and about to be told so: whatever fails from here on, nothing of it may be undone.
        work.ghosts.clear();
        Ok(())
    }

    fn checkpoint(&mut self) -> rusqlite::Result<()> {
        self.shared.test_checkpoint()?;
        let Some(work) = &mut self.work else {
            return Ok(());
        };
        let is_wanted = std::mem::take(&mut work.wants_checkpoint);
        let is_whole = self.log.tend(&work.conn, &self.shared.path, is_wanted)?;
        if is_whole {
            self.shared.count_checkpoint();
        }
        Ok(())
    }

    fn rest(&mut self) {
        let Some(work) = &self.work else {
            return;
        };
        match self.log.empty(&work.conn) {
            Ok(true) => self.shared.count_checkpoint(),
            Ok(false) => {}
            Err(err) => {
                self.is_file_in_doubt = true;
                self.fail(Group::default(), &err);
            }
        }
    }

    /// Tells all who wait, and opens the file anew, for as long as it takes.
    fn fail(&mut self, group: Group, err: &rusqlite::Error) {
        self.shared.set_healthy(false);
        let since = instant();
        tracing::error!(
            path = %self.shared.path.display(),
            error = %chain(err),
            "the store failed; nothing is taken until it was opened anew"
        );
        let mut ghosts = Vec::new();
        if let Some(mut work) = self.work.take() {
            let _ = work.conn.execute_batch("ROLLBACK");
            ghosts = std::mem::take(&mut work.ghosts);
        }
        let waiting = self.shared.queue.take_all();
        for task in group.tasks.into_iter().chain(waiting) {
            task.refuse(StoreError::Write(again(err)));
        }
        self.shared.readers.shut();
        self.log.forget();
        if !self.recover(&ghosts) {
            return;
        }
        let away = instant().saturating_duration_since(since);
        let away_ms = u64::try_from(away.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(
            away_ms,
            "the file was opened again; the store takes events again"
        );
    }

    /// Opens the file, for as long as it takes. `false`: it is to be closed.
    fn recover(&mut self, ghosts: &[Ghost]) -> bool {
        let mut reported = String::new();
        loop {
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
                    if error != reported {
                        tracing::warn!(error, "the store cannot be opened yet, trying again");
                        reported = error;
                    }
                    self.shared.queue.pause(PAUSE);
                }
            }
            for task in self.shared.queue.take_all() {
                task.refuse(StoreError::Reopening);
            }
        }
        self.set_reserve();
        self.is_file_in_doubt = false;
        true
    }

    /// Ends the time in which nothing is taken. Destinations that were named meanwhile get their real numbers first.
    fn let_in(&mut self) -> rusqlite::Result<()> {
        self.shared.test_opening();
        // Numbers below zero are given under this lock. One that was given later would never get a real number, and events
        // for it would go nowhere.
        let mut aliases = self.shared.aliases();
        if aliases.has_unsettled() {
            let work = self.work.as_mut().ok_or_else(out_of_order)?;
            aliases.settle(work)?;
            self.shared.publish(Arc::clone(&work.names));
        }
        self.shared.readers.reopen();
        self.shared.set_healthy(true);
        self.shared.was_opened.store(true, Ordering::Release);
        Ok(())
    }

    /// Opens the file that could not be opened at the start.
    fn open_at_last(&mut self) -> Result<(), StoreError> {
        let mut opened = opening::open(&self.shared.options)?;
        let failed = |err| open_failed(&self.shared.path, err);
        let settled = self.shared.aliases().settle(&mut opened.work);
        settled.map_err(failed)?;
        self.take_over(opened)
            .map_err(|err| open_failed(&self.shared.path, err))?;
        tracing::warn!("the store was opened and takes events");
        Ok(())
    }

    fn reopen(&mut self, ghosts: &[Ghost]) -> rusqlite::Result<()> {
        self.work = None;
        let Some(file) = self.lock.as_ref().map(Lock::file) else {
            return Err(out_of_order());
        };
        let path = &self.shared.path;
        // The index of the log says how much of it the file holds, and would go on saying so where the file has lost it. It is
        // made again where no other process has the file open.
        if self.is_file_in_doubt && !Lock::is_alone(&file) {
            return Err(others_are_in_the_way());
        }
        // What a failed synchronisation left in the system's cache looks written and is not: nothing may be copied from it
        // before it is.
        wal::secure(path).map_err(|err| connect::io_failed(&err))?;
        let mut conn = connect::writer(path)?;
        connect::prepare_writer(&conn)?;
        // A reader of another process may keep the log from being cut, which does not matter here.
        let copied = match checkpoint(&conn, "TRUNCATE") {
            Ok(false) => checkpoint(&conn, "PASSIVE"),
            copied => copied,
        };
        if !copied.inspect_err(|_| self.is_file_in_doubt = true)? {
            return Err(out_of_order());
        }
        affordable::check(&mut conn)?;
        let limits = limits::Limits::new(&self.shared.options);
        let keep_body = self.shared.options.keep_body;
        let mut work = Work::new(conn, limits, keep_body, self.shared.clock())?;
        work.start()?;
        work.undo(ghosts)?;
        work.flush()?;
        work.commit()?;
        self.log.take_up(file, &self.shared.path);
        self.take_up(work)?;
        self.shared.count_reopened();
        Ok(())
    }
}

fn others_are_in_the_way() -> rusqlite::Error {
    let text = "another process has the file open: it has to end first".to_owned();
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    rusqlite::Error::SqliteFailure(code, Some(text))
}

fn close(work: Work) {
    let conn = work.conn;
    if checkpoint(&conn, "TRUNCATE").is_ok_and(|is_whole| is_whole) {
        // The log is empty: it may go with the last connection.
        let _ = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
    }
}

/// The same error for another one who waits.
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
