//! First in, first out: only the oldest open delivery of an order key may be taken.
//!
//! No delivery of the key may be taken while one is in flight. The others have the mark `is_behind`, which keeps them
//! out of the index of due deliveries: a million waiting deliveries do not slow down a take. The mark is set again
//! whenever a delivery of the key ends, waits or comes back.

use rusqlite::{Connection, OptionalExtension, params};

/// Returns whether an open delivery has this key.
pub(super) fn is_any_open(conn: &Connection, destination: i64, key: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM delivery INDEXED BY delivery_order
        WHERE destination = ?1 AND order_key = ?2 AND order_key IS NOT NULL AND state IN (0, 1, 2))";
    conn.prepare_cached(sql)?
        .query_row([destination, key], |row| row.get(0))
}

/// Marks the deliveries of a key so that only the right one may be taken.
pub(super) fn settle(conn: &Connection, destination: i64, key: i64) -> rusqlite::Result<()> {
    // Deliveries without the mark: the one that may be taken, and those in flight.
    let sql = "SELECT id, state FROM delivery INDEXED BY delivery_order
        WHERE destination = ?1 AND order_key = ?2 AND is_behind = 0
        AND order_key IS NOT NULL AND state IN (0, 1, 2) ORDER BY id";
    let mut stmt = conn.prepare_cached(sql)?;
    let rows = stmt.query_map([destination, key], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let ahead: Vec<(i64, i64)> = rows.collect::<rusqlite::Result<_>>()?;
    let is_in_flight = ahead.iter().any(|(_, state)| *state == 1);
    let mut may_go = None;
    if !is_in_flight {
        let sql = "SELECT id FROM delivery INDEXED BY delivery_order
            WHERE destination = ?1 AND order_key = ?2 AND is_behind = 1
            AND order_key IS NOT NULL AND state IN (0, 1, 2) ORDER BY id LIMIT 1";
        let mut stmt = conn.prepare_cached(sql)?;
        let behind: Option<i64> = stmt
            .query_row([destination, key], |row| row.get(0))
            .optional()?;
        // A retried dead letter may be older than the delivery that is ahead, so compare both.
        let oldest = ahead.iter().map(|(id, _)| *id).chain(behind).min();
        may_go = oldest;
        if behind.is_some() && behind == oldest {
            mark(conn, oldest, 0)?;
        }
    }
    for (id, state) in ahead {
        // An older delivery, such as a retried dead letter, displaces the one that was ahead.
        if state != 1 && Some(id) != may_go {
            mark(conn, Some(id), 1)?;
        }
    }
    Ok(())
}

fn mark(conn: &Connection, id: Option<i64>, is_behind: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE delivery SET is_behind = ?2 WHERE id = ?1")?
        .execute(params![id, is_behind])
        .map(drop)
}
