//! Signature material: unverified values from the head that are present exactly once and well-formed.
//!
//! Strict on purpose. A value that two parsers could read differently is rejected, because the app may read it the
//! other way. Providers never send such values.

use std::borrow::Cow;

use crate::scheme::http_signature::fields::HttpCandidate;
use crate::scheme::jwt::token::ParsedJwt;
pub use crate::scheme::read_head::read_query;
use crate::scheme::sent_timestamp::SentTimestamp;
pub(crate) use crate::scheme::sent_timestamp::SignedTime;
use crate::scheme::signature_format::SignatureList;

/// Unverified values of the head that a scheme needs.
pub struct SignatureMaterial<'h> {
    pub(super) proof: PresentedProof<'h>,
    pub(super) timestamp: Option<SentTimestamp>,
    pub(super) id: &'h [u8],
}

/// Proof of authenticity that is compared with the keys.
pub(super) enum PresentedProof<'h> {
    /// Decoded signatures with the digest's length; any of them may match.
    Signatures(SignatureList),
    /// A shared token, as the request shows it.
    Token(Cow<'h, [u8]>),
    /// A signed token, parsed but not verified.
    Jwt(Box<ParsedJwt>),
    /// HTTP Message Signatures; any of them may match.
    Http(Vec<HttpCandidate>),
    /// Nothing yet: only the whole request shows the proof.
    Whole,
}

impl<'h> SignatureMaterial<'h> {
    /// Returns the signed time, if the scheme has one in the head.
    #[must_use]
    pub fn signed_time(&self) -> Option<SignedTime> {
        self.timestamp.as_ref().map(SignedTime::of)
    }

    /// Returns the signed event id; empty if the scheme signs no id there.
    pub fn id(&self) -> &'h [u8] {
        self.id
    }

    /// Returns the text of the timestamp as it was sent.
    pub(super) fn timestamp_text(&self) -> &[u8] {
        let text = |timestamp| SentTimestamp::text(timestamp);
        self.timestamp.as_ref().map(text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
