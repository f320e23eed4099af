//! TOML documents with spans and diagnostics, so that one load reports every error.
//!
//! `scheme`, `providers` and `config` read their tables through this module. It knows no key or section of the config,
//! reads no file and opens no socket.

pub mod key;
pub mod mask;
mod merge;
pub mod report;
mod secret_mask;
mod source;
pub mod suggest;
pub mod table;
pub mod value;

use std::cell::RefCell;
use std::sync::Arc;

use toml::de::{DeTable, Error as SyntaxError};

use crate::document::key::SectionDefinition;
use crate::document::report::{ConfigDiagnostic, DiagnosticReport, DiagnosticSeverity};
pub use crate::document::source::SourceText;
pub use crate::document::source::TextSpan;
use crate::document::table::TomlTable;

/// A parsed text with the diagnostics found in it so far.
#[derive(Debug)]
pub struct TomlDocument<'a> {
    root: DeTable<'a>,
    report: RefCell<DiagnosticReport>,
}

impl<'a> TomlDocument<'a> {
    /// Parses the whole text. Syntax errors go into the report; the root holds all entries that the parser could read.
    #[must_use]
    pub fn parse(source: &'a Arc<SourceText>) -> Self {
        Self::parse_merged(source, &NO_KEYS, &[])
    }

    /// Parses each file of the source, and merges them into one root by the definitions of its keys. A key of
    /// `main_only` may be in the first file only.
    #[must_use]
    pub fn parse_merged(
        source: &'a Arc<SourceText>,
        section: &SectionDefinition,
        main_only: &[&str],
    ) -> Self {
        let mut report = DiagnosticReport::new(Arc::clone(source));
        let mut roots = Vec::new();
        for file in source.files() {
            let text = source.text.get(file.span.start..file.span.end);
            let (root, errors) = DeTable::parse_recoverable(text.unwrap_or_default());
            add_syntax_errors(&errors, file.span, source, &mut report);
            let root = merge::shifted(root.into_inner(), file.span.start);
            // Before anything can be rendered, so that no caller can forget it. Also before the merge, which drops what
            // is defined twice.
            secret_mask::mask_secrets(&root, &mut report);
            roots.push(root);
        }
        Self {
            root: merge::merge_roots(roots, section, main_only, &mut report),
            report: RefCell::new(report),
        }
    }

    /// Returns the top-level table.
    #[must_use]
    pub fn root(&self) -> TomlTable<'_> {
        TomlTable::new(&self.root, TextSpan::default(), String::new(), &self.report)
    }

    /// Returns the diagnostics, sorted by position.
    #[must_use]
    pub fn into_report(self) -> DiagnosticReport {
        let mut report = self.report.into_inner();
        report.sort();
        report
    }
}

/// A section without keys, for a source of a single file, where nothing is merged.
static NO_KEYS: SectionDefinition = SectionDefinition {
    path: "",
    doc: "",
    keys: &[],
    required: &[],
    one_of: &[],
};

fn add_syntax_errors(
    errors: &[SyntaxError],
    file: TextSpan,
    source: &SourceText,
    report: &mut DiagnosticReport,
) {
    // One mistake makes the parser fail several times. The first message of a line is the useful one.
    let mut last_line = None;
    for err in errors {
        let span = match err.span() {
            Some(span) => TextSpan::from(span).shifted(file.start),
            None => TextSpan {
                start: file.end,
                end: file.end,
            },
        };
        let line = Some(source.line_number(span.start));
        if line != last_line {
            report.syntax_error(syntax_diagnostic(err, span));
        }
        last_line = line;
    }
}

fn syntax_diagnostic(err: &SyntaxError, span: TextSpan) -> ConfigDiagnostic {
    ConfigDiagnostic {
        severity: DiagnosticSeverity::Error,
        span: Some(span),
        message: format!("this is not TOML: {}", err.message()),
        label: String::new(),
        help: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::source::TextPosition;

    #[test]
    fn positions_count_characters_from_one() {
        let source = SourceText::new("a.toml", "a = \"ä\"\nbé = 1\n".to_owned());
        assert_eq!(source.position(0), TextPosition { line: 1, column: 1 });
        // Byte 6 is inside `ä`, byte 7 the quote after it.
        assert_eq!(source.position(6), TextPosition { line: 1, column: 6 });
        assert_eq!(source.position(7), TextPosition { line: 1, column: 7 });
        assert_eq!(source.position(9), TextPosition { line: 2, column: 1 });
        assert_eq!(source.position(999), TextPosition { line: 3, column: 1 });
    }

    #[test]
    fn one_syntax_error_per_line() {
        let source = SourceText::new("a.toml", "a = = = [\nb = 1\nc = }}}\n".to_owned());
        let report = TomlDocument::parse(&source).into_report();
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
            let source = SourceText::new("a.toml", text);
            assert!(TomlDocument::parse(&source).into_report().has_errors());
        }
    }
}
