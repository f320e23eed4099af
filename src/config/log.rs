//! `[log]`: what is logged and how.

use tracing::Level;

use crate::config::model::{Log, LogFormat};
use crate::document::key::{Key, Kind, Section};
use crate::document::table::Table;
use crate::document::value;

const LEVELS: [(&str, Level); 5] = [
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

/// Reads the section; without it every default holds.
pub(super) fn read(table: Option<Table<'_>>) -> Log {
    let mut log = Log {
        format: LogFormat::Auto,
        level: Level::INFO,
        accepted: true,
    };
    let Some(mut table) = table else {
        return log;
    };
    let format = table.read(&FORMAT, |value| value::choice(value, &LogFormat::ALL));
    log.format = format.unwrap_or(log.format);
    let level = table.read(&LEVEL, |value| value::choice(value, &LEVELS));
    log.level = level.unwrap_or(log.level);
    let accepted = table.read(&ACCEPTED, value::boolean);
    log.accepted = accepted.unwrap_or(log.accepted);
    table.deny_unknown();
    log
}

/// `[log]`.
pub(super) static SECTION: Section = Section {
    path: "log",
    doc: "What is logged and how.",
    keys: &[&FORMAT, &LEVEL, &ACCEPTED],
    required: &[],
    one_of: &[],
};

static FORMAT: Key = Key {
    name: "format",
    kind: Kind::Choice(&value::choice_words(&LogFormat::ALL)),
    default: Some("\"auto\""),
    example: "\"json\"",
    doc: "`auto`: text on a terminal, journald's own fields under systemd, JSON otherwise.",
};

static LEVEL: Key = Key {
    name: "level",
    kind: Kind::Choice(&value::choice_words(&LEVELS)),
    default: Some("\"info\""),
    example: "\"warn\"",
    doc: "The least important lines that are still written.",
};

// Somebody who asks what became of an event needs the line; who has too many of them turns them off.
static ACCEPTED: Key = Key {
    name: "accepted",
    kind: Kind::Bool,
    default: Some("true"),
    example: "false",
    doc: "Whether accepted requests get a line; refused ones always do.",
};
