//! A bounded check of the file after a failed write, while the store accepts nothing.
//!
//! Before this check the whole log was copied into the file and synchronized. The log has checksums, and the failed
//! write did not touch other pages. So this check is a second line of defense and may be incomplete: it checks small
//! files whole, and large files table by table for some seconds, starting with the tables that every commit and every
//! take rely on.

use std::time::Duration;

use rusqlite::{Connection, ErrorCode, ffi};

use crate::model::clock;

/// Time limit of the check. Tables that it does not reach count as unchecked, not as damaged.
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
