//! The end of an attempt: its record and the next state of the delivery.

use rusqlite::params;

use crate::model::delivery::{DeliveryId, DeliveryState, DeliveryStep};
use crate::store::rows::{AttemptRecord, NextState};
use crate::store::sqlite::fifo;
use crate::store::sqlite::group_work::{DeliveryForUpdate, GroupWork, TaskFailure};

/// An attempt that has ended, with its response bytes already encrypted.
pub(super) struct SealedAttempt {
    pub(super) delivery: DeliveryId,
    pub(super) attempt: u32,
    /// The record of the attempt. Its response bytes are not read here.
    pub(super) record: AttemptRecord,
    pub(super) next: NextState,
    pub(super) sealing_key: i64,
    pub(super) sealed_response: Vec<u8>,
}

impl GroupWork {
    pub(super) fn finish(&mut self, ended: &SealedAttempt) -> Result<bool, TaskFailure> {
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
