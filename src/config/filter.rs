//! `events`, `versions` and `when`: which verified events reach the app.

use std::sync::Arc;

use hookgate_verify::document::key::{KeyDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, ValueFault};
use hookgate_verify::document::value;
use hookgate_verify::model::glob::PatternList;
use hookgate_verify::scheme::spec::{FieldLocation, SchemeSpec};

use crate::config::scheme_origin::SchemeOrigin;
use crate::config::unsigned_filters;
use crate::criteria::when::{WhenError, WhenExpression};

/// Patterns for the events of a route that reach the app.
#[derive(Default)]
pub(super) struct FilterPatterns {
    pub(super) events: Option<PatternList>,
    pub(super) versions: Option<PatternList>,
}

/// Reads the condition of a route or destination.
pub(super) fn when(
    table: &mut TomlTable<'_>,
    origin: Option<&SchemeOrigin>,
) -> Option<Arc<WhenExpression>> {
    let when = table.read_placed(&WHEN, |value| {
        let text = value::text(value)?;
        WhenExpression::compile(&text)
            .map_err(|err| ValueFault::new(err.to_string(), when_help(&err)))
    })?;
    // A filter on unsigned values is weaker than it looks: a captured request can carry other values.
    if let Some(origin) = origin {
        let loose = unsigned_filters::of_condition(&when.value, &origin.spec);
        if let Some(fault) = unsigned_filters::fault(&WHEN, &loose, origin) {
            table.warning(when.span, fault);
        }
    }
    Some(Arc::new(when.value))
}

fn when_help(err: &WhenError) -> &'static str {
    match err {
        WhenError::Unknown(_) => {
            "use `method`, `path`, `query`, `headers`, `event`, `body`, `provider`, `route`, `source`, and the functions of CEL"
        }
        WhenError::Nested => "loop over one list only, or decide in the app",
        WhenError::Pattern => "write the pattern as a literal in the expression",
        WhenError::NotBool => "write a comparison, for example `event.type == \"invoice.paid\"`",
        WhenError::TooLong | WhenError::Syntax(_) => {
            "write a CEL expression, for example `body.amount > 100 && event.type == \"invoice.paid\"`"
        }
    }
}

/// Reads the patterns of a table. Without an origin, which has an error of its own, only their form is checked.
pub(super) fn read(table: &mut TomlTable<'_>, origin: Option<&SchemeOrigin>) -> FilterPatterns {
    FilterPatterns {
        events: patterns(table, PatternSubject::Type, origin),
        versions: patterns(table, PatternSubject::Version, origin),
    }
}

/// Reads the patterns for event types only.
pub(super) fn read_events(
    table: &mut TomlTable<'_>,
    origin: Option<&SchemeOrigin>,
) -> Option<PatternList> {
    patterns(table, PatternSubject::Type, origin)
}

/// Property of an event that patterns are compared with.
#[derive(Clone, Copy)]
enum PatternSubject {
    Type,
    Version,
}

impl PatternSubject {
    fn key(self) -> &'static KeyDefinition {
        match self {
            Self::Type => &EVENTS,
            Self::Version => &VERSIONS,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Type => "event type",
            Self::Version => "version",
        }
    }

    fn locations(self, spec: &SchemeSpec) -> &[FieldLocation] {
        match self {
            Self::Type => &spec.event_type,
            Self::Version => &spec.version,
        }
    }
}

fn patterns(
    table: &mut TomlTable<'_>,
    word: PatternSubject,
    origin: Option<&SchemeOrigin>,
) -> Option<PatternList> {
    let key = word.key();
    let value = table.value(key)?;
    let Some(items) = value.items() else {
        value.fault(value.unexpected("a list", key.example));
        return None;
    };
    if items.is_empty() {
        value.fault(ValueFault::new(
            "an empty list filters nothing",
            format!("add patterns, or remove `{}`", key.name),
        ));
    }
    // Without such a location every event would be rejected as unreadable at run time.
    if let Some(origin) = origin.filter(|origin| word.locations(&origin.spec).is_empty()) {
        value.fault(nowhere(word, origin));
    }
    if let Some(origin) = origin {
        let loose = unsigned_filters::of_fields(word.locations(&origin.spec), &origin.spec);
        if let Some(fault) = unsigned_filters::fault(key, &loose, origin) {
            value.warning(fault);
        }
    }
    // All patterns are parsed, so that every invalid one is reported.
    let mut patterns = PatternList::default();
    for item in items {
        item.check(|value| {
            let text = value::text(value)?;
            patterns.add(&text).map_err(|err| {
                let help = "`*` matches any characters, a leading `!` excludes, and other characters match themselves";
                ValueFault::new(format!("`{text}`: {err}"), help)
            })
        });
    }
    Some(patterns)
}

fn nowhere(word: PatternSubject, origin: &SchemeOrigin) -> ValueFault {
    let what = word.name();
    match &origin.provider {
        Some(provider) => ValueFault::new(
            format!(
                "hookgate cannot read the {what} of events from {}",
                provider.name
            ),
            "remove it",
        ),
        None => ValueFault::new(
            format!("the scheme does not say where to find the {what}"),
            format!("add `{}` to the scheme", what.replace(' ', "_")),
        ),
    }
}

pub(super) static EVENTS: KeyDefinition = KeyDefinition {
    name: "events",
    kind: ValueKind::List(&ValueKind::Text),
    default: Some("every event"),
    example: "[\"invoice.*\", \"!invoice.upcoming\"]",
    doc: "Types of the events to forward. `*` matches any characters; a leading `!` excludes. On a route, hookgate responds to other events with 200 and forwards them nowhere. On an entry of `upstreams` or a destination, only that one does not get them.",
};

pub(super) static WHEN: KeyDefinition = KeyDefinition {
    name: "when",
    kind: ValueKind::Text,
    default: Some("true"),
    example: "\"body.amount > 100\"",
    doc: "A CEL condition on `method`, `path`, `query`, `headers`, `event` (`id`, `type`, `version`), `body`, `provider`, `route` and `source`. If it is false on a route, hookgate responds with 200 and forwards the event nowhere; if it is false on a destination, only that destination does not get the event. If it fails with an error, the sender gets 422.",
};

pub(super) static VERSIONS: KeyDefinition = KeyDefinition {
    name: "versions",
    kind: ValueKind::List(&ValueKind::Text),
    default: Some("every version"),
    example: "[\"2025-*\"]",
    doc: "Versions of the payload to forward. Patterns work as in `events`.",
};
