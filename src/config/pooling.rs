//! Keys for the connections to an app that are kept for further requests.

use std::time::Duration;

use hookgate_verify::document::key::{KeyDefinition, ValueKind};
use hookgate_verify::document::table::TomlTable;
use hookgate_verify::document::value;

/// The keys that a table has; absent ones are `None`.
pub(super) struct PoolKeys {
    pub(super) max_age: Option<Duration>,
    pub(super) reuse: Option<bool>,
}

/// Reads the keys of an upstream or a destination.
pub(super) fn read(table: &mut TomlTable<'_>) -> PoolKeys {
    PoolKeys {
        max_age: table.read(&MAX_AGE, value::duration),
        reuse: table.read(&REUSE, value::boolean),
    }
}

// Without a limit by default: an idle connection is closed after seconds, so only a busy one gets old.
pub(super) static MAX_AGE: KeyDefinition = KeyDefinition {
    name: "max_age",
    kind: ValueKind::Duration,
    default: Some("no limit"),
    example: "\"5m\"",
    doc: "Age from which a connection to the app takes no further request. Under constant load a connection is never idle; with a limit, changes in DNS and in load balancers are followed.",
};

pub(super) static REUSE: KeyDefinition = KeyDefinition {
    name: "reuse",
    kind: ValueKind::Bool,
    default: Some("true"),
    example: "false",
    doc: "Uses a connection to the app for further requests. `false` opens a connection for each request, and sends `Connection: close`.",
};
