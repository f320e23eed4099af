//! The id that a sender gives an event.

use std::fmt;
use std::sync::Arc;

/// The sender's id of an event: any text of 1 to 1024 bytes.
///
/// Senders use times, names and URLs as ids, in any script. Code that prints an id must escape it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct EventId(Arc<str>);

impl EventId {
    /// Length of the longest id, in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// Wraps an id, or returns `None` where the text is empty or too long.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (1..=Self::MAX_BYTES)
            .contains(&text.len())
            .then(|| Self(text.into()))
    }

    /// Returns the id as the sender wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
