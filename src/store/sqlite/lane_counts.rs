//! Number of deliveries by lane and state.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use crate::model::delivery::DeliveryState;
use crate::store::names::{DeliveryLane, NameTable};

/// The number of deliveries of one lane in one state.
pub(super) struct LaneCount {
    pub(super) id: i64,
    pub(super) lane: DeliveryLane,
    pub(super) state: DeliveryState,
    pub(super) count: i64,
}

/// Number of deliveries of each lane by state.
pub(super) struct LaneTally(HashMap<i64, [i64; 6]>);

impl LaneTally {
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut tally = HashMap::<i64, [i64; 6]>::new();
        let mut stmt =
            conn.prepare_cached("SELECT lane, state, count FROM tally WHERE count > 0")?;
        let mut rows = stmt.query([])?;
        while let Some(row) = rows.next()? {
            let state: usize = row.get::<_, u8>(1)?.into();
            if let Some(count) = tally.entry(row.get(0)?).or_default().get_mut(state) {
                *count = row.get(2)?;
            }
        }
        Ok(Self(tally))
    }

    pub(super) fn counts(
        &self,
        names: &Arc<NameTable>,
        is_wanted: impl Fn(&DeliveryLane, DeliveryState) -> bool,
    ) -> Vec<LaneCount> {
        let mut found = Vec::new();
        for (id, counts) in &self.0 {
            let Some(lane) = names.lanes.get(id) else {
                continue;
            };
            for (state, count) in DeliveryState::ALL.into_iter().zip(counts) {
                if *count > 0 && is_wanted(lane, state) {
                    found.push(LaneCount {
                        id: *id,
                        lane: *lane,
                        state,
                        count: *count,
                    });
                }
            }
        }
        found
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
