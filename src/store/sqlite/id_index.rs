//! Finding events by the text of their ids, without a random index over the whole store.
//!
//! Each block of 16,384 events has the hashes of its ids. Writes are random only within the newest block, a few dozen
//! pages that stay in the cache, so a commit costs the same at five million events as at a thousand. A query visits
//! each block in turn: a few microseconds per block, about a millisecond at five million events.

use rusqlite::{Connection, params};

const BLOCK_BITS: u32 = 14;

pub(super) fn write(
    conn: &Connection,
    event: i64,
    event_id: Option<&str>,
    webhook_id: Option<&str>,
) -> rusqlite::Result<()> {
    each(event, event_id, webhook_id, |block, hash, place| {
        let sql =
            "INSERT INTO reference (block, hash, event) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        conn.prepare_cached(sql)?
            .execute(params![block, hash, place])
            .map(drop)
    })
}

pub(super) fn forget(
    conn: &Connection,
    event: i64,
    event_id: Option<&str>,
    webhook_id: Option<&str>,
) -> rusqlite::Result<()> {
    each(event, event_id, webhook_id, |block, hash, place| {
        let sql = "DELETE FROM reference WHERE block = ?1 AND hash = ?2 AND event = ?3";
        conn.prepare_cached(sql)?
            .execute(params![block, hash, place])
            .map(drop)
    })
}

/// Returns events that may have this id, newest first. Other events may share its hash.
pub(super) fn find(conn: &Connection, id: &str, most: usize) -> rusqlite::Result<Vec<i64>> {
    let edge = |sql| -> rusqlite::Result<Option<i64>> {
        conn.prepare_cached(sql)?.query_row([], |row| row.get(0))
    };
    let first = edge("SELECT min(block) FROM reference")?;
    let last = edge("SELECT max(block) FROM reference")?;
    let (Some(first), Some(last)) = (first, last) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    let sql = "SELECT event FROM reference WHERE block = ?1 AND hash = ?2 ORDER BY event DESC";
    let mut stmt = conn.prepare_cached(sql)?;
    let mut block = last;
    while block >= first && found.len() < most {
        let mut rows = stmt.query([block, hash(id)])?;
        while let Some(row) = rows.next()? {
            found.push((block << BLOCK_BITS) | row.get::<_, i64>(0)?);
        }
        block -= 1;
    }
    Ok(found)
}

fn each(
    event: i64,
    event_id: Option<&str>,
    webhook_id: Option<&str>,
    mut what: impl FnMut(i64, i64, i64) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let place = event & ((1 << BLOCK_BITS) - 1);
    let other = webhook_id.filter(|id| event_id != Some(*id));
    for id in event_id.into_iter().chain(other) {
        what(event >> BLOCK_BITS, hash(id), place)?;
    }
    Ok(())
}

/// Hashes with FNV-1a, folded to 31 bits. Collisions, even deliberate ones, only cost reading another row.
fn hash(id: &str) -> i64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in id.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let folded = (hash ^ (hash >> 32)) & 0x7fff_ffff;
    i64::try_from(folded).unwrap_or(0)
}
