//! The row in which the clock of the store survives a restart.

use rusqlite::params;

use crate::model::delivery::DeliveryState;
use crate::store::sqlite::clock::AT_ONCE;
use crate::store::sqlite::group_work::GroupWork;
use crate::store::sqlite::list_numbers::numbers;

impl GroupWork {
    /// Makes all waiting deliveries due now, in bounded transactions, because the rest of their pauses is unknown.
    pub(super) fn end_pauses(&mut self) -> rusqlite::Result<()> {
        let now_ms = self.clock.now_ms();
        let lanes: Vec<i64> = self.names.lanes.keys().copied().collect();
        for lane in lanes {
            for state in [DeliveryState::Pending, DeliveryState::Waiting] {
                let mut seen = Some(0);
                while let Some(from) = seen {
                    seen = self.end_some_pauses(lane, state, from, now_ms)?;
                }
            }
        }
        Ok(())
    }

    /// Makes some deliveries due, and returns the last one changed. Returns `None` if no more are left.
    fn end_some_pauses(
        &mut self,
        lane: i64,
        state: DeliveryState,
        from: i64,
        now_ms: i64,
    ) -> rusqlite::Result<Option<i64>> {
        let sql = "SELECT id FROM delivery INDEXED BY delivery_lane
            WHERE lane = ?1 AND state = ?2 AND id > ?3 AND due_ms > ?4 ORDER BY id LIMIT ?5";
        let values = params![lane, state.code(), from, now_ms, AT_ONCE];
        // Ids only grow from call to call, so each row is visited once.
        let ids = numbers(&self.conn, sql, values)?;
        let Some(last) = ids.last().copied() else {
            return Ok(None);
        };
        self.start()?;
        for id in &ids {
            let sql = "UPDATE delivery SET due_ms = ?2 WHERE id = ?1";
            self.conn.prepare_cached(sql)?.execute([*id, now_ms])?;
        }
        self.commit()?;
        Ok(Some(last))
    }
}
