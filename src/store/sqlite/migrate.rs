//! Schema version of the file, and forward migrations with one transaction per step.

use std::path::Path;

use rusqlite::Connection;

use crate::store::error::StoreError;
use crate::store::sqlite::connect::{APPLICATION, open_failed};

/// The migrations in order. Each leads from the previous version, the first from an empty file.
const MIGRATIONS: [&str; 3] = [
    include_str!("migrations/0001_inbox.sql"),
    include_str!("migrations/0002_audit.sql"),
    include_str!("migrations/0003_clock.sql"),
];

/// The schema version that this program writes.
pub(super) const NEWEST: i64 = {
    let count = MIGRATIONS.len();
    assert!(count < 10_000);
    count as i64
};

/// Returns the schema version of a file, 0 for an empty one. Changes nothing.
pub(super) fn form(conn: &Connection, path: &Path) -> Result<i64, StoreError> {
    let ask = |sql| conn.query_row(sql, [], |row| row.get::<_, i64>(0));
    let failed = |err| open_failed(path, err);
    let found = ask("PRAGMA user_version").map_err(failed)?;
    let application = ask("PRAGMA application_id").map_err(failed)?;
    let tables = ask("SELECT count(*) FROM sqlite_schema").map_err(failed)?;
    // Never touch the database of another program that has the same path.
    if application != APPLICATION && (tables > 0 || found > 0) {
        let what = format!(
            "`{}` is a database of another program, not a hookgate store",
            path.display()
        );
        return Err(StoreError::Damaged { what });
    }
    if found > NEWEST {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known: NEWEST,
        });
    }
    Ok(found)
}

/// Migrates the file from a version to the newest.
pub(super) fn migrate(conn: &Connection, from: i64) -> rusqlite::Result<()> {
    for (form, sql) in (1..).zip(MIGRATIONS) {
        if form <= from {
            continue;
        }
        conn.execute_batch("BEGIN IMMEDIATE")?;
        // The version is part of the transaction, so a killed process leaves either the old schema or the new one.
        let done = conn
            .execute_batch(sql)
            .and_then(|()| conn.pragma_update(None, "application_id", APPLICATION))
            .and_then(|()| conn.pragma_update(None, "user_version", form))
            .and_then(|()| conn.execute_batch("COMMIT"));
        if done.is_err() {
            let _ = conn.execute_batch("ROLLBACK");
            return done;
        }
    }
    Ok(())
}
