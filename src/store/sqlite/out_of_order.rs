//! The error while the file is being opened again.

use rusqlite::ffi;

/// Returns the error for tasks and queries while the file is being opened again.
pub(super) fn out_of_order() -> rusqlite::Error {
    let text = "a write failed, and the file is being opened again".to_owned();
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR), Some(text))
}
