//! TOML text with places: spans, diagnostics, and tables that are read key by key so that every error is reported at once.

/// A range of bytes in the text of a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}
