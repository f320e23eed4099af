//! The end of an attempt: its record and the next state of the delivery.

use rusqlite::params;

use crate::model::delivery::{DeliveryId, DeliveryState, DeliveryStep};
use crate::store::error::StoreError;
use crate::store::rows::{AttemptRecord, FinishedAttempt, KEPT_ANSWER, NextState};
use crate::store::seal::{SealedPart, seal_failed};
use crate::store::sqlite::fifo;
use crate::store::sqlite::group_work::{DeliveryForUpdate, GroupWork, TaskFailure};
use crate::store::sqlite::queue::TaskUrgency;
use crate::store::sqlite::readers::PATIENCE;
use crate::store::sqlite::store::SqliteStore;

/// An attempt that has ended, with its response bytes already encrypted.
struct SealedAttempt {
    delivery: DeliveryId,
    attempt: u32,
    /// The record of the attempt. Its response bytes are not read here.
    record: AttemptRecord,
    next: NextState,
    sealing_key: i64,
    sealed_response: Vec<u8>,
}

impl SqliteStore {
    /// Records the outcome of an attempt. Returns `false`, and changes nothing, if the delivery is not in flight with
    /// this attempt.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(in crate::store) async fn finish(
        &self,
        finished: FinishedAttempt,
    ) -> Result<bool, StoreError> {
        let answer = finished
            .record
            .response_start
            .slice(..finished.record.response_start.len().min(KEPT_ANSWER));
        // Without a key the query for the event's uid would be wasted.
        let (sealing_key, answer) = match self.shared.sealer().is_clear() || answer.is_empty() {
            true => (0, answer.to_vec()),
            false => self.seal_answer(&finished, &answer).await?,
        };
        let ended = SealedAttempt {
            delivery: finished.delivery,
            attempt: finished.attempt,
            record: finished.record,
            next: finished.next,
            sealing_key,
            sealed_response: answer,
        };
        let bytes = ended.sealed_response.len();
        self.write(TaskUrgency::Outcome, bytes, move |work| work.finish(&ended))
            .await
    }

    /// Encrypts the response bytes. This needs the uid of the event, from which the key is derived.
    async fn seal_answer(
        &self,
        finished: &FinishedAttempt,
        answer: &[u8],
    ) -> Result<(i64, Vec<u8>), StoreError> {
        let (delivery, attempt) = (finished.delivery.0, finished.attempt);
        let sql = "SELECT event.uid FROM delivery JOIN event ON event.id = delivery.event
            WHERE delivery.id = ?1";
        let uid = self.shared.read(PATIENCE, move |look| {
            let mut stmt = look.conn.prepare_cached(sql)?;
            let mut rows = stmt.query([delivery])?;
            let row = rows.next()?;
            row.map(|row| row.get::<_, [u8; 16]>(0)).transpose()
        });
        // If the delivery does not exist, the writer does not find it either and drops the outcome.
        let Some(uid) = uid.await? else {
            return Ok((0, Vec::new()));
        };
        let part = SealedPart::Answer(delivery, attempt);
        let sealed = self.shared.sealer().seal(&uid, part, answer);
        sealed.map_err(|_| seal_failed())
    }
}

impl GroupWork {
    fn finish(&mut self, ended: &SealedAttempt) -> Result<bool, TaskFailure> {
        // A late outcome of an earlier attempt must not end the current one.
        let found = self.find(ended.delivery)?;
        let Some(found) = found.filter(|found| found.attempts == ended.attempt) else {
            return Ok(false);
        };
        let step = match ended.next {
            NextState::Delivered => DeliveryStep::Deliver,
            NextState::Waiting(_) => DeliveryStep::Delay,
            NextState::Dead => DeliveryStep::GiveUp,
        };
        let Some(next) = self.step(&found, step) else {
            return Ok(false);
        };
        self.write_attempt(ended)?;
        self.write_outcome(ended, next)?;
        if let Some(key) = found.order_key {
            fifo::settle(&self.conn, found.destination, key)?;
        }
        // Only a delivered event may lose its body. A dead letter needs it for a retry.
        if ended.next == NextState::Delivered {
            self.drop_body_of(&found)?;
        }
        Ok(true)
    }

    fn write_attempt(&self, ended: &SealedAttempt) -> rusqlite::Result<()> {
        let record = &ended.record;
        let (error, detail) = record
            .error
            .as_ref()
            .map(|(word, text)| (word, text))
            .unzip();
        let sql = "INSERT INTO attempt (delivery, number, started_ms, duration_ms, status, error,
            detail, sealing_key, answer) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
            ON CONFLICT DO NOTHING";
        self.conn
            .prepare_cached(sql)?
            .execute(params![
                ended.delivery.0,
                ended.attempt,
                record.started_ms,
                record.duration_ms,
                record.status,
                error,
                detail,
                ended.sealing_key,
                ended.sealed_response,
            ])
            .map(drop)
    }

    fn write_outcome(&self, ended: &SealedAttempt, next: DeliveryState) -> rusqlite::Result<()> {
        let record = &ended.record;
        let end_ms = record
            .started_ms
            .saturating_add(i64::from(record.duration_ms));
        let (due_ms, ended_ms) = match ended.next {
            NextState::Waiting(due_ms) => (due_ms, None),
            NextState::Delivered | NextState::Dead => (record.started_ms, Some(end_ms)),
        };
        let sql = "UPDATE delivery SET state = ?6, due_ms = ?2, ended_ms = ?3, last_status = ?4,
            last_error = ?5 WHERE id = ?1";
        self.conn
            .prepare_cached(sql)?
            .execute(params![
                ended.delivery.0,
                due_ms,
                ended_ms,
                record.status,
                record.error.as_ref().map(|(word, _)| word),
                next.code(),
            ])
            .map(drop)
    }

    /// Deletes the body once no delivery of the event can need it, if the config does not keep bodies.
    pub(super) fn drop_body_of(&self, found: &DeliveryForUpdate) -> rusqlite::Result<()> {
        if self.keep_body {
            return Ok(());
        }
        let sql = "SELECT state FROM delivery INDEXED BY delivery_event WHERE event = ?1";
        let mut stmt = self.conn.prepare_cached(sql)?;
        let mut rows = stmt.query([found.event])?;
        while let Some(row) = rows.next()? {
            let state = DeliveryState::from_code(row.get(0)?);
            // A dead letter keeps its body, since an operator may retry it.
            let is_over = matches!(
                state,
                Some(DeliveryState::Delivered | DeliveryState::Cancelled)
            );
            if !is_over {
                return Ok(());
            }
        }
        self.conn
            .prepare_cached("UPDATE content SET body = NULL WHERE event = ?1")?
            .execute([found.event])
            .map(drop)
    }
}
