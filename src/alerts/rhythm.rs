//! Learns the usual traffic of a route, and judges whether it has gone quiet.
//!
//! A gap on the clock says little: a route of an office is silent every night. So gaps are measured in the route's own
//! time. Each quarter hour counts as the share of the past weeks in which the route had a genuine event around this
//! quarter hour of the week: 1 where it always had one, 0 at night. The usual gap is the longest gap of the last four
//! weeks in this time, and the route is quiet after a multiple of it. A silence on the clock that is as many times the
//! longest one of four weeks counts too.

use serde::{Deserialize, Serialize};

use crate::alerts::slots::{DAY, HELD, SLOT_MS, SlotRing, WEEK, slot_of};

/// Smallest gap that counts: an hour and a half of the busiest time. So a change to daylight saving time, after which
/// all traffic comes an hour later, is no gap.
const LEAST_GAP: f64 = 6.0;

/// Largest part of the least gap, in weeks. A route with one batch a week is quiet when the second one is missing.
const LEAST_WEEKS: f64 = 1.5;

/// A route with less traffic in a week cannot be judged: it has fewer than one event a week.
const LEAST_TRAFFIC: f64 = 0.9;

/// Gaps from which the second longest is the usual one. The longest may have been an outage.
const MANY_GAPS: usize = 10;

/// Known slots and active slots from which a route is judged: two whole weeks for a busy one, three for a rare one.
const LEARNED: [(i64, i64); 2] = [(15 * DAY, 48), (22 * DAY, 3)];

/// Shortest longest gap on the clock that says something, in slots. Routes with shorter ones are judged in their own
/// time only.
const LEAST_CLOCK_GAP: i64 = 4;

/// Events of one route over four weeks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RouteRhythm {
    /// Slot of the first genuine event.
    first: i64,
    /// Time of the last genuine event, in milliseconds since the epoch.
    last_ms: i64,
    /// Slots with at least one genuine event.
    active: SlotRing,
    /// The silence that lasts now, measured so far.
    #[serde(skip)]
    meter: Option<SilenceMeter>,
}

/// The judgment about a route.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum QuietVerdict {
    /// Too little is known.
    Learning,
    /// The route is as busy as usual.
    Usual,
    /// The route has been silent for too long.
    Quiet,
}

/// A silence, measured slot by slot, so that a judgment costs nothing until the next quarter hour.
#[derive(Clone, Debug)]
struct SilenceMeter {
    /// Slot of the last event, after which the silence began.
    last: i64,
    /// Limits of the silence; `None` while the route is learned.
    limits: Option<SilenceLimits>,
    /// Silence so far, in the route's own time.
    silence: f64,
    /// Silent slots so far.
    slots: i64,
    /// First slot that is not measured yet.
    until: i64,
}

#[derive(Clone, Debug)]
struct SilenceLimits {
    profile: WeekProfile,
    /// Usual gap in the route's own time, and the least gap that counts.
    usual: f64,
    least: f64,
    /// Longest gap on the clock, in slots.
    longest: i64,
}

/// Share of the weeks in which a route is active, by slot of the week.
#[derive(Clone, Debug)]
struct WeekProfile {
    /// Active and known slots, each summed up over a slot of the week and its two neighbors.
    counts: Vec<(u32, u32)>,
}

impl RouteRhythm {
    /// Begins with the first event of a route.
    pub(super) fn new(first_ms: i64) -> Self {
        let mut active = SlotRing::default();
        active.mark(slot_of(first_ms));
        Self {
            first: slot_of(first_ms),
            last_ms: first_ms,
            active,
            meter: None,
        }
    }

    /// Adds the latest event. Returns whether a new slot became active, which is worth storing.
    pub(super) fn add(&mut self, last_ms: i64) -> bool {
        self.last_ms = self.last_ms.max(last_ms);
        let is_new = self.active.mark(slot_of(last_ms));
        // Slots before the first one that is held count as unknown.
        let oldest = slot_of(self.last_ms).saturating_sub(HELD - 1);
        self.first = self.first.max(oldest);
        is_new
    }

    pub(super) fn last_ms(&self) -> i64 {
        self.last_ms
    }

    /// Judges the silence since the last event. Only slots in which a gate ran (`watched`) count: without a gate there
    /// can be no event.
    pub(super) fn judge(&mut self, watched: &SlotRing, now_ms: i64, factor: f64) -> QuietVerdict {
        let last = slot_of(self.last_ms);
        let now = slot_of(now_ms);
        // The quick way out: most routes were active just now, so thousands of them cost nothing.
        if now.saturating_sub(last) <= 1 {
            return QuietVerdict::Usual;
        }
        let is_watched = |slot: i64| {
            // Beyond the ring nothing is known, and then a gate has run most probably.
            let newest = watched.newest().unwrap_or(i64::MIN);
            slot <= newest.saturating_sub(HELD) || watched.has(slot)
        };
        let known = self.meter.take().filter(|meter| meter.last == last);
        let mut meter = known.unwrap_or_else(|| SilenceMeter {
            last,
            limits: self.limits(last, is_watched),
            silence: 0.0,
            slots: 0,
            until: last + 1,
        });
        // Bounded work, if the gate was stopped for years: a silence of eight weeks says enough.
        let end = now.min(last + 2 * HELD);
        for slot in meter.until..end {
            if let Some(limits) = meter.limits.as_ref().filter(|_| is_watched(slot)) {
                meter.silence += limits.profile.weight(slot);
                meter.slots += 1;
            }
        }
        meter.until = meter.until.max(end);
        let verdict = meter.verdict(factor);
        self.meter = Some(meter);
        verdict
    }

    /// Returns what is usual; `None` while too little is known.
    fn limits(&self, last: i64, is_watched: impl Fn(i64) -> bool + Copy) -> Option<SilenceLimits> {
        let known = last - self.first + 1;
        let active = (self.first..=last).filter(|slot| self.active.has(*slot));
        let active = i64::try_from(active.count()).unwrap_or(0);
        let is_learned = |(slots, least): &(i64, i64)| known >= *slots && active >= *least;
        if !LEARNED.iter().any(is_learned) {
            return None;
        }
        let profile = WeekProfile::of(self, last, is_watched);
        let week = profile.whole_week();
        if week < LEAST_TRAFFIC {
            return None;
        }
        let (usual, longest) = profile.gaps(self, last, is_watched);
        Some(SilenceLimits {
            profile,
            usual,
            least: LEAST_GAP.min(week * LEAST_WEEKS),
            longest,
        })
    }
}

impl SilenceMeter {
    fn verdict(&self, factor: f64) -> QuietVerdict {
        let Some(limits) = &self.limits else {
            return QuietVerdict::Learning;
        };
        let is_long = self.silence > (limits.usual * factor).max(limits.least);
        // A second rule for rare traffic at fixed times, of which the profile knows little.
        let is_long_on_clock =
            limits.longest >= LEAST_CLOCK_GAP && self.slots as f64 > limits.longest as f64 * factor;
        match is_long || is_long_on_clock {
            true => QuietVerdict::Quiet,
            false => QuietVerdict::Usual,
        }
    }
}

impl WeekProfile {
    /// Sums up the known weeks before the last event.
    fn of(rhythm: &RouteRhythm, last: i64, is_watched: impl Fn(i64) -> bool) -> Self {
        let mut own = vec![(0, 0); WEEK as usize];
        for slot in rhythm.first..=last {
            if let Some(count) = own.get_mut(index(slot)).filter(|_| is_watched(slot)) {
                count.0 += u32::from(rhythm.active.has(slot));
                count.1 += 1;
            }
        }
        // The neighbors count too, since an event that comes at nine o'clock may come some minutes earlier.
        let around = |at: i64| {
            let three = (at - 1..=at + 1).filter_map(|slot| own.get(index(slot)));
            three.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
        };
        Self {
            counts: (0..WEEK).map(around).collect(),
        }
    }

    /// Returns how much a slot counts, from 0 to 1.
    fn weight(&self, slot: i64) -> f64 {
        let (active, known) = self.counts.get(index(slot)).copied().unwrap_or_default();
        ratio(active, known)
    }

    /// Returns how much a silent slot of the past counts. Its own week is left out: a slot that was silent would make
    /// its own gap look short.
    fn weight_of_others(&self, slot: i64) -> f64 {
        let (active, known) = self.counts.get(index(slot)).copied().unwrap_or_default();
        ratio(active, known.saturating_sub(3))
    }

    fn whole_week(&self) -> f64 {
        (0..WEEK).map(|slot| self.weight(slot)).sum()
    }

    /// Returns the usual gap between two events of the past in the route's own time, and the longest gap on the clock.
    ///
    /// The usual gap is the longest one, or of many gaps the second longest.
    fn gaps(
        &self,
        rhythm: &RouteRhythm,
        last: i64,
        is_watched: impl Fn(i64) -> bool,
    ) -> (f64, i64) {
        let mut gaps: Vec<f64> = Vec::new();
        let (mut gap, mut slots, mut longest) = (0.0, 0, 0);
        for slot in rhythm.first..=last {
            if rhythm.active.has(slot) {
                longest = longest.max(slots);
                if gap > 0.0 {
                    gaps.push(gap);
                }
                (gap, slots) = (0.0, 0);
            } else if is_watched(slot) {
                gap += self.weight_of_others(slot);
                slots += 1;
            }
        }
        gaps.sort_by(f64::total_cmp);
        let place = match gaps.len() >= MANY_GAPS {
            true => 2,
            false => 1,
        };
        let usual = gaps.len().checked_sub(place).and_then(|at| gaps.get(at));
        (usual.copied().unwrap_or(0.0), longest)
    }
}

fn ratio(active: u32, known: u32) -> f64 {
    match known {
        0 => 0.0,
        _ => (f64::from(active) / f64::from(known)).min(1.0),
    }
}

/// Returns the place of a slot in its week.
fn index(slot: i64) -> usize {
    usize::try_from(slot.rem_euclid(WEEK)).unwrap_or(0)
}

/// Marks every slot of a silence that a gate has watched, for tests.
#[cfg(test)]
pub(super) fn watched_between(from_ms: i64, to_ms: i64) -> SlotRing {
    let mut ring = SlotRing::default();
    for slot in slot_of(from_ms)..=slot_of(to_ms) {
        ring.mark(slot);
    }
    ring
}

const _: () = assert!(SLOT_MS * WEEK == 7 * 24 * 3_600_000);

#[cfg(test)]
mod tests;
