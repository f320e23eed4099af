//! Tables that are read key by key.
//!
//! A wrong value becomes a diagnostic and `None`, and reading continues. One load therefore finds every error.

use std::cell::RefCell;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::document::key::KeyDefinition;
use crate::document::report::{ConfigDiagnostic, DiagnosticReport, DiagnosticSeverity};
use crate::document::source::TextSpan;
use crate::document::suggest;

/// A table, which remembers the keys that were read so far.
#[derive(Debug)]
pub struct TomlTable<'a> {
    entries: &'a DeTable<'a>,
    span: TextSpan,
    path: String,
    known: Vec<&'static str>,
    refused: Vec<&'static str>,
    report: &'a RefCell<DiagnosticReport>,
}

/// A value with its location.
#[derive(Clone, Copy, Debug)]
pub struct TomlValue<'a> {
    content: &'a DeValue<'a>,
    span: TextSpan,
    /// Example value of the key that this value belongs to.
    example: Option<&'static str>,
    report: &'a RefCell<DiagnosticReport>,
}

/// A checked value with its location.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpannedValue<T> {
    /// The parsed value.
    pub value: T,
    /// Location of the value in the document.
    pub span: TextSpan,
}

/// The reason why a value is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValueFault {
    /// One sentence without a full stop.
    pub message: String,
    /// A few words under the value; may be empty.
    pub label: String,
    /// The correction, where one is known.
    pub help: Option<String>,
    /// A narrower location than the whole value.
    pub span: Option<TextSpan>,
}

impl ValueFault {
    /// Creates a fault with a message and a correction.
    #[must_use]
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            label: String::new(),
            help: Some(help.into()),
            span: None,
        }
    }

    /// Adds words that appear under the value.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }
}

impl<'a> TomlTable<'a> {
    pub(crate) fn new(
        entries: &'a DeTable<'a>,
        span: TextSpan,
        path: String,
        report: &'a RefCell<DiagnosticReport>,
    ) -> Self {
        Self {
            entries,
            span,
            path,
            known: Vec::new(),
            refused: Vec::new(),
            report,
        }
    }

    /// Returns the location of the table's name.
    #[must_use]
    pub fn span(&self) -> TextSpan {
        self.span
    }

    /// Formats the start of a span of this document, such as `hookgate.toml:13:10`.
    #[must_use]
    pub fn place(&self, span: TextSpan) -> String {
        self.report.borrow().place(span)
    }

    /// Returns the full name of the table, such as `routes.stripe`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns true where the table has the key.
    #[must_use]
    pub fn has(&self, key: &KeyDefinition) -> bool {
        self.entries.contains_key(key.name)
    }

    /// Returns the value of a key without checking it, and marks the key as known.
    pub fn value(&mut self, key: &KeyDefinition) -> Option<TomlValue<'a>> {
        // Every key that is read counts as known, so `deny_unknown` needs no second list of names.
        if !self.known.contains(&key.name) {
            self.known.push(key.name);
        }
        let value = self.entries.get(key.name)?;
        Some(TomlValue {
            example: Some(key.example),
            ..TomlValue::new(value, self.report)
        })
    }

    /// Reads and checks the value of a key. Returns `None` where it is absent or wrong.
    pub fn read<T>(
        &mut self,
        key: &KeyDefinition,
        parse: impl FnOnce(&TomlValue<'a>) -> Result<T, ValueFault>,
    ) -> Option<T> {
        self.read_placed(key, parse).map(|placed| placed.value)
    }

    /// Reads and checks the value of a key, with its location.
    pub fn read_placed<T>(
        &mut self,
        key: &KeyDefinition,
        parse: impl FnOnce(&TomlValue<'a>) -> Result<T, ValueFault>,
    ) -> Option<SpannedValue<T>> {
        let value = self.value(key)?;
        value.check(parse)
    }

    /// Reads a key like `read_placed`, and reports it as missing where it is absent.
    pub fn require<T>(
        &mut self,
        key: &KeyDefinition,
        parse: impl FnOnce(&TomlValue<'a>) -> Result<T, ValueFault>,
    ) -> Option<SpannedValue<T>> {
        if !self.has(key) {
            self.missing(key);
        }
        self.read_placed(key, parse)
    }

    /// Reports that a required key is absent.
    pub fn missing(&self, key: &KeyDefinition) {
        let place = if self.path.is_empty() {
            "the file".to_owned()
        } else {
            format!("`[{}]`", self.path)
        };
        self.absent(
            format!("{place} needs `{}`", key.name),
            format!("add `{} = {}`", key.name, key.example),
        );
    }

    /// Reports that something is absent from this table, unless the file has syntax errors.
    pub fn absent(&self, message: impl Into<String>, help: impl Into<String>) {
        self.report.borrow_mut().push_absent(ConfigDiagnostic {
            severity: DiagnosticSeverity::Error,
            span: (!self.path.is_empty()).then_some(self.span),
            message: message.into(),
            label: String::new(),
            help: Some(help.into()),
        });
    }

    /// Reads each element of a list. Wrong elements become diagnostics and are left out.
    pub fn list<T>(
        &mut self,
        key: &KeyDefinition,
        parse: impl Fn(&TomlValue<'a>) -> Result<T, ValueFault>,
    ) -> Option<Vec<SpannedValue<T>>> {
        let value = self.value(key)?;
        match value.items() {
            Some(items) => Some(items.iter().filter_map(|item| item.check(&parse)).collect()),
            None => {
                value.fault(value.unexpected("a list", key.example));
                None
            }
        }
    }

    /// Reads a list like `list`, and also takes a single value without brackets.
    pub fn one_or_more<T>(
        &mut self,
        key: &KeyDefinition,
        parse: impl Fn(&TomlValue<'a>) -> Result<T, ValueFault>,
    ) -> Option<Vec<SpannedValue<T>>> {
        let value = self.value(key)?;
        match value.items() {
            Some(items) => Some(items.iter().filter_map(|item| item.check(&parse)).collect()),
            None => value.check(&parse).map(|placed| vec![placed]),
        }
    }

    /// Reads the table below a key.
    pub fn table(&mut self, key: &KeyDefinition) -> Option<TomlTable<'a>> {
        let value = self.value(key)?;
        // The header is a better location than the content, which may be many lines long.
        let name_span = self.name_span(key.name);
        let table = value.table(name_span.unwrap_or(value.span), self.path_of(key.name));
        if table.is_none() {
            value.fault(value.unexpected("a table", key.example));
        }
        table
    }

    /// Reads an array of tables. The result is empty where the key is absent.
    pub fn tables(&mut self, key: &KeyDefinition) -> Vec<TomlTable<'a>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(items) = value.items() else {
            value.fault(value.unexpected("an array of tables", key.example));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            match item.table(item.span, self.path_of(key.name)) {
                Some(table) => tables.push(table),
                None => item.fault(item.unexpected("a table", key.example)),
            }
        }
        tables
    }

    /// Reads each table below a key, with the name that the operator chose.
    pub fn named_tables(&mut self, key: &KeyDefinition) -> Vec<(&'a str, TomlTable<'a>)> {
        let Some(parent) = self.table(key) else {
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (name, value) in parent.entries {
            let value = TomlValue::new(value, self.report);
            let name_span = name.span().into();
            match value.table(name_span, parent.path_of(name.get_ref())) {
                Some(table) => tables.push((name.get_ref().as_ref(), table)),
                None => value.fault(value.unexpected("a table", key.example)),
            }
        }
        tables
    }

    /// Returns each value below a key, with the name that the operator chose.
    pub fn named_values(&mut self, key: &KeyDefinition) -> Vec<(&'a str, TomlValue<'a>)> {
        let Some(parent) = self.table(key) else {
            return Vec::new();
        };
        let values = parent.entries.iter().map(|(name, value)| {
            let value = TomlValue {
                example: Some(key.example),
                ..TomlValue::new(value, self.report)
            };
            (name.get_ref().as_ref(), value)
        });
        values.collect()
    }

    /// Rejects a key that is known elsewhere, but not supported in this table.
    pub fn refuse(&mut self, name: &'static str, fault: impl FnOnce(&TomlValue<'a>) -> ValueFault) {
        // A rejected key has its own error, so `deny_unknown` must not report it again.
        self.refused.push(name);
        if let Some(value) = self.entries.get(name) {
            let value = TomlValue::new(value, self.report);
            let mut fault = fault(&value);
            fault.span = fault.span.or(self.name_span(name));
            value.fault(fault);
        }
    }

    /// Marks a key as known without reading it.
    pub fn ignore(&mut self, name: &'static str) {
        self.known.push(name);
    }

    /// Reports every key that was not read. Call it last: only keys that were read count as known.
    pub fn deny_unknown(&mut self) {
        for key in self.entries.keys() {
            let name: &str = key.get_ref();
            if self.known.contains(&name) || self.refused.contains(&name) {
                continue;
            }
            // Only keys of this table are suggested, since another table's key would be unknown here, too.
            let near = suggest::nearest(name, self.known.iter().copied());
            let place = if self.path.is_empty() {
                "at the top of the file".to_owned()
            } else {
                format!("in `[{}]`", self.path)
            };
            self.report.borrow_mut().push(ConfigDiagnostic {
                severity: DiagnosticSeverity::Error,
                span: Some(key.span().into()),
                message: format!("unknown key `{name}` {place}"),
                label: String::new(),
                help: Some(match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the keys here are `{}`", self.known.join("`, `")),
                }),
            });
        }
    }

    /// Returns the location of a key's name.
    #[must_use]
    pub fn name_span_of(&self, key: &KeyDefinition) -> Option<TextSpan> {
        self.name_span(key.name)
    }

    /// Reports an error at a location of this document.
    pub fn error(&self, span: TextSpan, fault: ValueFault) {
        self.push(DiagnosticSeverity::Error, span, fault);
    }

    /// Reports a warning at a location of this document.
    pub fn warning(&self, span: TextSpan, fault: ValueFault) {
        self.push(DiagnosticSeverity::Warning, span, fault);
    }

    /// Reports a note at a location: a consequence of this part of the document, in one line.
    pub fn note(&self, span: TextSpan, fault: ValueFault) {
        self.push(DiagnosticSeverity::Note, span, fault);
    }

    fn push(&self, severity: DiagnosticSeverity, span: TextSpan, fault: ValueFault) {
        self.report.borrow_mut().push(ConfigDiagnostic {
            severity,
            span: Some(fault.span.unwrap_or(span)),
            message: fault.message,
            label: fault.label,
            help: fault.help,
        });
    }

    fn name_span(&self, name: &str) -> Option<TextSpan> {
        let (key, _) = self.entries.get_key_value(name)?;
        Some(key.span().into())
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }
}

impl<'a> TomlValue<'a> {
    fn new(value: &'a Spanned<DeValue<'a>>, report: &'a RefCell<DiagnosticReport>) -> Self {
        Self {
            content: value.get_ref(),
            span: value.span().into(),
            example: None,
            report,
        }
    }

    /// Returns the location of the value.
    #[must_use]
    pub fn span(&self) -> TextSpan {
        self.span
    }

    /// Returns the value from the TOML parser.
    #[must_use]
    pub fn content(&self) -> &'a DeValue<'a> {
        self.content
    }

    /// Returns the text where the value is a string.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        self.content.as_str()
    }

    /// Returns the elements where the value is an array.
    #[must_use]
    pub fn items(&self) -> Option<Vec<Self>> {
        let items: &DeArray<'a> = self.content.as_array()?;
        Some(
            items
                .iter()
                .map(|item| Self::new(item, self.report))
                .collect(),
        )
    }

    /// Returns the value as a table; `span` is the location of its name.
    #[must_use]
    pub fn table(&self, span: TextSpan, path: String) -> Option<TomlTable<'a>> {
        let entries = self.content.as_table()?;
        Some(TomlTable::new(entries, span, path, self.report))
    }

    /// Runs a parser on the value. A fault becomes a diagnostic.
    pub fn check<T>(
        &self,
        parse: impl FnOnce(&Self) -> Result<T, ValueFault>,
    ) -> Option<SpannedValue<T>> {
        match parse(self) {
            Ok(value) => Some(SpannedValue {
                value,
                span: self.span,
            }),
            Err(fault) => {
                self.fault(fault);
                None
            }
        }
    }

    /// Reports a fault of this value as an error.
    pub fn fault(&self, fault: ValueFault) {
        self.push(DiagnosticSeverity::Error, fault);
    }

    /// Reports a fault of this value as a warning.
    pub fn warning(&self, fault: ValueFault) {
        self.push(DiagnosticSeverity::Warning, fault);
    }

    /// Builds the fault for a value of the wrong type. `example` is shown where the key has no example.
    #[must_use]
    pub fn unexpected(&self, expected: &str, example: &str) -> ValueFault {
        let found = match self.content {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        ValueFault::new(
            format!("expected {expected}, found {found}"),
            format!("for example `{}`", self.example.unwrap_or(example)),
        )
    }

    fn push(&self, severity: DiagnosticSeverity, fault: ValueFault) {
        self.report.borrow_mut().push(ConfigDiagnostic {
            severity,
            span: Some(fault.span.unwrap_or(self.span)),
            message: fault.message,
            label: fault.label,
            help: fault.help,
        });
    }
}
