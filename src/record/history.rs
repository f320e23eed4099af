//! Recent request counts of one route, by minute and hour, and by secret.
//!
//! `RouteCounters` holds one history for each route, so it survives a reload. Memory is bounded by the routes of the
//! config: about 31 KiB each, freed when a reload removes the route. A request pays a few loads and two additions (four
//! with a secret) on atomics of its own route. It never allocates, and it takes a lock only at the start of a minute or
//! an hour.
//!
//! Counts may be off by a request that is counted while its slot is recycled. That needs a request of an hour ago, or a
//! clock that was set.
//!
//! Counts of secrets follow the secret, not its position: a reload passes the previous label of each secret. A request
//! that began before the reload may count under the previous label.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::gate::reject::RejectReason;
use crate::gate::verdict::{GateDecision, Verdict};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Number of minutes in the ring: the last hour.
const MINUTES: usize = 60;
/// Number of hours in the ring: the last two days.
const HOURS: usize = 48;
/// Hours that [`RouteHistory::day`] sums up.
const DAY: i64 = 24;

/// Number of decisions without a reason: accepted, duplicate, challenge, filtered.
const PLAIN: usize = 4;
const REASONS: usize = RejectReason::ALL.len();

/// Request counts of one period: a minute, an hour or a day.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct IntervalTally {
    /// Start of the period, in milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// Number of events that passed every check.
    pub accepted: u64,
    /// Number of duplicates that the gate answered without the upstream.
    pub duplicate: u64,
    /// Number of URL verification challenges.
    pub challenge: u64,
    /// Number of events that the route's filter did not forward.
    pub filtered: u64,
    /// Rejected requests by reason; reasons that did not occur are left out.
    pub refused: Vec<(RejectReason, u64)>,
    /// Requests that failed a check but were forwarded in monitor mode, by reason; reasons that did not occur are left
    /// out.
    pub would_refuse: Vec<(RejectReason, u64)>,
}

/// Usage of one secret of a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SecretMatchCount {
    /// Name of the secret, or its position where the config gives no name.
    pub label: Arc<str>,
    /// Number of matches since the process started.
    pub matches: u64,
    /// Time of the last match, in milliseconds since the Unix epoch.
    pub last_ms: i64,
}

/// Request counts of one route over the last hour and the last two days.
#[derive(Debug)]
pub(crate) struct RouteHistory {
    minutes: IntervalRing,
    hours: IntervalRing,
    secrets: ArcSwap<Vec<SecretSlot>>,
    last_genuine_ms: AtomicI64,
}

/// Ring of slots for periods of one length.
#[derive(Debug)]
struct IntervalRing {
    length_ms: i64,
    slots: Box<[IntervalSlot]>,
    turning: Mutex<()>,
}

/// Counts of one period in a ring.
#[derive(Debug)]
struct IntervalSlot {
    /// Number of the period since the epoch; it shows if the slot holds the present round of the ring or an earlier
    /// one.
    number: AtomicI64,
    /// Counts by plain decision, then rejected by reason, then monitored by reason.
    counts: [AtomicU32; PLAIN + 2 * REASONS],
}

/// A secret of the route and its counts, which other configuration snapshots share.
#[derive(Debug)]
struct SecretSlot {
    label: Arc<str>,
    counts: Arc<SecretCounts>,
}

#[derive(Debug, Default)]
struct SecretCounts {
    matches: AtomicU64,
    last_ms: AtomicI64,
}

/// A secret of a new config, and the label that it had before.
#[derive(Debug)]
pub(crate) struct SecretName {
    /// Label of the secret in verdicts.
    pub label: Arc<str>,
    /// Label of the same secret in the previous config; `None` for a new secret.
    pub before: Option<Arc<str>>,
}

impl Default for RouteHistory {
    fn default() -> Self {
        Self {
            minutes: IntervalRing::new(MINUTE_MS, MINUTES),
            hours: IntervalRing::new(HOUR_MS, HOURS),
            secrets: ArcSwap::default(),
            last_genuine_ms: AtomicI64::new(0),
        }
    }
}

impl RouteHistory {
    /// Counts one request in the periods in which it began.
    pub(crate) fn add(&self, verdict: &Verdict) {
        // The id has the time at which the request began, so no clock is read here.
        let at_ms = verdict.request_id.unix_ms();
        let place = counter_index(&verdict.decision);
        self.minutes.add(at_ms, place);
        self.hours.add(at_ms, place);
        if let Some(label) = &verdict.secret {
            self.matched(label, at_ms);
        }
        let is_genuine = matches!(
            verdict.decision,
            GateDecision::Accepted | GateDecision::Duplicate | GateDecision::Filtered(_)
        );
        // To the second: a busy route does not write this with every request.
        if is_genuine && at_ms > self.last_genuine_ms().saturating_add(1000) {
            self.last_genuine_ms.fetch_max(at_ms, Ordering::Relaxed);
        }
    }

    /// Returns the time of the last genuine event to the second, in milliseconds since the Unix epoch; 0 if there was
    /// no event since the start.
    pub(crate) fn last_genuine_ms(&self) -> i64 {
        self.last_genuine_ms.load(Ordering::Relaxed)
    }

    /// Returns the minutes of the last hour with at least one request, oldest first.
    pub(crate) fn minutes(&self, now_ms: i64) -> Vec<IntervalTally> {
        self.minutes.tallies(now_ms, MINUTES as i64)
    }

    /// Returns the hours of the last two days with at least one request, oldest first.
    pub(crate) fn hours(&self, now_ms: i64) -> Vec<IntervalTally> {
        self.hours.tallies(now_ms, HOURS as i64)
    }

    /// Returns the last 24 clock hours with at least one request, including the present one, oldest first.
    pub(crate) fn last_day(&self, now_ms: i64) -> Vec<IntervalTally> {
        self.hours.tallies(now_ms, DAY)
    }

    /// Returns the start of the first of the last 24 clock hours.
    pub(crate) fn day_start_ms(now_ms: i64) -> i64 {
        // The present hour counts, so 23 whole hours precede it.
        (now_ms.div_euclid(HOUR_MS) - DAY + 1) * HOUR_MS
    }

    /// Sums up the last 24 clock hours.
    #[cfg(test)]
    pub(crate) fn day(&self, now_ms: i64) -> IntervalTally {
        let mut day = IntervalTally {
            start_ms: Self::day_start_ms(now_ms),
            ..IntervalTally::default()
        };
        for hour in self.last_day(now_ms) {
            day.accepted += hour.accepted;
            day.duplicate += hour.duplicate;
            day.challenge += hour.challenge;
            day.filtered += hour.filtered;
            join(&mut day.refused, hour.refused);
            join(&mut day.would_refuse, hour.would_refuse);
        }
        day
    }

    /// Returns the secrets that matched at least once.
    pub(crate) fn secrets(&self) -> Vec<SecretMatchCount> {
        let slots = self.secrets.load();
        let used = slots.iter().map(|slot| SecretMatchCount {
            label: Arc::clone(&slot.label),
            matches: slot.counts.matches.load(Ordering::Relaxed),
            last_ms: slot.counts.last_ms.load(Ordering::Relaxed),
        });
        used.filter(|used| used.matches > 0).collect()
    }

    /// Replaces the secrets of the route. Counts of a secret that was there before go on, also under a new label.
    pub(crate) fn set_secrets(&self, names: Vec<SecretName>) {
        let known = self.secrets.load();
        let slots = names.into_iter().map(|name| {
            let before = name.before;
            // A label of the previous config identifies the secret; the comparison of values was made by the caller.
            let slot = known
                .iter()
                .find(|slot| before.as_ref() == Some(&slot.label));
            SecretSlot {
                label: name.label,
                counts: slot.map_or_else(Arc::default, |slot| Arc::clone(&slot.counts)),
            }
        });
        self.secrets.store(Arc::new(slots.collect()));
    }

    fn matched(&self, label: &str, at_ms: i64) {
        let slots = self.secrets.load();
        if let Some(slot) = slots.iter().find(|slot| &*slot.label == label) {
            slot.counts.matches.fetch_add(1, Ordering::Relaxed);
            // Requests may end in another order than they began.
            slot.counts.last_ms.fetch_max(at_ms, Ordering::Relaxed);
        }
    }
}

impl IntervalTally {
    /// Returns the number of all requests in the period.
    pub(crate) fn total(&self) -> u64 {
        let plain = self.accepted + self.duplicate + self.challenge + self.filtered;
        let with_reason = self.refused.iter().chain(&self.would_refuse);
        plain + with_reason.map(|(_, count)| count).sum::<u64>()
    }
}

impl IntervalRing {
    fn new(length_ms: i64, slots: usize) -> Self {
        let slot = |_| IntervalSlot {
            number: AtomicI64::new(-1),
            counts: std::array::from_fn(|_| AtomicU32::new(0)),
        };
        Self {
            length_ms,
            slots: (0..slots).map(slot).collect(),
            turning: Mutex::default(),
        }
    }

    fn add(&self, at_ms: i64, place: usize) {
        // Euclidean division keeps numbers in order for times before 1970 too, if the clock is wrong.
        let number = at_ms.div_euclid(self.length_ms);
        let index = number.rem_euclid(self.slots.len() as i64);
        let Some(slot) = usize::try_from(index).ok().and_then(|i| self.slots.get(i)) else {
            return;
        };
        // The slot still holds a period of an earlier round of the ring.
        if slot.number.load(Ordering::Acquire) != number {
            self.turn(slot, number);
        }
        if let Some(count) = slot.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Empties a slot for a new period. Of two threads, the second finds the work done.
    fn turn(&self, slot: &IntervalSlot, number: i64) {
        let _turning = self.turning.lock();
        if slot.number.load(Ordering::Relaxed) != number {
            // The counts are cleared before the number is published, so that no reader sees old counts under it.
            for count in &slot.counts {
                count.store(0, Ordering::Relaxed);
            }
            slot.number.store(number, Ordering::Release);
        }
    }

    fn tallies(&self, now_ms: i64, length: i64) -> Vec<IntervalTally> {
        let last = now_ms.div_euclid(self.length_ms);
        // Slots outside the window are either unused or of an earlier round; the ring does not clear them by time.
        let tallies = self.slots.iter().filter_map(|slot| {
            let number = slot.number.load(Ordering::Acquire);
            let is_wanted = number > last - length && number <= last;
            is_wanted.then(|| slot.tally(number * self.length_ms))
        });
        let mut tallies: Vec<_> = tallies.collect();
        tallies.sort_by_key(|tally| tally.start_ms);
        tallies
    }
}

impl IntervalSlot {
    fn tally(&self, start_ms: i64) -> IntervalTally {
        let mut counts = self
            .counts
            .iter()
            .map(|count| u64::from(count.load(Ordering::Relaxed)));
        // Reads in the order of the layout of `IntervalSlot::counts`; see `place`.
        let mut plain = || counts.next().unwrap_or(0);
        let (accepted, duplicate, challenge, filtered) = (plain(), plain(), plain(), plain());
        let mut by_reason = || {
            let each = RejectReason::ALL.iter();
            each.map(|reason| (*reason, counts.next().unwrap_or(0)))
                .filter(|(_, count)| *count > 0)
                .collect()
        };
        IntervalTally {
            start_ms,
            accepted,
            duplicate,
            challenge,
            filtered,
            refused: by_reason(),
            would_refuse: by_reason(),
        }
    }
}

/// Returns the index of a decision in `IntervalSlot::counts`.
fn counter_index(decision: &GateDecision) -> usize {
    match decision {
        GateDecision::Accepted => 0,
        GateDecision::Duplicate => 1,
        GateDecision::Challenge => 2,
        GateDecision::Filtered(_) => 3,
        GateDecision::Refused(reject) => PLAIN + reject.reason().index(),
        GateDecision::Monitored(reject) => PLAIN + REASONS + reject.reason().index(),
    }
}

#[cfg(test)]
fn join(sum: &mut Vec<(RejectReason, u64)>, more: Vec<(RejectReason, u64)>) {
    for (reason, count) in more {
        match sum.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, known)) => *known += count,
            None => sum.push((reason, count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::gate::reject::Reject;
    use crate::model::clock::ClockReading;
    use crate::model::ids::RequestId;
    use crate::model::source::RequestSource;

    const START: i64 = 1_800_000_000_000;

    fn verdict(at_ms: i64, decision: GateDecision, secret: Option<&str>) -> Verdict {
        let peer: SocketAddr = "192.0.2.1:4711".parse().unwrap();
        let source = RequestSource {
            ip: peer.ip(),
            peer,
            is_tls: true,
        };
        let id = RequestId::new(at_ms, [1; 10]);
        let mut verdict = Verdict::new(id, source, ClockReading::at_unix_seconds(0));
        verdict.decision = decision;
        verdict.secret = secret.map(Arc::from);
        verdict
    }

    /// Fails if counts fall into the wrong period, or if a past period is reported as the present one.
    #[test]
    fn counts_are_kept_by_minute_and_hour_and_forgotten_in_time() {
        let history = RouteHistory::default();
        history.add(&verdict(START, GateDecision::Accepted, None));
        let bad = GateDecision::Refused(Reject::BadSignature);
        history.add(&verdict(START + MINUTE_MS, bad, None));
        let minutes = history.minutes(START + MINUTE_MS);
        assert_eq!(minutes.len(), 2);
        assert_eq!((minutes[0].start_ms, minutes[0].accepted), (START, 1));
        assert_eq!(minutes[1].refused, [(RejectReason::BadSignature, 1)]);
        assert_eq!(history.minutes(START + HOUR_MS).len(), 1);
        // The ring comes round to the slot of the first minute.
        history.add(&verdict(START + HOUR_MS, GateDecision::Duplicate, None));
        let minutes = history.minutes(START + HOUR_MS);
        assert_eq!((minutes[1].accepted, minutes[1].duplicate), (0, 1));
        assert_eq!(history.hours(START + HOUR_MS).len(), 2);
        assert_eq!(history.day(START + HOUR_MS).total(), 3);
        assert_eq!(history.day(START + DAY * HOUR_MS).total(), 1);
        assert!(history.hours(START + 50 * HOUR_MS).is_empty());
    }

    /// Fails if requests that monitor mode forwarded are reported as rejected, or the reverse.
    #[test]
    fn what_would_have_been_refused_is_a_count_of_its_own() {
        let history = RouteHistory::default();
        for hour in 0..3 {
            let monitored = GateDecision::Monitored(Reject::BadSignature);
            history.add(&verdict(START + hour * HOUR_MS, monitored, None));
        }
        let first = Reject::NotStored {
            fault: "full".into(),
        };
        history.add(&verdict(START, GateDecision::Refused(first), None));
        let day = history.day(START + 2 * HOUR_MS);
        assert_eq!(day.would_refuse, [(RejectReason::BadSignature, 3)]);
        assert_eq!(day.refused, [(RejectReason::NotStored, 1)]);
        assert_eq!(day.total(), 4);
    }

    fn named(names: &[(&str, Option<&str>)]) -> Vec<SecretName> {
        let each = names.iter().map(|(label, before)| SecretName {
            label: Arc::from(*label),
            before: before.map(Arc::from),
        });
        each.collect()
    }

    /// Fails if counts stay with the position after the first of two secrets was removed, or if a removed secret is
    /// kept.
    #[test]
    fn counts_follow_a_secret_and_end_with_it() {
        let history = RouteHistory::default();
        history.set_secrets(named(&[("1", None), ("2", None)]));
        history.add(&verdict(START + 5, GateDecision::Accepted, Some("2")));
        history.add(&verdict(START, GateDecision::Duplicate, Some("2")));
        history.add(&verdict(START, GateDecision::Accepted, Some("1")));
        history.add(&verdict(START, GateDecision::Accepted, Some("unknown")));
        assert_eq!(history.secrets().len(), 2);
        history.set_secrets(named(&[("1", Some("2")), ("3", None)]));
        let secrets = history.secrets();
        assert_eq!(secrets.len(), 1);
        assert_eq!(&*secrets[0].label, "1");
        assert_eq!((secrets[0].matches, secrets[0].last_ms), (2, START + 5));
        // A new secret with the label of a removed one starts at zero.
        history.set_secrets(named(&[("1", None)]));
        assert_eq!(history.secrets(), []);
    }

    /// Fails if the start of a new period loses or doubles what several threads count.
    #[test]
    fn threads_meet_at_the_turn_of_a_minute() {
        let history = RouteHistory::default();
        history.set_secrets(named(&[("1", None)]));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for minute in 0..50 {
                        for _ in 0..20 {
                            let at_ms = START + minute * MINUTE_MS;
                            history.add(&verdict(at_ms, GateDecision::Accepted, Some("1")));
                        }
                    }
                });
            }
        });
        let minutes = history.minutes(START + 49 * MINUTE_MS);
        assert_eq!(minutes.len(), 50);
        assert!(minutes.iter().all(|minute| minute.accepted == 80));
        assert_eq!(history.secrets()[0].matches, 4000);
    }
}
