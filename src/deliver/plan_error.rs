//! Errors of a delivery plan.

use hookgate_verify::scheme::SchemeError;

use crate::net::client::ClientError;

/// Why a destination cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// The URL is not valid; the check of the config rejects such URLs.
    #[error("the destination is not an http or https URL with a host")]
    Url,
    /// A name contains characters that no header value may have.
    #[error(
        "the name of the route or of the provider contains a character that no header value may have"
    )]
    Name,
    /// The client cannot create connections to the destination.
    #[error("connections to the destination cannot be set up")]
    Client(#[source] ClientError),
    /// `resign` is set, but the secrets do not fit the scheme.
    #[error("`resign` cannot sign with the route's secrets")]
    Scheme(#[source] SchemeError),
    /// `resign` is set, but only the sender has the private key.
    #[error(
        "requests of this route's scheme can be verified here, but not signed: remove `resign`"
    )]
    NoResign,
}
