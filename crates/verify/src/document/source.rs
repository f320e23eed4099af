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

impl From<std::ops::Range<usize>> for TextSpan {
    fn from(range: std::ops::Range<usize>) -> Self {
        Self {
            start: range.start,
            end: range.end,
        }
    }
}

/// The text of a file, with the name under which diagnostics show it.
#[derive(Debug)]
pub struct SourceText {
    /// The path, as the operator gave it.
    pub name: String,
    /// The whole text of the file.
    pub text: String,
}

impl SourceText {
    /// Builds a source that [`TomlDocument::parse`] can borrow from.
    #[must_use]
    pub fn new(name: &str, text: String) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            text,
        })
    }

    /// Returns the line and column of a byte offset. Offsets past the end of the text count as its end.
    #[must_use]
    pub fn position(&self, offset: usize) -> TextPosition {
        let before = self.before(offset);
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
