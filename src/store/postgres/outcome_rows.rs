//! The outcomes of a group as columns: one statement moves all deliveries that end, and one those that wait.

use crate::store::postgres::sealed_outcome::SealedOutcome;
use crate::store::postgres::session::SqlValue;
use crate::store::rows::NextState;

/// Outcomes of attempts.
#[derive(Default)]
pub(super) struct OutcomeColumns<'a> {
    node: i32,
    deliveries: Vec<i64>,
    attempts: Vec<i32>,
    states: Vec<i16>,
    /// When the delivery ended, or when its next attempt is due.
    times_ms: Vec<i64>,
    started_ms: Vec<i64>,
    durations_ms: Vec<i64>,
    statuses: Vec<Option<i16>>,
    errors: Vec<Option<&'a str>>,
    details: Vec<Option<&'a str>>,
    sealing_keys: Vec<i64>,
    answers: Vec<&'a [u8]>,
}

/// The rows of the parameters.
macro_rules! outcomes {
    () => {
        "x AS MATERIALIZED (SELECT * FROM unnest($2::bigint[], $3::integer[], $4::smallint[],
            $5::bigint[], $6::bigint[], $7::bigint[], $8::smallint[], $9::text[], $10::text[],
            $11::bigint[], $12::bytea[])
            AS x (id, attempt, state, time_ms, started_ms, duration_ms, status, error, detail,
                sealing_key, answer)
        ), locked AS MATERIALIZED (
            SELECT o.id FROM open_delivery o JOIN x ON x.id = o.id
            WHERE o.node IS NOT DISTINCT FROM $1 AND o.attempts = x.attempt ORDER BY o.id FOR UPDATE OF o
        )"
    };
}

/// The records of the attempts that counted, and the changes of counts.
macro_rules! records {
    () => {
        "t AS (INSERT INTO attempt (delivery, number, node, started_ms, duration_ms, status, error,
                detail, sealing_key, answer)
            SELECT x.id, x.attempt, $1, x.started_ms, x.duration_ms, x.status, x.error, x.detail,
                x.sealing_key, x.answer FROM d JOIN x ON x.id = d.id ON CONFLICT DO NOTHING
        ), n AS (INSERT INTO tally_change (lane, state, change)
            SELECT d.lane, 1, -count(*) FROM d GROUP BY d.lane UNION ALL
            SELECT d.lane, x.state, count(*) FROM d JOIN x ON x.id = d.id GROUP BY d.lane, x.state)"
    };
}

impl<'a> OutcomeColumns<'a> {
    /// Moves deliveries out of the open ones, and records their attempts. Returns them with their events and new states.
    pub(super) const END: &'static str = concat!(
        "WITH ",
        outcomes!(),
        ", d AS (DELETE FROM open_delivery o USING locked WHERE o.id = locked.id RETURNING o.*),
        h AS (INSERT INTO delivery (id, event, lane, destination, state, priority, order_key, attempts,
                created_ms, ended_ms, last_status, last_error)
            SELECT d.id, d.event, d.lane, d.destination, x.state, d.priority, d.order_key, d.attempts,
                d.created_ms, x.time_ms, x.status, x.error FROM d JOIN x ON x.id = d.id), ",
        records!(),
        " SELECT d.id, d.event, x.state FROM d JOIN x ON x.id = d.id"
    );

    /// Lets deliveries wait for their next attempt, and records this one. Returns them.
    pub(super) const DELAY: &'static str = concat!(
        "WITH ",
        outcomes!(),
        ", d AS (UPDATE open_delivery o SET state = x.state, node = NULL, turn = NULL, until_ms = NULL,
                due_ms = x.time_ms, last_status = x.status, last_error = x.error
            FROM locked JOIN x ON x.id = locked.id WHERE o.id = locked.id RETURNING o.id, o.lane), ",
        records!(),
        " SELECT d.id FROM d"
    );

    pub(super) fn of(outcomes: &[&'a SealedOutcome], node: i32) -> Self {
        let mut columns = Self {
            node,
            ..Self::default()
        };
        for outcome in outcomes {
            let finished = &outcome.finished;
            let record = &finished.record;
            let end_ms = record.started_ms.saturating_add(record.duration_ms.into());
            let (state, time_ms) = match finished.next {
                NextState::Delivered => (3, end_ms),
                NextState::Dead => (4, end_ms),
                NextState::Waiting(due_ms) => (2, due_ms),
            };
            let signed = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
            columns.deliveries.push(finished.delivery.0);
            columns.attempts.push(signed(finished.attempt));
            columns.states.push(state);
            columns.times_ms.push(time_ms);
            columns.started_ms.push(record.started_ms);
            columns.durations_ms.push(record.duration_ms.into());
            let status = record.status.and_then(|status| i16::try_from(status).ok());
            columns.statuses.push(status);
            let error = record.error.as_ref();
            columns.errors.push(error.map(|(word, _)| &**word));
            columns.details.push(error.map(|(_, text)| &**text));
            columns.sealing_keys.push(outcome.sealing_key);
            columns.answers.push(&outcome.answer);
        }
        columns
    }

    pub(super) fn values(&self) -> [SqlValue<'_>; 12] {
        [
            &self.node,
            &self.deliveries,
            &self.attempts,
            &self.states,
            &self.times_ms,
            &self.started_ms,
            &self.durations_ms,
            &self.statuses,
            &self.errors,
            &self.details,
            &self.sealing_keys,
            &self.answers,
        ]
    }
}
