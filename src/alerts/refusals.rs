//! Learns how many requests a route usually rejects in an hour.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

const HOUR_MS: i64 = 3_600_000;

/// Hours that are remembered: a week.
const HOURS: usize = 7 * 24;

/// Hours after which a route is known.
const LEARNED: usize = 24;

/// Share of the hours that may have more rejected requests than the usual count. An incident of eight hours in a week
/// does not become usual.
const SHARE: f64 = 0.05;

/// Multiple of the usual count that is above normal.
const FACTOR: u64 = 3;

/// Rejected requests of one route, by hour.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RefusalBaseline {
    /// Number of the newest hour since the epoch.
    newest: i64,
    /// Counts of the hours, oldest first. The last one is of the newest hour.
    hours: VecDeque<u32>,
}

impl RefusalBaseline {
    /// Adds what was rejected within the last hour. Returns whether an hour began, which is worth storing.
    pub(super) fn add(&mut self, now_ms: i64, refused: u64) -> bool {
        let refused = u32::try_from(refused).unwrap_or(u32::MAX);
        let hour = now_ms.div_euclid(HOUR_MS);
        let passed = match self.hours.is_empty() {
            true => 1,
            // A clock that steps back adds to the newest hour.
            false => hour.saturating_sub(self.newest).max(0),
        };
        // Bounded work, since the gate may have been stopped for years.
        for _ in 0..passed.min(HOURS as i64) {
            self.hours.push_back(0);
        }
        self.newest = hour.max(self.newest);
        while self.hours.len() > HOURS {
            self.hours.pop_front();
        }
        // The highest value of the hour, since the count of the last hour may fall again before this hour ends.
        if let Some(last) = self.hours.back_mut() {
            *last = refused.max(*last);
        }
        passed > 0
    }

    /// Returns the count above which an hour is not usual; `None` while too little is known.
    pub(super) fn limit(&self) -> Option<u64> {
        // The newest hour and the one before contain what is judged now.
        let known = self.hours.len().saturating_sub(2);
        if known < LEARNED {
            return None;
        }
        let mut counts: Vec<u32> = self.hours.iter().copied().take(known).collect();
        counts.sort_unstable();
        let above = (known as f64 * SHARE) as usize;
        let usual = counts.get(known.saturating_sub(above + 1)).copied();
        Some(u64::from(usual.unwrap_or(0)) * FACTOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a usual number of rejections is above normal, or if an incident of a night becomes usual.
    #[test]
    fn an_incident_stands_out_from_what_is_usual() {
        let mut baseline = RefusalBaseline::default();
        let mut now_ms = 1_800_000_000_000;
        let mut add = |baseline: &mut RefusalBaseline, count| {
            baseline.add(now_ms, count);
            baseline.add(now_ms + 60_000, count / 2);
            now_ms += HOUR_MS;
        };
        for _ in 0..25 {
            add(&mut baseline, 10);
            assert_eq!(baseline.limit(), None);
        }
        for hour in 0..150 {
            // A scanner comes once a day.
            add(&mut baseline, if hour % 24 == 0 { 400 } else { 10 });
            assert_eq!(baseline.limit(), Some(30), "{hour}");
        }
        for _ in 0..3 {
            add(&mut baseline, 5000);
            assert!(baseline.limit() < Some(5000), "{:?}", baseline.limit());
        }
        let text = serde_json::to_string(&baseline).unwrap();
        assert_eq!(
            serde_json::from_str::<RefusalBaseline>(&text).unwrap(),
            baseline
        );
        assert!(baseline.hours.len() <= HOURS);
    }
}
