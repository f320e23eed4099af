//! What came on a route lately: counts by minute for the last hour and by hour for the last two days, and which secrets
//! matched.
//!
//! `RouteCounters` holds one per route, so that it outlives reloads and its memory is bounded by the routes of the config:
//! about 31 KiB each, freed when a reload has removed the route. A request pays a few loads and two additions, four with a
//! secret, on atomics of its own route. There is no lock but at the turn of a minute or an hour, and no allocation.
//!
//! Slots are found by the time at which the request began. One that is counted in the moment in which its slot is turned may
//! be lost, or counted in the new one: that needs a request of an hour ago, or a clock that was set.
//!
//! Counts of secrets follow the secret, not its position: a reload says which old name a new one had. A request that began
//! before the reload may be counted under the name that its secret had then.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::gate::reject::Reason;
use crate::gate::verdict::{Decision, Verdict};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Minutes that are kept.
const MINUTES: usize = 60;
/// Hours that are kept.
const HOURS: usize = 48;
/// Hours of a day.
const DAY: i64 = 24;

/// Decisions without a reason.
const PLAIN: usize = 4;
const REASONS: usize = Reason::ALL.len();

/// What came in a stretch of time.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// When it began, in milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// Events that passed every check.
    pub accepted: u64,
    /// Known already, and answered so.
    pub duplicate: u64,
    /// Checks of a URL.
    pub challenge: u64,
    /// Kept from the app by the route's filter.
    pub filtered: u64,
    /// Refused, by reason; only those that occurred.
    pub refused: Vec<(Reason, u64)>,
    /// Monitor mode: let through, though they fail a check. Only those that occurred.
    pub would_refuse: Vec<(Reason, u64)>,
}

/// How often a secret matched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecretUse {
    /// Its name, or its position.
    pub label: Arc<str>,
    /// Matches since the process started.
    pub matches: u64,
    /// The last one, in milliseconds since the Unix epoch.
    pub last_ms: i64,
}

/// The counts of one route.
#[derive(Debug)]
pub struct History {
    minutes: Row,
    hours: Row,
    secrets: ArcSwap<Vec<SecretSlot>>,
}

/// Stretches of one length, in a ring.
#[derive(Debug)]
struct Row {
    length_ms: i64,
    slots: Box<[Slot]>,
    turning: Mutex<()>,
}

/// One stretch of time.
#[derive(Debug)]
struct Slot {
    /// Its number since the epoch.
    number: AtomicI64,
    /// By decision; then refused by reason, then let through by reason.
    counts: [AtomicU32; PLAIN + 2 * REASONS],
}

/// A secret of the route.
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

/// A secret of a config that begins.
#[derive(Debug)]
pub struct SecretName {
    /// What verdicts call it.
    pub label: Arc<str>,
    /// What the config before called it; none where it is new.
    pub before: Option<Arc<str>>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            minutes: Row::new(MINUTE_MS, MINUTES),
            hours: Row::new(HOUR_MS, HOURS),
            secrets: ArcSwap::default(),
        }
    }
}

impl History {
    /// Counts one request.
    pub fn add(&self, verdict: &Verdict) {
        let at_ms = verdict.request_id.unix_ms();
        let place = place(&verdict.decision);
        self.minutes.add(at_ms, place);
        self.hours.add(at_ms, place);
        if let Some(label) = &verdict.secret {
            self.matched(label, at_ms);
        }
    }

    /// The minutes of the last hour in which something came, the oldest first.
    #[must_use]
    pub fn minutes(&self, now_ms: i64) -> Vec<Tally> {
        self.minutes.tallies(now_ms, MINUTES as i64)
    }

    /// The hours of the last two days in which something came, the oldest first.
    #[must_use]
    pub fn hours(&self, now_ms: i64) -> Vec<Tally> {
        self.hours.tallies(now_ms, HOURS as i64)
    }

    /// The last 24 hours of the clock together, the present one included.
    #[must_use]
    pub fn day(&self, now_ms: i64) -> Tally {
        let mut day = Tally {
            start_ms: (now_ms.div_euclid(HOUR_MS) - DAY + 1) * HOUR_MS,
            ..Tally::default()
        };
        for hour in self.hours.tallies(now_ms, DAY) {
            day.accepted += hour.accepted;
            day.duplicate += hour.duplicate;
            day.challenge += hour.challenge;
            day.filtered += hour.filtered;
            join(&mut day.refused, hour.refused);
            join(&mut day.would_refuse, hour.would_refuse);
        }
        day
    }

    /// The secrets that matched.
    #[must_use]
    pub fn secrets(&self) -> Vec<SecretUse> {
        let slots = self.secrets.load();
        let used = slots.iter().map(|slot| SecretUse {
            label: Arc::clone(&slot.label),
            matches: slot.counts.matches.load(Ordering::Relaxed),
            last_ms: slot.counts.last_ms.load(Ordering::Relaxed),
        });
        used.filter(|used| used.matches > 0).collect()
    }

    /// Counts these secrets from now on. The counts of one that was there before go on, also under another name.
    pub fn set_secrets(&self, names: Vec<SecretName>) {
        let known = self.secrets.load();
        let slots = names.into_iter().map(|name| {
            let before = name.before;
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
            slot.counts.last_ms.fetch_max(at_ms, Ordering::Relaxed);
        }
    }
}

impl Tally {
    /// All that came.
    #[must_use]
    pub fn total(&self) -> u64 {
        let plain = self.accepted + self.duplicate + self.challenge + self.filtered;
        let with_reason = self.refused.iter().chain(&self.would_refuse);
        plain + with_reason.map(|(_, count)| count).sum::<u64>()
    }
}

impl Row {
    fn new(length_ms: i64, slots: usize) -> Self {
        let slot = |_| Slot {
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
        let number = at_ms.div_euclid(self.length_ms);
        let index = number.rem_euclid(self.slots.len() as i64);
        let Some(slot) = usize::try_from(index).ok().and_then(|i| self.slots.get(i)) else {
            return;
        };
        if slot.number.load(Ordering::Acquire) != number {
            self.turn(slot, number);
        }
        if let Some(count) = slot.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Empties a slot for another stretch; whoever comes second finds it done.
    fn turn(&self, slot: &Slot, number: i64) {
        let turning = self.turning.lock();
        let _turning = turning.unwrap_or_else(PoisonError::into_inner);
        if slot.number.load(Ordering::Relaxed) != number {
            for count in &slot.counts {
                count.store(0, Ordering::Relaxed);
            }
            slot.number.store(number, Ordering::Release);
        }
    }

    fn tallies(&self, now_ms: i64, length: i64) -> Vec<Tally> {
        let last = now_ms.div_euclid(self.length_ms);
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

impl Slot {
    fn tally(&self, start_ms: i64) -> Tally {
        let mut counts = self
            .counts
            .iter()
            .map(|count| u64::from(count.load(Ordering::Relaxed)));
        let mut plain = || counts.next().unwrap_or(0);
        let (accepted, duplicate, challenge, filtered) = (plain(), plain(), plain(), plain());
        let mut by_reason = || {
            let each = Reason::ALL.map(|reason| (reason, counts.next().unwrap_or(0)));
            each.into_iter().filter(|(_, count)| *count > 0).collect()
        };
        Tally {
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

/// Where a decision is counted.
fn place(decision: &Decision) -> usize {
    match decision {
        Decision::Accepted => 0,
        Decision::Duplicate => 1,
        Decision::Challenge => 2,
        Decision::Filtered(_) => 3,
        Decision::Refused(reject) => PLAIN + reject.reason().index(),
        Decision::Monitored(reject) => PLAIN + REASONS + reject.reason().index(),
    }
}

fn join(sum: &mut Vec<(Reason, u64)>, more: Vec<(Reason, u64)>) {
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
    use crate::model::clock::Now;
    use crate::model::ids::RequestId;
    use crate::model::source::Source;

    const START: i64 = 1_800_000_000_000;

    fn verdict(at_ms: i64, decision: Decision, secret: Option<&str>) -> Verdict {
        let peer: SocketAddr = "192.0.2.1:4711".parse().unwrap();
        let source = Source {
            ip: peer.ip(),
            peer,
            is_tls: true,
        };
        let id = RequestId::new(at_ms, [1; 10]);
        let mut verdict = Verdict::new(id, source, Now::at_unix_seconds(0));
        verdict.decision = decision;
        verdict.secret = secret.map(Arc::from);
        verdict
    }

    /// Fails when counts fall into the wrong stretch, or one that has passed is told as if it were of now.
    #[test]
    fn counts_are_kept_by_minute_and_hour_and_forgotten_in_time() {
        let history = History::default();
        history.add(&verdict(START, Decision::Accepted, None));
        let bad = Decision::Refused(Reject::BadSignature);
        history.add(&verdict(START + MINUTE_MS, bad, None));
        let minutes = history.minutes(START + MINUTE_MS);
        assert_eq!(minutes.len(), 2);
        assert_eq!((minutes[0].start_ms, minutes[0].accepted), (START, 1));
        assert_eq!(minutes[1].refused, [(Reason::BadSignature, 1)]);
        assert_eq!(history.minutes(START + HOUR_MS).len(), 1);
        // The ring comes round to the slot of the first minute.
        history.add(&verdict(START + HOUR_MS, Decision::Duplicate, None));
        let minutes = history.minutes(START + HOUR_MS);
        assert_eq!((minutes[1].accepted, minutes[1].duplicate), (0, 1));
        assert_eq!(history.hours(START + HOUR_MS).len(), 2);
        assert_eq!(history.day(START + HOUR_MS).total(), 3);
        assert_eq!(history.day(START + DAY * HOUR_MS).total(), 1);
        assert!(history.hours(START + 50 * HOUR_MS).is_empty());
    }

    /// Fails when what monitor mode let through is told as refused, or the other way round.
    #[test]
    fn what_would_have_been_refused_is_a_count_of_its_own() {
        let history = History::default();
        for hour in 0..3 {
            let monitored = Decision::Monitored(Reject::BadSignature);
            history.add(&verdict(START + hour * HOUR_MS, monitored, None));
        }
        let first = Reject::NotStored {
            fault: "full".into(),
        };
        history.add(&verdict(START, Decision::Refused(first), None));
        let day = history.day(START + 2 * HOUR_MS);
        assert_eq!(day.would_refuse, [(Reason::BadSignature, 3)]);
        assert_eq!(day.refused, [(Reason::NotStored, 1)]);
        assert_eq!(day.total(), 4);
    }

    fn named(names: &[(&str, Option<&str>)]) -> Vec<SecretName> {
        let each = names.iter().map(|(label, before)| SecretName {
            label: Arc::from(*label),
            before: before.map(Arc::from),
        });
        each.collect()
    }

    /// Fails when counts stay with the position after the first of two secrets was removed, or what is gone is kept.
    #[test]
    fn counts_follow_a_secret_and_end_with_it() {
        let history = History::default();
        history.set_secrets(named(&[("1", None), ("2", None)]));
        history.add(&verdict(START + 5, Decision::Accepted, Some("2")));
        history.add(&verdict(START, Decision::Duplicate, Some("2")));
        history.add(&verdict(START, Decision::Accepted, Some("1")));
        history.add(&verdict(START, Decision::Accepted, Some("nobody's")));
        assert_eq!(history.secrets().len(), 2);
        history.set_secrets(named(&[("1", Some("2")), ("3", None)]));
        let secrets = history.secrets();
        assert_eq!(secrets.len(), 1);
        assert_eq!(&*secrets[0].label, "1");
        assert_eq!((secrets[0].matches, secrets[0].last_ms), (2, START + 5));
        // Another secret under the same name is another one.
        history.set_secrets(named(&[("1", None)]));
        assert_eq!(history.secrets(), []);
    }

    /// Fails when the turn of a stretch loses or doubles what several threads count.
    #[test]
    fn threads_meet_at_the_turn_of_a_minute() {
        let history = History::default();
        history.set_secrets(named(&[("1", None)]));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for minute in 0..50 {
                        for _ in 0..20 {
                            let at_ms = START + minute * MINUTE_MS;
                            history.add(&verdict(at_ms, Decision::Accepted, Some("1")));
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
