//! Opens one upstream connection under one deadline: DNS, TCP and TLS, or a Unix socket.
//!
//! The gate connects to the very address that it checked. Link-local addresses and the metadata services of clouds are
//! always rejected, whatever name points to them. For a host on the internet, every special address is rejected, and so
//! is a name with one special address among others: the owner of such a name wants to reach an internal network.
//!
//! Neither redirects nor proxies from the environment are used. Through the egress proxy of the config, the gate asks for
//! an address that it checked, unless the config leaves names to the proxy.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::net::host;
use hookgate_verify::net::special_addresses::{is_forbidden, is_forbidden_host, literal_address};
use http::uri::Authority;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::net::app_url::AppOrigin;
use crate::net::client::error::ConnectError;
use crate::net::client::own_tls::OwnTls;
use crate::net::client::stream::{ProbedStream, ReadinessProbe, UpstreamStream};
use crate::net::client::{tcp, tunnel};
use crate::net::egress::EgressResolver;
use crate::net::egress_proxy::{EgressProxy, ProxyResolve};

/// Pause between two attempts to connect to a Unix socket whose queue is full.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// The socket to connect to, with TLS settings.
pub(super) enum ConnectOrigin {
    Host(HostOrigin),
    /// Address of a Unix socket.
    Socket(PathBuf),
}

/// The host, port and TLS settings of an upstream.
pub(super) struct HostOrigin {
    host: RemoteHost,
    port: u16,
    tls: Option<(TlsSource, ServerName<'static>)>,
    reach: NetworkReach,
    proxy: Option<Arc<EgressProxy>>,
}

/// The origin of the TLS configuration of new connections.
pub(super) enum TlsSource {
    /// The configuration that most upstreams share.
    Shared(TlsConnector),
    /// Files of the upstream's own, which may be renewed.
    Own(OwnTls),
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

impl TlsSource {
    fn connector(&self) -> TlsConnector {
        match self {
            Self::Shared(connector) => connector.clone(),
            Self::Own(own) => TlsConnector::from(own.config()),
        }
    }
}

impl ConnectOrigin {
    /// Creates an origin. Returns `None` where TLS could not verify the host.
    pub(super) fn of(
        origin: &AppOrigin,
        tls: Option<TlsSource>,
        reach: NetworkReach,
        proxy: Option<Arc<EgressProxy>>,
    ) -> Option<Self> {
        match origin {
            AppOrigin::Host { authority, .. } => {
                HostOrigin::of(authority, tls, reach, proxy).map(Self::Host)
            }
            AppOrigin::Socket(name) => Some(Self::Socket(name.address())),
        }
    }

    /// Returns a number that changes when the TLS files of the origin are renewed.
    pub(super) fn tls_generation(&self) -> u64 {
        match self {
            Self::Host(HostOrigin {
                tls: Some((TlsSource::Own(own), _)),
                ..
            }) => own.generation(),
            Self::Host(_) | Self::Socket(_) => 0,
        }
    }

    /// Opens a connection within `limit`.
    pub(super) async fn connect(
        &self,
        limit: Duration,
        probe: ReadinessProbe,
    ) -> Result<UpstreamStream, ConnectError> {
        // One deadline for all steps, so that a slow resolver leaves less time for the handshake instead of adding to
        // it.
        let deadline = Instant::now() + limit;
        match self {
            Self::Host(host) => host.connect(deadline, probe).await,
            Self::Socket(path) => {
                let stream = connect_socket(path, deadline).await?;
                Ok(UpstreamStream::Unix(ProbedStream::new(stream, probe)))
            }
        }
    }
}

impl HostOrigin {
    fn of(
        authority: &Authority,
        tls: Option<TlsSource>,
        reach: NetworkReach,
        proxy: Option<Arc<EgressProxy>>,
    ) -> Option<Self> {
        // A URL has an IPv6 address in brackets, which neither the address parser nor a server name accepts.
        let bare = host::bare(authority.host());
        let host = match bare.parse() {
            Ok(address) => RemoteHost::Address(address),
            Err(_) => RemoteHost::Name(bare.to_owned()),
        };
        let port = authority
            .port_u16()
            .unwrap_or(if tls.is_some() { 443 } else { 80 });
        let tls = match tls {
            None => None,
            Some(source) => {
                let named = match &source {
                    TlsSource::Own(own) => own.files().server_name.clone(),
                    TlsSource::Shared(_) => None,
                };
                // A host that no certificate can name fails here, when the pool is built, and not with its first
                // request.
                let name = named.or_else(|| ServerName::try_from(bare.to_owned()).ok())?;
                Some((source, name))
            }
        };
        Some(Self {
            host,
            port,
            tls,
            reach,
            proxy,
        })
    }

    async fn connect(
        &self,
        deadline: Instant,
        probe: ReadinessProbe,
    ) -> Result<UpstreamStream, ConnectError> {
        let stream = match &self.proxy {
            None => {
                let addresses = self.checked_addresses(deadline).await?;
                let stream = tcp::connect_to_any(&addresses, deadline).await?;
                self.check_peer(&stream)?;
                stream
            }
            Some(proxy) => self.connect_through(proxy, deadline).await?,
        };
        // A request is written in one piece, so waiting for more bytes (Nagle's algorithm) would only delay it.
        stream.set_nodelay(true).map_err(ConnectError::Refused)?;
        // The probe is below TLS, since only the raw socket can be asked. TLS then judges the bytes that it finds.
        let stream = ProbedStream::new(stream, probe);
        let Some((source, name)) = &self.tls else {
            return Ok(UpstreamStream::Plain(stream));
        };
        let connecting = source.connector().connect(name.clone(), stream);
        let stream = timeout_at(deadline, connecting)
            .await
            .map_err(|_| ConnectError::Timeout)?
            .map_err(ConnectError::Tls)?;
        Ok(UpstreamStream::Tls(Box::new(stream)))
    }

    /// Opens a tunnel to the host through a proxy.
    async fn connect_through(
        &self,
        proxy: &EgressProxy,
        deadline: Instant,
    ) -> Result<TcpStream, ConnectError> {
        // Only a host that a user may have chosen has to be resolved here: the proxy would connect to any address.
        let is_checked =
            matches!(self.reach, NetworkReach::Internet(_)) && proxy.resolve == ProxyResolve::Local;
        match &self.host {
            RemoteHost::Name(name) if !is_checked => {
                // The name goes to the proxy unresolved, so only the name itself can be checked here.
                self.check_name(name)?;
                tunnel::open(proxy, &format!("{name}:{}", self.port), deadline).await
            }
            RemoteHost::Name(_) | RemoteHost::Address(_) => {
                let addresses = self.checked_addresses(deadline).await?;
                let mut last = ConnectError::Timeout;
                for (tried, address) in addresses.iter().enumerate() {
                    let share = tcp::share(deadline, addresses.len().saturating_sub(tried));
                    let limit = Instant::now() + share;
                    match tunnel::open(proxy, &address.to_string(), limit).await {
                        // Only the proxy's response says something about the address, so only then the next may differ.
                        Err(error @ (ConnectError::Tunnel { .. } | ConnectError::Timeout)) => {
                            last = error;
                        }
                        ended => return ended,
                    }
                }
                Err(last)
            }
        }
    }

    /// Rejects a name that the proxy would resolve to an address which the gate itself never connects to.
    fn check_name(&self, name: &str) -> Result<(), ConnectError> {
        if is_forbidden_host(name) {
            return Err(ConnectError::Forbidden);
        }
        let NetworkReach::Internet(resolver) = &self.reach else {
            return Ok(());
        };
        // `0x7f.1` is an address to the resolver of a proxy, and `localhost` is the proxy's own machine.
        let lower = host::without_root(name).to_ascii_lowercase();
        if lower == "localhost" || lower.ends_with(".localhost") {
            return Err(ConnectError::Special(IpAddr::from([127, 0, 0, 1])));
        }
        match literal_address(name) {
            Some(address) if !resolver.allows(address) => Err(ConnectError::Special(address)),
            Some(_) | None => Ok(()),
        }
    }

    /// Returns the addresses of the host after the checks of all of them.
    async fn checked_addresses(&self, deadline: Instant) -> Result<Vec<SocketAddr>, ConnectError> {
        let found = timeout_at(deadline, self.addresses()).await;
        let mut addresses = found.map_err(|_| ConnectError::Timeout)??;
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
        // In the operator's own network a name may have a forbidden address beside good ones, so the good ones remain.
        addresses.retain(|address| !is_forbidden(address.ip()));
        if addresses.is_empty() {
            return Err(ConnectError::Forbidden);
        }
        Ok(addresses)
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, ConnectError> {
        match (&self.host, &self.reach) {
            // No lookup, but the checks of the caller apply to a literal address as well.
            (RemoteHost::Address(ip), _) => Ok(vec![SocketAddr::new(*ip, self.port)]),
            (RemoteHost::Name(name), NetworkReach::Near) => {
                tcp::system_addresses(name, self.port).await
            }
            (RemoteHost::Name(name), NetworkReach::Internet(resolver)) => {
                let found = resolver.addresses(name).await;
                let found = found.map_err(ConnectError::Lookup)?.into_iter();
                Ok(found.map(|ip| SocketAddr::new(ip, self.port)).collect())
            }
        }
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

/// Connects to a Unix socket. While its queue of new connections is full, the kernel rejects a connection at once instead
/// of delaying it, so the delay is made here.
async fn connect_socket(path: &Path, deadline: Instant) -> Result<UnixStream, ConnectError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let connected = timeout(left, UnixStream::connect(path)).await;
        match connected.map_err(|_| ConnectError::Timeout)? {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // A pause beyond the deadline cannot help, so the caller hears of the timeout at once.
                if left <= QUEUE_PAUSE {
                    return Err(ConnectError::Timeout);
                }
                sleep(QUEUE_PAUSE).await;
            }
            Err(error) => return Err(ConnectError::Socket(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rig::app::Refusing;

    async fn connect(authority: &str) -> Result<UpstreamStream, ConnectError> {
        let origin = AppOrigin::Host {
            is_tls: false,
            authority: authority.parse().unwrap(),
        };
        let origin = ConnectOrigin::of(&origin, None, NetworkReach::Near, None).unwrap();
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
