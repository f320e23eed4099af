//! The way out to hosts on the internet: their names are resolved here, not by the system, so that every address of an
//! answer is seen before one is connected to, and none is asked for twice.
//!
//! Whoever may name a destination could otherwise have the gate send requests into its own network: to this machine, to
//! private networks, to the metadata service of a cloud; at once, or by a name that leads elsewhere a moment later.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use crate::net::special::is_public;

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The system's file cannot be read.
    #[error("the system's configuration of the resolver cannot be used")]
    System(#[source] Box<NetError>),
    /// The answer is that there is none.
    #[error("no such name, or one without addresses")]
    Unknown,
    /// No answer.
    #[error("no answer with an address")]
    Lookup(#[source] Box<NetError>),
}

/// Resolves names of hosts on the internet. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

struct Inner {
    /// None: what the system's configuration names.
    server: Option<SocketAddr>,
    is_allowed: fn(IpAddr) -> bool,
    /// Made when the first name is asked for; made anew after a failure, since the configuration may have changed.
    made: Mutex<Option<TokioResolver>>,
}

/// One question to one server. The deadline of the connection stands above it.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Longer than a name's answer counts here whatever it says: a name that moves is followed within the hour.
const MAX_TTL: Duration = Duration::from_secs(3600);

impl Default for Resolver {
    fn default() -> Self {
        Self::new(None, is_public)
    }
}

impl Resolver {
    /// Asks this server only.
    #[must_use]
    pub fn at(server: SocketAddr) -> Self {
        Self::new(Some(server), is_public)
    }

    /// Asks this server, and takes these addresses for public: loopback is all that a test can listen on.
    #[cfg(test)]
    pub(crate) fn lenient(server: SocketAddr, is_allowed: fn(IpAddr) -> bool) -> Self {
        Self::new(Some(server), is_allowed)
    }

    fn new(server: Option<SocketAddr>, is_allowed: fn(IpAddr) -> bool) -> Self {
        Self(Arc::new(Inner {
            server,
            is_allowed,
            made: Mutex::new(None),
        }))
    }

    /// Whether a host on the internet may have this address.
    #[must_use]
    pub fn allows(&self, ip: IpAddr) -> bool {
        (self.0.is_allowed)(ip)
    }

    /// All addresses of a name, unchecked.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let resolver = self.made()?;
        // With the dot no search list applies: the name is looked up as it was configured.
        let whole = format!("{}.", name.trim_end_matches('.'));
        match resolver.lookup_ip(whole).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) => {
                if error.is_no_records_found() {
                    return Err(ResolveError::Unknown);
                }
                *lock(&self.0.made) = None;
                Err(ResolveError::Lookup(Box::new(error)))
            }
        }
    }

    fn made(&self) -> Result<TokioResolver, ResolveError> {
        let mut made = lock(&self.0.made);
        if let Some(resolver) = &*made {
            return Ok(resolver.clone());
        }
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
        options.negative_max_ttl = Some(Duration::from_secs(30));
        options.ip_strategy = hickory_resolver::config::LookupIpStrategy::Ipv4AndIpv6;
        let resolver = builder.build().map_err(unusable)?;
        *made = Some(resolver.clone());
        Ok(resolver)
    }
}

fn unusable(error: NetError) -> ResolveError {
    ResolveError::System(Box::new(error))
}

/// What is behind this lock is only ever replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
