//! `[log]`: format and level of the logs.

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::TomlTable;
use hookgate_verify::document::value;
use tracing::Level;

use crate::config::model::{LogFormat, LogSection};

const LEVELS: [(&str, Level); 5] = [
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

/// Reads the section; without it every default applies.
pub(super) fn read(table: Option<TomlTable<'_>>) -> LogSection {
    let mut log = LogSection {
        format: LogFormat::Auto,
        level: Level::INFO,
        accepted: true,
    };
    // The section is optional; a config without it logs everything from `info` on.
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

/// Keys of the `[log]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "log",
    doc: "Format and level of the logs.",
    keys: &[&FORMAT, &LEVEL, &ACCEPTED],
    required: &[],
    one_of: &[],
};

pub(super) static FORMAT: KeyDefinition = KeyDefinition {
    name: "format",
    kind: ValueKind::Choice(&value::choice_words(&LogFormat::ALL)),
    default: Some("\"auto\""),
    example: "\"json\"",
    doc: "Format of log lines: `text`, `json`, or `auto`, which writes text on a terminal, native journald fields under systemd, and JSON otherwise.",
};

pub(super) static LEVEL: KeyDefinition = KeyDefinition {
    name: "level",
    kind: ValueKind::Choice(&value::choice_words(&LEVELS)),
    default: Some("\"info\""),
    example: "\"warn\"",
    doc: "Lowest level of the lines that are logged.",
};

// On by default: an operator who looks for an event needs the line. Operators with too many of them can turn them off.
pub(super) static ACCEPTED: KeyDefinition = KeyDefinition {
    name: "accepted",
    kind: ValueKind::Bool,
    default: Some("true"),
    example: "false",
    doc: "Logs accepted requests. Rejected requests are always logged.",
};
