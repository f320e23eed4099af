//! The transaction of a take: three flights to the server, however long the backlog is.

use tokio_postgres::Row;

use crate::model::delivery::DeliveryState;
use crate::store::postgres::allowance::{Allowance, AllowanceUse, LockedDestination};
use crate::store::postgres::attempts::RunningAttempt;
use crate::store::postgres::lease::ATTEMPT_GRACE_MS;
use crate::store::postgres::session::{Session, SqlValue};
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::tally::{self, TallyChanges};
use crate::store::take::{TakeHold, TakeRequest};

/// Largest total size of the events that one take reads.
const MAX_TAKEN: i64 = 16 << 20;

/// A delivery that was taken, before its event is read.
pub(super) struct TakenRow {
    pub(super) id: i64,
    pub(super) event: i64,
    pub(super) attempt: u32,
    pub(super) round: u32,
    pub(super) round_began_ms: i64,
    pub(super) lane: i64,
    pub(super) order_key: Option<i64>,
}

/// Takes deliveries in one transaction. `begun` hears of their attempts before the commit is sent.
pub(super) async fn take_rows(
    shared: &NodeShared,
    session: &Session,
    request: &TakeRequest,
    begun: &mut Vec<(i64, u32)>,
) -> Result<(Vec<TakenRow>, Option<TakeHold>), tokio_postgres::Error> {
    let id = request.destination.0;
    let now_ms = shared.clock.now().unix_ms;
    let Some(found) = lock_and_look(session, request).await? else {
        session.batch("ROLLBACK").await?;
        return Ok((Vec::new(), None));
    };
    let allowance = Allowance::of(request, &found.destination, found.in_flight, now_ms);
    let (mut rows, mut changes) = (Vec::new(), TallyChanges::default());
    if allowance.count > 0 {
        let due = &found.due_priorities;
        (rows, changes) =
            update_due(shared, session, request, allowance.count, due, now_ms).await?;
    }
    // A limit that left nothing is no reason to ask again soon.
    let hold = allowance.hold.filter(|_| rows.len() >= allowance.count);
    if rows.is_empty() {
        session.batch("ROLLBACK").await?;
        return Ok((rows, hold));
    }
    // After the update, because only deliveries that were taken cost tokens. The row is still locked, so no other take
    // sees the old number.
    let used = allowance.used(rows.len());
    // From here on the server may commit even if its answer is lost.
    begun.extend(rows.iter().map(|row| (row.id, row.attempt)));
    end_take(session, id, now_ms, &used, &changes).await?;
    // Before the events are read, so that `reconcile` finds an attempt for each row. `read_events` sets the uid.
    for row in &rows {
        let running = RunningAttempt {
            attempt: row.attempt,
            destination: id,
            order_key: row.order_key,
            uid: [0; 16],
        };
        shared.attempts.add(row.id, running);
    }
    Ok((rows, hold))
}

/// The state of a destination under its lock.
struct FoundDestination {
    destination: LockedDestination,
    in_flight: i64,
    /// Priorities with due deliveries, highest first.
    due_priorities: Vec<i16>,
}

/// Begins the transaction, locks the destination and looks at its deliveries, in one flight to the server. Returns
/// `None` if nothing may be taken.
async fn lock_and_look(
    session: &Session,
    request: &TakeRequest,
) -> Result<Option<FoundDestination>, tokio_postgres::Error> {
    let lock_sql =
        "SELECT d.is_paused OR r.is_paused OR d.disabled IS NOT NULL, d.tokens, d.filled_ms,
        d.open_until_ms FROM destination d JOIN route r ON r.id = d.route
        WHERE d.id = $1 FOR UPDATE OF d";
    // A statement sees the rows as of its own begin, so the count is a statement after the lock: it sees what earlier
    // holders of the lock took. The partial index `open_delivery_turn` has only rows in flight, and `open_delivery_due`
    // is sorted by priority first, so neither answer depends on the backlog.
    let look_sql =
        "SELECT (SELECT count(*) FROM open_delivery WHERE destination = $1 AND node IS NOT NULL),
        ARRAY(SELECT p FROM unnest('{1,0,-1}'::smallint[]) AS p WHERE EXISTS (
            SELECT 1 FROM open_delivery WHERE destination = $1 AND priority = p
                AND node IS NULL AND NOT is_behind AND due_ms <= $2::bigint))";
    let id = request.destination.0;
    // Before `BEGIN`: preparing waits for the server, and must not prolong the transaction.
    let lock = session.prepare(lock_sql).await?;
    let look = session.prepare(look_sql).await?;
    let lock_values: [SqlValue<'_>; 1] = [&id];
    let look_values: [SqlValue<'_>; 2] = [&id, &request.as_of_ms];
    // `biased` sends the statements in this order without waiting for answers.
    let (begun, locked, found) = tokio::join!(
        biased;
        session.batch("BEGIN; SET LOCAL synchronous_commit = off"),
        session.client.query_opt(&lock, &lock_values),
        session.client.query_one(&look, &look_values),
    );
    begun?;
    let (locked, found) = (locked?, found?);
    let found = locked.map(|row| FoundDestination {
        destination: LockedDestination {
            is_held: row.get(0),
            tokens: row.get(1),
            filled_ms: row.get(2),
            open_until_ms: row.get(3),
        },
        in_flight: found.get(0),
        due_priorities: found.get(1),
    });
    Ok(found.filter(|found| !found.destination.is_held))
}

/// Writes the counts and what the take used up, and commits, in one flight.
async fn end_take(
    session: &Session,
    id: i64,
    now_ms: i64,
    used: &AllowanceUse,
    changes: &TallyChanges,
) -> Result<(), tokio_postgres::Error> {
    let counts = changes.columns();
    let record = session.prepare(tally::RECORD).await?;
    let update = session.prepare(AllowanceUse::UPDATE).await?;
    let record_values = counts.values();
    let use_values = used.values(&id, &now_ms);
    let write_use = async {
        match used.is_empty() {
            true => Ok(0),
            false => session.client.execute(&update, &use_values).await,
        }
    };
    let (recorded, written, committed) = tokio::join!(
        biased;
        session.client.execute(&record, &record_values),
        write_use,
        session.batch("COMMIT"),
    );
    // The commit of a transaction with a failed statement succeeds and does nothing.
    recorded?;
    written?;
    committed
}

/// Moves due deliveries in flight, higher priority first, then what was due first.
async fn update_due(
    shared: &NodeShared,
    session: &Session,
    request: &TakeRequest,
    count: usize,
    priorities: &[i16],
    now_ms: i64,
) -> Result<(Vec<TakenRow>, TallyChanges), tokio_postgres::Error> {
    let limit_ms = i64::try_from(request.attempt_limit.as_millis()).unwrap_or(i64::MAX);
    let until_ms = now_ms
        .saturating_add(limit_ms)
        .saturating_add(ATTEMPT_GRACE_MS);
    // A plain limit: with a computed one the planner sorts the whole backlog. `MATERIALIZED` keeps the update from
    // running the selection again and taking more than was asked for. A row that another transaction holds (an operator
    // cancels it just now) is skipped, not waited for.
    let sql = "WITH due AS MATERIALIZED (
            SELECT id, state, size FROM open_delivery WHERE destination = $1 AND priority = $2
                AND node IS NULL AND NOT is_behind AND due_ms <= $3
            ORDER BY due_ms, id LIMIT $4 FOR UPDATE SKIP LOCKED
        ), chosen AS MATERIALIZED (
            SELECT id, state, row_number() OVER () AS place,
                (sum(size) OVER (ROWS UNBOUNDED PRECEDING))::bigint - size AS before FROM due
        ), turn AS MATERIALIZED (SELECT nextval('turn') AS number)
        UPDATE open_delivery o SET state = 1, node = $5, turn = turn.number, until_ms = $6,
            attempts = attempts + 1, round = round + 1, due_ms = $3
        FROM chosen, turn WHERE o.id = chosen.id AND chosen.before <= $7::bigint
        RETURNING o.id, o.event, o.attempts, o.round, o.round_began_ms, o.lane, o.order_key, o.size,
            chosen.state, chosen.place";
    let (mut rows, mut size) = (Vec::new(), 0_i64);
    let mut changes = TallyChanges::default();
    let node = shared.node();
    // One statement for each priority: within one of them `open_delivery_due` has the rows in the order of the take.
    for priority in priorities {
        let left = i64::try_from(count.saturating_sub(rows.len())).unwrap_or(i64::MAX);
        // The rows have the sizes, so no body is read for this bound. The first delivery fits whatever its size.
        let room = MAX_TAKEN.saturating_sub(size);
        if left == 0 || room < 0 {
            break;
        }
        let id = request.destination.0;
        let values: [SqlValue<'_>; 7] = [
            &id,
            priority,
            &request.as_of_ms,
            &left,
            &node,
            &until_ms,
            &room,
        ];
        let mut found = session.query(sql, &values).await?;
        // An update returns its rows in no particular order.
        found.sort_by_key(|row| row.get::<_, i64>(9));
        for row in &found {
            size = size.saturating_add(row.get(7));
            let before = DeliveryState::from_code(row.get::<_, i16>(8).into());
            let taken = TakenRow::read(row);
            changes.add(taken.lane, before.unwrap_or(DeliveryState::Pending), -1);
            changes.add(taken.lane, DeliveryState::InFlight, 1);
            rows.push(taken);
        }
    }
    Ok((rows, changes))
}

impl TakenRow {
    fn read(row: &Row) -> Self {
        let unsigned = |column| u32::try_from(row.get::<_, i32>(column)).unwrap_or(0);
        Self {
            id: row.get(0),
            event: row.get(1),
            attempt: unsigned(2),
            round: unsigned(3),
            round_began_ms: row.get(4),
            lane: row.get(5),
            order_key: row.get(6),
        }
    }
}
