//! Opens one upstream connection: DNS, TCP and TLS under one deadline.
//!
//! The gate connects to the very address that it checked. Link-local addresses and the metadata services of clouds are
//! always rejected, whatever name points to them. For a host on the internet, every special address is rejected, and so
//! is a name with one special address among others: the owner of such a name wants to reach an internal network.
//!
//! Neither redirects nor proxies from the environment are used.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::net::host;
use hookgate_verify::net::special_addresses::is_forbidden;
use http::uri::Authority;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::net::client::stream::{ProbedStream, ReadinessProbe, UpstreamStream};
use crate::net::egress::{EgressResolver, ResolveError};

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
    /// The TLS handshake failed.
    #[error("the TLS handshake with the host failed")]
    Tls(#[source] io::Error),
    /// The deadline passed before the connection was established.
    #[error("the host did not accept the connection in time")]
    Timeout,
}

impl ConnectError {
    /// Returns true where the machine responded that no program listens on the port.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }
}

/// The host, port and TLS settings of an upstream.
pub(super) struct ConnectOrigin {
    host: RemoteHost,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    reach: NetworkReach,
}

/// The set of addresses that a host may have.
pub(super) enum NetworkReach {
    /// All but forbidden ones. The system resolves names.
    Near,
    /// Public addresses only. The egress resolver resolves names.
    Internet(EgressResolver),
}

enum RemoteHost {
    Address(IpAddr),
    Name(String),
}

impl ConnectOrigin {
    /// Creates an origin. Returns `None` where TLS could not verify the host.
    pub(super) fn of(
        authority: &Authority,
        tls: Option<Arc<rustls::ClientConfig>>,
        reach: NetworkReach,
    ) -> Option<Self> {
        let text = authority.host();
        let bare = host::bare(text);
        let host = match bare.parse() {
            Ok(address) => RemoteHost::Address(address),
            Err(_) => RemoteHost::Name(bare.to_owned()),
        };
        let port = authority
            .port_u16()
            .unwrap_or(if tls.is_some() { 443 } else { 80 });
        let tls = match tls {
            None => None,
            Some(config) => Some((
                TlsConnector::from(config),
                ServerName::try_from(bare.to_owned()).ok()?,
            )),
        };
        Some(Self {
            host,
            port,
            tls,
            reach,
        })
    }

    /// Opens a connection within `limit`.
    pub(super) async fn connect(
        &self,
        limit: Duration,
        probe: ReadinessProbe,
    ) -> Result<UpstreamStream, ConnectError> {
        let deadline = Instant::now() + limit;
        let addresses = timeout_at(deadline, self.addresses())
            .await
            .map_err(|_| ConnectError::Timeout)??;
        let stream = connect_to_any(&addresses, deadline).await?;
        self.check_peer(&stream)?;
        // A request is written in one piece, so waiting for more bytes (Nagle's algorithm) would only delay it.
        stream.set_nodelay(true).map_err(ConnectError::Refused)?;
        let stream = ProbedStream::new(stream, probe);
        let Some((connector, name)) = &self.tls else {
            return Ok(UpstreamStream::Plain(stream));
        };
        let stream = timeout_at(deadline, connector.connect(name.clone(), stream))
            .await
            .map_err(|_| ConnectError::Timeout)?
            .map_err(ConnectError::Tls)?;
        Ok(UpstreamStream::Tls(Box::new(stream)))
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, ConnectError> {
        let mut addresses: Vec<SocketAddr> = match (&self.host, &self.reach) {
            (RemoteHost::Address(ip), _) => vec![SocketAddr::new(*ip, self.port)],
            (RemoteHost::Name(name), NetworkReach::Near) => {
                tokio::net::lookup_host((name.as_str(), self.port))
                    .await
                    .map_err(ConnectError::Resolve)?
                    .collect()
            }
            (RemoteHost::Name(name), NetworkReach::Internet(resolver)) => {
                let found = resolver.addresses(name).await;
                let found = found.map_err(ConnectError::Lookup)?.into_iter();
                found.map(|ip| SocketAddr::new(ip, self.port)).collect()
            }
        };
        if addresses.is_empty() {
            return Err(ConnectError::Resolve(io::ErrorKind::NotFound.into()));
        }
        // One special address is enough to reject the name, so this comes before forbidden addresses are filtered out.
        if let NetworkReach::Internet(resolver) = &self.reach {
            let mut all = addresses.iter().map(SocketAddr::ip);
            if let Some(special) = all.find(|ip| !resolver.allows(*ip)) {
                return Err(ConnectError::Special(special));
            }
        }
        addresses.retain(|address| !is_forbidden(address.ip()));
        if addresses.is_empty() {
            return Err(ConnectError::Forbidden);
        }
        Ok(addresses)
    }

    /// Verifies the address that the kernel reports for the connected socket, as a second line of defense.
    fn check_peer(&self, stream: &TcpStream) -> Result<(), ConnectError> {
        let ip = stream.peer_addr().map_err(ConnectError::Refused)?.ip();
        match &self.reach {
            NetworkReach::Internet(resolver) if !resolver.allows(ip) => {
                Err(ConnectError::Special(ip))
            }
            _ if is_forbidden(ip) => Err(ConnectError::Forbidden),
            _ => Ok(()),
        }
    }
}

/// Tries one address after the other. Each gets an equal part of the time left, so that a silent one does not use up
/// the time of those after it.
async fn connect_to_any(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, ConnectError> {
    let mut last = ConnectError::Timeout;
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len().saturating_sub(tried)).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = ConnectError::Refused(error),
            Err(_) => last = ConnectError::Timeout,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rig::app::Refusing;

    async fn connect(authority: &str) -> Result<UpstreamStream, ConnectError> {
        let origin =
            ConnectOrigin::of(&authority.parse().unwrap(), None, NetworkReach::Near).unwrap();
        origin
            .connect(Duration::from_secs(5), ReadinessProbe::default())
            .await
    }

    // Mutation: remove the `retain` from `addresses`, and `check_peer`.
    #[tokio::test]
    async fn link_local_addresses_are_refused() {
        for authority in [
            "169.254.169.254",
            "[fe80::1]:80",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
        ] {
            let refused = connect(authority).await;
            assert!(
                matches!(refused, Err(ConnectError::Forbidden)),
                "{authority}"
            );
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_refused_at_once() {
        let closed = Refusing::new();
        let refused = connect(&closed.address().to_string()).await;
        assert!(matches!(refused, Err(ConnectError::Refused(_))));
    }
}
