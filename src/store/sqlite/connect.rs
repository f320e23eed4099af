//! Connections: how the writer, a reader and a stranger's look open the file, and the lock that keeps a second gate out.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
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

/// What keeps other processes from the file for as long as it lives.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(name)
            .map_err(|err| open_failed(path, io(&err)))?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse {
                path: path.to_owned(),
            }),
            Err(errno) => Err(open_failed(path, io(&errno.into()))),
        }
    }
}

fn io(err: &std::io::Error) -> rusqlite::Error {
    let code = match err.kind() {
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
    made.map_err(|err| open_failed(path, io(&err)))
}

fn folder(path: &Path) -> &Path {
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
