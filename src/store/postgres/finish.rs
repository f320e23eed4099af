//! The end of an attempt: its record and the next state of the delivery.
//!
//! An outcome counts only for the attempt that is in flight, on this node, with this number. A node that was frozen and
//! wakes after another one took over its delivery changes nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::model::clock;
use crate::model::delivery::DeliveryState;
use crate::store::error::StoreError;
use crate::store::postgres::order::{self, OrderedKey};
use crate::store::postgres::outcome_rows::OutcomeColumns;
use crate::store::postgres::queue::GroupTask;
use crate::store::postgres::sealed_outcome::SealedOutcome;
use crate::store::postgres::session::Session;
use crate::store::postgres::sessions::{SessionSlot, in_time, repeat_collisions, transaction};
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::store::PostgresStore;
use crate::store::postgres::text::without_nul;
use crate::store::rows::{FinishedAttempt, KEPT_ANSWER, NextState};
use crate::store::seal::{SealedPart, seal_failed};

/// How often a group is repeated after a failure of the database, before its callers hear of it. They then repeat it.
const TRIES: u32 = 3;

/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// An outcome that waits for its group.
type OutcomeTask = GroupTask<SealedOutcome, bool>;

impl PostgresStore {
    pub(in crate::store) async fn finish(
        &self,
        mut finished: FinishedAttempt,
    ) -> Result<bool, StoreError> {
        let (delivery, attempt) = (finished.delivery.0, finished.attempt);
        // This process began the attempt, or its outcome does not count.
        let Some(running) = self.shared.attempts.find(delivery, attempt) else {
            return Ok(false);
        };
        let answer = finished
            .record
            .response_start
            .slice(..finished.record.response_start.len().min(KEPT_ANSWER));
        let sealer = self.shared.sealer();
        let (sealing_key, answer) = match sealer.is_clear() || answer.is_empty() {
            true => (0, answer.to_vec()),
            false => {
                let part = SealedPart::Answer(delivery, attempt);
                let sealed = sealer.seal(&running.uid, part, &answer);
                sealed.map_err(|_| seal_failed())?
            }
        };
        finished.record.error = finished
            .record
            .error
            .map(|(word, text)| (word, without_nul(text)));
        let bytes = answer.len();
        let outcome = SealedOutcome {
            finished,
            order: running.order_key.map(|key| OrderedKey {
                destination: running.destination,
                key,
            }),
            sealing_key,
            answer,
        };
        let is_done = self.shared.queue.outcomes.push(outcome, bytes).await?;
        // Only after a reply: a caller that gets an error reports the outcome again, and must find its attempt then.
        self.shared.attempts.remove(delivery, attempt);
        Ok(is_done)
    }
}

/// Records groups of outcomes until the queue is closed and empty.
pub(super) async fn write_groups(shared: Arc<NodeShared>) {
    let slot = SessionSlot::new(&shared.settings, "outcomes");
    while let Some(mut group) = shared.queue.outcomes.take().await {
        // Two outcomes of one delivery cannot both be in one statement; the later one would not count anyway.
        let mut seen = HashSet::new();
        let (first, twice): (Vec<_>, Vec<_>) = group
            .tasks
            .drain(..)
            .partition(|task| seen.insert(task.task.finished.delivery));
        for task in twice {
            task.answer(Ok(false));
        }
        write_group(&shared, &slot, first).await;
    }
}

async fn write_group(shared: &NodeShared, slot: &SessionSlot, tasks: Vec<OutcomeTask>) {
    let began = clock::instant();
    let mut tried = 1;
    let done = loop {
        let outcomes: Vec<&SealedOutcome> = tasks.iter().map(|task| &task.task).collect();
        let done = record(shared, slot, &outcomes);
        match done.await {
            Ok(done) => break Ok(done),
            // An outcome that was committed unseen finds nothing in flight when it is repeated, and answers `false`.
            Err(_) if tried < TRIES => {
                tried += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(err) => break Err(err),
        }
    };
    shared.count_group(tasks.len(), began.elapsed());
    match done {
        Ok(done) => {
            for task in tasks {
                let is_done = done.contains(&task.task.finished.delivery.0);
                task.answer(Ok(is_done));
            }
        }
        Err(err) => {
            tracing::warn!(
                error = %crate::model::error::chain(&err),
                "outcomes of attempts could not be recorded yet: they are reported again"
            );
            for task in tasks {
                task.answer(Err(StoreError::Reopening));
            }
        }
    }
}

/// Records outcomes in one transaction. Returns the deliveries that were in flight with these attempts.
async fn record(
    shared: &NodeShared,
    slot: &SessionSlot,
    outcomes: &[&SealedOutcome],
) -> Result<HashSet<i64>, StoreError> {
    let rows = OutcomeRows::of(outcomes, shared.node());
    let mut keys: Vec<OrderedKey> = outcomes
        .iter()
        .filter_map(|outcome| outcome.order)
        .collect();
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() && shared.options.keep_body {
        return record_in_one_flight(slot, &rows).await;
    }
    transaction(slot, async |session| {
        let recorded = async {
            order::lock(session, &shared.settings.schema, &keys).await?;
            let mut done = Recorded::default();
            rows.write(session, &mut done).await?;
            // Behind both statements, so that it sees which deliveries of the keys are still open.
            order::settle(session, &keys).await?;
            drop_bodies(shared, session, &done.delivered_events).await?;
            Ok::<_, tokio_postgres::Error>(done.deliveries)
        };
        recorded.await.map_err(StoreError::Postgres)
    })
    .await
}

/// Records outcomes on which no other row depends, with all statements on their way at once.
async fn record_in_one_flight(
    slot: &SessionSlot,
    rows: &OutcomeRows<'_>,
) -> Result<HashSet<i64>, StoreError> {
    repeat_collisions(slot, async |session| {
        let recorded = async {
            rows.prepare(session).await?;
            let mut done = Recorded::default();
            // `biased` sends in this order without waiting for answers.
            let (begun, written, committed) = tokio::join!(
                biased;
                session.batch("BEGIN"),
                rows.write(session, &mut done),
                session.batch("COMMIT"),
            );
            begun?;
            // The commit of a transaction with a failed statement succeeds and does nothing.
            written?;
            committed?;
            Ok::<_, tokio_postgres::Error>(done.deliveries)
        };
        let done = in_time(async { recorded.await.map_err(StoreError::Postgres) }).await?;
        match session.take_warning() {
            true => Err(StoreError::Unknown),
            false => Ok(done),
        }
    })
    .await
}

/// The outcomes that a transaction recorded.
#[derive(Default)]
struct Recorded {
    deliveries: HashSet<i64>,
    /// Events of deliveries that the destination accepted.
    delivered_events: Vec<i64>,
}

/// Outcomes by the statement that writes them. A statement without outcomes is absent.
struct OutcomeRows<'a> {
    ended: Option<OutcomeColumns<'a>>,
    waiting: Option<OutcomeColumns<'a>>,
}

impl<'a> OutcomeRows<'a> {
    fn of(outcomes: &[&'a SealedOutcome], node: i32) -> Self {
        let (waiting, ended): (Vec<_>, Vec<_>) = outcomes
            .iter()
            .copied()
            .partition(|outcome| matches!(outcome.finished.next, NextState::Waiting(_)));
        let columns =
            |outcomes: Vec<_>| (!outcomes.is_empty()).then(|| OutcomeColumns::of(&outcomes, node));
        Self {
            ended: columns(ended),
            waiting: columns(waiting),
        }
    }

    /// Prepares the statements, since that waits for the server.
    async fn prepare(&self, session: &Session) -> Result<(), tokio_postgres::Error> {
        if self.ended.is_some() {
            session.prepare(OutcomeColumns::END).await?;
        }
        if self.waiting.is_some() {
            session.prepare(OutcomeColumns::DELAY).await?;
        }
        Ok(())
    }

    /// Writes all outcomes. The statements are sent by the first poll, if they are prepared.
    async fn write(
        &self,
        session: &Session,
        done: &mut Recorded,
    ) -> Result<(), tokio_postgres::Error> {
        let query = async |sql, columns: &Option<OutcomeColumns<'_>>| match columns {
            Some(columns) => session.query(sql, &columns.values()).await,
            None => Ok(Vec::new()),
        };
        let (ended, waiting) = tokio::join!(
            biased;
            query(OutcomeColumns::END, &self.ended),
            query(OutcomeColumns::DELAY, &self.waiting),
        );
        for row in ended? {
            done.deliveries.insert(row.get(0));
            // A dead letter keeps its body for a retry, so its event is not even checked.
            let state = DeliveryState::from_code(row.get::<_, i16>(2).into());
            if state == Some(DeliveryState::Delivered) {
                done.delivered_events.push(row.get(1));
            }
        }
        done.deliveries
            .extend(waiting?.iter().map(|row| row.get::<_, i64>(0)));
        Ok(())
    }
}

/// Deletes the bodies of events that no delivery can need, if the config does not keep bodies.
pub(super) async fn drop_bodies(
    shared: &NodeShared,
    session: &Session,
    events: &[i64],
) -> Result<(), tokio_postgres::Error> {
    if shared.options.keep_body || events.is_empty() {
        return Ok(());
    }
    // Locked first, and checked by a statement that sees what was committed meanwhile: of two outcomes of one event on two
    // nodes, the later one deletes the body, and a replay that just creates a delivery keeps it.
    let sql = "SELECT event FROM content WHERE event = ANY($1) AND body IS NOT NULL
        ORDER BY event FOR NO KEY UPDATE";
    session.query(sql, &[&events]).await?;
    // A dead letter keeps its body, since an operator may retry it.
    let sql = "UPDATE content SET body = NULL WHERE event = ANY($1)
        AND NOT EXISTS (SELECT 1 FROM open_delivery o WHERE o.event = content.event)
        AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.event = content.event AND d.state = 4)";
    session.execute(sql, &[&events]).await.map(drop)
}
