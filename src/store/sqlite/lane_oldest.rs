//! Reading the number of deliveries by lane and state.

use rusqlite::{Connection, OptionalExtension};

use crate::model::delivery::DeliveryState;
use crate::store::lane_counts::LaneTally;

impl LaneTally {
    pub(in crate::store::sqlite) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut tally = Self::default();
        let mut stmt =
            conn.prepare_cached("SELECT lane, state, count FROM tally WHERE count > 0")?;
        let mut rows = stmt.query([])?;
        while let Some(row) = rows.next()? {
            tally.add(row.get(0)?, row.get(1)?, row.get(2)?);
        }
        Ok(tally)
    }
}

/// Returns when the oldest delivery of a lane in a state was created.
pub(super) fn oldest(
    conn: &Connection,
    lane: i64,
    state: DeliveryState,
) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT created_ms FROM delivery INDEXED BY delivery_lane
        WHERE lane = ?1 AND state = ?2 ORDER BY id LIMIT 1";
    let mut stmt = conn.prepare_cached(sql)?;
    stmt.query_row([lane, state.code()], |row| row.get(0))
        .optional()
}
