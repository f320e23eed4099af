//! Limits on the store: bytes of the file, number of events, free bytes on the disk.
//!
//! They are measured once per group, which costs a few microseconds beside its synchronization to the disk.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

/// Bytes that one group may write beyond what was measured before it.
const SLACK: u64 = 64 * 1024;

pub(super) struct StoreLimits {
    path: PathBuf,
    max_size: Option<u64>,
    max_events: Option<u64>,
    min_free: u64,
    /// The limit that the last measurement found exceeded.
    reached: Option<&'static str>,
    /// True if the log is a large part of the size, so that a checkpoint may help.
    is_log_large: bool,
}

/// Page counts of a file.
pub(super) struct FilePages {
    pub(super) size: u64,
    pub(super) count: u64,
    pub(super) spare: u64,
}

impl StoreLimits {
    pub(super) fn new(options: &crate::store::sqlite::options::SqliteOptions) -> Self {
        Self {
            path: options.path.clone(),
            max_size: options.max_size,
            max_events: options.max_events,
            min_free: options.min_free,
            reached: None,
            is_log_large: false,
        }
    }

    pub(super) fn measure(&mut self, conn: &Connection) {
        self.reached = None;
        self.is_log_large = false;
        if self.min_free > 0 && disk_free(&self.path).is_some_and(|free| free < self.min_free) {
            self.reached = Some("`min_free`: the disk has too little free space");
        }
        let Some(max_size) = self.max_size else {
            return;
        };
        // If the measurement fails, the write that follows reports why.
        if let Ok(pages) = pages(conn) {
            // New rows fill unused pages before the file grows, so those count as free.
            let used = pages.count.saturating_sub(pages.spare);
            let used = used.saturating_mul(pages.size);
            let log = log_size(&self.path);
            if used.saturating_add(log).saturating_add(SLACK) > max_size {
                self.reached = Some("`max_size`: the file has reached its largest size");
                // A short log is not worth a checkpoint, which holds up commits.
                self.is_log_large = log > (max_size / 16).max(SLACK);
            }
        }
    }

    /// Returns whether copying the log into the file may make room.
    pub(super) fn is_log_large(&self) -> bool {
        self.reached.is_some() && self.is_log_large
    }

    /// Returns the limit that one more event would exceed.
    pub(super) fn reached(&self, events: i64) -> Option<&'static str> {
        let events = u64::try_from(events).unwrap_or(0);
        let is_many = self.max_events.is_some_and(|most| events >= most);
        let many = is_many.then_some("`max_events`: the store holds that many events");
        self.reached.or(many)
    }
}

pub(super) fn pages(conn: &Connection) -> rusqlite::Result<FilePages> {
    let ask = |sql| -> rusqlite::Result<u64> {
        let value: i64 = conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(u64::try_from(value).unwrap_or(0))
    };
    Ok(FilePages {
        size: ask("PRAGMA page_size")?,
        count: ask("PRAGMA page_count")?,
        spare: ask("PRAGMA freelist_count")?,
    })
}

/// Returns the bytes of the log beside a file.
pub(super) fn log_size(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).map_or(0, |log| log.len())
}

/// Returns the free bytes of the disk that holds a file.
pub(super) fn disk_free(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Returns the bytes of a file and its log.
pub(super) fn size(path: &Path) -> u64 {
    let file = std::fs::metadata(path).map_or(0, |file| file.len());
    file.saturating_add(log_size(path))
}
