//! Contradictions in a scheme, or between a scheme and its secrets.

use crate::scheme::secret_set::MAX_SECRETS;

/// Contradiction in a scheme, or between a scheme and its secrets. It never contains a secret.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemeError {
    /// The text of a secret is not valid base64.
    #[error("the secret is not valid base64, which this scheme requires")]
    SecretNotBase64,
    /// The text of a secret is not a public key of the scheme's algorithm.
    #[error(
        "the secret is not a public key of this scheme's algorithm: use PEM, base64 or hexadecimal, as the sender shows it"
    )]
    NotPublicKey,
    /// A streaming template has parts that need the whole body.
    #[error(
        "the signed text needs the whole body, so the signature cannot be verified while the body arrives"
    )]
    NotStreamable,
    /// The scheme has no location for the signature.
    #[error("the scheme has no location for the signature")]
    NoSignaturePlace,
    /// `{secret}` is used outside of a plain digest, or a plain digest lacks it.
    #[error("a plain digest needs `{{secret}}` in `signed`, and no other type may have it")]
    SecretPart,
    /// A timestamp with several locations is an entry of a list.
    #[error("a timestamp with several locations cannot be an entry of a list")]
    ListAmongTimestamps,
    /// A signature with several locations has a list.
    #[error("a signature with several locations cannot have a list")]
    ListAmongPlaces,
    /// The text of a secret is not valid hexadecimal.
    #[error("the secret is not hexadecimal, which this scheme requires")]
    SecretNotHex,
    /// A secret is empty after decoding.
    #[error("the secret is empty")]
    SecretEmpty,
    /// A Basic secret has no colon.
    #[error("the secret of a scheme with HTTP Basic must be `user:password`")]
    SecretNotBasic,
    /// There is no secret, or there are more than [`MAX_SECRETS`].
    #[error("a scheme needs 1 to {MAX_SECRETS} secrets, not {found}")]
    SecretCount {
        /// Number of secrets that were given.
        found: usize,
    },
    /// The signed text contains the URL, but the route has no `public_url`.
    #[error("the signed text contains the URL, so the route needs `public_url`")]
    NeedsPublicUrl,
    /// The signed text contains `{body}` never or several times.
    #[error("the signed text contains `{{body}}` {found} times instead of once")]
    BodyParts {
        /// Number of times that it occurs.
        found: usize,
    },
    /// The signed text contains `{timestamp}`, but the scheme has no timestamp.
    #[error("the signed text contains the timestamp, but the scheme has no location for it")]
    NoTimestamp,
    /// The signed text contains `{id}`, but no event id of the scheme is in a header.
    #[error("the signed text contains the id, but no `event_id` of the scheme is a header")]
    NoIdHeader,
    /// The timestamp has a key, but no list that it could be in.
    #[error("the timestamp has a key, but the signature is not a list at the same location")]
    NoTimestampList,
    /// The signed text contains `{entry:NAME}`, but the signature is not a list.
    #[error("the signed text contains an entry of the list, but the signature is not a list")]
    NoEntryList,
    /// The algorithms mix HMACs with public keys, or with a key set.
    #[error(
        "`algorithms` mixes HMACs with public keys, so a public key could be used as an HMAC secret"
    )]
    MixedAlgorithms,
    /// The route does not set the audience of its tokens or messages.
    #[error(
        "this sender signs for all its customers with the same key, so the route needs `audience`"
    )]
    NeedsAudience,
    /// The route does not set the value of a claim.
    #[error(
        "this sender signs for all its customers with the same key, so the route needs the claim `{name}`"
    )]
    NeedsClaim {
        /// Name of the missing claim.
        name: String,
    },
    /// The route does not set the location of the keys.
    #[error("this sender has one key set per account, so the route needs `jwks`")]
    NeedsJwks,
    /// The credentials for fetching keys have no colon.
    #[error("the secret must be `client_id:secret`, with which the sender's keys are fetched")]
    SecretNotAccount,
    /// The signature is in the query, which is itself signed.
    #[error("the signature is in the query, which the signed text contains")]
    SignatureSignsItself,
}
