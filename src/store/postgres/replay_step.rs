//! One step of a replay: new deliveries, and the next position, in one transaction.

use std::collections::HashMap;

use tokio_postgres::Error;

use crate::model::delivery::DeliveryState;
use crate::store::postgres::order::{self, OrderedKey};
use crate::store::postgres::replay_source::{ReplayPart, ReplayedEvent};
use crate::store::postgres::session::{Session, SqlValue};
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::tally::{self, TallyChanges};

/// Priority of replayed deliveries: live deliveries go first.
const PRIORITY: i16 = -1;

/// Creates the deliveries of a batch, unless another step has moved the replay since the batch was read.
pub(super) async fn step(
    shared: &NodeShared,
    session: &Session,
    id: i64,
    batch: &ReplayPart,
    now_ms: i64,
) -> Result<(), Error> {
    let keys: Vec<OrderedKey> = batch
        .sources
        .iter()
        .filter_map(ReplayedEvent::key)
        .collect();
    // Order keys before rows, as in every transaction.
    order::lock(session, &shared.settings.schema, &keys).await?;
    let sql = "SELECT id FROM replay WHERE id = $1 AND position = $2 AND NOT is_paused
        AND NOT is_ended FOR UPDATE";
    // Of several nodes with this position one gets the row. The others wait, and then find that it has moved.
    let found = session.query_opt(sql, &[&id, &batch.position]).await?;
    if found.is_none() {
        return Ok(());
    }
    let sizes = hold_bodies(session, batch).await?;
    let mut skipped = 0_i64;
    let mut rows = ReplayColumns::default();
    let mut changes = TallyChanges::default();
    let names = shared.names();
    for source in &batch.sources {
        // Retention or `keep_body` may have deleted the body since the count.
        let size = sizes.get(&source.event);
        let (Some(size), Some(lane)) = (size, names.lane(source.lane)) else {
            skipped += 1;
            continue;
        };
        rows.push(source, lane, *size);
        changes.add(lane, DeliveryState::Pending, 1);
    }
    let due_ms = now_ms.saturating_add(shared.clock.skew_ms());
    rows.insert(session, due_ms, now_ms).await?;
    // After the insert, so that it decides among the old and the new deliveries of each key.
    order::settle(session, &keys).await?;
    tally::record(session, &changes).await?;
    // At the end the total becomes what was really delivered: rows may have been deleted since the count.
    let sql =
        "UPDATE replay SET position = $2, done = done + $3, skipped = skipped + $4, is_ended = $5,
        total = CASE WHEN $5 THEN done + $3 ELSE greatest(total, done + $3) END WHERE id = $1";
    let done = i64::try_from(batch.sources.len()).unwrap_or(i64::MAX);
    session
        .execute(sql, &[&id, &batch.last, &done, &skipped, &batch.is_last])
        .await
        .map(drop)
}

/// Returns the sizes of the contents whose body is stored, and holds them until the end of the transaction. Neither
/// retention nor an outcome may delete a body for which a delivery is created here.
async fn hold_bodies(session: &Session, batch: &ReplayPart) -> Result<HashMap<i64, i64>, Error> {
    let events: Vec<i64> = batch.sources.iter().map(|source| source.event).collect();
    // Events before contents, which is the order in which retention locks them.
    let sql = "SELECT id FROM event WHERE id = ANY($1) ORDER BY id FOR KEY SHARE";
    session.query(sql, &[&events]).await?;
    let sql = "SELECT event, (octet_length(head) + octet_length(body))::bigint FROM content
        WHERE event = ANY($1) AND body IS NOT NULL ORDER BY event FOR SHARE";
    let rows = session.query(sql, &[&events]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// New deliveries as columns.
#[derive(Default)]
struct ReplayColumns {
    events: Vec<i64>,
    lanes: Vec<i64>,
    destinations: Vec<i64>,
    order_keys: Vec<Option<i64>>,
    sizes: Vec<i64>,
}

impl ReplayColumns {
    fn push(&mut self, source: &ReplayedEvent, lane: i64, size: i64) {
        self.events.push(source.event);
        self.lanes.push(lane);
        self.destinations.push(source.lane.destination);
        self.order_keys.push(source.order_key);
        self.sizes.push(size);
    }

    async fn insert(&self, session: &Session, due_ms: i64, now_ms: i64) -> Result<(), Error> {
        if self.events.is_empty() {
            return Ok(());
        }
        // In the order of the sources, so that the numbers follow it. A delivery with an order key is behind at first, and
        // `settle` decides which one goes.
        let sql = "INSERT INTO open_delivery (id, event, lane, destination, state, is_behind, priority,
                due_ms, order_key, attempts, round, round_began_ms, created_ms, size)
            SELECT nextval('number'), event, lane, destination, 0, order_key IS NOT NULL, $6, $7, order_key,
                0, 0, $7, $8, size
            FROM (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
                WITH ORDINALITY AS s (event, lane, destination, order_key, size, place) ORDER BY place) AS s";
        let values: [SqlValue<'_>; 8] = [
            &self.events,
            &self.lanes,
            &self.destinations,
            &self.order_keys,
            &self.sizes,
            &PRIORITY,
            &due_ms,
            &now_ms,
        ];
        session.execute(sql, &values).await.map(drop)
    }
}
