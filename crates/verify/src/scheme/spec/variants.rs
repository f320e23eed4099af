//! Variants of a request among which senders choose: header names and compressed bodies.

use http::HeaderName;

/// Variants of one sender's requests.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SchemeVariants {
    /// Prefixes of header names: the scheme's own, and the alternative one that may replace it for all headers at once.
    pub prefixes: Option<(String, String)>,
    /// Signed bytes, if bodies may be compressed.
    pub gzip: Option<GzipText>,
}

/// Bytes of a compressed body that are signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GzipText {
    /// The plain text before compression.
    Plain,
    /// The compressed bytes as they are sent.
    Sent,
}

impl SchemeVariants {
    /// Returns the header's name in the alternative family.
    pub(super) fn other_name(&self, name: &HeaderName) -> Option<HeaderName> {
        let (own, other) = self.prefixes.as_ref()?;
        let rest = name.as_str().strip_prefix(own.as_str())?;
        format!("{other}{rest}").parse().ok()
    }
}
