//! Full check of a store file: pages and indexes, references between rows, impossible states.

use std::path::Path;

use rusqlite::Connection;

use crate::model::error;
use crate::store::error::StoreError;
use crate::store::sqlite::open::open_untrusted;

/// Largest number of findings of one kind that are reported.
const MOST: usize = 100;

/// Impossible states: the message, and the query that finds them.
const IMPOSSIBLE: [(&str, &str); 10] = [
    (
        "an open delivery has an end time",
        "SELECT id FROM delivery WHERE state IN (0, 1, 2) AND ended_ms IS NOT NULL",
    ),
    (
        "a delivery has ended without an end time",
        "SELECT id FROM delivery WHERE state IN (3, 4, 5) AND ended_ms IS NULL",
    ),
    (
        "a delivery in flight has no attempt",
        "SELECT id FROM delivery WHERE state = 1 AND attempts = 0",
    ),
    (
        "an attempt has a number that its delivery has not reached",
        "SELECT delivery FROM attempt JOIN delivery ON delivery.id = attempt.delivery
            WHERE attempt.number > delivery.attempts",
    ),
    (
        "an open delivery has no body to deliver",
        "SELECT delivery.id FROM delivery LEFT JOIN content ON content.event = delivery.event
            WHERE delivery.state IN (0, 1, 2) AND content.body IS NULL",
    ),
    (
        "a delivery waits behind no other delivery",
        "SELECT id FROM delivery AS it WHERE is_behind = 1 AND state IN (0, 2) AND NOT EXISTS (
            SELECT 1 FROM delivery WHERE destination = it.destination
            AND order_key = it.order_key AND order_key IS NOT NULL AND state IN (0, 1, 2)
            AND is_behind = 0)",
    ),
    (
        "two deliveries of one order key may be taken",
        "SELECT min(id) FROM delivery WHERE order_key IS NOT NULL AND state IN (0, 2)
            AND is_behind = 0 GROUP BY destination, order_key HAVING count(*) > 1",
    ),
    (
        "the counter of deliveries in a lane is wrong",
        "SELECT lane FROM (
            SELECT lane, state, count(*) AS count FROM delivery GROUP BY lane, state
            UNION ALL SELECT lane, state, -count FROM tally)
            GROUP BY lane, state HAVING sum(count) <> 0",
    ),
    (
        "the counter of events is wrong",
        "SELECT events FROM total WHERE events <> (SELECT count(*) FROM event)",
    ),
    (
        "the counter of claims is wrong",
        "SELECT claims FROM total WHERE claims <> (SELECT count(*) FROM claim)",
    ),
];

/// Runs the full integrity check of a store file, beside a running gate or without one. Returns one finding per line.
/// Blocks.
pub(crate) fn check(path: &Path) -> Result<Vec<String>, StoreError> {
    let conn = open_untrusted(path)?;
    let mut found = Vec::new();
    let checked = [
        check_pages(&conn, &mut found),
        check_references(&conn, &mut found),
        check_states(&conn, &mut found),
    ];
    // A table that is too damaged to read is a finding too.
    for err in checked.into_iter().filter_map(Result::err) {
        found.push(error::chain(&err));
    }
    Ok(found)
}

fn check_pages(conn: &Connection, found: &mut Vec<String>) -> rusqlite::Result<()> {
    let mut stmt = conn.prepare("PRAGMA integrity_check(100)")?;
    let mut rows = stmt.query([])?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        if text != "ok" {
            found.push(text);
        }
    }
    Ok(())
}

fn check_references(conn: &Connection, found: &mut Vec<String>) -> rusqlite::Result<()> {
    let mut stmt = conn.prepare("PRAGMA foreign_key_check")?;
    let mut rows = stmt.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let (table, to): (String, String) = (row.get(0)?, row.get(2)?);
        found.push(format!(
            "a row of `{table}` refers to a missing row of `{to}`"
        ));
        count += 1;
        if count >= MOST {
            break;
        }
    }
    Ok(())
}

fn check_states(conn: &Connection, found: &mut Vec<String>) -> rusqlite::Result<()> {
    for (what, sql) in IMPOSSIBLE {
        let mut stmt = conn.prepare(sql)?;
        let mut rows = stmt.query([])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            found.push(format!("{what}: {}", row.get::<_, i64>(0)?));
            count += 1;
            // A damaged index can yield millions of findings, of which the first ones suffice.
            if count >= MOST {
                break;
            }
        }
    }
    Ok(())
}
