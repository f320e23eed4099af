//! Number of deliveries by lane and state.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::delivery::DeliveryState;
use crate::store::names::{DeliveryLane, NameTable};

/// The number of deliveries of one lane in one state.
pub(in crate::store) struct LaneCount {
    pub(in crate::store) id: i64,
    pub(in crate::store) lane: DeliveryLane,
    pub(in crate::store) state: DeliveryState,
    pub(in crate::store) count: i64,
}

/// Number of deliveries of each lane by state.
#[derive(Default)]
pub(in crate::store) struct LaneTally(HashMap<i64, [i64; 6]>);

impl LaneTally {
    /// Adds to the count of a lane in a state. Codes of states beyond the known ones are ignored.
    pub(in crate::store) fn add(&mut self, lane: i64, state: i64, count: i64) {
        let counts = self.0.entry(lane).or_default();
        let state = usize::try_from(state).unwrap_or(usize::MAX);
        if let Some(known) = counts.get_mut(state) {
            *known += count;
        }
    }

    pub(in crate::store) fn counts(
        &self,
        names: &Arc<NameTable>,
        is_wanted: impl Fn(&DeliveryLane, DeliveryState) -> bool,
    ) -> Vec<LaneCount> {
        let mut found = Vec::new();
        for (id, counts) in &self.0 {
            let Some(lane) = names.lanes.get(id) else {
                continue;
            };
            for (state, count) in DeliveryState::ALL.into_iter().zip(counts) {
                if *count > 0 && is_wanted(lane, state) {
                    found.push(LaneCount {
                        id: *id,
                        lane: *lane,
                        state,
                        count: *count,
                    });
                }
            }
        }
        found
    }
}
