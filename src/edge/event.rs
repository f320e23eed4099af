//! What the edge tells its observer: refusals below the level of requests. `record` turns them into log lines; the edge
//! itself logs nothing.

use std::io;
use std::net::IpAddr;

use crate::edge::head_check::HeadFault;

/// One thing that happened to a connection or a listener. Nothing in here is text that a stranger wrote.
#[derive(Debug)]
pub enum EdgeEvent {
    /// A connection was closed right after `accept`.
    ConnectionRefused {
        /// The source, by PROXY protocol where that counts.
        ip: IpAddr,
        /// Which limit was reached.
        reason: Refusal,
    },
    /// A required PROXY protocol header was missing or malformed, or came from a peer that is not trusted.
    ProxyHeaderRefused {
        /// The peer.
        ip: IpAddr,
        /// What was wrong.
        reason: &'static str,
    },
    /// The TLS handshake failed.
    HandshakeFailed {
        /// The source.
        ip: IpAddr,
        /// The error of the TLS library.
        error: String,
    },
    /// PROXY header and TLS handshake took too long.
    HandshakeTimeout {
        /// The source.
        ip: IpAddr,
    },
    /// A head was refused before anything saw it.
    HeadRefused {
        /// The source.
        ip: IpAddr,
        /// What was wrong.
        fault: HeadFault,
    },
    /// A head did not arrive in time.
    HeadTimeout {
        /// The source.
        ip: IpAddr,
    },
    /// A peer did not read its answer.
    WriteStalled {
        /// The source.
        ip: IpAddr,
    },
    /// A flood of HTTP/2 frames that carry nothing.
    Flood {
        /// The source.
        ip: IpAddr,
    },
    /// `accept` failed; the listener tries again after a pause.
    AcceptFailed {
        /// The error of the system.
        error: io::Error,
    },
    /// A certificate in use is past its end.
    CertificateExpired {
        /// The names in it.
        names: Vec<String>,
    },
}

/// Which limit a connection ran into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// `max_connections`.
    TooManyConnections,
    /// `max_connections_per_source`.
    TooManyFromSource,
}

impl Refusal {
    /// The word for logs and metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::TooManyConnections => "too-many-connections",
            Self::TooManyFromSource => "too-many-from-source",
        }
    }
}
