//! `[watch]`: what counts as a problem, for alerts and for the list of what needs attention.

use std::time::Duration;

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value;

use crate::config::model::{QuietRule, WatchSection};

const HOUR: Duration = Duration::from_secs(3600);

/// Shortest interval: each look queries the store.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Longest interval. A route's quarters of an hour are learned at each look.
const MAX_INTERVAL: Duration = Duration::from_secs(300);

impl Default for WatchSection {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(15),
            dead_letters: 1,
            breaker_open: Some(HOUR / 4),
            backlog_age: Some(HOUR),
            certificate_expiry: HOUR * 24 * 14,
            secret_expiry: HOUR * 24 * 7,
            ranges_age: Some(HOUR * 24 * 7),
            store_full: Some(0.85),
            refusals: Some(50),
            quiet: Some(3.0),
        }
    }
}

/// Reads the section; without it every default applies.
pub(super) fn read(table: Option<TomlTable<'_>>) -> WatchSection {
    let usual = WatchSection::default();
    let Some(mut table) = table else {
        return usual;
    };
    let interval = table.read(&INTERVAL, interval);
    let dead_letters = table.read(&DEAD_LETTERS, value::count);
    let mut age = |key: &KeyDefinition, default| {
        let read = table.read(key, |value| value::false_or(value, value::duration));
        read.unwrap_or(default)
    };
    let breaker_open = age(&BREAKER_OPEN, usual.breaker_open);
    let backlog_age = age(&BACKLOG_AGE, usual.backlog_age);
    let ranges_age = age(&RANGES_AGE, usual.ranges_age);
    let certificate_expiry = table.read(&CERTIFICATE_EXPIRY, value::duration);
    let secret_expiry = table.read(&SECRET_EXPIRY, value::duration);
    let mut number = |key: &KeyDefinition, least, most, default| {
        let parse = |value: &TomlValue<'_>| value::number(value, least, most);
        let read = table.read(key, |value| value::false_or(value, parse));
        read.unwrap_or(default)
    };
    let store_full = number(&STORE_FULL, 0.01, 1.0, usual.store_full);
    let quiet = number(&QUIET, 1.0, 100.0, usual.quiet);
    let refusals = table.read(&REFUSALS, |value| value::false_or(value, value::count));
    table.deny_unknown();
    WatchSection {
        interval: interval.unwrap_or(usual.interval),
        dead_letters: dead_letters.unwrap_or(usual.dead_letters),
        breaker_open,
        backlog_age,
        certificate_expiry: certificate_expiry.unwrap_or(usual.certificate_expiry),
        secret_expiry: secret_expiry.unwrap_or(usual.secret_expiry),
        ranges_age,
        store_full,
        refusals: refusals.unwrap_or(usual.refusals),
        quiet,
    }
}

fn interval(value: &TomlValue<'_>) -> Result<Duration, ValueFault> {
    let interval = value::duration(value)?;
    if !(MIN_INTERVAL..=MAX_INTERVAL).contains(&interval) {
        return Err(ValueFault::new(
            "this interval is not between 100 ms and 5 minutes",
            INTERVAL.example,
        ));
    }
    Ok(interval)
}

/// Reads `quiet_after` of a route.
pub(super) fn read_quiet(table: &mut TomlTable<'_>) -> QuietRule {
    let read = table.read(&QUIET_AFTER, |value| {
        value::false_or(value, value::duration)
    });
    match read {
        None => QuietRule::Learned,
        Some(None) => QuietRule::Off,
        Some(Some(after)) => QuietRule::After(after),
    }
}

/// Keys of the `[watch]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "watch",
    doc: "What counts as a problem: the thresholds of alerts (`[alerts.NAME]`) and of the list of what needs attention.",
    keys: &[
        &INTERVAL,
        &QUIET,
        &REFUSALS,
        &DEAD_LETTERS,
        &BREAKER_OPEN,
        &BACKLOG_AGE,
        &CERTIFICATE_EXPIRY,
        &SECRET_EXPIRY,
        &RANGES_AGE,
        &STORE_FULL,
    ],
    required: &[],
    one_of: &[],
};

pub(super) static INTERVAL: KeyDefinition = KeyDefinition {
    name: "interval",
    kind: ValueKind::Duration,
    default: Some("\"15s\""),
    example: "\"30s\"",
    doc: "Time between two looks for problems, from 100 ms to 5 minutes. The other times of alerts are multiples of it: problems that appear within 2 intervals share a message, and a problem is over when it was absent for 20 intervals.",
};

// Three times the longest gap of four weeks: Poisson traffic of an event an hour exceeds it once in many years.
pub(super) static QUIET: KeyDefinition = KeyDefinition {
    name: "quiet",
    kind: ValueKind::FalseOr(&ValueKind::Number),
    default: Some("3.0"),
    example: "5.0",
    doc: "A route is quiet after this many times its usual gap between genuine events. The gap is learned over four weeks, and only times count at which the route usually has events: see `docs/guide/alerts.md`. `false` turns it off. `quiet_after` of a route sets a fixed time.",
};

pub(super) static REFUSALS: KeyDefinition = KeyDefinition {
    name: "refusals",
    kind: ValueKind::FalseOr(&ValueKind::Count),
    default: Some("50"),
    example: "500",
    doc: "Rejected requests of a route within an hour that are a problem if they are also three times as many as usual. `false` turns it off.",
};

pub(super) static DEAD_LETTERS: KeyDefinition = KeyDefinition {
    name: "dead_letters",
    kind: ValueKind::Count,
    default: Some("1"),
    example: "10",
    doc: "Number of dead letters of a destination that is a problem.",
};

pub(super) static BREAKER_OPEN: KeyDefinition = KeyDefinition {
    name: "breaker_open",
    kind: ValueKind::FalseOr(&ValueKind::Duration),
    default: Some("\"15m\""),
    example: "\"1h\"",
    doc: "How long the circuit breaker of a destination must be open before it is an alert. `false` turns it off.",
};

// An hour: shorter failures are healed by the first retries of the default schedule.
pub(super) static BACKLOG_AGE: KeyDefinition = KeyDefinition {
    name: "backlog_age",
    kind: ValueKind::FalseOr(&ValueKind::Duration),
    default: Some("\"1h\""),
    example: "\"10m\"",
    doc: "Age of the oldest pending delivery of a destination that is a problem. `false` turns it off.",
};

pub(super) static CERTIFICATE_EXPIRY: KeyDefinition = KeyDefinition {
    name: "certificate_expiry",
    kind: ValueKind::Duration,
    default: Some("\"14d\""),
    example: "\"7d\"",
    doc: "Time before its expiry at which a certificate is a problem.",
};

pub(super) static SECRET_EXPIRY: KeyDefinition = KeyDefinition {
    name: "secret_expiry",
    kind: ValueKind::Duration,
    default: Some("\"7d\""),
    example: "\"14d\"",
    doc: "Time before its expiry (`until`) at which a secret is a problem.",
};

pub(super) static RANGES_AGE: KeyDefinition = KeyDefinition {
    name: "ranges_age",
    kind: ValueKind::FalseOr(&ValueKind::Duration),
    default: Some("\"7d\""),
    example: "\"30d\"",
    doc: "With `refresh_ranges`: age of the published address ranges of a provider that is a problem. `false` turns it off.",
};

pub(super) static STORE_FULL: KeyDefinition = KeyDefinition {
    name: "store_full",
    kind: ValueKind::FalseOr(&ValueKind::Number),
    default: Some("0.85"),
    example: "0.7",
    doc: "Used share of `max_size` or `max_events` that is a problem. For `min_free`, the free space that is left above it counts the same way. `false` turns it off.",
};

pub(super) static QUIET_AFTER: KeyDefinition = KeyDefinition {
    name: "quiet_after",
    kind: ValueKind::FalseOr(&ValueKind::Duration),
    default: Some("learned from the traffic of the route"),
    example: "\"2h\"",
    doc: "Time without a genuine event after which the route counts as quiet, which alerts report: many senders disable an endpoint without a word. `false` for routes that may be quiet for any time.",
};
