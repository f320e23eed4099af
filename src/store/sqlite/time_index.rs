//! Finding events by time: the earliest and latest time of each block of events.
//!
//! Events are numbered in the order of commits, and clocks may step, so times are only roughly in order. An index over
//! times would cost each commit one entry; this costs each group one row.

use rusqlite::{Connection, OptionalExtension, params};

const BLOCK_BITS: u32 = 10;

/// Times of the blocks that a group has touched.
#[derive(Default)]
pub(super) struct BlockSpans(Vec<(i64, i64, i64)>);

impl BlockSpans {
    pub(super) fn add(&mut self, event: i64, received_ms: i64) {
        // Events of a group have consecutive numbers, so only the last block can match.
        let block = event >> BLOCK_BITS;
        match self.0.last_mut() {
            Some((last, low, high)) if *last == block => {
                *low = received_ms.min(*low);
                *high = received_ms.max(*high);
            }
            _ => self.0.push((block, received_ms, received_ms)),
        }
    }

    pub(super) fn flush(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        for (block, low, high) in self.0.drain(..) {
            let sql = "INSERT INTO span (block, low_ms, high_ms) VALUES (?1, ?2, ?3)
                ON CONFLICT DO UPDATE
                SET low_ms = min(low_ms, excluded.low_ms), high_ms = max(high_ms, excluded.high_ms)";
            conn.prepare_cached(sql)?
                .execute(params![block, low, high])?;
        }
        Ok(())
    }
}

/// A range of row numbers, both ends inclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NumberRange {
    pub(super) first: i64,
    pub(super) last: i64,
}

impl NumberRange {
    pub(super) const ALL: Self = Self {
        first: 1,
        last: i64::MAX - 1,
    };

    /// Returns the numbers that are in both ranges.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            first: self.first.max(other.first),
            last: self.last.min(other.last),
        }
    }
}

/// Returns the range that contains all events received within these times, and possibly others. Returns `None` if there
/// is no such event.
pub(super) fn range(
    conn: &Connection,
    since_ms: Option<i64>,
    before_ms: Option<i64>,
) -> rusqlite::Result<Option<NumberRange>> {
    if since_ms.is_none() && before_ms.is_none() {
        return Ok(Some(NumberRange::ALL));
    }
    let (since, before) = (since_ms.unwrap_or(i64::MIN), before_ms.unwrap_or(i64::MAX));
    let edge = |order: &str| -> rusqlite::Result<Option<i64>> {
        let sql = format!(
            "SELECT block FROM span WHERE high_ms >= ?1 AND low_ms < ?2 ORDER BY block {order} LIMIT 1"
        );
        let mut stmt = conn.prepare_cached(&sql)?;
        stmt.query_row([since, before], |row| row.get(0)).optional()
    };
    let (Some(first), Some(last)) = (edge("ASC")?, edge("DESC")?) else {
        return Ok(None);
    };
    Ok(Some(NumberRange {
        first: first << BLOCK_BITS,
        last: ((last + 1) << BLOCK_BITS) - 1,
    }))
}

/// Consecutive events, all or some of which were received within the requested times.
pub(super) struct EventStretch {
    pub(super) range: NumberRange,
    /// True if all of them were received within the times; otherwise some may have been.
    pub(super) is_within: bool,
}

/// Returns the events within these times as stretches, in their order. Only a clock that steps makes more than a few.
pub(super) fn stretches(
    conn: &Connection,
    since_ms: Option<i64>,
    before_ms: Option<i64>,
) -> rusqlite::Result<Vec<EventStretch>> {
    if since_ms.is_none() && before_ms.is_none() {
        let (range, is_within) = (NumberRange::ALL, true);
        return Ok(vec![EventStretch { range, is_within }]);
    }
    let (since, before) = (since_ms.unwrap_or(i64::MIN), before_ms.unwrap_or(i64::MAX));
    let sql = "SELECT block, low_ms >= ?1 AND high_ms < ?2 FROM span
        WHERE high_ms >= ?1 AND low_ms < ?2 ORDER BY block";
    let mut stmt = conn.prepare_cached(sql)?;
    let mut rows = stmt.query([since, before])?;
    let mut stretches: Vec<EventStretch> = Vec::new();
    while let Some(row) = rows.next()? {
        let (block, is_within): (i64, bool) = (row.get(0)?, row.get(1)?);
        let range = NumberRange {
            first: block << BLOCK_BITS,
            last: ((block + 1) << BLOCK_BITS) - 1,
        };
        match stretches.last_mut() {
            // Adjacent blocks of one sort form one stretch, which is then counted with one query.
            Some(last) if last.is_within == is_within && last.range.last + 1 == range.first => {
                last.range.last = range.last;
            }
            _ => stretches.push(EventStretch { range, is_within }),
        }
    }
    Ok(stretches)
}

/// Deletes the blocks before an event.
pub(super) fn forget_before(conn: &Connection, event: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM span WHERE block < ?1")?
        .execute([event >> BLOCK_BITS])
        .map(drop)
}
