//! Errors of the client.

use std::io;
use std::net::IpAddr;

use crate::net::egress::ResolveError;

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

/// The reason why no connection was opened. No byte of the request was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The system's resolver found no address.
    #[error("the host name cannot be resolved")]
    Resolve(#[source] io::Error),
    /// All addresses are link-local or metadata services.
    #[error(
        "the host's address is link-local or a metadata service, to which hookgate never connects"
    )]
    Forbidden,
    /// A host on the internet has a special address.
    #[error("the host's address {0} is not a public internet address")]
    Special(IpAddr),
    /// The egress resolver found no address.
    #[error("the host name cannot be resolved")]
    Lookup(#[source] ResolveError),
    /// No address accepted the connection.
    #[error("the host does not accept the connection")]
    Refused(#[source] io::Error),
    /// The Unix socket does not exist, or no program accepts its connections.
    #[error("the Unix socket does not accept the connection")]
    Socket(#[source] io::Error),
    /// The TLS handshake failed.
    #[error("the TLS handshake with the host failed")]
    Tls(#[source] io::Error),
    /// The deadline passed before the connection was established.
    #[error("the host did not accept the connection in time")]
    Timeout,
    /// The egress proxy does not accept connections.
    #[error("cannot connect to the egress proxy")]
    Proxy(#[source] Box<ConnectError>),
    /// The egress proxy opened no tunnel.
    #[error("the egress proxy opened no tunnel: {}", proxy_fault(*status))]
    Tunnel {
        /// Status of its response.
        status: u16,
    },
    /// The egress proxy's response is not HTTP.
    #[error("the response of the egress proxy is not HTTP: check `egress_proxy`")]
    ProxyResponse,
}

impl ConnectError {
    /// Returns true where the machine responded that no program listens on the port or the socket. A program that
    /// restarts also removes the file of its socket for a moment.
    pub(crate) fn is_refused(&self) -> bool {
        match self {
            Self::Refused(error) => error.kind() == io::ErrorKind::ConnectionRefused,
            Self::Socket(error) => matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            ),
            _ => false,
        }
    }
}

/// Describes a status of a proxy, with the usual cause.
fn proxy_fault(status: u16) -> String {
    let cause = match status {
        403 => ": its rules do not allow this host or port",
        // Tinyproxy sends 401 for a wrong password, where the standard says 407.
        401 | 407 => ": it requires `user` and `password`, or rejects them",
        405 | 501 => ": it does not support `CONNECT`",
        502..=504 => ": it cannot reach the host",
        _ => "",
    };
    format!("status {status}{cause}")
}
