//! Numbers of routes and destinations in queries.

use rusqlite::Connection;

/// Returns all rows of a statement whose only column is a number.
pub(crate) fn numbers(
    conn: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> rusqlite::Result<Vec<i64>> {
    let mut stmt = conn.prepare_cached(sql)?;
    let rows = stmt.query_map(values, |row| row.get(0))?;
    rows.collect()
}
