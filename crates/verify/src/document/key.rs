//! Definitions of config keys: the source of loading, JSON Schema, reference and example.
//!
//! A key that is defined here cannot be missing from one of them.

/// A key of a section.
#[derive(Debug)]
pub struct KeyDefinition {
    /// The name, as written in the file.
    pub name: &'static str,
    /// The kind of its value.
    pub kind: ValueKind,
    /// The value that applies where the key is absent, as written in the file or in words. `None` where the key is
    /// required, or where an absent key turns the feature off.
    pub default: Option<&'static str>,
    /// An example value that loads without an error.
    pub example: &'static str,
    /// The effect of the key, in a sentence or two that end with a full stop.
    pub doc: &'static str,
}

/// A table of the config and its keys.
#[derive(Debug)]
pub struct SectionDefinition {
    /// The header, as written in the file, such as `routes.NAME`.
    pub path: &'static str,
    /// The purpose of the table, for the reference.
    pub doc: &'static str,
    /// The keys, in the order of the reference.
    pub keys: &'static [&'static KeyDefinition],
    /// Names of the keys that the table must have.
    pub required: &'static [&'static str],
    /// Sets of keys; the table must have exactly one key of each set.
    pub one_of: &'static [&'static [&'static str]],
}

/// The kind of a value: decides the JSON Schema and the word in the reference.
#[derive(Clone, Copy, Debug)]
pub enum ValueKind {
    /// A boolean, `true` or `false`.
    Bool,
    /// A string with any text.
    Text,
    /// A file, relative to the config file.
    Path,
    /// One string of a fixed list.
    Choice(&'static [&'static str]),
    /// A whole number of at least 1.
    Count,
    /// A whole number; 0 turns the feature off.
    Amount,
    /// A number, with or without a fraction.
    Number,
    /// A duration, such as `"5m"`.
    Duration,
    /// A size in bytes, such as `"1MiB"`.
    Size,
    /// A rate: `"100/s"` or `{ per_second, burst }`.
    Rate,
    /// An address or address range: `"10.0.0.1"` or `"10.0.0.0/8"`.
    Network,
    /// An IP address and port, such as `"0.0.0.0:443"`.
    Address,
    /// An absolute URL, such as `"http://127.0.0.1:8080/hook"`.
    Url,
    /// An absolute URL, or a Unix socket, such as `"unix:/run/app.sock"`.
    AppUrl,
    /// A TOML date or date-time.
    Time,
    /// A list with values of one kind.
    List(&'static ValueKind),
    /// One value, or a list of such values.
    OneOrMore(&'static ValueKind),
    /// A value of either of the two kinds.
    Either(&'static ValueKind, &'static ValueKind),
    /// `false`, or a value of the other kind.
    FalseOr(&'static ValueKind),
    /// A single table with known keys.
    Table(&'static SectionDefinition),
    /// An array of tables with known keys.
    Tables(&'static SectionDefinition),
    /// Values under names that the operator chooses.
    Map(&'static ValueKind),
    /// Tables under names that the operator chooses.
    Named(&'static SectionDefinition),
}

impl ValueKind {
    /// Returns the word for the kind in the reference.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            Self::Bool => "boolean".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Choice(choices) => choices
                .iter()
                .map(|choice| format!("`\"{choice}\"`"))
                .collect::<Vec<_>>()
                .join(" or "),
            Self::Count => "count".to_owned(),
            Self::Amount => "count or `0`".to_owned(),
            Self::Number => "number".to_owned(),
            Self::Duration => "duration".to_owned(),
            Self::Size => "size".to_owned(),
            Self::Rate => "rate".to_owned(),
            Self::Network => "address range".to_owned(),
            Self::Address => "address and port".to_owned(),
            Self::Url => "URL".to_owned(),
            Self::AppUrl => "URL or Unix socket".to_owned(),
            Self::Time => "date or time".to_owned(),
            Self::List(item) => format!("list of {}", item.word()),
            Self::OneOrMore(item) => format!("{}, or a list", item.word()),
            Self::Either(left, right) => format!("{} or {}", left.word(), right.word()),
            Self::FalseOr(other) => format!("`false` or {}", other.word()),
            Self::Table(_) => "table".to_owned(),
            Self::Tables(_) => "tables".to_owned(),
            Self::Map(value) => format!("table of {}", value.word()),
            Self::Named(_) => "named tables".to_owned(),
        }
    }
    /// Returns the definitions of the tables that a value of this kind may be or contain.
    #[must_use]
    pub fn sections(&self) -> Vec<&'static SectionDefinition> {
        match self {
            Self::Table(section) | Self::Tables(section) | Self::Named(section) => vec![section],
            Self::List(item) | Self::OneOrMore(item) | Self::FalseOr(item) | Self::Map(item) => {
                item.sections()
            }
            Self::Either(left, right) => [left.sections(), right.sections()].concat(),
            Self::Bool
            | Self::Text
            | Self::Path
            | Self::Choice(_)
            | Self::Count
            | Self::Amount
            | Self::Number
            | Self::Duration
            | Self::Size
            | Self::Rate
            | Self::Network
            | Self::Address
            | Self::Url
            | Self::AppUrl
            | Self::Time => Vec::new(),
        }
    }
}
