//! How much may be stored: bytes of the file, events, bytes that stay free on the disk.
//!
//! Measured once for each group, which costs a few microseconds beside its synchronisation to the disk.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

/// What one group may write in addition to what was measured before it.
const SLACK: u64 = 64 * 1024;

pub(super) struct Limits {
    path: PathBuf,
    max_size: Option<u64>,
    max_events: Option<u64>,
    min_free: u64,
    /// The limit that is reached.
    reached: Option<&'static str>,
    /// Whether the log is part of why, so that writing it back to the file may help.
    is_log_large: bool,
}

/// Pages of a file.
pub(super) struct Pages {
    pub(super) size: u64,
    pub(super) count: u64,
    pub(super) spare: u64,
}

impl Limits {
    pub(super) fn new(options: &crate::store::Options) -> Self {
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
            self.reached = Some("`min_free`: the disk has too little space left");
        }
        let Some(max_size) = self.max_size else {
            return;
        };
        // Where it cannot be measured, the writing that follows tells why.
        if let Ok(pages) = pages(conn) {
            let used = pages.count.saturating_sub(pages.spare);
            let used = used.saturating_mul(pages.size);
            let log = log_size(&self.path);
            if used.saturating_add(log).saturating_add(SLACK) > max_size {
                self.reached = Some("`max_size`: the file has reached it");
                self.is_log_large = log > (max_size / 16).max(SLACK);
            }
        }
    }

    /// Whether writing the log back into the file may make room.
    pub(super) fn is_log_large(&self) -> bool {
        self.reached.is_some() && self.is_log_large
    }

    /// The limit that one more event would exceed.
    pub(super) fn reached(&self, events: i64) -> Option<&'static str> {
        let events = u64::try_from(events).unwrap_or(0);
        let is_many = self.max_events.is_some_and(|most| events >= most);
        let many = is_many.then_some("`max_events`: as many events are stored");
        self.reached.or(many)
    }
}

pub(super) fn pages(conn: &Connection) -> rusqlite::Result<Pages> {
    let ask = |sql| -> rusqlite::Result<u64> {
        let value: i64 = conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(u64::try_from(value).unwrap_or(0))
    };
    Ok(Pages {
        size: ask("PRAGMA page_size")?,
        count: ask("PRAGMA page_count")?,
        spare: ask("PRAGMA freelist_count")?,
    })
}

/// The bytes of the log beside a file.
pub(super) fn log_size(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).map_or(0, |log| log.len())
}

/// The bytes that are free where a file is.
pub(super) fn disk_free(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The bytes of a file and its log.
pub(super) fn size(path: &Path) -> u64 {
    let file = std::fs::metadata(path).map_or(0, |file| file.len());
    file.saturating_add(log_size(path))
}
