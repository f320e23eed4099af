//! Taking due deliveries, under the limits of all nodes together.
//!
//! A take locks the row of its destination, so that it knows how many attempts run on all nodes, how many the rate
//! allows, and whether the destination is paused. It commits without waiting for the disk: what it writes is durable
//! before any outcome of its attempts is, and if the server crashes and forgets it, the deliveries are due again.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio_postgres::Row;

use crate::model::delivery::{DeliveryId, DeliveryState};
use crate::store::error::StoreError;
use crate::store::nodes::BreakerReport;
use crate::store::postgres::attempts::RunningAttempt;
use crate::store::postgres::event_rows;
use crate::store::postgres::lease::ATTEMPT_GRACE_MS;
use crate::store::postgres::session::{Session, SqlValue};
use crate::store::postgres::sessions::no_answer;
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::store::PostgresStore;
use crate::store::postgres::takeover;
use crate::store::postgres::tally::{self, TallyChanges};
use crate::store::rows::{DestinationId, DueDelivery};
use crate::store::take::{TakeHold, TakeRate, TakeRequest, TakeResult};

/// Longest duration of a take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Largest total size of the events that one take reads.
const MAX_TAKEN: i64 = 16 << 20;

/// Deliveries that were taken. If the caller is gone when this is dropped, they return to the queue: otherwise they would
/// stay in flight until they are reconciled.
struct UnreadTake {
    result: Option<TakeResult>,
    shared: Weak<NodeShared>,
}

impl Drop for UnreadTake {
    fn drop(&mut self) {
        let unread = self.result.take().filter(|unread| !unread.due.is_empty());
        let (Some(unread), Some(shared)) = (unread, self.shared.upgrade()) else {
            return;
        };
        let due = unread.due.iter().map(|due| (due.delivery.0, due.attempt));
        return_soon(&shared, due.collect());
    }
}

/// Returns deliveries to the queue that no attempt of this process will begin.
fn return_soon(shared: &NodeShared, attempts: Vec<(i64, u32)>) {
    // If the store is closed, the next start returns them. If the database is away, they are reconciled later.
    let _ = shared.send(Box::new(move |shared| {
        Box::pin(async move {
            let _ = takeover::interrupt(&shared, &attempts).await;
        })
    }));
}

/// Deliveries of a take whose commit or whose events may still fail. If they do, the deliveries return to the queue.
struct UncertainTake<'a> {
    shared: &'a NodeShared,
    attempts: Vec<(i64, u32)>,
}

impl Drop for UncertainTake<'_> {
    fn drop(&mut self) {
        if !self.attempts.is_empty() {
            return_soon(self.shared, std::mem::take(&mut self.attempts));
        }
    }
}

/// A delivery that was taken, before its event is read.
struct TakenRow {
    id: i64,
    event: i64,
    attempt: u32,
    round: u32,
    round_began_ms: i64,
    lane: i64,
    order_key: Option<i64>,
}

/// A destination's row, which the take holds.
struct LockedDestination {
    is_held: bool,
    tokens: Option<f64>,
    filled_ms: Option<i64>,
    open_until_ms: Option<i64>,
}

impl PostgresStore {
    pub(in crate::store) async fn take(
        &self,
        request: TakeRequest,
    ) -> Result<TakeResult, StoreError> {
        // The deliverer may still use an alias from a start without the database. Rows have real numbers only.
        let destination = self.shared.resolve(request.destination);
        let request = TakeRequest {
            destination,
            ..request
        };
        // The job runs to its end even if the caller is gone, so its result is wrapped: an unread take returns its
        // rows.
        let taken = self.run(async move |shared: &Arc<NodeShared>| {
            let result = take(shared, &request).await?;
            Ok(UnreadTake {
                result: Some(result),
                shared: Arc::downgrade(shared),
            })
        });
        taken.await?.result.take().ok_or(StoreError::Closed)
    }

    pub(in crate::store) async fn next_due(
        &self,
        destination: DestinationId,
    ) -> Result<Option<i64>, StoreError> {
        let destination = self.shared.resolve(destination).0;
        // A take from a held destination returns nothing, so a due time would make the worker ask in vain.
        if self.shared.names().is_held(destination) {
            return Ok(None);
        }
        self.read(Duration::from_secs(2), async move |session| {
            // One query per priority, because the index is sorted by priority first.
            let sql =
                "SELECT min(due_ms) FROM unnest('{1,0,-1}'::smallint[]) AS p CROSS JOIN LATERAL (
                SELECT due_ms FROM open_delivery WHERE destination = $1 AND priority = p
                AND node IS NULL AND NOT is_behind ORDER BY due_ms LIMIT 1) AS first";
            Ok(session.query_one(sql, &[&destination]).await?.get(0))
        })
        .await
    }

    pub(in crate::store) async fn give_back(
        &self,
        delivery: DeliveryId,
        attempt: u32,
    ) -> Result<(), StoreError> {
        self.run(async move |shared| {
            takeover::interrupt(shared, &[(delivery.0, attempt)])
                .await
                .map(drop)
        })
        .await
    }

    pub(in crate::store) fn report_breaker(
        &self,
        destination: DestinationId,
        report: BreakerReport,
    ) {
        let destination = self.shared.resolve(destination).0;
        let until_ms = match report {
            BreakerReport::OpenUntil(until_ms) => Some(until_ms),
            BreakerReport::Closed => None,
        };
        // A report that is lost costs at most the attempts until the next one.
        let _ = self.shared.send(Box::new(move |shared| {
            Box::pin(async move {
                let _ = shared
                    .sessions()
                    .write(async move |session: &Session| {
                        let sql = "UPDATE destination SET open_until_ms = $2 WHERE id = $1";
                        let written = session.execute(sql, &[&destination, &until_ms]).await;
                        written.map(drop).map_err(StoreError::Postgres)
                    })
                    .await;
            })
        }));
    }
}

async fn take(shared: &NodeShared, request: &TakeRequest) -> Result<TakeResult, StoreError> {
    let guard = shared.sessions().taker().open().await?;
    let session = guard.session()?;
    let work = async {
        // Inside the future, so that a timeout drops it too: rows whose commit is in doubt then return to the queue.
        let mut uncertain = UncertainTake {
            shared,
            attempts: Vec::new(),
        };
        let (rows, hold) = take_rows(shared, session, request, &mut uncertain).await?;
        let due = read_events(shared, session, rows).await?;
        // From here on the `UnreadTake` of the caller is responsible for the rows.
        uncertain.attempts.clear();
        Ok::<_, tokio_postgres::Error>(TakeResult { due, hold })
    };
    let taken = tokio::time::timeout(PATIENCE, work).await;
    let taken = taken
        .map_err(|_| no_answer())?
        .map_err(StoreError::Postgres)?;
    guard.keep();
    Ok(taken)
}

/// Takes deliveries in one transaction.
async fn take_rows(
    shared: &NodeShared,
    session: &Session,
    request: &TakeRequest,
    uncertain: &mut UncertainTake<'_>,
) -> Result<(Vec<TakenRow>, Option<TakeHold>), tokio_postgres::Error> {
    let id = request.destination.0;
    let now_ms = shared.clock.now().unix_ms;
    let begin = "BEGIN; SET LOCAL synchronous_commit = off";
    let lock_sql =
        "SELECT d.is_paused OR r.is_paused OR d.disabled IS NOT NULL, d.tokens, d.filled_ms,
        d.open_until_ms FROM destination d JOIN route r ON r.id = d.route
        WHERE d.id = $1 FOR UPDATE OF d";
    let lock = session.prepare(lock_sql).await?;
    let locks: [SqlValue<'_>; 1] = [&id];
    // `biased` sends `BEGIN` first, and the lock follows without waiting for its answer, which saves each take one
    // round trip to the server.
    let (begun, row) = tokio::join!(
        biased;
        session.batch(begin),
        session.client.query_opt(&lock, &locks),
    );
    begun?;
    let locked = row?.map(|row| LockedDestination {
        is_held: row.get(0),
        tokens: row.get(1),
        filled_ms: row.get(2),
        open_until_ms: row.get(3),
    });
    let Some(locked) = locked.filter(|locked| !locked.is_held) else {
        session.batch("ROLLBACK").await?;
        return Ok((Vec::new(), None));
    };
    // A statement sees the rows as of its own begin, so the count is a statement after the lock: it sees what earlier
    // holders of the lock took.
    // The partial index `open_delivery_turn` has only rows in flight, so the count does not depend on the backlog.
    let sql = "SELECT count(*) FROM open_delivery WHERE destination = $1 AND node IS NOT NULL";
    let in_flight: i64 = session.query_one(sql, &[&id]).await?.get(0);
    let allowance = Allowance::of(request, &locked, in_flight, now_ms);
    let mut rows = Vec::new();
    if allowance.count > 0 {
        rows = update_due(shared, session, request, allowance.count, now_ms).await?;
    }
    // A limit that left nothing is no reason to ask again soon.
    let hold = allowance.hold.filter(|_| rows.len() >= allowance.count);
    if rows.is_empty() {
        session.batch("ROLLBACK").await?;
        return Ok((rows, hold));
    }
    // After the update, because only deliveries that were taken cost tokens. The row is still locked, so no other take
    // sees the old number.
    allowance.write(session, id, rows.len(), now_ms).await?;
    // From here on the server may commit even if its answer is lost.
    uncertain.attempts = rows.iter().map(|row| (row.id, row.attempt)).collect();
    session.batch("COMMIT").await?;
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

/// How many deliveries a take may take, and what else it writes.
struct Allowance {
    count: usize,
    hold: Option<TakeHold>,
    /// Tokens before the take, if the destination has a rate.
    tokens: Option<f64>,
    /// How long the breaker stays open for other takes, if this one is its probe.
    probe_until_ms: Option<i64>,
}

impl Allowance {
    fn of(request: &TakeRequest, locked: &LockedDestination, in_flight: i64, now_ms: i64) -> Self {
        let in_flight = usize::try_from(in_flight).unwrap_or(usize::MAX);
        // A reload may have lowered the limit below what is in flight.
        let free = request.concurrency.saturating_sub(in_flight);
        let mut allowance = Self {
            count: request.limit.min(free),
            hold: None,
            tokens: None,
            probe_until_ms: None,
        };
        if free < request.limit {
            allowance.hold = Some(TakeHold::Full);
        }
        if let Some(until_ms) = locked.open_until_ms {
            if now_ms < until_ms {
                allowance.count = 0;
                allowance.hold = Some(TakeHold::BreakerUntil(until_ms));
                return allowance;
            }
            // The pause is over: one delivery on one node shows whether the destination is back.
            // The other nodes wait until the probe must have ended. If its node dies meanwhile, another probe follows
            // by itself.
            let limit_ms = i64::try_from(request.attempt_limit.as_millis()).unwrap_or(i64::MAX);
            let until_ms = now_ms
                .saturating_add(limit_ms)
                .saturating_add(ATTEMPT_GRACE_MS);
            allowance.count = allowance.count.min(1);
            allowance.probe_until_ms = Some(until_ms);
            allowance.hold = Some(TakeHold::BreakerUntil(until_ms));
        }
        if let Some(rate) = request.rate {
            allowance.limit_rate(rate, locked, now_ms);
        }
        allowance
    }

    fn limit_rate(&mut self, rate: TakeRate, locked: &LockedDestination, now_ms: i64) {
        let most = f64::from(rate.burst);
        // The bound of one millisecond keeps a period of zero from making the rate infinite.
        let per_ms = f64::from(rate.count) / (rate.period.as_secs_f64() * 1000.0).max(1.0);
        let tokens = match (locked.tokens, locked.filled_ms) {
            // The database's clock may step back, which must not take tokens away.
            (Some(tokens), Some(filled_ms)) => {
                let elapsed_ms = now_ms.saturating_sub(filled_ms).max(0);
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a wait beyond 2^52 ms fills any bucket"
                )]
                let filled = tokens + elapsed_ms as f64 * per_ms;
                filled.min(most)
            }
            _ => most,
        };
        self.tokens = Some(tokens);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "tokens are between 0 and the rate's burst"
        )]
        let whole = tokens.max(0.0) as usize;
        if whole < self.count {
            self.count = whole;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a wait of at most one period"
            )]
            let wait_ms = ((whole as f64 + 1.0 - tokens) / per_ms).ceil() as i64;
            self.hold = Some(TakeHold::RateUntil(now_ms.saturating_add(wait_ms.max(1))));
        }
    }

    /// Writes what the take used up.
    async fn write(
        &self,
        session: &Session,
        destination: i64,
        taken: usize,
        now_ms: i64,
    ) -> Result<(), tokio_postgres::Error> {
        if let Some(tokens) = self.tokens {
            #[expect(clippy::cast_precision_loss, reason = "a take is small")]
            let left = tokens - taken as f64;
            let sql = "UPDATE destination SET tokens = $2, filled_ms = $3 WHERE id = $1";
            session
                .execute(sql, &[&destination, &left, &now_ms])
                .await?;
        }
        if let Some(until_ms) = self.probe_until_ms {
            let sql = "UPDATE destination SET open_until_ms = $2 WHERE id = $1";
            session.execute(sql, &[&destination, &until_ms]).await?;
        }
        Ok(())
    }
}

/// Moves due deliveries in flight, higher priority first, then what was due first.
async fn update_due(
    shared: &NodeShared,
    session: &Session,
    request: &TakeRequest,
    count: usize,
    now_ms: i64,
) -> Result<Vec<TakenRow>, tokio_postgres::Error> {
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
    for priority in [1_i16, 0, -1] {
        let left = i64::try_from(count.saturating_sub(rows.len())).unwrap_or(i64::MAX);
        // The rows have the sizes, so no body is read for this bound. The first delivery fits whatever its size.
        let room = MAX_TAKEN.saturating_sub(size);
        if left == 0 || room < 0 {
            break;
        }
        let id = request.destination.0;
        let values: [SqlValue<'_>; 7] = [
            &id,
            &priority,
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
    tally::record(session, &changes).await?;
    Ok(rows)
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

/// Reads the events of deliveries that were taken. The deliveries are in flight already.
async fn read_events(
    shared: &NodeShared,
    session: &Session,
    rows: Vec<TakenRow>,
) -> Result<Vec<DueDelivery>, tokio_postgres::Error> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let events: Vec<i64> = rows.iter().map(|row| row.event).collect();
    let names = shared.names();
    let sealer = shared.sealer();
    let mut stored: HashMap<i64, _> = event_rows::read_many(session, &names, &events).await?;
    let mut due = Vec::with_capacity(rows.len());
    for row in rows {
        // A delivery without its event stays in flight until it is reconciled, and `check` reports it.
        let Some(stored) = stored.get_mut(&row.event) else {
            continue;
        };
        shared.attempts.set_uid(row.id, row.attempt, stored.uid);
        if stored.is_forged(&sealer) {
            tracing::error!(
                delivery = row.id,
                "not delivered: the event is unencrypted, but newer than the first encryption key, so \
                 hookgate did not write it"
            );
        }
        let lane = names.lanes.get(&row.lane);
        due.push(DueDelivery {
            delivery: DeliveryId(row.id),
            attempt: row.attempt,
            round: row.round,
            round_began_ms: row.round_began_ms,
            is_replay: lane.is_some_and(|lane| lane.is_replay),
            // Several deliveries of one take may share the event, so the map keeps it.
            event: stored.clone().open(&sealer),
        });
    }
    Ok(due)
}
