//! Steps that operators apply to deliveries: retry, cancel, discard.

use rusqlite::params;

use crate::model::delivery::{DeliveryId, DeliveryStep};
use crate::store::sqlite::fifo;
use crate::store::sqlite::group_work::{GroupWork, TaskFailure};

/// Deliveries that one group changes, which takes a few milliseconds of writing.
pub(super) const CHANGED_AT_ONCE: usize = 500;

impl GroupWork {
    /// Applies a step to these deliveries and returns how many changed.
    pub(super) fn change(
        &mut self,
        ids: &[i64],
        step: DeliveryStep,
        now_ms: i64,
    ) -> Result<u64, TaskFailure> {
        let mut changed = 0;
        for id in ids {
            changed += u64::from(self.change_one(DeliveryId(*id), step, now_ms)?);
        }
        Ok(changed)
    }

    fn change_one(
        &mut self,
        id: DeliveryId,
        step: DeliveryStep,
        now_ms: i64,
    ) -> Result<bool, TaskFailure> {
        let sql = match step {
            DeliveryStep::Retry => {
                "UPDATE delivery SET state = ?3, due_ms = ?2, round = 0, round_began_ms = ?2, ended_ms = NULL
                WHERE id = ?1"
            }
            DeliveryStep::Cancel | DeliveryStep::Discard => {
                "UPDATE delivery SET state = ?3, ended_ms = ?2 WHERE id = ?1"
            },
            // Workers take the other steps, never an operator.
            DeliveryStep::Begin
            | DeliveryStep::Deliver
            | DeliveryStep::Delay
            | DeliveryStep::GiveUp
            | DeliveryStep::Interrupt => {
                return Ok(false);
            }
        };
        let Some(found) = self.find(id)? else {
            return Ok(false);
        };
        let Some(next) = self.step(&found, step) else {
            return Ok(false);
        };
        // A retry sets a due time, which is of the store's clock. An end time is of the wall clock.
        let at_ms = match step {
            DeliveryStep::Retry => now_ms.saturating_add(self.clock.skew_ms()),
            _ => now_ms,
        };
        self.conn
            .prepare_cached(sql)?
            .execute(params![id.0, at_ms, next.code()])?;
        if let Some(key) = found.order_key {
            fifo::settle(&self.conn, found.destination, key)?;
        }
        // This may have been the last delivery that needed the body.
        if step != DeliveryStep::Retry {
            self.drop_body_of(&found)?;
        }
        Ok(true)
    }
}
