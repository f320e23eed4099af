//! Copying a store file, beside a running gate or without one.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;

use crate::store::error::StoreError;
use crate::store::partial::PartialFile;
use crate::store::sqlite::connect::{self, open_failed};
use crate::store::sqlite::open::open_untrusted;

/// Pages that are copied between two progress reports.
const PAGES: i32 = 1024;

/// Copies a store file as it is now into a new file, beside a running gate or without one. Encrypted content stays
/// encrypted. `progress` gets the number of copied pages and of all pages. Fails if `to` exists. Blocks.
pub(crate) fn copy(
    from: &Path,
    to: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), StoreError> {
    let source = open_untrusted(from)?;
    let failed = |err: std::io::Error| open_failed(to, connect::io_failed(&err));
    let partial = PartialFile::begin(to).map_err(failed)?;
    let mut target = connect::writer(partial.path()).map_err(|err| open_failed(to, err))?;
    copy_pages(&source, &mut target, progress)?;
    // No log may remain beside the file, because the file is about to get another name.
    let whole = target.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    whole.map_err(StoreError::Write)?;
    let closed = target.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
    closed.map_err(StoreError::Write)?;
    target.close().map_err(|(_, err)| StoreError::Write(err))?;
    partial.finish().map_err(failed)
}

fn copy_pages(
    source: &Connection,
    target: &mut Connection,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), StoreError> {
    // In one transaction the copy sees the file as of now. Without one, each write of the gate would restart the copy.
    source.execute_batch("BEGIN").map_err(StoreError::Read)?;
    let sql = "SELECT one FROM total";
    let _: i64 = source
        .query_row(sql, [], |row| row.get(0))
        .map_err(StoreError::Read)?;
    let backup = Backup::new(source, target).map_err(StoreError::Write)?;
    loop {
        let step = backup.step(PAGES).map_err(StoreError::Write)?;
        let pages = backup.progress();
        let total = u64::try_from(pages.pagecount).unwrap_or(0);
        let left = u64::try_from(pages.remaining).unwrap_or(0);
        progress(total.saturating_sub(left), total);
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            _ => {
                let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                return Err(StoreError::Write(rusqlite::Error::SqliteFailure(
                    code, None,
                )));
            }
        }
    }
    drop(backup);
    source.execute_batch("ROLLBACK").map_err(StoreError::Read)
}
