//! The DNS resolver for destinations on the internet (egress guard).
//!
//! The gate resolves these names itself, so that it sees every address of a response before it connects, and connects
//! to exactly the address that it checked.
//!
//! Otherwise, a user who may name a destination could make the gate send requests into its own network: to this
//! machine, to private networks or to the metadata service of a cloud. The name could also point to a public address
//! first and elsewhere a moment later (DNS rebinding).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hookgate_verify::net::special_addresses::is_public;
use parking_lot::Mutex;

/// The reason why a name has no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// The resolver configuration of the system cannot be read.
    #[error("the system's DNS configuration (`/etc/resolv.conf`) cannot be used")]
    System(#[source] Box<NetError>),
    /// The name server's response says that there is no address.
    #[error("the name does not exist in DNS, or has no address")]
    Unknown,
    /// The name server sent no usable response.
    #[error("no DNS response with an address")]
    Lookup(#[source] Box<NetError>),
}

/// A resolver for names of hosts on the internet. Cheap to clone.
#[derive(Clone)]
pub(crate) struct EgressResolver(Arc<ResolverInner>);

struct ResolverInner {
    /// The only name server to query. `None`: those of the system's configuration.
    server: Option<SocketAddr>,
    is_allowed: fn(IpAddr) -> bool,
    /// Built for the first look-up, and again after a failure, since the configuration may have changed meanwhile.
    made: Mutex<Option<TokioResolver>>,
}

/// Timeout of one query to one name server. The connection's deadline applies as well.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum time that a response is cached, whatever its TTL: a name that moves is followed within an hour.
const MAX_TTL: Duration = Duration::from_secs(3600);

impl Default for EgressResolver {
    fn default() -> Self {
        Self::new(None, is_public)
    }
}

impl EgressResolver {
    /// Creates a resolver that queries one name server only.
    #[cfg(test)]
    pub(crate) fn at(server: SocketAddr) -> Self {
        Self::new(Some(server), is_public)
    }

    /// Creates a resolver that takes other addresses as public, since tests can listen on loopback only.
    #[cfg(test)]
    pub(crate) fn lenient(server: SocketAddr, is_allowed: fn(IpAddr) -> bool) -> Self {
        Self::new(Some(server), is_allowed)
    }

    fn new(server: Option<SocketAddr>, is_allowed: fn(IpAddr) -> bool) -> Self {
        Self(Arc::new(ResolverInner {
            server,
            is_allowed,
            made: Mutex::new(None),
        }))
    }

    /// Returns true where a host on the internet may have this address.
    pub(crate) fn allows(&self, ip: IpAddr) -> bool {
        (self.0.is_allowed)(ip)
    }

    /// Returns all addresses of a name, unchecked: the caller must check each with [`Self::allows`].
    pub(crate) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let resolver = self.made()?;
        // The final dot turns off search lists: the name is looked up exactly as it was configured.
        let whole = format!("{}.", name.trim_end_matches('.'));
        match resolver.lookup_ip(whole).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) => {
                // A definite response is no reason to read the configuration again.
                if error.is_no_records_found() {
                    return Err(ResolveError::Unknown);
                }
                // The next look-up reads the configuration again, in case the name servers have changed.
                *self.0.made.lock() = None;
                Err(ResolveError::Lookup(Box::new(error)))
            }
        }
    }

    fn made(&self) -> Result<TokioResolver, ResolveError> {
        let mut made = self.0.made.lock();
        if let Some(resolver) = &*made {
            return Ok(resolver.clone());
        }
        // Built on first use, so that a gate without such destinations never reads the system's configuration.
        let mut builder = match self.0.server {
            None => TokioResolver::builder_tokio().map_err(unusable)?,
            Some(server) => {
                let mut udp = ConnectionConfig::udp();
                udp.port = server.port();
                let server = NameServerConfig::new(server.ip(), true, vec![udp]);
                let config = ResolverConfig::from_name_servers(vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let options = builder.options_mut();
        options.timeout = options.timeout.min(TIMEOUT);
        options.positive_max_ttl = Some(MAX_TTL);
        // A short negative cache: a name that was just created works within half a minute.
        options.negative_max_ttl = Some(Duration::from_secs(30));
        // Both families, since a special address among either of them rejects the name.
        options.ip_strategy = hickory_resolver::config::LookupIpStrategy::Ipv4AndIpv6;
        let resolver = builder.build().map_err(unusable)?;
        *made = Some(resolver.clone());
        Ok(resolver)
    }
}

fn unusable(error: NetError) -> ResolveError {
    ResolveError::System(Box::new(error))
}

#[cfg(test)]
mod tests;
