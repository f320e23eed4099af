//! Erasing events with all their rows.
//!
//! PostgreSQL keeps the old versions of rows until a vacuum, and in its log until that is recycled. Both are the server's
//! own, so the documentation says what is left to its operator.

use std::collections::HashSet;
use std::sync::Arc;

use tokio_postgres::Error;

use crate::model::delivery::DeliveryState;
use crate::model::ids::RequestId;
use crate::store::erase::{ERASED_AT_ONCE, EraseResult, EventExtent};
use crate::store::error::StoreError;
use crate::store::postgres::event_list::PATIENCE;
use crate::store::postgres::order::{self, MAX_LOCKED, OrderedKey};
use crate::store::postgres::session::Session;
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::store::PostgresStore;
use crate::store::postgres::tally::{self, TallyChanges};
use crate::store::rows::DestinationId;

/// Uids of events as the database has them.
type EventUids = Vec<Vec<u8>>;

impl PostgresStore {
    pub(in crate::store) async fn erase(
        &self,
        events: &[RequestId],
    ) -> Result<EraseResult, StoreError> {
        let mut erased = EraseResult::default();
        for some in events.chunks(ERASED_AT_ONCE) {
            let uids: EventUids = some.iter().map(|uid| uid.as_bytes().to_vec()).collect();
            for (uids, keys) in self.in_groups(uids).await? {
                let shared = Arc::clone(&self.shared);
                let write = self.write(async move |session| {
                    let one = erase_group(&shared, session, &uids, &keys).await;
                    one.map_err(StoreError::Postgres)
                });
                erased.add(write.await?);
            }
        }
        Ok(erased)
    }

    /// Splits events into groups whose order keys one transaction may lock. It locks them before its first row, so they
    /// must be known before it begins.
    async fn in_groups(
        &self,
        uids: EventUids,
    ) -> Result<Vec<(EventUids, Vec<OrderedKey>)>, StoreError> {
        let wanted = uids.clone();
        let keys = self.read(PATIENCE, async move |session| {
            let sql = "SELECT e.uid, d.destination, d.order_key FROM event AS e
                JOIN any_delivery AS d ON d.event = e.id
                WHERE e.uid = ANY($1) AND d.order_key IS NOT NULL";
            let rows = session.query(sql, &[&wanted]).await?;
            let key = |row: &tokio_postgres::Row| {
                let key = OrderedKey {
                    destination: row.get(1),
                    key: row.get(2),
                };
                (row.get::<_, Vec<u8>>(0), key)
            };
            Ok(rows.iter().map(key).collect::<Vec<_>>())
        });
        let keys = keys.await?;
        let mut groups: Vec<(EventUids, HashSet<OrderedKey>)> = Vec::new();
        for uid in uids {
            let own: HashSet<_> = keys
                .iter()
                .filter(|(of, _)| *of == uid)
                .map(|(_, key)| *key)
                .collect();
            match groups.last_mut() {
                Some((events, known)) if known.union(&own).count() <= MAX_LOCKED => {
                    events.push(uid);
                    known.extend(own);
                }
                _ => groups.push((vec![uid], own)),
            }
        }
        let group =
            |(events, keys): (EventUids, HashSet<OrderedKey>)| (events, keys.into_iter().collect());
        Ok(groups.into_iter().map(group).collect())
    }

    pub(in crate::store) async fn extent(&self) -> Result<EventExtent, StoreError> {
        self.read(PATIENCE, async |session| {
            let sql = "SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM event";
            let row = session.query_one(sql, &[]).await?;
            Ok(EventExtent {
                first: row.get(0),
                last: row.get(1),
            })
        })
        .await
    }
}

async fn erase_group(
    shared: &NodeShared,
    session: &Session,
    uids: &EventUids,
    keys: &[OrderedKey],
) -> Result<EraseResult, Error> {
    order::lock(session, &shared.settings.schema, keys).await?;
    // A retry or a replay holds its event. This waits for it, and then sees the delivery that it opened.
    let sql = "SELECT id FROM event WHERE uid = ANY($1) ORDER BY id FOR UPDATE";
    let rows = session.query(sql, &[uids]).await?;
    let events: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let mut erased = EraseResult::default();
    let mut changes = TallyChanges::default();
    // Locked in the order of numbers, as every transaction does.
    let sql = "SELECT id FROM open_delivery WHERE event = ANY($1) ORDER BY id FOR UPDATE";
    session.query(sql, &[&events]).await?;
    let sql = "WITH o AS (
            DELETE FROM open_delivery WHERE event = ANY($1) RETURNING id, lane, state, destination
        ), d AS (
            DELETE FROM delivery WHERE event = ANY($1) RETURNING id, lane, state, destination
        ), gone AS (
            SELECT * FROM o UNION ALL SELECT * FROM d
        ), a AS (
            DELETE FROM attempt USING gone WHERE attempt.delivery = gone.id
        ) SELECT lane, state, destination FROM gone";
    for row in session.query(sql, &[&events]).await? {
        let Some(state) = DeliveryState::from_code(row.get::<_, i16>(1).into()) else {
            continue;
        };
        changes.add(row.get(0), state, -1);
        match state {
            DeliveryState::InFlight => erased.in_flight += 1,
            DeliveryState::Pending | DeliveryState::Waiting => erased.cancelled += 1,
            DeliveryState::Delivered | DeliveryState::Dead | DeliveryState::Cancelled => continue,
        }
        let destination = DestinationId(row.get(2));
        if !erased.destinations.contains(&destination) {
            erased.destinations.push(destination);
        }
    }
    let sql = "DELETE FROM content WHERE event = ANY($1)";
    session.execute(sql, &[&events]).await?;
    let sql = "DELETE FROM event WHERE id = ANY($1)";
    erased.events = session.execute(sql, &[&events]).await?;
    changes.add_events(-i64::try_from(erased.events).unwrap_or(0));
    // After the deletion: others of the key may have waited for a delivery that is gone now.
    order::settle(session, keys).await?;
    tally::record(session, &changes).await?;
    Ok(erased)
}
