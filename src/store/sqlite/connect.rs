//! Opening connections to the file, and the lock that keeps a second gate away.

use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use crate::store::error::StoreError;

/// First SQLite version without a bug that damages the file when two connections write the log at once.
const OLDEST_SQLITE: i32 = 3_051_003;

/// `hkgt`, the application id in the header of the file.
pub(super) const APPLICATION: i64 = 0x686b_6774;

/// Size to which the log file is truncated when it starts over.
const LOG_LIMIT: i64 = 64 * 1024 * 1024;

/// How long to wait for a lock of another program, for example an operator's `sqlite3`.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Overwrites deleted rows inside of pages (`secure_delete`).
pub(super) const OVERWRITE_CELLS: &str = "FAST";

/// A lock that keeps other gates away from the file until it is dropped.
///
/// It is on the file itself, by device and inode, so that another name of the file (a symbolic or hard link) does not
/// bypass it. It uses `flock`, which is independent of SQLite's POSIX locks on the same file. Closing any descriptor of
/// the file releases those for the whole process, so this one is closed after the last connection.
pub(super) struct FileLock {
    file: Arc<File>,
    key: FileKey,
    /// Lock file beside the store, for versions that know only that one.
    name: Option<File>,
    /// Lock file of processes that leave: shared by those that still write, so that one process alone can tell whether it
    /// is alone.
    leaving: File,
}

/// Suffix of the lock file of processes that leave.
const LEAVING: &str = ".leaving";

/// Device and inode of a file.
type FileKey = (u64, u64);

/// Files that this process has open. Even opening and closing one a second time would release SQLite's locks.
static OPEN: Mutex<BTreeSet<FileKey>> = Mutex::new(BTreeSet::new());

/// An entry in the list of open files, removed when this is dropped.
struct OpenFileEntry(Option<FileKey>);

impl OpenFileEntry {
    fn persist(mut self) {
        self.0 = None;
    }
}

impl Drop for OpenFileEntry {
    fn drop(&mut self) {
        if let Some(key) = self.0 {
            OPEN.lock().remove(&key);
        }
    }
}

impl FileLock {
    /// Locks a file that exists, or fails with `InUse`.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let failed = |err: &std::io::Error| open_failed(path, io_failed(err));
        let found = std::fs::metadata(path).map_err(|err| failed(&err))?;
        let key = (found.dev(), found.ino());
        let in_use = || StoreError::InUse {
            path: path.to_owned(),
        };
        // Check the list first: only opening a file twice and closing it would already release SQLite's locks.
        if !OPEN.lock().insert(key) {
            return Err(in_use());
        }
        // Removes the entry from the list if a later step fails.
        let entered = OpenFileEntry(Some(key));
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|err| failed(&err))?;
        if !try_flock(&file).map_err(|err| failed(&err))? {
            return Err(in_use());
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let named = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(name);
        // Earlier versions know only this lock. If it cannot be created, the lock on the file is sufficient.
        let named = named.ok();
        if let Some(named) = &named
            && !try_flock(named).unwrap_or(true)
        {
            return Err(in_use());
        }
        let mut leaving = path.as_os_str().to_owned();
        leaving.push(LEAVING);
        let leaving = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(leaving);
        let leaving = leaving.map_err(|err| failed(&err))?;
        if found.nlink() > 1 {
            tracing::warn!(
                path = %path.display(),
                links = found.nlink(),
                "the store file has a second name (a hard link): opened by that name, it lacks all commits in the log"
            );
        }
        entered.persist();
        Ok(Self {
            file: Arc::new(file),
            key,
            name: named,
            leaving,
        })
    }

    /// Lets another process lock the file, while this one continues to write. Both know of each other by the lock of
    /// processes that leave, which the kernel releases however this process ends.
    pub(super) fn share(&self) -> std::io::Result<()> {
        // First: a process that gets the lock of the file must find this one.
        rustix::fs::flock(
            &self.leaving,
            rustix::fs::FlockOperation::NonBlockingLockShared,
        )?;
        // Not closed, because closing the file would release SQLite's locks.
        if let Some(name) = &self.name {
            rustix::fs::flock(name, rustix::fs::FlockOperation::Unlock)?;
        }
        rustix::fs::flock(&*self.file, rustix::fs::FlockOperation::Unlock)?;
        Ok(())
    }

    /// Takes the file back after [`Self::share`]. Returns `false` while another process has it.
    pub(super) fn take_back(&self) -> std::io::Result<bool> {
        if !try_flock(&self.file)? {
            return Ok(false);
        }
        if let Some(name) = &self.name
            && !try_flock(name)?
        {
            rustix::fs::flock(&*self.file, rustix::fs::FlockOperation::Unlock)?;
            return Ok(false);
        }
        rustix::fs::flock(&self.leaving, rustix::fs::FlockOperation::Unlock)?;
        Ok(true)
    }

    /// Returns whether a process that leaves still writes to the file.
    pub(super) fn has_predecessor(&self) -> bool {
        match try_flock(&self.leaving) {
            Ok(true) => {
                // Only a question: the next process that leaves must be able to lock it.
                let _ = rustix::fs::flock(&self.leaving, rustix::fs::FlockOperation::Unlock);
                false
            }
            // An error counts as a process, because a wrong `false` could damage the file.
            Ok(false) | Err(_) => true,
        }
    }

    /// Returns the file, for synchronizing what was written into it.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Returns whether no other process has the file open in SQLite. Call this only while this process has no
    /// connection, because it releases SQLite's locks.
    pub(super) fn is_alone(file: &File) -> bool {
        let wanted = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        // Every connection of SQLite holds a POSIX lock, which conflicts with this one.
        let is_alone = rustix::fs::fcntl_lock(file, wanted).is_ok();
        let _ = rustix::fs::fcntl_lock(file, rustix::fs::FlockOperation::Unlock);
        is_alone
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        OPEN.lock().remove(&self.key);
    }
}

/// Tries to lock a file. Returns `false` if another process holds the lock.
fn try_flock(file: &File) -> std::io::Result<bool> {
    match rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

pub(super) fn io_failed(err: &std::io::Error) -> rusqlite::Error {
    let code = match err.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ffi::SQLITE_FULL,
        ErrorKind::PermissionDenied => ffi::SQLITE_PERM,
        _ => ffi::SQLITE_CANTOPEN,
    };
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(err.to_string()))
}

/// Returns the error for a file that cannot be opened.
pub(super) fn open_failed(path: &Path, source: rusqlite::Error) -> StoreError {
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::Damaged {
            what: format!("`{}`: {source}", path.display()),
        },
        _ => StoreError::Open {
            path: path.to_owned(),
            source,
        },
    }
}

/// Creates an empty file that only its owner may read, if the path is free. Call this before the first connection:
/// closing a file releases SQLite's locks on it.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
    let made = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path);
    let made = match made {
        // The name of the file must be as durable as what is written into it later.
        Ok(_) => File::open(folder(path)).and_then(|folder| folder.sync_all()),
        Err(err) if err.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(err) => Err(err),
    };
    made.map_err(|err| open_failed(path, io_failed(&err)))
}

pub(super) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Opens the writing connection. Changes nothing in the file yet.
pub(super) fn writer(path: &Path) -> rusqlite::Result<Connection> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        let text = format!(
            "SQLite {} is too old: use 3.51.3 or later",
            rusqlite::version()
        );
        let code = ffi::Error::new(ffi::SQLITE_MISUSE);
        return Err(rusqlite::Error::SqliteFailure(code, Some(text)));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(PATIENCE)?;
    // Only the writer decides when the log is copied into the file, not the last connection that happens to close.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.set_prepared_statement_cache_capacity(128);
    Ok(conn)
}

/// Sets the pragmas that the writer relies on.
pub(super) fn prepare_writer(conn: &Connection) -> rusqlite::Result<()> {
    // Takes effect only in a new file, before its first table.
    conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        let text = format!(
            "the journal mode is `{mode}`: the file system does not support a write-ahead log; \
                            move the store to a local disk"
        );
        let code = ffi::Error::new(ffi::SQLITE_CANTOPEN);
        return Err(rusqlite::Error::SqliteFailure(code, Some(text)));
    }
    // A commit is durable only if each one synchronizes the log. `NORMAL` would lose commits in a power cut.
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "cache_size", -64 * 1024)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    // Without a mapping, an I/O error is an error code of SQLite and not a signal that ends the process.
    conn.pragma_update(None, "mmap_size", 0)?;
    // Costs nothing: a page with a deleted row is written anyway. Freed pages are overwritten only by an erasure.
    conn.pragma_update(None, "secure_delete", OVERWRITE_CELLS)?;
    // The writer copies the log itself, in small steps beside the commits.
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "journal_size_limit", LOG_LIMIT)?;
    conn.pragma_update(None, "trusted_schema", false)
}

/// Opens a read-only connection, beside a writer or without one.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(PATIENCE)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.set_prepared_statement_cache_capacity(64);
    conn.pragma_update(None, "query_only", true)?;
    conn.pragma_update(None, "cache_size", -8 * 1024)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    Ok(conn)
}
