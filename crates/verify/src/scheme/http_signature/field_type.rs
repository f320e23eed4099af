//! Registered types of structured fields.

use http::HeaderName;

/// Type of a structured field, which `;sf` needs (RFC 9421 section 2.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FieldType {
    Dictionary,
    List,
    Item,
}

impl FieldType {
    /// Returns the registered type of a header.
    pub(super) fn of(name: &HeaderName) -> Option<Self> {
        Some(match name.as_str() {
            "content-digest"
            | "repr-digest"
            | "want-content-digest"
            | "want-repr-digest"
            | "signature"
            | "signature-input"
            | "accept-signature"
            | "priority" => Self::Dictionary,
            "cache-status" | "proxy-status" | "client-cert-chain" | "accept-ch" => Self::List,
            "client-cert" | "capsule-protocol" => Self::Item,
            _ => return None,
        })
    }
}
