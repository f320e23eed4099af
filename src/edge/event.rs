//! Events below the level of requests, which the edge reports to its observer.
//!
//! `record` turns them into log lines. The edge itself logs nothing.

use std::io;
use std::net::IpAddr;

use crate::edge::head_check::HeadFault;

/// One event of a connection or a listener. It must not contain text from an untrusted client.
#[derive(Debug)]
pub(crate) enum EdgeEvent {
    /// A connection was closed for a limit, before any request.
    ConnectionRefused {
        /// Source address, from the PROXY protocol where that applies.
        ip: IpAddr,
        /// The limit that was reached.
        reason: ConnectionRefusal,
    },
    /// A required PROXY protocol header was missing, malformed or from an untrusted peer.
    ProxyHeaderRefused {
        /// IP address of the socket's peer.
        ip: IpAddr,
        /// The defect of the header.
        reason: &'static str,
    },
    /// The TLS handshake failed before its deadline.
    HandshakeFailed {
        /// IP address of the connection's source.
        ip: IpAddr,
        /// The error of the TLS library.
        error: String,
    },
    /// PROXY header and TLS handshake were not complete in time.
    HandshakeTimeout {
        /// IP address of the connection's source.
        ip: IpAddr,
    },
    /// A request head was rejected before the handler saw it.
    HeadRefused {
        /// IP address of the connection's source.
        ip: IpAddr,
        /// The defect of the head.
        fault: HeadFault,
    },
    /// A request head was not complete in time.
    HeadTimeout {
        /// IP address of the connection's source.
        ip: IpAddr,
    },
    /// A peer did not read its response in time.
    WriteStalled {
        /// IP address of the connection's source.
        ip: IpAddr,
    },
    /// A peer sent a flood of HTTP/2 frames without content.
    Flood {
        /// IP address of the connection's source.
        ip: IpAddr,
    },
    /// `accept` failed; the listener tries again after a pause.
    AcceptFailed {
        /// The error of the system.
        error: io::Error,
    },
    /// A certificate in use is expired.
    CertificateExpired {
        /// The names that it covers.
        names: Vec<String>,
    },
}

/// The limit that a connection reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ConnectionRefusal {
    /// The limit `max_connections` of all connections.
    TooManyConnections,
    /// The limit `max_connections_per_source` of one source.
    TooManyFromSource,
}

impl ConnectionRefusal {
    /// Returns the word for logs and metrics.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::TooManyConnections => "too-many-connections",
            Self::TooManyFromSource => "too-many-from-source",
        }
    }
}
