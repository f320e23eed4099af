//! `dedup` of a route: which events are duplicates, and for how long.

use std::time::Duration;

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value;
use hookgate_verify::model::span::format_as_config;
use hookgate_verify::providers::Provider;
use hookgate_verify::scheme::spec::{IdentityKey, SchemeSpec};

use crate::config::model::{AwayRule, DedupRule, MissingId, ReplayRule};
use crate::config::scheme_origin::SchemeOrigin;

/// 7 days: longer than all but a few retry schedules, and a spent id takes few bytes.
const DEFAULT_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);

const DEFAULT_MAX_ENTRIES: u64 = 1_000_000;

/// Facts about a route that its dedup settings depend on.
pub(super) struct DedupBasis<'a> {
    pub(super) spec: &'a SchemeSpec,
    pub(super) provider: Option<&'a Provider>,
    pub(super) tolerance: Duration,
}

/// Reads `dedup`; returns `None` if it is `false`.
pub(super) fn read(table: &mut TomlTable<'_>, basis: &DedupBasis<'_>) -> Option<DedupRule> {
    let Some(value) = table.value(&DEDUP) else {
        return Some(defaults(basis));
    };
    // `true` is not accepted: dedup is on by default, so it would say nothing.
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

/// Returns the dedup settings of a route with this provider and without `dedup`.
#[cfg(test)]
pub(crate) fn usual_dedup(provider: &Provider) -> DedupRule {
    defaults(&DedupBasis {
        spec: &provider.scheme,
        provider: Some(provider),
        tolerance: provider.tolerance,
    })
}

/// Returns the defaults: dedup by the provider's key, or by `event_id` of a scheme of the operator's own.
///
/// A key that the signature does not cover counts only together with the digest of the body. Otherwise a captured
/// request with a guessed id could suppress the event of that id. The digest alone would suppress distinct events with
/// equal bodies.
fn defaults(basis: &DedupBasis<'_>) -> DedupRule {
    // Two events of an operator's own app may have equal bodies: only their key counts.
    let is_local = basis.provider.is_some_and(Provider::is_local);
    let key = default_key(basis);
    let is_signed = basis.spec.signs_key(&key);
    // Watch signed bytes only if a client without the secret could send them again under another key.
    let is_guarded = basis.spec.signs_bytes() && !is_local && !is_signed && !key.is_signed_bytes();
    DedupRule {
        window: horizon(basis).unwrap_or(DEFAULT_WINDOW),
        binds_body: !is_local && !key.is_nothing() && !is_signed,
        key,
        by_body: false,
        missing_id: MissingId::Accept,
        replay: if is_guarded {
            ReplayRule::Flag
        } else {
            ReplayRule::Off
        },
        max_entries: DEFAULT_MAX_ENTRIES,
        shared: None,
    }
}

fn default_key(basis: &DedupBasis<'_>) -> IdentityKey {
    match basis.provider {
        Some(provider) => provider.identity.key.value.clone(),
        None => IdentityKey::of_fields(&basis.spec.event_id),
    }
}

fn horizon(basis: &DedupBasis<'_>) -> Option<Duration> {
    basis.provider.and_then(|provider| provider.retry_horizon)
}

fn read_table(table: &mut TomlTable<'_>, basis: &DedupBasis<'_>) -> DedupRule {
    // Each key that is absent keeps the default of this provider, not a general one.
    let mut dedup = defaults(basis);
    if let Some(window) = table.read_placed(&WINDOW, value::duration) {
        dedup.window = window.value;
        if let Some(fault) = short_window(window.value, basis) {
            table.warning(window.span, fault);
        }
    }
    read_by(table, &mut dedup, basis);
    let missing_id = table.read(&MISSING_ID, |value| value::choice(value, &MissingId::ALL));
    dedup.missing_id = missing_id.unwrap_or(dedup.missing_id);
    let replay = table.read(&REPLAY, |value| value::choice(value, &ReplayRule::ALL));
    dedup.replay = replay.unwrap_or(dedup.replay);
    let max_entries = table.read(&MAX_ENTRIES, value::count);
    dedup.max_entries = max_entries.unwrap_or(dedup.max_entries);
    dedup.shared = read_shared(table);
    table.deny_unknown();
    dedup
}

/// Reads `shared` and `when_away`. Another check compares them with the mode of the route and with `[store]`.
fn read_shared(table: &mut TomlTable<'_>) -> Option<AwayRule> {
    let is_shared = table.read(&SHARED, value::boolean).unwrap_or(false);
    let away = table.read_placed(&WHEN_AWAY, |value| value::choice(value, &AwayRule::ALL));
    if let Some(away) = away.as_ref().filter(|_| !is_shared) {
        let fault = ValueFault::new(
            "`when_away` has no effect without `shared = true`",
            "remove it, or add `shared = true`",
        );
        table.warning(away.span, fault);
    }
    is_shared.then(|| away.map_or(AwayRule::Local, |away| away.value))
}

/// One value of the `by` list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DedupBy {
    Key,
    Id,
    Body,
}

impl DedupBy {
    /// Each with its word in a config.
    const ALL: [(&'static str, Self); 3] =
        [("key", Self::Key), ("id", Self::Id), ("body", Self::Body)];
}

fn read_by(table: &mut TomlTable<'_>, dedup: &mut DedupRule, basis: &DedupBasis<'_>) {
    let Some(value) = table.value(&BY) else {
        return;
    };
    // An empty list would turn dedup off; only `dedup = false` may do that, because it says so.
    let Some(items) = value.items().filter(|items| !items.is_empty()) else {
        value.fault(value.unexpected("a list of `\"key\"`, `\"id\"` and `\"body\"`", BY.example));
        return;
    };
    let words = items
        .iter()
        .filter_map(|item| item.check(|value| value::choice(value, &DedupBy::ALL)));
    let words: Vec<DedupBy> = words.map(|placed| placed.value).collect();
    dedup.by_body = words.contains(&DedupBy::Body);
    match (words.contains(&DedupBy::Key), words.contains(&DedupBy::Id)) {
        (true, true) => value.fault(ValueFault::new(
            "`\"key\"` and `\"id\"` exclude each other: both say what identifies an event",
            "remove `\"id\"`: the provider's documentation gives the key",
        )),
        (true, false) => check_key(&value, dedup, basis),
        (false, true) => by_id(&value, dedup, basis),
        // Only `"body"` is left, so no key is read at all.
        (false, false) => (dedup.key, dedup.binds_body) = (IdentityKey::default(), false),
    }
    if dedup.by_body {
        // Equal signed bytes are duplicates now, so no replay is left to flag.
        dedup.replay = ReplayRule::Off;
    }
}

fn check_key(value: &TomlValue<'_>, dedup: &DedupRule, basis: &DedupBasis<'_>) {
    if !dedup.key.is_nothing() {
        return;
    }
    value.fault(match basis.provider {
        Some(provider) => ValueFault::new(
            format!(
                "requests of {} have nothing that identifies an event",
                provider.name
            ),
            "remove `by`: without a key every request reaches the app",
        ),
        None => without_id(),
    });
}

/// Applies `by = ["id"]`: the event id alone counts.
fn by_id(value: &TomlValue<'_>, dedup: &mut DedupRule, basis: &DedupBasis<'_>) {
    let spec = basis.spec;
    dedup.key = IdentityKey::of_fields(&spec.event_id);
    dedup.binds_body = false;
    if dedup.key.is_nothing() {
        match basis.provider {
            // In an earlier version this provider had an id: such a config must continue to work.
            Some(provider) => value.warning(ValueFault::new(
                format!(
                    "{} has no reliable event id, so `\"id\"` has no effect",
                    provider.name
                ),
                "remove `by`; `hookgate providers show` shows what identifies an event",
            )),
            None => value.fault(without_id()),
        }
        return;
    }
    // An unsigned id can be replaced: a captured request under another id passes as a new event, so flag its bytes.
    // `replay` is read later, so an explicit choice replaces this one.
    if !spec.signs_event_id() && spec.signs_bytes() && dedup.replay == ReplayRule::Off {
        dedup.replay = ReplayRule::Flag;
    }
    if !dedup.by_body && !spec.signs_event_id() {
        value.warning(ValueFault::new(
            "the event id is not signed: a captured request with a guessed id can suppress the event of that id",
            "remove `by`: the id is then used together with the digest of the body",
        ));
    }
}

fn without_id() -> ValueFault {
    ValueFault::new(
        "the scheme has no `event_id`, so hookgate cannot find the event id",
        "add `event_id` to the scheme, or remove `by`",
    )
}

/// Adds a note if the scheme has no event id, so retries reach the app again.
pub(super) fn note_missing_id(
    table: &TomlTable<'_>,
    origin: &SchemeOrigin,
    dedup: Option<&DedupRule>,
) {
    let Some(dedup) = dedup else { return };
    // A provider file states by itself that there is no key; only in the operator's own scheme it may be a mistake.
    if origin.provider.is_none() && dedup.key.is_nothing() && !dedup.by_body {
        let fault = ValueFault::new(
            "no dedup: the scheme has no `event_id`, so the app gets retries of events that it has already taken",
            "add `event_id` if the sender has one",
        );
        table.note(origin.span, fault);
    }
}

/// Returns a warning if the window is too short.
fn short_window(window: Duration, basis: &DedupBasis<'_>) -> Option<ValueFault> {
    if let Some(horizon) = horizon(basis).filter(|horizon| window < *horizon) {
        let name = basis
            .provider
            .map_or("the provider", |provider| &provider.name);
        return Some(ValueFault::new(
            format!(
                "{name} retries for {}: a late retry would reach the app a second time",
                format_as_config(horizon)
            ),
            format!(
                "set `window` to at least `\"{}\"`",
                format_as_config(horizon)
            ),
        ));
    }
    // A signed timestamp is accepted from `tolerance` before now to `tolerance` after, so a request stays valid for
    // twice that.
    let is_dated = basis.spec.is_dated();
    let replayable = basis.tolerance.saturating_mul(2);
    (is_dated && window < replayable).then(|| {
        ValueFault::new(
            "the window ends while the signature is still valid: a captured request could be replayed",
            format!("set `window` to at least twice the tolerance, `\"{}\"`", format_as_config(replayable)),
        )
    })
}

pub(super) static DEDUP: KeyDefinition = KeyDefinition {
    name: "dedup",
    kind: ValueKind::FalseOr(&ValueKind::Table(&SECTION)),
    default: Some("on"),
    example: "{ window = \"7d\" }",
    doc: "Suppresses duplicates: an event that the app has taken does not reach it again. `false` disables it.",
};

/// Keys of the `[routes.NAME.dedup]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.dedup",
    doc: "Which events are duplicates of each other, and for how long.",
    keys: &[
        &WINDOW,
        &BY,
        &MISSING_ID,
        &REPLAY,
        &MAX_ENTRIES,
        &SHARED,
        &WHEN_AWAY,
    ],
    required: &[],
    one_of: &[],
};

pub(super) static WINDOW: KeyDefinition = KeyDefinition {
    name: "window",
    kind: ValueKind::Duration,
    default: Some("as long as the provider retries, else \"7d\""),
    example: "\"7d\"",
    doc: "How long to remember an event that the app has taken.",
};

pub(super) static BY: KeyDefinition = KeyDefinition {
    name: "by",
    kind: ValueKind::List(&ValueKind::Choice(&value::choice_words(&DedupBy::ALL))),
    default: Some("[\"key\"] if the provider or the scheme has one"),
    example: "[\"key\"]",
    doc: "What identifies an event. `key` is the key that the provider documents (see `hookgate providers show`), or `event_id` of your own scheme; if the signature does not cover it, it is combined with the digest of the body. `id` is the event id alone. `body` is the digest of the signed bytes, so two events with equal bodies count as one. With several values, a match of any of them is a duplicate.",
};

pub(super) static MISSING_ID: KeyDefinition = KeyDefinition {
    name: "missing_id",
    kind: ValueKind::Choice(&value::choice_words(&MissingId::ALL)),
    default: Some("\"accept\""),
    example: "\"reject\"",
    doc: "What to do with an event that lacks its key: `accept` forwards it without dedup, `reject` rejects it, and `body` uses the digest of the signed bytes as the key.",
};

pub(super) static REPLAY: KeyDefinition = KeyDefinition {
    name: "replay",
    kind: ValueKind::Choice(&value::choice_words(&ReplayRule::ALL)),
    default: Some("\"flag\" if the signature does not cover the key"),
    example: "\"block\"",
    doc: "What to do with a request whose signed bytes the app has already taken under another key. Such a request is either a replay by a client that saw the first one, or a second event with the same bytes. `flag` forwards it with `Hookgate-Replayed-Body: true`, logs it and counts it. `block` rejects it with 409. `off` disables the check.",
};

// About 250 MiB when full; a route that takes 1.6 events a second fills it in 7 days.
pub(super) static MAX_ENTRIES: KeyDefinition = KeyDefinition {
    name: "max_entries",
    kind: ValueKind::Count,
    default: Some("1000000"),
    example: "100000",
    doc: "How many keys to remember. hookgate keeps at least this many and at most twice as many, at about 50 bytes each. An event takes one key, or two if `replay` checks its bytes as well. Beyond the limit the oldest keys are forgotten, and a metric counts them.",
};

pub(super) static SHARED: KeyDefinition = KeyDefinition {
    name: "shared",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Suppresses duplicates over all nodes that share the store, for events that go to the app while the sender waits (`proxy` and `hybrid`). Needs a store in PostgreSQL, and costs one question to the database per event. Without it each node knows the duplicates that it saw itself, and those that were accepted before it started. Events that are stored need no such key: their commit is exact over all nodes.",
};

pub(super) static WHEN_AWAY: KeyDefinition = KeyDefinition {
    name: "when_away",
    kind: ValueKind::Choice(&value::choice_words(&AwayRule::ALL)),
    default: Some("\"local\""),
    example: "\"refuse\"",
    doc: "With `shared = true`: what to do with events while the database is away. `local` forwards them, and each node knows only its own duplicates meanwhile. `refuse` responds with 503 and `Retry-After`.",
};
