//! The definition of a key: the one place from which loading, JSON Schema, reference and example are made.

/// One key of a section.
#[derive(Debug)]
pub struct Key {
    /// As it stands in the file.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What holds where the key is absent, as it would be written, or in words; none where the key is required or
    /// where absent means "not at all".
    pub default: Option<&'static str>,
    /// A value that could stand in a file.
    pub example: &'static str,
    /// What it does, in a sentence or two that end with a full stop.
    pub doc: &'static str,
}

/// A table of the config with its keys.
#[derive(Debug)]
pub struct Section {
    /// The header as it stands in the file, such as `routes.NAME`.
    pub path: &'static str,
    /// What the table is for.
    pub doc: &'static str,
    /// Its keys, in the order of the reference.
    pub keys: &'static [&'static Key],
    /// The keys that must stand in it.
    pub required: &'static [&'static str],
    /// Sets of keys of which exactly one must stand in it.
    pub one_of: &'static [&'static [&'static str]],
}

/// What a value is: decides the schema and the word in the reference.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// Any text.
    Text,
    /// A file, relative to the config file.
    Path,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A whole number of at least 1.
    Count,
    /// A whole number, or 0 for none.
    Amount,
    /// A number, whole or not.
    Number,
    /// `"5m"`.
    Duration,
    /// `"1MiB"`.
    Size,
    /// `"100/s"` or `{ per_second, burst }`.
    Rate,
    /// `"10.0.0.0/8"` or `"10.0.0.1"`.
    Network,
    /// `"0.0.0.0:443"`.
    Address,
    /// `"http://127.0.0.1:8080/hook"`.
    Url,
    /// A TOML date or date-time.
    Time,
    /// A list.
    List(&'static Kind),
    /// One value, or a list of such values.
    OneOrMore(&'static Kind),
    /// Either of the two.
    Either(&'static Kind, &'static Kind),
    /// `false`, or the other kind.
    FalseOr(&'static Kind),
    /// A table.
    Table(&'static Section),
    /// An array of tables.
    Tables(&'static Section),
    /// Values under names that the operator chooses.
    Map(&'static Kind),
    /// Tables under names that the operator chooses.
    Named(&'static Section),
}

impl Kind {
    /// The word for it in the reference.
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
}
