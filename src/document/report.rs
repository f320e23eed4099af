//! Diagnostics and how they are shown: as rustc shows its own, or as JSON.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value as Json, json};

use crate::document::mask;
use crate::document::{Source, Span};

/// Whether loading may go on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// The config is not used.
    Error,
    /// The config is used.
    Warning,
    /// The config is used, and something follows from it that the operator may not expect.
    Note,
}

/// One thing that is wrong with the operator's file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The place; none where it is about the file as a whole.
    pub span: Option<Span>,
    /// One sentence without a full stop, with the offending text in backticks. Never holds a secret.
    pub message: String,
    /// A few words under the place; may be empty.
    pub label: String,
    /// What would be right.
    pub help: Option<String>,
}

/// All diagnostics of one text.
#[derive(Clone, Debug)]
pub struct Report {
    source: Arc<Source>,
    diagnostics: Vec<Diagnostic>,
    masks: Vec<Span>,
    broken_lines: BTreeSet<usize>,
}

/// How a report is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// No escape sequences.
    Plain,
    /// Terminal colours.
    Colour,
}

/// The first so many diagnostics are printed: a file that is no config at all must not fill the screen.
const MAX_SHOWN: usize = 100;

impl Report {
    /// Nothing found yet.
    #[must_use]
    pub fn new(source: Arc<Source>) -> Self {
        Self {
            source,
            diagnostics: Vec::new(),
            masks: Vec::new(),
            broken_lines: BTreeSet::new(),
        }
    }

    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let line = diagnostic
            .span
            .map(|span| self.source.position(span.start).line);
        // What was made of a line that is not TOML says nothing that the syntax error does not.
        if line.is_none_or(|line| !self.broken_lines.contains(&line)) {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Adds one that is about something absent: left out where the text is not TOML, since what is absent may stand
    /// in the part that could not be read.
    pub fn push_absent(&mut self, diagnostic: Diagnostic) {
        if self.broken_lines.is_empty() {
            self.push(diagnostic);
        }
    }

    /// Adds one about text that is not TOML.
    pub fn syntax_error(&mut self, diagnostic: Diagnostic) {
        if let Some(span) = diagnostic.span {
            self.broken_lines
                .insert(self.source.position(span.start).line);
        }
        self.diagnostics.push(diagnostic);
    }

    /// Never shows this part of the text.
    pub fn mask(&mut self, span: Span) {
        self.masks.push(span);
    }

    /// Sorts by position; errors before warnings at the same place.
    pub fn sort(&mut self) {
        self.diagnostics.sort_by_key(|diagnostic| {
            let span = diagnostic.span.unwrap_or_default();
            (span.start, diagnostic.severity, span.end)
        });
    }

    /// What was found.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Where a diagnostic points to: `hookgate.toml:13:10`.
    #[must_use]
    pub fn place(&self, diagnostic: &Diagnostic) -> String {
        let name = &self.source.name;
        match diagnostic.span {
            Some(span) => {
                let start = self.source.position(span.start);
                format!("{name}:{}:{}", start.line, start.column)
            }
            None => name.to_string(),
        }
    }

    /// Whether the config cannot be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many there are of one severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    }

    /// `2 errors, 1 warning`.
    #[must_use]
    pub fn summary(&self) -> String {
        let counted = |count: usize, noun: &str| match count {
            1 => format!("1 {noun}"),
            _ => format!("{count} {noun}s"),
        };
        format!(
            "{}, {}",
            counted(self.count(Severity::Error), "error"),
            counted(self.count(Severity::Warning), "warning")
        )
    }

    /// Every diagnostic with the lines that it is about; empty where there is none.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let renderer = match style {
            Style::Plain => Renderer::plain(),
            Style::Colour => Renderer::styled(),
        }
        .decor_style(DecorStyle::Ascii);
        let text = self.shown_text();
        let mut out = String::new();
        for diagnostic in self.diagnostics.iter().take(MAX_SHOWN) {
            if diagnostic.severity == Severity::Note {
                let _ = writeln!(out, "{}\n", self.note_line(diagnostic));
                continue;
            }
            let group = self.group(diagnostic, &text);
            let _ = writeln!(out, "{}\n", renderer.render(&[group]));
        }
        if self.diagnostics.len() > MAX_SHOWN {
            let _ = writeln!(out, "... and {} more\n", self.diagnostics.len() - MAX_SHOWN);
        }
        out
    }

    /// Renders a note in one line: it needs no lines of the file.
    fn note_line(&self, diagnostic: &Diagnostic) -> String {
        let help = diagnostic.help.as_deref();
        let help = help.map_or(String::new(), |help| format!("; {help}"));
        format!(
            "note: {}: {}{help}",
            self.place(diagnostic),
            diagnostic.message
        )
    }

    /// The same as one JSON document.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let rows: Vec<Json> = self
            .diagnostics
            .iter()
            .map(|diagnostic| self.row(diagnostic))
            .collect();
        json!({
            "file": self.source.name,
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "diagnostics": rows,
        })
    }

    fn row(&self, diagnostic: &Diagnostic) -> Json {
        let start = diagnostic.span.map(|span| self.source.position(span.start));
        let end = diagnostic.span.map(|span| self.source.position(span.end));
        json!({
            "severity": diagnostic.severity.word(),
            "file": self.source.name,
            "line": start.map(|start| start.line),
            "column": start.map(|start| start.column),
            "end": end.map(|end| json!({ "line": end.line, "column": end.column })),
            "message": diagnostic.message,
            "label": diagnostic.label,
            "help": diagnostic.help,
        })
    }

    fn group<'a>(&'a self, diagnostic: &'a Diagnostic, text: &'a str) -> Group<'a> {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Note => Level::NOTE,
        };
        let mut group = match diagnostic.span {
            Some(span) => {
                let mark = AnnotationKind::Primary
                    .span(clamp(span, text))
                    .label(&diagnostic.label);
                let snippet = Snippet::source(text)
                    .path(&self.source.name)
                    .annotation(mark);
                level.primary_title(&diagnostic.message).element(snippet)
            }
            None => level
                .primary_title(&diagnostic.message)
                .element(Origin::path(&self.source.name)),
        };
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(help));
        }
        group
    }

    /// The text with every secret hidden, byte for byte as long as the original, so that spans fit.
    fn shown_text(&self) -> String {
        let mut shown = String::with_capacity(self.source.text.len());
        let mut masks = self.masks.clone();
        masks.sort();
        let mut at = 0;
        for span in masks {
            if let (Some(before), Some(hidden)) = (
                self.source.text.get(at..span.start),
                self.source.text.get(span.start..span.end),
            ) {
                shown.push_str(before);
                shown.push_str(&mask::hide_value(hidden));
                at = span.end;
            }
        }
        shown.push_str(self.source.text.get(at..).unwrap_or_default());
        if self.broken_lines.is_empty() {
            return shown;
        }
        // Where the text is not TOML, nothing can be trusted to have been parsed right, spans of secrets included.
        shown
            .split_inclusive('\n')
            .map(|line| {
                let (line, end) = line
                    .strip_suffix('\n')
                    .map_or((line, ""), |line| (line, "\n"));
                mask::hide_broken_line(line) + end
            })
            .collect()
    }
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// The span within the text and on character boundaries, as the renderer needs it.
fn clamp(span: Span, text: &str) -> std::ops::Range<usize> {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(text: &str, span: Span) -> Report {
        let mut report = Report::new(Source::new("hookgate.toml", text.to_owned()));
        report.push(Diagnostic {
            severity: Severity::Error,
            span: Some(span),
            message: "unknown provider `strpe`".to_owned(),
            label: "no provider has this id".to_owned(),
            help: Some("did you mean `stripe`?".to_owned()),
        });
        report
    }

    #[test]
    fn looks_like_rustc() {
        let report = sample("provider = \"strpe\"\n", Span { start: 11, end: 18 });
        let expected = "error: unknown provider `strpe`
 --> hookgate.toml:1:12
  |
1 | provider = \"strpe\"
  |            ^^^^^^^ no provider has this id
  |
  = help: did you mean `stripe`?

";
        assert_eq!(report.render(Style::Plain), expected);
        assert_eq!(report.summary(), "1 error, 0 warnings");
        let row = &report.to_json()["diagnostics"][0];
        assert_eq!(row["column"], 12);
        assert_eq!(row["end"]["column"], 19);
    }

    #[test]
    fn masked_text_is_never_shown() {
        let mut report = sample("secret = \"höhö\"\n", Span { start: 0, end: 6 });
        report.mask(Span { start: 9, end: 17 });
        let text = report.render(Style::Plain);
        assert!(!text.contains("höhö"), "{text}");
        assert!(text.contains("secret = \"******\""), "{text}");
    }
}
