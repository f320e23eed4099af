//! The rows of a group as columns: two statements insert all of them with `unnest`.

use std::collections::HashSet;

use tokio_postgres::Row;

use crate::store::error::StoreError;
use crate::store::postgres::group_event::{FoundClaim, FoundClaims, GroupEvent};
use crate::store::postgres::lease::ATTEMPT_GRACE_MS;
use crate::store::postgres::session::{Session, SqlValue};
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::tally::TallyColumns;
use crate::store::rows::ClaimRow;

/// Claims of new events.
#[derive(Default)]
pub(super) struct ClaimInsert {
    routes: Vec<i64>,
    keys: Vec<Vec<u8>>,
    expires_ms: Vec<i64>,
    statuses: Vec<i16>,
    events: Vec<i64>,
}

impl ClaimInsert {
    /// Inserts claims and returns those that were free. They are sorted, so that two groups with the same claims wait
    /// for each other in the same order. Of one group the first event wins all its claims, so that every
    /// transaction decides about one event at least.
    pub(super) const INSERT: &str = "INSERT INTO claim (route, key, expires_ms, status, event)
        SELECT route, key, expires_ms, status, event FROM unnest($1::bigint[], $2::bytea[],
            $3::bigint[], $4::smallint[], $5::bigint[]) AS c (route, key, expires_ms, status, event)
        ORDER BY route, key, event ON CONFLICT DO NOTHING RETURNING event, key";

    pub(super) fn of(events: &[GroupEvent]) -> Self {
        Self::with_numbers(events, events.iter().map(|event| event.number))
    }

    /// Returns the claims of new events that have these numbers.
    fn with_numbers(events: &[GroupEvent], numbers: impl Iterator<Item = i64>) -> Self {
        let mut columns = Self::default();
        let numbered = events.iter().zip(numbers);
        for (event, number) in numbered.filter(|(event, _)| event.is_new()) {
            for claim in &event.task.task.claims {
                columns.push(event.route, *claim, event.task.task.status, number);
            }
        }
        columns
    }

    fn push(&mut self, route: i64, claim: ClaimRow, status: u16, event: i64) {
        self.routes.push(route);
        self.keys.push(claim.key.to_vec());
        self.expires_ms.push(claim.expires_ms);
        self.statuses
            .push(i16::try_from(status).unwrap_or(i16::MAX));
        self.events.push(event);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Begins a transaction and calls `begin_group` of the schema, in one flight to the server: sets the numbers of the
    /// events, and returns the claims that were free, as events and keys.
    pub(super) async fn begin(
        session: &Session,
        events: &mut [GroupEvent],
    ) -> Result<HashSet<(i64, [u8; 16])>, StoreError> {
        // An event has a lower number than its deliveries, and deliveries follow their order in the request.
        let counts = events.iter().map(|event| 1 + event.lanes.len());
        let places: Vec<i64> = counts
            .scan(1, |next, count| {
                let place = *next;
                *next += i64::try_from(count).unwrap_or(i64::MAX / 2);
                Some(place)
            })
            .collect();
        let count: usize = events.iter().map(|event| 1 + event.lanes.len()).sum();
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        let claims = Self::with_numbers(events, places.into_iter());
        let sql = "SELECT * FROM begin_group($1, $2, $3, $4, $5, $6)";
        // Before `BEGIN`: preparing waits for the server, and must not prolong the transaction.
        let begin = session.prepare(sql).await.map_err(StoreError::Postgres)?;
        let [routes, keys, expires_ms, statuses, claimed_by] = claims.values();
        let values: [SqlValue<'_>; 6] = [&count, routes, keys, expires_ms, statuses, claimed_by];
        // Sent in this order without waiting for answers. After a failure the server rejects the statement behind it.
        let (begun, rows) = tokio::join!(
            biased;
            session.batch("BEGIN"),
            session.client.query(&begin, &values),
        );
        begun.map_err(StoreError::Postgres)?;
        let rows = rows.map_err(StoreError::Postgres)?;
        let (drawn, won) = rows.split_first().ok_or(StoreError::Closed)?;
        let drawn: Vec<i64> = drawn.get(0);
        let mut numbers = drawn.into_iter();
        for event in events {
            event.number = numbers.next().ok_or(StoreError::Closed)?;
            event.deliveries = numbers.by_ref().take(event.lanes.len()).collect();
        }
        Ok(won.iter().filter_map(|row| claim_of(row, 1, 2)).collect())
    }

    pub(super) fn values(&self) -> [SqlValue<'_>; 5] {
        [
            &self.routes,
            &self.keys,
            &self.expires_ms,
            &self.statuses,
            &self.events,
        ]
    }

    /// Returns the claims that an insert made, as events and keys.
    pub(super) fn won(rows: &[Row]) -> HashSet<(i64, [u8; 16])> {
        rows.iter().filter_map(|row| claim_of(row, 0, 1)).collect()
    }

    /// Reads and locks claims that were there before.
    pub(super) async fn find(
        session: &Session,
        lost: &[(i64, [u8; 16])],
    ) -> Result<FoundClaims, tokio_postgres::Error> {
        let routes: Vec<i64> = lost.iter().map(|(route, _)| *route).collect();
        let keys: Vec<&[u8]> = lost.iter().map(|(_, key)| &key[..]).collect();
        // Sorted before it locks, like the insert, so that two groups with the same claims wait but never deadlock.
        let sql = "SELECT c.route, c.key, c.status, c.expires_ms, c.event, c.node FROM claim c
            JOIN (SELECT DISTINCT * FROM unnest($1::bigint[], $2::bytea[]) AS k (route, key)) k
            ON c.route = k.route AND c.key = k.key ORDER BY c.route, c.key FOR UPDATE OF c";
        let rows = session.query(sql, &[&routes, &keys]).await?;
        let mut found = FoundClaims::new();
        for row in rows {
            let key: &[u8] = row.get(1);
            let Some(key) = key.first_chunk::<16>() else {
                continue;
            };
            let claim = FoundClaim {
                status: row
                    .get::<_, Option<i16>>(2)
                    .map(|status| u16::try_from(status).unwrap_or(0)),
                expires_ms: row.get(3),
                event: row.get(4),
                node: row.get(5),
            };
            found.insert((row.get(0), *key), claim);
        }
        Ok(found)
    }

    /// Gives claims that are over to new events.
    pub(super) async fn replace(
        session: &Session,
        claims: &[(i64, ClaimRow, u16, i64)],
    ) -> Result<(), tokio_postgres::Error> {
        if claims.is_empty() {
            return Ok(());
        }
        let mut columns = Self::default();
        for (route, claim, status, event) in claims {
            columns.push(*route, *claim, *status, *event);
        }
        // `find` has locked these rows, so the order in which this statement meets them does not matter.
        let sql = "UPDATE claim SET expires_ms = c.expires_ms, status = c.status, event = c.event,
            node = NULL FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::smallint[],
            $5::bigint[]) AS c (route, key, expires_ms, status, event)
            WHERE claim.route = c.route AND claim.key = c.key";
        session.execute(sql, &columns.values()).await.map(drop)
    }

    /// Deletes claims that this transaction inserted, given as route, key and event.
    pub(super) async fn give_up(
        session: &Session,
        claims: &[(i64, [u8; 16], i64)],
    ) -> Result<(), tokio_postgres::Error> {
        if claims.is_empty() {
            return Ok(());
        }
        let routes: Vec<i64> = claims.iter().map(|(route, ..)| *route).collect();
        let keys: Vec<&[u8]> = claims.iter().map(|(_, key, _)| &key[..]).collect();
        let events: Vec<i64> = claims.iter().map(|(.., event)| *event).collect();
        let sql = "DELETE FROM claim USING unnest($1::bigint[], $2::bytea[], $3::bigint[])
            AS c (route, key, event)
            WHERE claim.route = c.route AND claim.key = c.key AND claim.event = c.event";
        session
            .execute(sql, &[&routes, &keys, &events])
            .await
            .map(drop)
    }
}

/// Reads a claim from the columns of its event and its key.
fn claim_of(row: &Row, event: usize, key: usize) -> Option<(i64, [u8; 16])> {
    let key: &[u8] = row.get(key);
    Some((row.get(event), *key.first_chunk::<16>()?))
}

/// Inserts events, contents, deliveries and changes of counts with one statement: four statements cost the server as much
/// as some 10 events more.
pub(super) const INSERT_ROWS: &str = "WITH event_rows AS (
        INSERT INTO event (id, uid, kind, received_ms, body_size, event_id, webhook_id, event_type)
        SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[],
            $6::text[], $7::text[], $8::text[])
    ), content_rows AS (
        INSERT INTO content (event, sealing_key, head, body)
        SELECT * FROM unnest($1::bigint[], $9::bigint[], $10::bytea[], $11::bytea[])
    ), delivery_rows AS (
        INSERT INTO open_delivery (id, event, lane, destination, state, is_behind, priority, due_ms,
            order_key, attempts, round, round_began_ms, created_ms, size, node, turn, until_ms)
        SELECT id, event, lane, destination, state, is_behind, priority, due_ms, order_key, attempts,
            attempts, round_began_ms, created_ms, size,
            CASE state WHEN 1 THEN $25::integer END,
            CASE state WHEN 1 THEN nextval('turn') END,
            CASE state WHEN 1 THEN $26::bigint END
        FROM unnest($12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::smallint[],
            $17::boolean[], $18::smallint[], $19::bigint[], $20::bigint[], $21::integer[], $22::bigint[],
            $23::bigint[], $24::bigint[]) AS d (id, event, lane, destination, state, is_behind,
            priority, due_ms, order_key, attempts, round_began_ms, created_ms, size)
    ) INSERT INTO tally_change (lane, state, change)
        SELECT * FROM unnest($27::bigint[], $28::smallint[], $29::bigint[])";

/// Returns the parameters of [`INSERT_ROWS`].
pub(super) fn row_values<'a>(
    events: &'a EventInsert<'_>,
    deliveries: &'a DeliveryInsert,
    counts: &'a TallyColumns,
) -> Vec<SqlValue<'a>> {
    let mut values = Vec::with_capacity(29);
    values.extend(events.values());
    values.extend(deliveries.values());
    values.extend(counts.values());
    values
}

/// Events with their contents.
#[derive(Default)]
pub(super) struct EventInsert<'a> {
    ids: Vec<i64>,
    uids: Vec<&'a [u8]>,
    kinds: Vec<i64>,
    received_ms: Vec<i64>,
    body_sizes: Vec<i64>,
    event_ids: Vec<Option<&'a str>>,
    webhook_ids: Vec<Option<&'a str>>,
    event_types: Vec<Option<&'a str>>,
    sealing_keys: Vec<i64>,
    heads: Vec<&'a [u8]>,
    bodies: Vec<&'a [u8]>,
}

impl<'a> EventInsert<'a> {
    pub(super) fn of(events: &[&'a GroupEvent]) -> Self {
        let mut columns = Self::default();
        for event in events {
            let sealed = &event.task.task;
            columns.ids.push(event.number);
            columns.uids.push(&sealed.uid);
            columns.kinds.push(event.kind);
            columns.received_ms.push(sealed.received_ms);
            columns.body_sizes.push(sealed.body_size);
            columns.event_ids.push(sealed.event_id.as_deref());
            columns.webhook_ids.push(sealed.webhook_id.as_deref());
            // The kind already has the type, unless it is the one that all types beyond the bound share.
            let own_type = sealed.event_type.as_deref().filter(|_| event.is_rest);
            columns.event_types.push(own_type);
            columns.sealing_keys.push(sealed.sealing_key);
            columns.heads.push(&sealed.head);
            columns.bodies.push(&sealed.body);
        }
        columns
    }

    fn values(&self) -> [SqlValue<'_>; 11] {
        [
            &self.ids,
            &self.uids,
            &self.kinds,
            &self.received_ms,
            &self.body_sizes,
            &self.event_ids,
            &self.webhook_ids,
            &self.event_types,
            &self.sealing_keys,
            &self.heads,
            &self.bodies,
        ]
    }
}

/// Open deliveries.
#[derive(Default)]
pub(super) struct DeliveryInsert {
    ids: Vec<i64>,
    events: Vec<i64>,
    lanes: Vec<i64>,
    destinations: Vec<i64>,
    states: Vec<i16>,
    are_behind: Vec<bool>,
    priorities: Vec<i16>,
    due_ms: Vec<i64>,
    order_keys: Vec<Option<i64>>,
    attempts: Vec<i32>,
    round_began_ms: Vec<i64>,
    created_ms: Vec<i64>,
    sizes: Vec<i64>,
    node: i32,
    until_ms: i64,
}

impl DeliveryInsert {
    pub(super) fn of(events: &[&GroupEvent], shared: &NodeShared, behind: &HashSet<i64>) -> Self {
        let skew_ms = shared.clock.skew_ms();
        let mut columns = Self {
            node: shared.node(),
            until_ms: shared
                .clock
                .now()
                .unix_ms
                .saturating_add(shared.first_attempt_ms())
                .saturating_add(ATTEMPT_GRACE_MS),
            ..Self::default()
        };
        for event in events {
            let sealed = &event.task.task;
            let size = sealed.head.len().saturating_add(sealed.body.len());
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            let numbers = event.deliveries.iter().zip(&event.lanes);
            for (delivery, (number, lane)) in sealed.deliveries.iter().zip(numbers) {
                columns.ids.push(*number);
                columns.events.push(event.number);
                columns.lanes.push(*lane);
                columns.destinations.push(delivery.destination.0);
                let state = i16::try_from(delivery.state().code()).unwrap_or(0);
                columns.states.push(state);
                columns.are_behind.push(behind.contains(number));
                columns
                    .priorities
                    .push(delivery.priority.clamp(-1, 1).into());
                columns.due_ms.push(delivery.due_ms);
                columns.order_keys.push(delivery.order_key);
                // A delivery that begins in flight is in its first attempt already.
                columns.attempts.push(delivery.is_in_flight.into());
                // Rounds are measured by the database's clock. The time of creation stays the one that logs show.
                let began_ms = sealed.received_ms.saturating_add(skew_ms);
                columns.round_began_ms.push(began_ms);
                columns.created_ms.push(sealed.received_ms);
                columns.sizes.push(size);
            }
        }
        columns
    }

    fn values(&self) -> [SqlValue<'_>; 15] {
        [
            &self.ids,
            &self.events,
            &self.lanes,
            &self.destinations,
            &self.states,
            &self.are_behind,
            &self.priorities,
            &self.due_ms,
            &self.order_keys,
            &self.attempts,
            &self.round_began_ms,
            &self.created_ms,
            &self.sizes,
            &self.node,
            &self.until_ms,
        ]
    }
}
