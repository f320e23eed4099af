//! Connections: how the writer, a reader and a stranger's look open the file, and the lock that keeps a second gate out.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use crate::store::StoreError;

/// The first version without a fault in which two connections that write the log at once damage the file.
const OLDEST_SQLITE: i32 = 3_051_003;

/// `hkgt`, in the header of the file.
pub(super) const APPLICATION: i64 = 0x686b_6774;

/// What the log is cut to when it begins anew.
const LOG_LIMIT: i64 = 64 * 1024 * 1024;

/// How long a lock of somebody else is waited for, an operator's `sqlite3` say.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Lock that keeps other gates from the file for as long as it lives.
///
/// The lock is on the file itself, by device and inode, so that no other name of it (a symbolic link, a hard link) leads
/// past it. It is `flock`, which has nothing to do with the POSIX locks that SQLite takes on the same file; but closing any
/// descriptor of the file gives those up for the whole process, so this one is closed after the last connection.
pub(super) struct Lock {
    file: Arc<File>,
    key: FileKey,
    /// Lock file of versions that lock by name.
    _name: Option<File>,
}

/// Device and inode.
type FileKey = (u64, u64);

/// The files that this process has open: even to open one a second time, and to close it again, would give up locks.
static OPEN: Mutex<BTreeSet<FileKey>> = Mutex::new(BTreeSet::new());

fn open_files() -> MutexGuard<'static, BTreeSet<FileKey>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that is open in this process, until it is dropped.
struct Entered(Option<FileKey>);

impl Entered {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(key) = self.0 {
            open_files().remove(&key);
        }
    }
}

impl Lock {
    /// Takes the lock on a file that is there.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let failed = |err: &std::io::Error| open_failed(path, io_failed(err));
        let found = std::fs::metadata(path).map_err(|err| failed(&err))?;
        let key = (found.dev(), found.ino());
        let in_use = || StoreError::InUse {
            path: path.to_owned(),
        };
        if !open_files().insert(key) {
            return Err(in_use());
        }
        let entered = Entered(Some(key));
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
        // Versions before this one know this lock alone. Where it cannot be made, the lock that counts is there.
        let named = named.ok();
        if let Some(named) = &named
            && !try_flock(named).unwrap_or(true)
        {
            return Err(in_use());
        }
        if found.nlink() > 1 {
            tracing::warn!(
                path = %path.display(),
                links = found.nlink(),
                "the store has another name (a hard link); SQLite finds the log by the name: opened under the other one, commits in the log are not seen"
            );
        }
        entered.keep();
        Ok(Self {
            file: Arc::new(file),
            key,
            _name: named,
        })
    }

    /// The file, to make durable what was written into it.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Returns whether no other process has the file open in SQLite. To be called while this process has no connection: it gives up
    /// whatever locks they would have.
    pub(super) fn is_alone(file: &File) -> bool {
        let wanted = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        let is_alone = rustix::fs::fcntl_lock(file, wanted).is_ok();
        let _ = rustix::fs::fcntl_lock(file, rustix::fs::FlockOperation::Unlock);
        is_alone
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        open_files().remove(&self.key);
    }
}

/// `false`: another process has it.
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

/// What is wrong when the file cannot be opened.
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

/// Makes an empty file that nobody else may read, where there is none. Before the first connection only: closing a file
/// gives up the locks that SQLite has on it.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
    let made = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path);
    let made = match made {
        // Its name has to be as durable as what is written into it later.
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

/// The connection that writes. Nothing of the file is changed yet.
pub(super) fn writer(path: &Path) -> rusqlite::Result<Connection> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        let text = format!("SQLite {} is too old", rusqlite::version());
        let code = ffi::Error::new(ffi::SQLITE_MISUSE);
        return Err(rusqlite::Error::SqliteFailure(code, Some(text)));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(PATIENCE)?;
    // What the log holds goes into the file when the writer says so, not when the last connection happens to close.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.set_prepared_statement_cache_capacity(128);
    Ok(conn)
}

/// Sets up what the writer relies on.
pub(super) fn prepare_writer(conn: &Connection) -> rusqlite::Result<()> {
    // Counts for a new file only, and only before its first table.
    conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        let text = format!("the journal mode is `{mode}`: the file system cannot hold a log");
        let code = ffi::Error::new(ffi::SQLITE_CANTOPEN);
        return Err(rusqlite::Error::SqliteFailure(code, Some(text)));
    }
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "cache_size", -64 * 1024)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "journal_size_limit", LOG_LIMIT)?;
    conn.pragma_update(None, "trusted_schema", false)
}

/// A connection that only looks, beside a writer or without one.
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

/// A reader of a file that may be anything; refuses what is no store of this form.
pub(super) fn stranger(path: &Path) -> Result<Connection, StoreError> {
    let conn = reader(path).map_err(|err| open_failed(path, err))?;
    match super::migrate::form(&conn, path)? {
        0 => Err(StoreError::Damaged {
            what: format!("`{}` is empty", path.display()),
        }),
        _ => Ok(conn),
    }
}
