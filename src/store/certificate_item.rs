//! Documents about certificates that the nodes of a shared store have in common.

use std::fmt;

use zeroize::Zeroizing;

/// A document about a certificate, an account or a challenge.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CertificateItem {
    /// Kind of the document, a word of a closed set.
    pub(crate) kind: String,
    /// Name of the document among those of its kind.
    pub(crate) name: String,
    /// Content, which may hold a private key.
    pub(crate) content: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for CertificateItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the content, which may hold a private key.
        f.debug_struct("CertificateItem")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
