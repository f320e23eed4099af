//! The result of a verification: the secret that made the signature, and the digest of the signed bytes.

use crate::scheme::sent_timestamp::SignedTime;

/// Result of a successful verification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignatureMatch {
    /// Position of the secret that verified the request.
    pub secret_index: usize,
    /// Digest that identifies the signed bytes: the MAC under that secret, cut or zero-padded to 32 bytes; for a token,
    /// which signs nothing, the SHA-256 of the body. Equal bytes under an equal secret have equal digests.
    pub digest: [u8; 32],
    /// Signed time, if only the whole request shows it.
    pub signed_time: Option<SignedTime>,
    /// Validity period of the token or the certificate, if there is one.
    pub validity: Option<ValidityWindow>,
}

/// Validity period of a token, signature or certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ValidityWindow {
    /// Name of the object in messages.
    pub name: &'static str,
    /// Start in milliseconds since the epoch; `None`: no start.
    pub from_ms: Option<i64>,
    /// End in milliseconds since the epoch; `None`: no end.
    pub until_ms: Option<i64>,
}
