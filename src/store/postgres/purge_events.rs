//! Events whose time is over, or that are too many: finding them, and deleting them with all their rows.

use std::time::Duration;

use tokio_postgres::Error;

use crate::model::clock;
use crate::model::delivery::DeliveryState;
use crate::store::options::RetentionLimits;
use crate::store::postgres::hours;
use crate::store::postgres::limits;
use crate::store::postgres::measured_size::OVERHEAD;
use crate::store::postgres::session::{Session, SqlValue};
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::tally::TallyChanges;
use crate::store::purge_sweeps::{PurgeSweep, REST_MS};

/// Events that one round looks at, and deletes at most.
const LOOKED_AT: i64 = 2_000;
const EVENTS: i64 = 500;

/// Pause between two measurements of the stored bytes, which read all events.
const MEASURED: Duration = Duration::from_secs(60);

/// Events that may be deleted, with the criteria that they must still meet then.
#[derive(Default)]
pub(super) struct ExpiredEvents {
    ids: Vec<i64>,
    /// Deliveries that ended later than these times keep their event: delivered or cancelled ones, and dead ones.
    delivered_ms: i64,
    dead_ms: i64,
    pub(super) is_more: bool,
}

/// Numbers of a deletion.
#[derive(Default)]
pub(super) struct DeletedEvents {
    pub(super) events: u64,
    pub(super) bytes: u64,
}

/// True for an event `e` if all its deliveries are past their time. An event without deliveries counts as delivered at the
/// time of its reception.
macro_rules! is_over {
    ($delivered:literal, $dead:literal) => {
        concat!(
            "NOT EXISTS (SELECT 1 FROM open_delivery AS o WHERE o.event = e.id)
            AND NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.event = e.id
                AND d.ended_ms > CASE d.state WHEN 4 THEN ",
            $dead,
            "::bigint ELSE ",
            $delivered,
            "::bigint END)
            AND (e.received_ms <= ",
            $delivered,
            "::bigint OR EXISTS (SELECT 1 FROM delivery AS d WHERE d.event = e.id))"
        )
    };
}

/// Returns the latest end of a row that is past its time.
fn cutoff(now_ms: i64, kept_ms: Option<i64>) -> i64 {
    kept_ms.map_or(i64::MIN, |kept_ms| now_ms.saturating_sub(kept_ms))
}

/// Finds events that are past their time.
pub(super) async fn by_age(
    session: &Session,
    sweep: &mut PurgeSweep,
    retention: &RetentionLimits,
    now_ms: i64,
) -> Result<ExpiredEvents, Error> {
    // The shorter age bounds the search. The criteria then apply the age that belongs to each state.
    let kept = retention.delivered_ms.into_iter().chain(retention.dead_ms);
    let Some(kept_ms) = kept.min().filter(|_| !sweep.is_resting(now_ms)) else {
        return Ok(ExpiredEvents::default());
    };
    let mut found = ExpiredEvents {
        delivered_ms: cutoff(now_ms, retention.delivered_ms),
        dead_ms: cutoff(now_ms, retention.dead_ms),
        ..ExpiredEvents::default()
    };
    // Young events are not even read.
    let before_ms = now_ms.saturating_sub(kept_ms).saturating_add(1);
    let last = hours::range(session, None, Some(before_ms)).await?;
    let last = last.map_or(0, |range| range.last);
    // The limit counts rows that are read, not rows that are found, so that a round is short even if all events stay.
    const SQL: &str = concat!(
        "SELECT e.id, e.received_ms < $6 AND ",
        is_over!("$4", "$5"),
        " FROM event AS e WHERE e.id > $1 AND e.id <= $2 ORDER BY e.id LIMIT $3"
    );
    let values: [SqlValue<'_>; 6] = [
        &sweep.position,
        &last,
        &LOOKED_AT,
        &found.delivered_ms,
        &found.dead_ms,
        &before_ms,
    ];
    let rows = session.query(SQL, &values).await?;
    let most = usize::try_from(EVENTS).unwrap_or(0);
    for row in &rows {
        if found.ids.len() >= most {
            break;
        }
        // Also behind events that stay, or the next round would read them again.
        sweep.position = row.get(0);
        if row.get(1) {
            found.ids.push(sweep.position);
        }
    }
    found.is_more = !rows.is_empty();
    if rows.is_empty() {
        sweep.end(now_ms, kept_ms);
    }
    Ok(found)
}

/// Finds the oldest ended events if all events together exceed the bound on their size.
pub(super) async fn by_size(
    shared: &NodeShared,
    session: &Session,
    sweep: &mut PurgeSweep,
    retention: &RetentionLimits,
    now_ms: i64,
) -> Result<ExpiredEvents, Error> {
    let mut found = ExpiredEvents {
        delivered_ms: i64::MAX,
        dead_ms: i64::MAX,
        ..ExpiredEvents::default()
    };
    let Some(most) = retention.size.filter(|_| !sweep.is_resting(now_ms)) else {
        return Ok(found);
    };
    // A measurement reads all events, so until the next one the deletions are subtracted from the last result.
    let known = shared.measured_size.lock().known(MEASURED);
    let stored = match known {
        Some(stored) => stored,
        None => {
            let began = clock::instant();
            let stored = limits::stored_bytes(shared, session, most).await?;
            shared.measured_size.lock().set(stored, began);
            stored
        }
    };
    let excess = stored.saturating_sub(most);
    if excess == 0 {
        return Ok(found);
    }
    const SQL: &str = concat!(
        "SELECT e.id, e.body_size, ",
        is_over!("$3", "$3"),
        " FROM event AS e WHERE e.id > $1 ORDER BY e.id LIMIT $2"
    );
    let values: [SqlValue<'_>; 3] = [&sweep.position, &LOOKED_AT, &i64::MAX];
    let rows = session.query(SQL, &values).await?;
    let most = usize::try_from(EVENTS).unwrap_or(0);
    let mut freed = 0_u64;
    for row in &rows {
        // Stops as soon as the bound on the size is met, so that no event goes earlier than it has to.
        if found.ids.len() >= most || freed >= excess {
            break;
        }
        sweep.position = row.get(0);
        if row.get(2) {
            found.ids.push(sweep.position);
            let body = u64::try_from(row.get::<_, i64>(1)).unwrap_or(0);
            freed = freed.saturating_add(body).saturating_add(OVERHEAD);
        }
    }
    found.is_more = !rows.is_empty();
    if rows.is_empty() {
        sweep.end(now_ms, REST_MS);
    }
    Ok(found)
}

/// Deletes events with all their rows except their claims, which expire on their own. An event stays if one of its
/// deliveries was retried meanwhile.
pub(super) async fn delete_events(
    session: &Session,
    found: &ExpiredEvents,
    changes: &mut TallyChanges,
) -> Result<DeletedEvents, Error> {
    let mut deleted = DeletedEvents::default();
    if found.ids.is_empty() {
        return Ok(deleted);
    }
    // Locked first and checked then, in a statement that sees what was committed meanwhile. A retry or a replay that
    // holds the event has it open in a moment, so it is skipped.
    let sql = "SELECT id FROM event WHERE id = ANY($1) ORDER BY id FOR UPDATE SKIP LOCKED";
    let rows = session.query(sql, &[&found.ids]).await?;
    let held: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    const SQL: &str = concat!(
        "SELECT e.id FROM event AS e WHERE e.id = ANY($1) AND ",
        is_over!("$2", "$3")
    );
    let rows = session
        .query(SQL, &[&held, &found.delivered_ms, &found.dead_ms])
        .await?;
    let events: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    // A retry or a replay locks its event first, so no delivery of these events can open before the commit.
    let sql = "WITH d AS (
            DELETE FROM delivery WHERE event = ANY($1) RETURNING id, lane, state
        ), a AS (
            DELETE FROM attempt USING d WHERE attempt.delivery = d.id
        ) SELECT lane, state, count(*) FROM d GROUP BY lane, state";
    for row in session.query(sql, &[&events]).await? {
        if let Some(state) = DeliveryState::from_code(row.get::<_, i16>(1).into()) {
            changes.add(row.get(0), state, -row.get::<_, i64>(2));
        }
    }
    // The sizes come with the deletion, so that the stored bytes need not be measured again after each round.
    let sql = "WITH c AS (
            DELETE FROM content WHERE event = ANY($1)
            RETURNING octet_length(head) + coalesce(octet_length(body), 0) AS size
        ) SELECT coalesce(sum(size), 0)::bigint FROM c";
    let bytes: i64 = session.query_one(sql, &[&events]).await?.get(0);
    let sql = "DELETE FROM event WHERE id = ANY($1)";
    deleted.events = session.execute(sql, &[&events]).await?;
    deleted.bytes = u64::try_from(bytes).unwrap_or(0);
    changes.add_events(-i64::try_from(deleted.events).unwrap_or(0));
    Ok(deleted)
}
