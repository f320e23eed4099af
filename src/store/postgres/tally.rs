//! Counts of rows, as changes that each transaction appends.
//!
//! A counter that every transaction updates would make all nodes wait for one row. Appended rows never collide; a duty
//! adds them to the totals now and then.

use std::collections::HashMap;

use tokio_postgres::Error;

use crate::model::delivery::DeliveryState;
use crate::store::lane_counts::LaneTally;
use crate::store::postgres::session::{Session, SqlValue};

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
    pub(super) fn columns(&self) -> TallyColumns {
        let mut columns = TallyColumns::default();
        for ((lane, state), change) in &self.changes {
            if *change != 0 {
                columns.lanes.push(*lane);
                columns.states.push(*state);
                columns.changes.push(*change);
            }
        }
        columns
    }
}

/// Rows of `tally_change` as columns.
#[derive(Default)]
pub(super) struct TallyColumns {
    lanes: Vec<i64>,
    states: Vec<i16>,
    changes: Vec<i64>,
}

impl TallyColumns {
    pub(super) fn values(&self) -> [SqlValue<'_>; 3] {
        [&self.lanes, &self.states, &self.changes]
    }
}

/// Appends changes.
pub(super) const RECORD: &str = "INSERT INTO tally_change (lane, state, change)
    SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::bigint[])";

/// Appends the changes of a transaction, inside of it.
pub(super) async fn record(session: &Session, changes: &TallyChanges) -> Result<(), Error> {
    let columns = changes.columns();
    if columns.lanes.is_empty() {
        return Ok(());
    }
    session.execute(RECORD, &columns.values()).await.map(drop)
}

/// The counts of all rows.
#[derive(Default)]
pub(super) struct TallyTotals {
    pub(super) events: i64,
    pub(super) claims: i64,
    pub(super) lanes: LaneTally,
}

/// Reads the counts, with all changes that are committed.
pub(super) async fn load(session: &Session) -> Result<TallyTotals, Error> {
    // One statement and thus one snapshot: a fold in between would count changes twice or not at all.
    let sql = "SELECT lane, state, sum(count)::bigint FROM (
            SELECT lane, state, count FROM tally UNION ALL SELECT lane, state, change FROM tally_change
        ) AS t GROUP BY lane, state";
    let mut totals = TallyTotals::default();
    for row in session.query(sql, &[]).await? {
        let (lane, state, count): (i64, i16, i64) = (row.get(0), row.get(1), row.get(2));
        match (lane, state) {
            (NO_LANE, EVENTS) => totals.events = count,
            (NO_LANE, CLAIMS) => totals.claims = count,
            _ => totals.lanes.add(lane, state.into(), count),
        }
    }
    Ok(totals)
}

/// Adds the changes of some transactions to the totals. Returns whether more are left.
pub(super) async fn fold(session: &Session) -> Result<bool, Error> {
    /// Changes that one transaction adds, in some tens of milliseconds.
    const FOLDED: i64 = 20_000;
    // Rows are found by their place, so that `tally_change` needs no index and stays cheap to append to.
    let sql = "WITH gone AS (
            DELETE FROM tally_change WHERE ctid = ANY(ARRAY(SELECT ctid FROM tally_change LIMIT $1))
            RETURNING lane, state, change
        ), added AS (
            INSERT INTO tally (lane, state, count)
            SELECT lane, state, sum(change) FROM gone GROUP BY lane, state ORDER BY lane, state
            ON CONFLICT (lane, state) DO UPDATE SET count = tally.count + excluded.count
        ) SELECT count(*) FROM gone";
    let folded: i64 = session.query_one(sql, &[&FOLDED]).await?.get(0);
    Ok(folded >= FOLDED)
}
