//! The text of a document, and spans in it.

use std::sync::Arc;

/// A range of bytes in the text of a document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct TextSpan {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte.
    pub end: usize,
}

impl TextSpan {
    /// Returns the span, moved by a number of bytes toward the end.
    pub(crate) fn shifted(self, by: usize) -> Self {
        Self {
            start: self.start.saturating_add(by),
            end: self.end.saturating_add(by),
        }
    }
}

impl From<std::ops::Range<usize>> for TextSpan {
    fn from(range: std::ops::Range<usize>) -> Self {
        Self {
            start: range.start,
            end: range.end,
        }
    }
}

/// The text of one file or of several that form one document, with the names under which diagnostics show them.
#[derive(Debug)]
pub struct SourceText {
    /// The path of the first file, as the operator gave it.
    pub name: String,
    /// The texts of all files, with a line end between two of them.
    pub text: String,
    /// The files after the first one.
    more: Vec<SourcePart>,
}

/// One file of a document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceFile<'a> {
    /// The path, as the operator gave it.
    pub(crate) name: &'a str,
    /// The bytes of the file in the text of the document.
    pub(crate) span: TextSpan,
}

/// A file after the first one.
#[derive(Debug)]
struct SourcePart {
    name: String,
    /// Offset of its first byte in the text of the document.
    start: usize,
}

impl SourceText {
    /// Builds a source that [`TomlDocument::parse`] can borrow from.
    #[must_use]
    pub fn new(name: &str, text: String) -> Arc<Self> {
        Self::with_parts(name, text, Vec::new())
    }

    /// Builds a source of several files, each with its name and text. Offsets count through all of them.
    #[must_use]
    pub fn with_parts(name: &str, text: String, parts: Vec<(String, String)>) -> Arc<Self> {
        let mut source = Self {
            name: name.to_owned(),
            text,
            more: Vec::new(),
        };
        for (name, text) in parts {
            // The end of one file and the start of the next must not be the same offset: errors can be at either.
            source.text.push('\n');
            let start = source.text.len();
            source.text.push_str(&text);
            source.more.push(SourcePart { name, start });
        }
        Arc::new(source)
    }

    /// Returns the files in their order.
    pub(crate) fn files(&self) -> impl Iterator<Item = SourceFile<'_>> {
        let starts = self.more.iter().map(|part| part.start);
        // A file ends before the line end that separates it from the next one.
        let ends = starts.map(|start| start.saturating_sub(1));
        let ends = ends.chain([self.text.len()]);
        let first = (self.name.as_str(), 0);
        let more = self
            .more
            .iter()
            .map(|part| (part.name.as_str(), part.start));
        let files = [first].into_iter().chain(more);
        files.zip(ends).map(|((name, start), end)| SourceFile {
            name,
            span: TextSpan { start, end },
        })
    }

    /// Returns the names of all files, in their order.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.files().map(|file| file.name).collect()
    }

    /// Returns the file that holds a byte offset.
    pub(crate) fn file(&self, offset: usize) -> SourceFile<'_> {
        let whole = SourceFile {
            name: &self.name,
            span: TextSpan {
                start: 0,
                end: self.text.len(),
            },
        };
        let files = self.files().take_while(|file| file.span.start <= offset);
        files.last().unwrap_or(whole)
    }

    /// Returns the line and column of a byte offset in its file. Offsets past the end of the text count as its end.
    #[must_use]
    pub fn position(&self, offset: usize) -> TextPosition {
        let start = self.file(offset).span.start;
        let before = self.before(offset);
        let before = before.get(start..).unwrap_or_default();
        // Counted in characters, as editors do, so that the caret is under the right one.
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before
            .get(line_start..)
            .map_or(0, |rest| rest.chars().count());
        TextPosition {
            line: before.matches('\n').count() + 1,
            column: column + 1,
        }
    }

    /// Formats the location of a byte offset, such as `hookgate.toml:13:10`.
    #[must_use]
    pub fn location(&self, offset: usize) -> String {
        let position = self.position(offset);
        let name = self.file(offset).name;
        format!("{name}:{}:{}", position.line, position.column)
    }

    /// Returns a number for the line of a byte offset that no other line of any file has.
    pub(crate) fn line_number(&self, offset: usize) -> usize {
        self.before(offset).matches('\n').count()
    }

    /// Returns the text before a byte offset, cut back to the start of the character that holds it.
    fn before(&self, offset: usize) -> &str {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        self.text.get(..end).unwrap_or_default()
    }
}

/// A position in a text, as editors count it. Line and column start at 1, and columns count characters, not bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TextPosition {
    /// Line number, from 1.
    pub line: usize,
    /// Column number in characters, from 1.
    pub column: usize,
}
