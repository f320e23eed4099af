//! TOML text with places: spans, diagnostics, and tables that are read key by key so that every error is reported at once.
//!
//! `scheme`, `providers` and `config` read their tables through here. Nothing in this room knows a key or a section of
//! the config, reads a file or opens a socket.

pub mod key;
pub mod mask;
pub mod report;
pub mod suggest;
pub mod table;
pub mod value;

use std::cell::RefCell;
use std::sync::Arc;

use toml::de::{DeTable, Error as SyntaxError};

use crate::document::report::{Diagnostic, Report, Severity};
use crate::document::table::Table;

/// A range of bytes in the text of a document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl From<std::ops::Range<usize>> for Span {
    fn from(range: std::ops::Range<usize>) -> Self {
        Self {
            start: range.start,
            end: range.end,
        }
    }
}

/// The text of a file and the name under which diagnostics show it.
#[derive(Debug)]
pub struct Source {
    /// The path as the operator gave it.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// Where a byte stands for a reader; both count from 1, columns count characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// A parsed text with the diagnostics that were found in it so far.
#[derive(Debug)]
pub struct Document<'a> {
    root: DeTable<'a>,
    report: RefCell<Report>,
}

impl Source {
    /// A source, ready to be parsed.
    #[must_use]
    pub fn new(name: &str, text: String) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            text,
        })
    }

    /// The line and column of a byte; one past the end of the text is allowed.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let before = self.before(offset);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before
            .get(line_start..)
            .map_or(0, |rest| rest.chars().count());
        Position {
            line: before.matches('\n').count() + 1,
            column: column + 1,
        }
    }

    /// The text up to a byte, cut back to the start of the character that holds it.
    fn before(&self, offset: usize) -> &str {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        self.text.get(..end).unwrap_or_default()
    }
}

impl<'a> Document<'a> {
    /// Parses all of the text. Syntax errors go into the report; what could be read stands in the root all the same.
    #[must_use]
    pub fn parse(source: &'a Arc<Source>) -> Self {
        let (root, errors) = DeTable::parse_recoverable(&source.text);
        let mut report = Report::new(Arc::clone(source));
        // One fault makes the parser stumble several times; the first message of a line is the one that helps.
        let mut last_line = 0;
        for err in &errors {
            let offset = err.span().map_or(source.text.len(), |span| span.start);
            let line = source.position(offset).line;
            if line != last_line {
                report.syntax_error(syntax_diagnostic(err, source));
            }
            last_line = line;
        }
        mask::hide_secrets(root.get_ref(), &mut report);
        Self {
            root: root.into_inner(),
            report: RefCell::new(report),
        }
    }

    /// The top-level table.
    #[must_use]
    pub fn root(&self) -> Table<'_> {
        Table::new(&self.root, Span::default(), String::new(), &self.report)
    }

    /// The diagnostics, sorted by position.
    #[must_use]
    pub fn into_report(self) -> Report {
        let mut report = self.report.into_inner();
        report.sort();
        report
    }
}

fn syntax_diagnostic(err: &SyntaxError, source: &Source) -> Diagnostic {
    let end = source.text.len();
    let span = err.span().unwrap_or(end..end);
    Diagnostic {
        severity: Severity::Error,
        span: Some(span.into()),
        message: format!("this is not TOML: {}", err.message()),
        label: String::new(),
        help: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let source = Source::new("a.toml", "a = \"ä\"\nbé = 1\n".to_owned());
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        // Byte 6 is inside `ä`, byte 7 the quote after it.
        assert_eq!(source.position(6), Position { line: 1, column: 6 });
        assert_eq!(source.position(7), Position { line: 1, column: 7 });
        assert_eq!(source.position(9), Position { line: 2, column: 1 });
        assert_eq!(source.position(999), Position { line: 3, column: 1 });
    }

    #[test]
    fn one_syntax_error_per_line() {
        let source = Source::new("a.toml", "a = = = [\nb = 1\nc = }}}\n".to_owned());
        let report = Document::parse(&source).into_report();
        let mut lines: Vec<_> = report
            .diagnostics()
            .iter()
            .map(|diagnostic| source.position(diagnostic.span.unwrap().start).line)
            .collect();
        let count = lines.len();
        lines.dedup();
        assert!(count >= 2, "{count}");
        assert_eq!(lines.len(), count);
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        for text in [
            "a = ".to_owned() + &"[".repeat(100_000),
            "a = ".to_owned() + &"{a=".repeat(100_000),
            "a.".repeat(100_000) + "a = 1",
        ] {
            let source = Source::new("a.toml", text);
            assert!(Document::parse(&source).into_report().has_errors());
        }
    }
}
