//! Simulated traffic of four months: no pattern may raise an alarm, and an outage must.

use super::*;

const HOUR: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR;
const WEEK_MS: i64 = 7 * DAY_MS;
/// A Monday, 00:00 UTC.
const START: i64 = 1_767_571_200_000;
const FACTOR: f64 = 3.0;

/// Random numbers that are the same in each run (xorshift64*).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        value as f64 / (1_u64 << 53) as f64
    }

    /// Returns a random pause with this mean, of a Poisson process.
    fn pause(&mut self, mean_ms: f64) -> i64 {
        (-(1.0 - self.next()).ln() * mean_ms) as i64 + 1
    }
}

/// Returns the times of events within some weeks.
type Pattern = fn(&mut Chance, i64) -> Vec<i64>;

fn poisson(
    chance: &mut Chance,
    weeks: i64,
    mean_ms: f64,
    is_open: impl Fn(i64) -> bool,
) -> Vec<i64> {
    let mut times = Vec::new();
    let mut at = START;
    while at < START + weeks * WEEK_MS {
        at += chance.pause(mean_ms);
        if is_open(at) {
            times.push(at);
        }
    }
    times
}

fn steady(chance: &mut Chance, weeks: i64) -> Vec<i64> {
    poisson(chance, weeks, 60_000.0, |_| true)
}

fn an_event_an_hour(chance: &mut Chance, weeks: i64) -> Vec<i64> {
    poisson(chance, weeks, HOUR as f64, |_| true)
}

fn three_events_a_day(chance: &mut Chance, weeks: i64) -> Vec<i64> {
    poisson(chance, weeks, DAY_MS as f64 / 3.0, |_| true)
}

/// Monday to Friday, 8 to 18 o'clock.
fn is_office(at: i64) -> bool {
    let since = (at - START).rem_euclid(WEEK_MS);
    let hour = since % DAY_MS / HOUR;
    since / DAY_MS < 5 && (8..18).contains(&hour)
}

fn busy_office(chance: &mut Chance, weeks: i64) -> Vec<i64> {
    poisson(chance, weeks, 120_000.0, is_office)
}

fn calm_office(chance: &mut Chance, weeks: i64) -> Vec<i64> {
    poisson(chance, weeks, 40.0 * 60_000.0, is_office)
}

/// The office, whose clocks are an hour earlier in the second half of the time.
fn office_with_summer_time(chance: &mut Chance, weeks: i64) -> Vec<i64> {
    let change = START + weeks / 2 * WEEK_MS;
    poisson(chance, weeks, 120_000.0, |at| {
        is_office(if at < change { at } else { at - HOUR })
    })
}

/// Bursts of a hundred events in ten minutes, about five hours apart, at random.
fn bursty(chance: &mut Chance, weeks: i64) -> Vec<i64> {
    let starts = poisson(chance, weeks, 5.0 * HOUR as f64, |_| true);
    let each = starts
        .into_iter()
        .flat_map(|start| (0..100).map(move |index| start + index * 6000));
    each.collect()
}

/// A batch on each Monday at nine, up to twenty minutes late.
fn weekly(chance: &mut Chance, weeks: i64) -> Vec<i64> {
    let mut times = Vec::new();
    for week in 0..weeks {
        let start = START + week * WEEK_MS + 9 * HOUR + (chance.next() * 20.0) as i64 * 60_000;
        times.extend((0..200).map(|index| start + index * 3000));
    }
    times
}

/// A batch each night at two, up to ten minutes late.
fn nightly(chance: &mut Chance, weeks: i64) -> Vec<i64> {
    let mut times = Vec::new();
    for day in 0..weeks * 7 {
        times.push(START + day * DAY_MS + 2 * HOUR + (chance.next() * 10.0) as i64 * 60_000);
    }
    times
}

struct Outcome {
    false_alarms: usize,
    /// Time from the last event to the alarm, in hours.
    delay_hours: Option<i64>,
}

/// Plays events, and then a silence. The gate looks every quarter hour.
fn play(events: &[i64], silent_weeks: i64) -> Outcome {
    let mut rhythm = RouteRhythm::new(events[0]);
    let mut watched = SlotRing::default();
    let (mut false_alarms, mut was_quiet) = (0, false);
    let last = *events.last().unwrap();
    let mut next = events.iter().copied().peekable();
    let mut now = START;
    while now < last + silent_weeks * WEEK_MS {
        now += SLOT_MS;
        watched.mark(slot_of(now));
        while let Some(at) = next.next_if(|at| *at <= now) {
            rhythm.add(at);
        }
        if rhythm.last_ms() > now {
            continue;
        }
        let is_quiet = rhythm.judge(&watched, now, FACTOR) == QuietVerdict::Quiet;
        if is_quiet && next.peek().is_none() && now > last {
            return Outcome {
                false_alarms,
                delay_hours: Some((now - last) / HOUR),
            };
        }
        false_alarms += usize::from(is_quiet && !was_quiet);
        was_quiet = is_quiet;
    }
    Outcome {
        false_alarms,
        delay_hours: None,
    }
}

/// Fails if a usual night, weekend, pause between bursts or change of clocks raises an alarm, or if an outage is not
/// noticed in the time that the guide names.
#[test]
fn no_usual_pause_is_an_alarm_and_every_outage_is() {
    let patterns: [(&str, Pattern, i64); 9] = [
        ("steady", steady, 2),
        ("an event an hour", an_event_an_hour, 36),
        ("three events a day", three_events_a_day, 6 * 24),
        ("busy office", busy_office, 4 * 24),
        ("calm office", calm_office, 4 * 24),
        ("office with summer time", office_with_summer_time, 4 * 24),
        ("bursty", bursty, 5 * 24),
        ("weekly", weekly, 22 * 24),
        ("nightly", nightly, 4 * 24),
    ];
    let mut wrong = Vec::new();
    for (name, pattern, limit) in patterns {
        for seed in 1..=2 {
            let mut chance = Chance(0x9e37_79b9_7f4a_7c15 ^ seed);
            let events = pattern(&mut chance, 16);
            let outcome = play(&events, 12);
            println!(
                "{name}: {} false, noticed after {:?} h",
                outcome.false_alarms, outcome.delay_hours
            );
            let is_noticed = outcome.delay_hours.is_some_and(|hours| hours <= limit);
            if outcome.false_alarms > 0 || !is_noticed {
                wrong.push(format!(
                    "{name}, seed {seed}: {} false alarms, noticed after {:?} h",
                    outcome.false_alarms, outcome.delay_hours
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Fails if an alarm is raised before enough is known, or if a stopped gate counts as a silent sender.
#[test]
fn nothing_is_judged_before_it_is_known_and_a_stopped_gate_hears_nothing() {
    let mut chance = Chance(7);
    let events = steady(&mut chance, 2);
    let mut rhythm = RouteRhythm::new(events[0]);
    for at in &events {
        rhythm.add(*at);
    }
    let last = rhythm.last_ms();
    let later = last + 5 * DAY_MS;
    let watched = watched_between(START, later);
    assert_eq!(
        rhythm.judge(&watched, later, FACTOR),
        QuietVerdict::Learning
    );
    let events = steady(&mut chance, 4);
    for at in &events {
        rhythm.add(*at);
    }
    let last = rhythm.last_ms();
    let later = last + 5 * DAY_MS;
    let watched = watched_between(START, later);
    let mut stopped = rhythm.clone();
    assert_eq!(rhythm.judge(&watched, later, FACTOR), QuietVerdict::Quiet);
    // The gate was stopped from the last event until just now.
    let mut watched = watched_between(START, last);
    watched.mark(slot_of(later));
    assert_eq!(stopped.judge(&watched, later, FACTOR), QuietVerdict::Usual);
    let text = serde_json::to_string(&rhythm).unwrap();
    assert!(text.len() < 1000, "{}", text.len());
    let mut read: RouteRhythm = serde_json::from_str(&text).unwrap();
    assert_eq!(
        read.judge(&watched_between(START, later), later, FACTOR),
        QuietVerdict::Quiet
    );
}
