//! Number of deliveries by lane and state, and the index runs that they form.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::Connection;

use crate::model::delivery::DeliveryState;
use crate::store::sqlite::merge::Run;
use crate::store::sqlite::names::{Lane, Names};
use crate::store::sqlite::span::Range;

/// The number of deliveries of one lane in one state.
pub(super) struct Counted {
    pub(super) id: i64,
    pub(super) lane: Lane,
    pub(super) state: DeliveryState,
    pub(super) count: i64,
}

impl Counted {
    pub(super) fn run(&self) -> Run {
        Run::DeliveriesIn {
            lane: self.id,
            state: self.state.code(),
        }
    }

    /// Returns the run of replays whose events are in a range.
    pub(super) fn replays_of(&self, events: Range) -> Run {
        Run::ReplaysIn {
            lane: self.id,
            state: self.state.code(),
            of: events,
        }
    }
}

/// Number of deliveries of each lane by state.
pub(super) struct Tally(HashMap<i64, [i64; 6]>);

impl Tally {
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut tally = HashMap::<i64, [i64; 6]>::new();
        let mut stmt =
            conn.prepare_cached("SELECT lane, state, count FROM tally WHERE count > 0")?;
        let mut rows = stmt.query([])?;
        while let Some(row) = rows.next()? {
            let state: usize = row.get::<_, u8>(1)?.into();
            if let Some(count) = tally.entry(row.get(0)?).or_default().get_mut(state) {
                *count = row.get(2)?;
            }
        }
        Ok(Self(tally))
    }

    pub(super) fn lanes(&self) -> impl Iterator<Item = (&i64, &[i64; 6])> {
        self.0.iter()
    }

    pub(super) fn runs(
        &self,
        names: &Arc<Names>,
        is_wanted: impl Fn(&Lane, DeliveryState) -> bool,
    ) -> Vec<Counted> {
        let mut runs = Vec::new();
        for (id, counts) in self.lanes() {
            let Some(lane) = names.lanes.get(id) else {
                continue;
            };
            for (state, count) in DeliveryState::ALL.into_iter().zip(counts) {
                if *count > 0 && is_wanted(lane, state) {
                    runs.push(Counted {
                        id: *id,
                        lane: *lane,
                        state,
                        count: *count,
                    });
                }
            }
        }
        runs
    }
}
