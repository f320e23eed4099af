//! Errors of the client.

/// The reason why a pool cannot be created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Neither TLS nor the resolver can use the host.
    #[error("the host is not a name or an address")]
    Host,
    /// The system has no root certificates to verify an `https` upstream with.
    #[error("no root certificate could be read from the system's store")]
    Roots,
    /// The TLS library rejected the settings.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// A PEM file cannot be read, or lacks the expected content.
    #[error("`{}` cannot be used as a PEM file", path.display())]
    File {
        path: std::path::PathBuf,
        source: rustls::pki_types::pem::Error,
    },
    /// A host on the internet is configured without TLS.
    #[error("a host on the internet must be reached by `https`")]
    Plain,
}
