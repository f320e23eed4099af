//! Diagnostics and their rendering: in the style of rustc, or as JSON.
//!
//! No rendering may show a secret, so all text that is printed goes through the masks.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value as Json, json};

use crate::document::mask;
use crate::document::source::{SourceText, TextSpan};
use crate::net::redact::MASK;

/// The severity of a diagnostic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DiagnosticSeverity {
    /// Loading fails.
    Error,
    /// Loading succeeds, but the config is doubtful.
    Warning,
    /// Loading succeeds, with a consequence that the operator may not expect.
    Note,
}

/// One finding in the operator's file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigDiagnostic {
    /// Error, warning or note.
    pub severity: DiagnosticSeverity,
    /// The location, or `None` for a finding about the file as a whole.
    pub span: Option<TextSpan>,
    /// One sentence without a full stop, with the offending text in backticks. It never contains a secret.
    pub message: String,
    /// A few words under the location; may be empty.
    pub label: String,
    /// The correction, where one is known.
    pub help: Option<String>,
}

/// All diagnostics of one document.
#[derive(Clone, Debug)]
pub struct DiagnosticReport {
    source: Arc<SourceText>,
    diagnostics: Vec<ConfigDiagnostic>,
    masks: Vec<TextSpan>,
    /// Values that no message may repeat.
    hidden_texts: Vec<String>,
    broken_lines: BTreeSet<usize>,
}

/// The output format of a report for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReportStyle {
    /// Text without escape sequences.
    Plain,
    /// Text with ANSI colors.
    Colour,
}

/// Maximum number of diagnostics printed: a file that is not a config must not fill the screen.
const MAX_SHOWN: usize = 100;

/// Length from which a secret is replaced in messages.
const MIN_HIDDEN: usize = 8;

impl DiagnosticReport {
    /// Creates a report without diagnostics.
    #[must_use]
    pub fn new(source: Arc<SourceText>) -> Self {
        Self {
            source,
            diagnostics: Vec::new(),
            masks: Vec::new(),
            hidden_texts: Vec::new(),
            broken_lines: BTreeSet::new(),
        }
    }

    /// Adds a diagnostic, unless its line already has a syntax error.
    pub fn push(&mut self, diagnostic: ConfigDiagnostic) {
        // A diagnostic about the whole file has no line and is always kept.
        let line = diagnostic
            .span
            .map(|span| self.source.line_number(span.start));
        // The parser guesses the content of a line that is not TOML, so other findings there add nothing to the syntax
        // error.
        if line.is_none_or(|line| !self.broken_lines.contains(&line)) {
            let diagnostic = self.redacted(diagnostic);
            self.diagnostics.push(diagnostic);
        }
    }

    /// Adds a diagnostic about something absent. It is dropped where the text is not TOML, since the absent part may be
    /// in lines that the parser could not read.
    pub fn push_absent(&mut self, diagnostic: ConfigDiagnostic) {
        if self.broken_lines.is_empty() {
            self.push(diagnostic);
        }
    }

    /// Adds a diagnostic about text that is not TOML.
    pub fn syntax_error(&mut self, diagnostic: ConfigDiagnostic) {
        if let Some(span) = diagnostic.span {
            self.broken_lines
                .insert(self.source.line_number(span.start));
        }
        let diagnostic = self.redacted(diagnostic);
        self.diagnostics.push(diagnostic);
    }

    /// Masks a part of the text in every output.
    pub fn mask(&mut self, span: TextSpan) {
        self.masks.push(span);
    }

    /// Keeps a value out of the messages that are added from now on. Messages about keys for secrets repeat no value, but
    /// those about other keys do, and an operator may have put a URL, `user:password` or `password=...` there.
    pub(crate) fn hide_text(&mut self, text: &str) {
        // A short text, or one like a word, would leave holes in messages that are about something else.
        if text.len() >= MIN_HIDDEN && text.contains([':', '/', '=']) {
            self.hidden_texts.push(text.to_owned());
        }
    }

    fn redacted(&self, mut diagnostic: ConfigDiagnostic) -> ConfigDiagnostic {
        for hidden in &self.hidden_texts {
            let texts = [&mut diagnostic.message, &mut diagnostic.label];
            for text in texts.into_iter().chain(&mut diagnostic.help) {
                if text.contains(hidden.as_str()) {
                    *text = text.replace(hidden.as_str(), MASK);
                }
            }
        }
        diagnostic
    }

    /// Sorts by position. At the same position, errors come before warnings.
    pub fn sort(&mut self) {
        self.diagnostics.sort_by_key(|diagnostic| {
            let span = diagnostic.span.unwrap_or_default();
            // The end comes last, so that of two findings at one position the narrower one is first.
            (span.start, diagnostic.severity, span.end)
        });
    }

    /// Returns the diagnostics found so far.
    #[must_use]
    pub fn diagnostics(&self) -> &[ConfigDiagnostic] {
        &self.diagnostics
    }

    /// Formats the location of a diagnostic, such as `hookgate.toml:13:10`.
    #[must_use]
    pub fn location(&self, diagnostic: &ConfigDiagnostic) -> String {
        match diagnostic.span {
            Some(span) => self.place(span),
            None => self.source.name.clone(),
        }
    }

    /// Formats the start of a span, such as `hookgate.toml:13:10`.
    #[must_use]
    pub fn place(&self, span: TextSpan) -> String {
        self.source.location(span.start)
    }

    /// Returns the names of the files of the document, in their order.
    #[must_use]
    pub fn files(&self) -> Vec<&str> {
        self.source.names()
    }

    /// Returns true where the config cannot be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.count(DiagnosticSeverity::Error) > 0
    }

    /// Counts the diagnostics of one severity.
    #[must_use]
    pub fn count(&self, severity: DiagnosticSeverity) -> usize {
        self.diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    }

    /// Formats the counts, such as `2 errors, 1 warning`.
    #[must_use]
    pub fn summary(&self) -> String {
        let counted = |count: usize, noun: &str| match count {
            1 => format!("1 {noun}"),
            _ => format!("{count} {noun}s"),
        };
        format!(
            "{}, {}",
            counted(self.count(DiagnosticSeverity::Error), "error"),
            counted(self.count(DiagnosticSeverity::Warning), "warning")
        )
    }

    /// Renders each diagnostic with its source lines. The text is empty where there are no diagnostics.
    #[must_use]
    pub fn render(&self, style: ReportStyle) -> String {
        self.render_each(self.diagnostics.iter().collect(), style)
    }

    /// Renders the errors only, for places that cut long texts: warnings may come before them.
    #[must_use]
    pub fn render_errors(&self, style: ReportStyle) -> String {
        let all = self.diagnostics.iter();
        let errors = all.filter(|diagnostic| diagnostic.severity == DiagnosticSeverity::Error);
        self.render_each(errors.collect(), style)
    }

    fn render_each(&self, diagnostics: Vec<&ConfigDiagnostic>, style: ReportStyle) -> String {
        let more = diagnostics.len().saturating_sub(MAX_SHOWN);
        let renderer = match style {
            ReportStyle::Plain => Renderer::plain(),
            ReportStyle::Colour => Renderer::styled(),
        }
        .decor_style(DecorStyle::Ascii);
        let text = self.shown_text();
        let mut out = String::new();
        for diagnostic in diagnostics.into_iter().take(MAX_SHOWN) {
            if diagnostic.severity == DiagnosticSeverity::Note {
                let _ = writeln!(out, "{}\n", self.note_line(diagnostic));
                continue;
            }
            let group = self.group(diagnostic, &text);
            let _ = writeln!(out, "{}\n", renderer.render(&[group]));
        }
        if more > 0 {
            let _ = writeln!(out, "... and {more} more\n");
        }
        out
    }

    /// Renders a note in one line: a note needs no source lines.
    fn note_line(&self, diagnostic: &ConfigDiagnostic) -> String {
        let help = diagnostic.help.as_deref();
        let help = help.map_or(String::new(), |help| format!("; {help}"));
        format!(
            "note: {}: {}{help}",
            self.location(diagnostic),
            diagnostic.message
        )
    }

    /// Renders the diagnostics as one JSON document.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let rows: Vec<Json> = self
            .diagnostics
            .iter()
            .map(|diagnostic| self.row(diagnostic))
            .collect();
        json!({
            "file": self.source.name,
            "files": self.files(),
            "errors": self.count(DiagnosticSeverity::Error),
            "warnings": self.count(DiagnosticSeverity::Warning),
            "diagnostics": rows,
        })
    }

    fn row(&self, diagnostic: &ConfigDiagnostic) -> Json {
        let file = diagnostic
            .span
            .map(|span| self.source.file(span.start).name);
        let start = diagnostic.span.map(|span| self.source.position(span.start));
        let end = diagnostic.span.map(|span| self.source.position(span.end));
        json!({
            "severity": diagnostic.severity.word(),
            "file": file.unwrap_or(&self.source.name),
            "line": start.map(|start| start.line),
            "column": start.map(|start| start.column),
            "end": end.map(|end| json!({ "line": end.line, "column": end.column })),
            "message": diagnostic.message,
            "label": diagnostic.label,
            "help": diagnostic.help,
        })
    }

    fn group<'a>(&'a self, diagnostic: &'a ConfigDiagnostic, text: &'a str) -> Group<'a> {
        let level = match diagnostic.severity {
            DiagnosticSeverity::Error => Level::ERROR,
            DiagnosticSeverity::Warning => Level::WARNING,
            DiagnosticSeverity::Note => Level::NOTE,
        };
        let mut group = match diagnostic.span {
            Some(span) => {
                // Lines count from the start of the file, so the snippet has the text of this file only.
                let file = self.source.file(span.start);
                let text = text.get(file.span.start..file.span.end).unwrap_or_default();
                let span = TextSpan {
                    start: span.start.saturating_sub(file.span.start),
                    end: span.end.saturating_sub(file.span.start),
                };
                let mark = AnnotationKind::Primary
                    .span(clamp(span, text))
                    .label(&diagnostic.label);
                let snippet = Snippet::source(text).path(file.name).annotation(mark);
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

    /// Returns the text with every secret masked. It has the same length in bytes as the original, so that spans fit.
    fn shown_text(&self) -> String {
        let mut shown = String::with_capacity(self.source.text.len());
        let mut masks = self.masks.clone();
        // Masks may overlap or repeat. A mask that begins before `at` is inside one already applied, so it is skipped.
        masks.sort();
        let mut at = 0;
        for span in masks {
            if let (Some(before), Some(hidden)) = (
                self.source.text.get(at..span.start),
                self.source.text.get(span.start..span.end),
            ) {
                shown.push_str(before);
                shown.push_str(&mask::mask_value(hidden));
                at = span.end;
            }
        }
        shown.push_str(self.source.text.get(at..).unwrap_or_default());
        if self.broken_lines.is_empty() {
            return shown;
        }
        // Where the text is not TOML, the spans of secrets may be wrong, so each line is also masked by its text.
        let mut is_inside = false;
        // The lines as they are in the file say where a multi-line string begins, since masks cover its quotes. Masks
        // keep line ends, so both texts have the same lines.
        let lines = shown.split_inclusive('\n');
        let lines = lines.zip(self.source.text.split_inclusive('\n'));
        let masked = lines.map(|(line, original)| {
            let (line, end) = line
                .strip_suffix('\n')
                .map_or((line, ""), |line| (line, "\n"));
            let was_inside = is_inside;
            is_inside ^= has_open_quotes(original);
            match was_inside {
                // The string may be a secret, whose lines can look like anything.
                true => mask::mask_all(line) + end,
                false => mask::mask_broken_line(line) + end,
            }
        });
        masked.collect()
    }
}

/// Returns true where a line begins or ends a multi-line string.
fn has_open_quotes(line: &str) -> bool {
    let quotes = line.matches("\"\"\"").count() + line.matches("'''").count();
    quotes % 2 == 1
}

impl DiagnosticSeverity {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// Cuts a span to the text and to character boundaries, as the renderer requires.
fn clamp(span: TextSpan, text: &str) -> std::ops::Range<usize> {
    let mut start = span.start.min(text.len());
    // The start moves back and the end moves forward, so that the span keeps every character it touched.
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

    fn sample(text: &str, span: TextSpan) -> DiagnosticReport {
        let mut report = DiagnosticReport::new(SourceText::new("hookgate.toml", text.to_owned()));
        report.push(ConfigDiagnostic {
            severity: DiagnosticSeverity::Error,
            span: Some(span),
            message: "unknown provider `strpe`".to_owned(),
            label: "no provider has this id".to_owned(),
            help: Some("did you mean `stripe`?".to_owned()),
        });
        report
    }

    #[test]
    fn looks_like_rustc() {
        let report = sample("provider = \"strpe\"\n", TextSpan { start: 11, end: 18 });
        let expected = "error: unknown provider `strpe`
 --> hookgate.toml:1:12
  |
1 | provider = \"strpe\"
  |            ^^^^^^^ no provider has this id
  |
  = help: did you mean `stripe`?

";
        assert_eq!(report.render(ReportStyle::Plain), expected);
        assert_eq!(report.summary(), "1 error, 0 warnings");
        let row = &report.to_json()["diagnostics"][0];
        assert_eq!(row["column"], 12);
        assert_eq!(row["end"]["column"], 19);
    }

    #[test]
    fn masked_text_is_never_shown() {
        let mut report = sample("secret = \"höhö\"\n", TextSpan { start: 0, end: 6 });
        report.mask(TextSpan { start: 9, end: 17 });
        let text = report.render(ReportStyle::Plain);
        assert!(!text.contains("höhö"), "{text}");
        assert!(text.contains("secret = \"******\""), "{text}");
    }
}
