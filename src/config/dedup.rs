//! `dedup` of a route: which events count as the same, and for how long.

use std::time::Duration;

use crate::config::model::{Dedup, MissingId};
use crate::document::key::{Key, Kind, Section};
use crate::document::table::{Fault, Table};
use crate::document::value;
use crate::providers::Provider;
use crate::scheme::spec::Spec;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// 7 days: longer than any retry schedule that we know, and a spent id costs few bytes.
const DEFAULT_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);

const DEFAULT_MAX_ENTRIES: u64 = 1_000_000;

/// What dedup depends on.
pub(super) struct Basis<'a> {
    pub(super) spec: &'a Spec,
    pub(super) provider: Option<&'a Provider>,
    pub(super) tolerance: Duration,
}

/// Reads `dedup`; `None` where it is `false`.
pub(super) fn read(table: &mut Table<'_>, basis: &Basis<'_>) -> Option<Dedup> {
    let Some(value) = table.value(&DEDUP) else {
        return Some(defaults(basis));
    };
    if value.content().as_bool() == Some(false) {
        return None;
    }
    match value.table(value.span(), format!("{}.dedup", table.path())) {
        Some(mut table) => Some(read_table(&mut table, basis)),
        None => {
            value.fault(value.unexpected("`false` or a table", DEDUP.example));
            None
        }
    }
}

/// The defaults: where the id is signed it counts alone, since a sender may change other bytes between two tries; where
/// it is not, the digest counts too, so that a captured request cannot come again under a fresh id.
fn defaults(basis: &Basis<'_>) -> Dedup {
    let has_id = !basis.spec.event_id.is_empty();
    if basis.provider.is_some_and(Provider::is_local) {
        // Two events of an app of one's own may have equal bodies: only what it gives an id is known again.
        return Dedup {
            window: DEFAULT_WINDOW,
            by_id: true,
            by_body: false,
            missing_id: MissingId::Accept,
            max_entries: DEFAULT_MAX_ENTRIES,
        };
    }
    Dedup {
        window: horizon(basis).unwrap_or(DEFAULT_WINDOW),
        by_id: has_id,
        by_body: !basis.spec.signs_event_id(),
        missing_id: MissingId::Body,
        max_entries: DEFAULT_MAX_ENTRIES,
    }
}

fn horizon(basis: &Basis<'_>) -> Option<Duration> {
    basis.provider.and_then(|provider| provider.retry_horizon)
}

fn read_table(table: &mut Table<'_>, basis: &Basis<'_>) -> Dedup {
    let mut dedup = defaults(basis);
    if let Some(window) = table.read_placed(&WINDOW, value::duration) {
        dedup.window = window.value;
        if let Some(fault) = short_window(window.value, basis) {
            table.warning(window.span, fault);
        }
    }
    read_by(table, &mut dedup, basis.spec);
    let missing_id = table.read(&MISSING_ID, |value| {
        let choices = [
            ("accept", MissingId::Accept),
            ("reject", MissingId::Reject),
            ("body", MissingId::Body),
        ];
        value::choice(value, &choices)
    });
    dedup.missing_id = missing_id.unwrap_or(dedup.missing_id);
    let max_entries = table.read(&MAX_ENTRIES, value::count);
    dedup.max_entries = max_entries.unwrap_or(dedup.max_entries);
    table.deny_unknown();
    dedup
}

fn read_by(table: &mut Table<'_>, dedup: &mut Dedup, spec: &Spec) {
    let Some(value) = table.value(&BY) else {
        return;
    };
    let Some(items) = value.items().filter(|items| !items.is_empty()) else {
        value.fault(value.unexpected("a list of `\"id\"` and `\"body\"`", BY.example));
        return;
    };
    (dedup.by_id, dedup.by_body) = (false, false);
    for item in items {
        match item.check(|value| value::choice(value, &[("id", true), ("body", false)])) {
            Some(placed) if placed.value => dedup.by_id = true,
            Some(_) => dedup.by_body = true,
            None => {}
        }
    }
    if dedup.by_id && spec.event_id.is_empty() {
        value.fault(Fault::new(
            "the scheme does not say where the event id stands",
            "write `by = [\"body\"]`, or add `event_id` to the scheme",
        ));
    }
    if dedup.by_id && !dedup.by_body && !spec.signs_event_id() {
        value.warning(Fault::new(
            "the event id is not signed: a captured request passes again under a fresh id",
            "write `by = [\"id\", \"body\"]`",
        ));
    }
}

/// Says why a window is too short, if it is.
fn short_window(window: Duration, basis: &Basis<'_>) -> Option<Fault> {
    if let Some(horizon) = horizon(basis).filter(|horizon| window < *horizon) {
        let name = basis
            .provider
            .map_or("the provider", |provider| &provider.name);
        return Some(Fault::new(
            format!(
                "{name} goes on retrying for {}: a late retry would reach the app a second time",
                words(horizon)
            ),
            format!("a window of at least `\"{}\"`", words(horizon)),
        ));
    }
    let is_dated = basis.spec.is_dated();
    let replayable = basis.tolerance.saturating_mul(2);
    (is_dated && window < replayable).then(|| {
        Fault::new(
            "the window ends while the signature is still good: a captured request could be replayed",
            format!("at least twice the tolerance, `\"{}\"`", words(replayable)),
        )
    })
}

/// A duration as the config writes it, in its largest whole unit.
fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        _ if duration.subsec_millis() > 0 => format!("{}ms", duration.as_millis()),
        _ if seconds.is_multiple_of(DAY.as_secs()) => format!("{}d", seconds / DAY.as_secs()),
        _ if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

pub(super) static DEDUP: Key = Key {
    name: "dedup",
    kind: Kind::FalseOr(&Kind::Table(&SECTION)),
    default: Some("on"),
    example: "{ window = \"7d\" }",
    doc: "Keeps an event that the app has taken from reaching it again; `false` turns that off.",
};

/// `[routes.NAME.dedup]`.
pub(super) static SECTION: Section = Section {
    path: "routes.NAME.dedup",
    doc: "Which events count as the same, and for how long.",
    keys: &[&WINDOW, &BY, &MISSING_ID, &MAX_ENTRIES],
    required: &[],
    one_of: &[],
};

static WINDOW: Key = Key {
    name: "window",
    kind: Kind::Duration,
    default: Some("as long as the provider retries, else \"7d\""),
    example: "\"7d\"",
    doc: "How long an event that the app took is remembered.",
};

static BY: Key = Key {
    name: "by",
    kind: Kind::List(&Kind::Choice(&["id", "body"])),
    default: Some("[\"id\"] where the id is signed, else [\"id\", \"body\"]"),
    example: "[\"id\", \"body\"]",
    doc: "What makes two events the same: the event id, the digest of the signed bytes, or either of them.",
};

static MISSING_ID: Key = Key {
    name: "missing_id",
    kind: Kind::Choice(&["accept", "reject", "body"]),
    default: Some("\"body\""),
    example: "\"reject\"",
    doc: "What happens to an event without an id: forward it without dedup, refuse it, or let the digest of the signed bytes take the id's place.",
};

// About 250 MiB when full; a route that takes 1.6 events a second fills it in 7 days.
static MAX_ENTRIES: Key = Key {
    name: "max_entries",
    kind: Kind::Count,
    default: Some("1000000"),
    example: "100000",
    doc: "Keys remembered at least, and twice as many at most, for some 50 bytes each: one for each event, or two where its id is not signed. Beyond it the oldest are forgotten, which the metrics count.",
};
