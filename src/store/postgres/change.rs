//! Steps that operators apply to deliveries: retry, cancel, discard.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio_postgres::{Error, Row};

use crate::model::delivery::{DeliveryState, DeliveryStep};
use crate::store::error::StoreError;
use crate::store::postgres::bounds::WalkBounds;
use crate::store::postgres::delivery_search::DeliveryWalk;
use crate::store::postgres::event_list::{LONG_PATIENCE, PATIENCE};
use crate::store::postgres::finish::drop_bodies;
use crate::store::postgres::order::{self, MAX_LOCKED, OrderedKey};
use crate::store::postgres::session::Session;
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::snapshot::ReadSnapshot;
use crate::store::postgres::store::PostgresStore;
use crate::store::postgres::tally::{self, TallyChanges};
use crate::store::search::{DeliverySearch, DeliverySelector, StepSelection};

/// Deliveries that one transaction changes.
const CHANGED_AT_ONCE: usize = 500;

/// Deliveries that one transaction changes, with the order keys that it locks.
#[derive(Default)]
struct ChangeGroup {
    ids: Vec<i64>,
    keys: HashSet<OrderedKey>,
}

impl PostgresStore {
    pub(in crate::store) async fn change(
        &self,
        selection: StepSelection,
        now_ms: i64,
    ) -> Result<u64, StoreError> {
        let step = selection.step;
        let search = match selection.which {
            DeliverySelector::One(id) => return self.change_some(vec![id.0], step, now_ms).await,
            DeliverySelector::All(search) => search,
        };
        // Remember the newest number now, so that deliveries which arrive meanwhile are not changed.
        let last = self.last_number().await?;
        let mut changed = 0;
        // State by state, so that a step for few deliveries does not read all that have ended.
        for state in states_before(step) {
            if search.state.is_some_and(|wanted| wanted != *state) {
                continue;
            }
            let search = DeliverySearch {
                state: Some(*state),
                ..search.clone()
            };
            let mut seen = 0;
            loop {
                let ids = self.find_some(search.clone(), seen, last).await?;
                let Some(to) = ids.last().copied() else {
                    break;
                };
                // Continue behind rows that did not change too, or the loop would find them forever.
                seen = to;
                changed += self.change_some(ids, step, now_ms).await?;
            }
        }
        Ok(changed)
    }

    /// Returns the highest number that was drawn.
    pub(super) async fn last_number(&self) -> Result<i64, StoreError> {
        self.read(PATIENCE, async |session| {
            let sql = "SELECT last_value FROM number";
            Ok(session.query_one(sql, &[]).await?.get(0))
        })
        .await
    }

    /// Returns the next matching deliveries, oldest first.
    async fn find_some(
        &self,
        search: DeliverySearch,
        seen: i64,
        last: i64,
    ) -> Result<Vec<i64>, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.read(LONG_PATIENCE, async move |session| {
            let snapshot = ReadSnapshot::new(session, &shared).await?;
            let bounds = WalkBounds::oldest_first(seen + 1, last);
            let mut walk = DeliveryWalk::new(&snapshot, &search, bounds).await?;
            let mut ids = Vec::new();
            while ids.len() < CHANGED_AT_ONCE
                && let Some(found) = walk.next(CHANGED_AT_ONCE).await?
            {
                ids.extend(found.iter().map(|found| found.id));
            }
            // What is cut here is found again, since the next search begins behind the last number that remains.
            ids.truncate(CHANGED_AT_ONCE);
            Ok(ids)
        })
        .await
    }

    async fn change_some(
        &self,
        ids: Vec<i64>,
        step: DeliveryStep,
        now_ms: i64,
    ) -> Result<u64, StoreError> {
        if states_before(step).is_empty() {
            return Ok(0);
        }
        // A transaction locks all its keys in their order before the first row, so the keys must be known before it
        // begins.
        let groups = self.read(PATIENCE, async move |session| {
            let keys = order_keys(session, &ids).await?;
            Ok(in_groups(ids, &keys))
        });
        let mut changed = 0;
        for group in groups.await? {
            let shared = Arc::clone(&self.shared);
            let write = self.write(async move |session| {
                let changed = change_group(&shared, session, &group, step, now_ms).await;
                changed.map_err(StoreError::Postgres)
            });
            changed += write.await?;
        }
        Ok(changed)
    }
}

/// Returns the states in which an operator may apply a step, in an order in which no delivery takes it twice.
fn states_before(step: DeliveryStep) -> &'static [DeliveryState] {
    use DeliveryState::{Dead, Pending, Waiting};
    match step {
        DeliveryStep::Retry => &[Pending, Waiting, Dead],
        DeliveryStep::Cancel => &[Pending, Waiting],
        DeliveryStep::Discard => &[Dead],
        // Workers take the other steps, never an operator.
        DeliveryStep::Begin
        | DeliveryStep::Deliver
        | DeliveryStep::Delay
        | DeliveryStep::GiveUp
        | DeliveryStep::Interrupt => &[],
    }
}

/// Reads the order keys of deliveries. A key never changes.
async fn order_keys(session: &Session, ids: &[i64]) -> Result<HashMap<i64, OrderedKey>, Error> {
    let sql = "SELECT id, destination, order_key FROM any_delivery
        WHERE id = ANY($1) AND order_key IS NOT NULL";
    let rows = session.query(sql, &[&ids]).await?;
    let key = |row: &Row| OrderedKey {
        destination: row.get(1),
        key: row.get(2),
    };
    Ok(rows.iter().map(|row| (row.get(0), key(row))).collect())
}

/// Splits deliveries into groups whose order keys one transaction may lock.
fn in_groups(ids: Vec<i64>, keys: &HashMap<i64, OrderedKey>) -> Vec<ChangeGroup> {
    let mut groups = Vec::new();
    let mut group = ChangeGroup::default();
    for id in ids {
        if let Some(key) = keys.get(&id) {
            if group.keys.len() >= MAX_LOCKED && !group.keys.contains(key) {
                groups.push(std::mem::take(&mut group));
            }
            group.keys.insert(*key);
        }
        group.ids.push(id);
    }
    groups.push(group);
    groups
}

/// Applies a step to the deliveries whose state allows it, inside a transaction. Returns how many changed.
async fn change_group(
    shared: &NodeShared,
    session: &Session,
    group: &ChangeGroup,
    step: DeliveryStep,
    now_ms: i64,
) -> Result<u64, Error> {
    let keys: Vec<OrderedKey> = group.keys.iter().copied().collect();
    order::lock(session, &shared.settings.schema, &keys).await?;
    let ids = &group.ids;
    let changed = match step {
        DeliveryStep::Retry => {
            // A due time is of the store's clock, an end time is of the wall clock.
            let due_ms = now_ms.saturating_add(shared.clock.skew_ms());
            retry(session, ids, due_ms).await?
        }
        DeliveryStep::Cancel => session.query(CANCEL, &[ids, &now_ms]).await?,
        _ => session.query(DISCARD, &[ids, &now_ms]).await?,
    };
    let mut changes = TallyChanges::default();
    for row in &changed {
        let lane: i64 = row.get(0);
        let state = DeliveryState::from_code(row.get::<_, i16>(1).into());
        let next = state.and_then(|state| state.after(step));
        if let (Some(state), Some(next)) = (state, next) {
            changes.add(lane, state, -1);
            changes.add(lane, next, 1);
        }
    }
    // After the step: others of the key may have waited for a delivery that has just ended.
    order::settle(session, &keys).await?;
    if step != DeliveryStep::Retry {
        // These may have been the last deliveries that needed the bodies.
        let events: Vec<i64> = changed.iter().map(|row| row.get(2)).collect();
        drop_bodies(shared, session, &events).await?;
    }
    tally::record(session, &changes).await?;
    Ok(u64::try_from(changed.len()).unwrap_or(0))
}

/// Moves open deliveries that no worker holds to the ended ones. Returns their lanes, former states and events.
const CANCEL: &str = "WITH locked AS MATERIALIZED (
        SELECT id FROM open_delivery WHERE id = ANY($1) AND state IN (0, 2) ORDER BY id FOR UPDATE
    ), d AS (
        DELETE FROM open_delivery AS o USING locked WHERE o.id = locked.id RETURNING o.*
    ), h AS (
        INSERT INTO delivery (id, event, lane, destination, state, priority, order_key, attempts,
            created_ms, ended_ms, last_status, last_error)
        SELECT id, event, lane, destination, 5, priority, order_key, attempts, created_ms, $2,
            last_status, last_error FROM d
    ) SELECT lane, state, event FROM d";

/// Discards dead letters. Returns their lanes, former states and events.
const DISCARD: &str = "WITH locked AS MATERIALIZED (
        SELECT id, state FROM delivery WHERE id = ANY($1) AND state = 4 ORDER BY id FOR UPDATE
    ) UPDATE delivery AS d SET state = 5, ended_ms = $2 FROM locked WHERE d.id = locked.id
    RETURNING d.lane, locked.state, d.event";

/// Makes deliveries due. Returns their lanes, former states and events.
async fn retry(session: &Session, ids: &Vec<i64>, due_ms: i64) -> Result<Vec<Row>, Error> {
    // First those that are open: the dead ones are open afterwards, and must not count twice.
    let sql = "WITH locked AS MATERIALIZED (
            SELECT id, state FROM open_delivery WHERE id = ANY($1) AND state IN (0, 2)
            ORDER BY id FOR UPDATE
        ) UPDATE open_delivery AS o SET state = 0, due_ms = $2, round = 0, round_began_ms = $2
        FROM locked WHERE o.id = locked.id RETURNING o.lane, locked.state, o.event";
    let mut changed = session.query(sql, &[ids, &due_ms]).await?;
    // Holds the events against retention, which checks that nothing of an event is open before it deletes it.
    let sql = "SELECT id FROM event WHERE id IN (
            SELECT event FROM delivery WHERE id = ANY($1) AND state = 4) ORDER BY id FOR KEY SHARE";
    session.query(sql, &[ids]).await?;
    // Behind at first, so that `settle` decides which delivery of an order key goes.
    let sql = "WITH locked AS MATERIALIZED (
            SELECT id FROM delivery WHERE id = ANY($1) AND state = 4 ORDER BY id FOR UPDATE
        ), d AS (
            DELETE FROM delivery USING locked WHERE delivery.id = locked.id RETURNING delivery.*
        ), o AS (
            INSERT INTO open_delivery (id, event, lane, destination, state, is_behind, priority, due_ms,
                order_key, attempts, round, round_began_ms, created_ms, last_status, last_error, size)
            SELECT id, event, lane, destination, 0, order_key IS NOT NULL, priority, $2, order_key,
                attempts, 0, $2, created_ms, last_status, last_error,
                coalesce((SELECT octet_length(head) + coalesce(octet_length(body), 0) FROM content
                    WHERE content.event = d.event), 0)
            FROM d
        ) SELECT lane, state, event FROM d";
    changed.extend(session.query(sql, &[ids, &due_ms]).await?);
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when a group gets more keys than one transaction may lock, or when a delivery is left out or repeated.
    #[test]
    fn groups_lock_a_bounded_number_of_keys() {
        let key = |number: i64| OrderedKey {
            destination: 1,
            key: number,
        };
        let keys: HashMap<i64, OrderedKey> = (0..300)
            .filter(|id| id % 3 != 0)
            .map(|id| (id, key(id / 2)))
            .collect();
        let groups = in_groups((0..300).collect(), &keys);
        assert!(groups.iter().all(|group| group.keys.len() <= MAX_LOCKED));
        let ids: Vec<i64> = groups.iter().flat_map(|group| group.ids.clone()).collect();
        assert_eq!(ids, (0..300).collect::<Vec<_>>());
    }

    // Fails when a step of an operator is allowed in a state that the table of steps does not name, or lacks one.
    #[test]
    fn operators_apply_steps_in_the_states_of_the_table() {
        for step in [
            DeliveryStep::Retry,
            DeliveryStep::Cancel,
            DeliveryStep::Discard,
        ] {
            let allowed = DeliveryState::ALL
                .into_iter()
                .filter(|state| state.after(step).is_some());
            assert!(allowed.eq(states_before(step).iter().copied()));
        }
    }
}
