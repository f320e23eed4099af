//! `retry` of a destination: when a failed attempt is retried, and when to give up.

use std::time::Duration;

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value;

use crate::config::model::{RetryPauses, RetryPolicy};

const SECOND: Duration = Duration::from_secs(1);

/// The schedule of Standard Webhooks: 0, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h
/// (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
const STANDARD: [u64; 9] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// Schedule for apps in the same network that are rarely away for long: up to an hour.
const SHORT: [u64; 6] = [1, 5, 30, 120, 600, 3000];

/// Limit of pauses in a list; the last one is used for all later attempts.
const MAX_PAUSES: usize = 100;

/// 0 to 10 percent, so that deliveries that failed together are not retried together.
const DEFAULT_JITTER: f64 = 0.1;

/// Reads `retry`; returns the default if it is absent or wrong.
pub(super) fn read(table: &mut TomlTable<'_>) -> RetryPolicy {
    let Some(value) = table.value(&RETRY) else {
        return default();
    };
    // A table has its own error messages, so tell the two forms apart before parsing.
    if value.content().is_table() {
        let path = format!("{}.retry", table.path());
        return match value.table(value.span(), path) {
            Some(table) => read_table(table),
            None => default(),
        };
    }
    let pauses = value.check(pauses).map(|placed| placed.value);
    pauses.map_or_else(default, of_list)
}

/// Returns the schedule of a destination without `retry`.
pub(super) fn default() -> RetryPolicy {
    of_list(seconds(&STANDARD))
}

fn of_list(pauses: Vec<Duration>) -> RetryPolicy {
    RetryPolicy {
        // One attempt more than pauses, because no pause precedes the first one.
        max_attempts: u32::try_from(pauses.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1),
        pauses: RetryPauses::List(pauses),
        max_age: None,
        jitter: DEFAULT_JITTER,
    }
}

fn seconds(all: &[u64]) -> Vec<Duration> {
    all.iter().copied().map(Duration::from_secs).collect()
}

/// Reads a named schedule or a list of pauses; `[]` means no retry.
fn pauses(value: &TomlValue<'_>) -> Result<Vec<Duration>, ValueFault> {
    let Some(items) = value.items() else {
        let choices = [
            ("standard", &STANDARD[..]),
            ("short", &SHORT[..]),
            ("none", &[]),
        ];
        return value::choice(value, &choices).map(seconds);
    };
    if items.len() > MAX_PAUSES {
        return Err(ValueFault::new(
            format!("the list has more than {MAX_PAUSES} pauses"),
            "the last pause is used for all later attempts: use a table with `max_attempts` instead",
        ));
    }
    items.iter().map(value::duration).collect()
}

fn read_table(mut table: TomlTable<'_>) -> RetryPolicy {
    let has_list = table.has(&SCHEDULE);
    let schedule = table.read(&SCHEDULE, pauses);
    let base = table.read(&BASE, value::duration);
    let factor = table.read(&FACTOR, |value| value::number(value, 1.0, 100.0));
    let cap = table.read(&CAP, value::duration);
    // Any of the three selects growing pauses; the others then have their defaults.
    let grows = base.is_some() || factor.is_some() || cap.is_some();
    // Both describe all pauses, so it would be unclear which one applies.
    if has_list && grows {
        let fault = ValueFault::new(
            "`schedule` and `base`, `factor`, `cap` exclude each other: both set the pauses",
            "remove `schedule`, or `base`, `factor` and `cap`",
        );
        table.error(table.span(), fault);
    }
    let mut retry = match (schedule, grows) {
        (None, true) => RetryPolicy {
            pauses: RetryPauses::Exponential {
                base: base.unwrap_or(5 * SECOND),
                factor: factor.unwrap_or(3.0),
                cap: cap.unwrap_or(24 * 3600 * SECOND),
            },
            // With the default pauses, 15 attempts last between five and six days.
            max_attempts: 15,
            max_age: None,
            jitter: DEFAULT_JITTER,
        },
        (Some(list), _) => of_list(list),
        (None, false) => default(),
    };
    if let Some(jitter) = table.read(&JITTER, |value| value::number(value, 0.0, 1.0)) {
        retry.jitter = jitter;
    }
    if let Some(attempts) = table.read(&MAX_ATTEMPTS, value::count) {
        retry.max_attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
    }
    retry.max_age = table.read(&MAX_AGE, value::duration);
    table.deny_unknown();
    retry
}

pub(super) static RETRY: KeyDefinition = KeyDefinition {
    name: "retry",
    kind: ValueKind::Either(
        &ValueKind::Either(
            &ValueKind::Choice(&["standard", "short", "none"]),
            &ValueKind::List(&ValueKind::Duration),
        ),
        &ValueKind::Table(&SECTION),
    ),
    default: Some("\"standard\""),
    example: "[\"5s\", \"1m\", \"10m\", \"1h\"]",
    doc: "When to retry a failed attempt. `\"standard\"` is the schedule of Standard Webhooks (after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h), `\"short\"` gives up after an hour, `\"none\"` never retries. Or a list of pauses, or a table.",
};

/// Keys of the `[routes.NAME.destinations.NAME.retry]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.destinations.NAME.retry",
    doc: "When to retry a failed attempt, and when to give up. A delivery without further retries becomes a dead letter.",
    keys: &[
        &SCHEDULE,
        &BASE,
        &FACTOR,
        &CAP,
        &JITTER,
        &MAX_ATTEMPTS,
        &MAX_AGE,
    ],
    required: &[],
    one_of: &[],
};

pub(super) static SCHEDULE: KeyDefinition = KeyDefinition {
    name: "schedule",
    kind: ValueKind::Either(
        &ValueKind::Choice(&["standard", "short", "none"]),
        &ValueKind::List(&ValueKind::Duration),
    ),
    default: Some("\"standard\""),
    example: "[\"5s\", \"1m\"]",
    doc: "A named schedule, or a list of pauses. The last pause is used for all later attempts.",
};

pub(super) static BASE: KeyDefinition = KeyDefinition {
    name: "base",
    kind: ValueKind::Duration,
    default: Some("\"5s\""),
    example: "\"10s\"",
    doc: "First pause, if pauses grow by a factor.",
};

pub(super) static FACTOR: KeyDefinition = KeyDefinition {
    name: "factor",
    kind: ValueKind::Number,
    default: Some("3"),
    example: "2",
    doc: "Growth factor: each pause is this many times as long as the one before. From 1 to 100.",
};

pub(super) static CAP: KeyDefinition = KeyDefinition {
    name: "cap",
    kind: ValueKind::Duration,
    default: Some("\"24h\""),
    example: "\"1h\"",
    doc: "Longest pause, if pauses grow by a factor.",
};

pub(super) static JITTER: KeyDefinition = KeyDefinition {
    name: "jitter",
    kind: ValueKind::Number,
    default: Some("0.1"),
    example: "0.2",
    doc: "Largest share by which each pause is extended at random, from 0 to 1.",
};

pub(super) static MAX_ATTEMPTS: KeyDefinition = KeyDefinition {
    name: "max_attempts",
    kind: ValueKind::Count,
    default: Some("one more than the number of pauses in the schedule, else 15"),
    example: "20",
    doc: "Maximum number of attempts, the first one included.",
};

pub(super) static MAX_AGE: KeyDefinition = KeyDefinition {
    name: "max_age",
    kind: ValueKind::Duration,
    default: Some("no bound"),
    example: "\"3d\"",
    doc: "Maximum age of a delivery: no attempt begins later than this after the event was accepted.",
};
