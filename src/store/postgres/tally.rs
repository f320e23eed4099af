//! Counts of rows, as changes that each transaction appends.
//!
//! A counter that every transaction updates would make all nodes wait for one row. Appended rows never collide; a duty
//! adds them to the totals now and then.

use std::collections::HashMap;

use tokio_postgres::Error;

use crate::model::delivery::DeliveryState;
use crate::store::postgres::session::Session;

/// The lane under which events and claims are counted.
const NO_LANE: i64 = 0;

/// States under [`NO_LANE`].
pub(super) const EVENTS: i16 = 0;
pub(super) const CLAIMS: i16 = 1;

/// Changes of counts within one transaction. Steps that cancel each other out write nothing.
#[derive(Default)]
pub(super) struct TallyChanges {
    changes: HashMap<(i64, i16), i64>,
}

impl TallyChanges {
    /// Counts deliveries that entered or left a state.
    pub(super) fn add(&mut self, lane: i64, state: DeliveryState, change: i64) {
        let state = i16::try_from(state.code()).unwrap_or(i16::MAX);
        *self.changes.entry((lane, state)).or_default() += change;
    }

    pub(super) fn add_events(&mut self, change: i64) {
        *self.changes.entry((NO_LANE, EVENTS)).or_default() += change;
    }

    pub(super) fn add_claims(&mut self, change: i64) {
        *self.changes.entry((NO_LANE, CLAIMS)).or_default() += change;
    }

    /// Returns the columns of the rows to append.
    pub(super) fn columns(&self) -> (Vec<i64>, Vec<i16>, Vec<i64>) {
        let (mut lanes, mut states, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        for ((lane, state), change) in &self.changes {
            if *change != 0 {
                lanes.push(*lane);
                states.push(*state);
                changes.push(*change);
            }
        }
        (lanes, states, changes)
    }
}

/// Appends changes.
pub(super) const RECORD: &str = "INSERT INTO tally_change (lane, state, change)
    SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::bigint[])";

/// Appends the changes of a transaction, inside of it.
pub(super) async fn record(session: &Session, changes: &TallyChanges) -> Result<(), Error> {
    let (lanes, states, changes) = changes.columns();
    if lanes.is_empty() {
        return Ok(());
    }
    session
        .execute(RECORD, &[&lanes, &states, &changes])
        .await
        .map(drop)
}
