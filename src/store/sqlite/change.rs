//! Steps that operators apply to deliveries: retry, cancel, discard.

use rusqlite::params;

use crate::model::delivery::{DeliveryId, DeliveryStep};
use crate::store::error::StoreError;
use crate::store::search::{DeliverySearch, DeliverySelector, StepSelection};
use crate::store::sqlite::fifo;
use crate::store::sqlite::group_work::{GroupWork, TaskFailure};
use crate::store::sqlite::index_ranges::ListBounds;
use crate::store::sqlite::list_numbers::numbers;
use crate::store::sqlite::lists::each_delivery;
use crate::store::sqlite::queue::TaskUrgency;
use crate::store::sqlite::readers::{LONG_PATIENCE, PATIENCE};
use crate::store::sqlite::store::SqliteStore;

/// Deliveries that one group changes, which takes a few milliseconds of writing.
const CHANGED_AT_ONCE: usize = 500;

impl SqliteStore {
    /// Applies a step (`Retry`, `Cancel`, `Discard`) to one delivery or to all that match, in bounded groups. Returns
    /// how many deliveries it changed. Deliveries whose state does not allow the step stay as they are. Deliveries that
    /// arrive meanwhile are not considered. If a group fails, those before it stay done.
    pub(crate) async fn change(
        &self,
        selection: StepSelection,
        now_ms: i64,
    ) -> Result<u64, StoreError> {
        let step = selection.step;
        let search = match selection.which {
            DeliverySelector::One(id) => return self.change_some(vec![id.0], step, now_ms).await,
            DeliverySelector::All(search) => search,
        };
        // Remember the newest delivery now, so that deliveries which arrive meanwhile are not changed.
        let last = self.shared.read(PATIENCE, |look| {
            numbers(look.conn, "SELECT last_delivery FROM total", [])
        });
        let last = last.await?.first().copied().unwrap_or(0);
        let (mut seen, mut changed) = (0, 0);
        loop {
            let ids = self.find_some(search.clone(), seen, last).await?;
            let Some(to) = ids.last().copied() else {
                return Ok(changed);
            };
            // Continue behind rows that did not change too, or the loop would find them forever.
            seen = to;
            changed += self.change_some(ids, step, now_ms).await?;
        }
    }

    async fn change_some(
        &self,
        ids: Vec<i64>,
        step: DeliveryStep,
        now_ms: i64,
    ) -> Result<u64, StoreError> {
        let run = move |work: &mut GroupWork| work.change(&ids, step, now_ms);
        self.write(TaskUrgency::Outcome, 0, run).await
    }

    /// Returns the next matching deliveries, oldest first.
    async fn find_some(
        &self,
        search: DeliverySearch,
        seen: i64,
        last: i64,
    ) -> Result<Vec<i64>, StoreError> {
        let look = self.shared.read(LONG_PATIENCE, move |look| {
            let bounds = ListBounds::oldest_first(seen + 1, last);
            let mut ids = Vec::new();
            each_delivery(look, &search, bounds, &mut |id| {
                ids.push(id);
                Ok(ids.len() < CHANGED_AT_ONCE)
            })?;
            Ok(ids)
        });
        look.await
    }
}

impl GroupWork {
    /// Applies a step to these deliveries and returns how many changed.
    fn change(&mut self, ids: &[i64], step: DeliveryStep, now_ms: i64) -> Result<u64, TaskFailure> {
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
