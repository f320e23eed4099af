//! Taking due deliveries, under the limits of all nodes together.
//!
//! A take locks the row of its destination, so that it knows how many attempts run on all nodes, how many the rate
//! allows, and whether the destination is paused. It commits without waiting for the disk: what it writes is durable
//! before any outcome of its attempts is, and if the server crashes and forgets it, the deliveries are due again.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::model::delivery::DeliveryId;
use crate::store::error::StoreError;
use crate::store::nodes::BreakerReport;
use crate::store::postgres::event_rows;
use crate::store::postgres::patience::within;
use crate::store::postgres::session::{Session, SqlValue};
use crate::store::postgres::sessions::no_answer;
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::store::PostgresStore;
use crate::store::postgres::take_rows::{TakenRow, take_rows};
use crate::store::postgres::takeover;
use crate::store::rows::{DestinationId, DueDelivery};
use crate::store::take::{TakeRequest, TakeResult};

/// Longest duration of a take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Deliveries of a take that its caller has not read. If this is dropped before, because the commit or the events
/// failed or the caller is gone, they return to the queue: otherwise they would stay in flight until they are reconciled.
struct UnreadTake {
    result: TakeResult,
    attempts: Vec<(i64, u32)>,
    shared: Weak<NodeShared>,
}

impl UnreadTake {
    fn into_result(mut self) -> TakeResult {
        // Leaves nothing for `drop` to return, since the caller has the deliveries now.
        self.attempts.clear();
        TakeResult {
            due: std::mem::take(&mut self.result.due),
            hold: self.result.hold,
        }
    }
}

impl Drop for UnreadTake {
    fn drop(&mut self) {
        let attempts = std::mem::take(&mut self.attempts);
        let Some(shared) = self.shared.upgrade().filter(|_| !attempts.is_empty()) else {
            return;
        };
        // If the store is closed, the next start returns them. If the database is away, they are reconciled later.
        let _ = shared.send(Box::new(move |shared| {
            Box::pin(async move {
                let _ = takeover::interrupt(&shared, &attempts).await;
            })
        }));
    }
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
        let taken = self.run(async move |shared: &Arc<NodeShared>| take(shared, &request).await);
        Ok(taken.await?.into_result())
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

async fn take(shared: &Arc<NodeShared>, request: &TakeRequest) -> Result<UnreadTake, StoreError> {
    let guard = shared.sessions().taker().open().await?;
    let session = guard.session()?;
    let work = async {
        // Inside the future, so that a timeout drops it too: rows whose commit is in doubt then return to the queue.
        let mut unread = UnreadTake {
            result: TakeResult::default(),
            attempts: Vec::new(),
            shared: Arc::downgrade(shared),
        };
        let (rows, hold) = take_rows(shared, session, request, &mut unread.attempts).await?;
        let due = match rows.is_empty() {
            true => Vec::new(),
            false => commit_and_read(shared, session, rows).await?,
        };
        unread.result = TakeResult { due, hold };
        Ok::<_, tokio_postgres::Error>(unread)
    };
    let taken = within(PATIENCE, work).await;
    let taken = taken.ok_or_else(no_answer)?.map_err(StoreError::Postgres)?;
    guard.keep();
    Ok(taken)
}

/// Commits a take and reads the events of its deliveries, in one flight to the server.
async fn commit_and_read(
    shared: &NodeShared,
    session: &Session,
    rows: Vec<TakenRow>,
) -> Result<Vec<DueDelivery>, tokio_postgres::Error> {
    let events: Vec<i64> = rows.iter().map(|row| row.event).collect();
    let names = shared.names();
    let sealer = shared.sealer();
    let reading = session.prepare(event_rows::READ_MANY).await?;
    let values: [SqlValue<'_>; 1] = [&events];
    // Sent in this order without waiting for answers.
    let (committed, stored) = tokio::join!(
        biased;
        session.batch("COMMIT"),
        session.client.query(&reading, &values),
    );
    committed?;
    let mut stored = event_rows::by_number(&stored?, &names);
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
