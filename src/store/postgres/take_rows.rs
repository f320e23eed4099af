//! The transaction of a take: one flight to the server until its deliveries are known, however long the backlog is.

use tokio_postgres::{Error, Row};

use crate::model::clock::millis;
use crate::store::postgres::attempts::RunningAttempt;
use crate::store::postgres::lease::ATTEMPT_GRACE_MS;
use crate::store::postgres::session::{Session, SqlValue};
use crate::store::postgres::shared::NodeShared;
use crate::store::take::{TakeHold, TakeRate, TakeRequest};

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
    order_key: Option<i64>,
}

/// Takes deliveries in a transaction that stays open; one that took nothing is ended. `begun` hears of the attempts.
pub(super) async fn take_rows(
    shared: &NodeShared,
    session: &Session,
    request: &TakeRequest,
    begun: &mut Vec<(i64, u32)>,
) -> Result<(Vec<TakenRow>, Option<TakeHold>), Error> {
    let (mut taken, mut hold) = (Vec::new(), None);
    for row in call(shared, session, request).await? {
        match row.get(0) {
            Some(id) => taken.push(TakenRow::read(id, &row)),
            // The last row has no delivery.
            None => hold = read_hold(&row),
        }
    }
    if taken.is_empty() {
        session.batch("ROLLBACK").await?;
        return Ok((taken, hold));
    }
    // From here on the server may commit even if its answer is lost.
    begun.extend(taken.iter().map(|row| (row.id, row.attempt)));
    // Before the commit, so that `reconcile` finds an attempt for each row. The uid is set when the event is read.
    for row in &taken {
        let running = RunningAttempt {
            attempt: row.attempt,
            destination: request.destination.0,
            order_key: row.order_key,
            uid: [0; 16],
        };
        shared.attempts.add(row.id, running);
    }
    Ok((taken, hold))
}

/// Begins the transaction and calls `take_due` of the schema, which decides under the lock of the destination.
async fn call(
    shared: &NodeShared,
    session: &Session,
    request: &TakeRequest,
) -> Result<Vec<Row>, Error> {
    let sql = "SELECT * FROM take_due($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    // Before `BEGIN`: preparing waits for the server, and must not prolong the transaction.
    let take = session.prepare(sql).await?;
    let signed = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let (most, at_once) = (signed(request.limit), signed(request.concurrency));
    let now_ms = shared.clock.now().unix_ms;
    let limit_ms = millis(request.attempt_limit);
    let until_ms = now_ms
        .saturating_add(limit_ms)
        .saturating_add(ATTEMPT_GRACE_MS);
    let (tokens_per_ms, most_tokens) = request.rate.map(in_tokens).unzip();
    let node = shared.node();
    let values: [SqlValue<'_>; 10] = [
        &request.destination.0,
        &most,
        &at_once,
        &request.as_of_ms,
        &now_ms,
        &node,
        &until_ms,
        &MAX_TAKEN,
        &tokens_per_ms,
        &most_tokens,
    ];
    // `biased` sends both in this order without waiting for answers.
    let (begun, rows) = tokio::join!(
        biased;
        session.batch("BEGIN"),
        session.client.query(&take, &values),
    );
    begun?;
    rows
}

/// Returns the attempts that a rate allows in one millisecond, and at once.
fn in_tokens(rate: TakeRate) -> (f64, f64) {
    // The bound of one millisecond keeps a period of zero from making the rate infinite.
    let period_ms = (rate.period.as_secs_f64() * 1000.0).max(1.0);
    (f64::from(rate.count) / period_ms, f64::from(rate.burst))
}

fn read_hold(row: &Row) -> Option<TakeHold> {
    let until_ms = row.get::<_, Option<i64>>(8).unwrap_or_default();
    match row.get::<_, Option<i16>>(7)? {
        1 => Some(TakeHold::Full),
        2 => Some(TakeHold::RateUntil(until_ms)),
        _ => Some(TakeHold::BreakerUntil(until_ms)),
    }
}

impl TakenRow {
    fn read(id: i64, row: &Row) -> Self {
        let unsigned = |column| u32::try_from(row.get::<_, i32>(column)).unwrap_or(0);
        Self {
            id,
            event: row.get(1),
            attempt: unsigned(2),
            round: unsigned(3),
            round_began_ms: row.get(4),
            lane: row.get(5),
            order_key: row.get(6),
        }
    }
}
