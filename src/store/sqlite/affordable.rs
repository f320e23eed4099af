//! The check after a failed write: as much of it as can be afforded while nothing is accepted.
//!
//! Before it, all that the log held was written into the file and synchronised. What the log held is checksummed; pages
//! that were not in it were not touched by what failed. So the check is a second line, and may leave out what it has no
//! time for: small files are checked whole, of large ones table by table for some seconds, those first that every commit
//! and every taking relies on.

use std::time::Duration;

use rusqlite::{Connection, ErrorCode, ffi};

use crate::model::clock;

/// A table that is not through by then counts as unchecked, not as damaged.
const PATIENCE: Duration = Duration::from_secs(5);

const TABLES: [&str; 14] = [
    "total",
    "sealing_key",
    "route",
    "destination",
    "kind",
    "lane",
    "tally",
    "replay",
    "span",
    "delivery",
    "event",
    "claim",
    "attempt",
    "content",
];

pub(super) fn check(conn: &mut Connection) -> rusqlite::Result<()> {
    let began = clock::instant();
    conn.progress_handler(10_000, Some(move || began.elapsed() > PATIENCE))?;
    let checked = check_tables(conn);
    conn.progress_handler(0, None::<fn() -> bool>)?;
    match checked {
        Err(err) if err.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(()),
        checked => checked,
    }
}

fn check_tables(conn: &Connection) -> rusqlite::Result<()> {
    for table in TABLES {
        let mut stmt = conn.prepare(&format!("PRAGMA quick_check('{table}')"))?;
        let mut rows = stmt.query([])?;
        let first = rows.next()?;
        let word: Option<String> = first.map(|row| row.get(0)).transpose()?;
        if word.as_deref().is_some_and(|word| word != "ok") {
            let code = ffi::Error::new(ffi::SQLITE_CORRUPT);
            return Err(rusqlite::Error::SqliteFailure(code, word));
        }
    }
    Ok(())
}
