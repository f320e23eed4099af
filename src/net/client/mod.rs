//! The outgoing HTTP/1.1 client: one pool of idle connections per upstream.
//!
//! The task of the request drives the connection it uses. There is no separate task, so nothing is handed over between
//! tasks, and an idle connection costs only its socket. A connection returns to the pool after the whole response was
//! read, and only while it is clean. In all other cases, dropping the `ConnectionLease` closes it.
//!
//! Before a request is written to an idle connection, the kernel is asked for the current state of the socket (see
//! `stream`). Where the upstream has closed the connection or sent unexpected bytes, the request comes back unwritten and
//! may be sent on another connection. A request that was written, even in part, is never sent again.

mod connect;
pub(crate) mod drain;
mod error;
mod own_tls;
mod stream;
mod tcp;
mod tls;
mod tunnel;

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::time::{Sleep, sleep};

use crate::model::clock;
use crate::net::app_url::AppOrigin;
use crate::net::client::connect::{ConnectOrigin, NetworkReach, TlsSource};
pub(crate) use crate::net::client::error::{ClientError, ConnectError};
pub(crate) use crate::net::client::own_tls::OwnTls;
use crate::net::client::own_tls::OwnTlsState;
pub(crate) use crate::net::client::own_tls::TlsFiles;
use crate::net::client::stream::{ReadinessProbe, UpstreamStream};
use crate::net::egress::EgressResolver;
use crate::net::egress_proxy::EgressProxy;

/// All connection pools of the process. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct OutgoingClient(Arc<ClientShared>);

#[derive(Default)]
struct ClientShared {
    roots: Option<rustls::RootCertStore>,
    tls: Mutex<Option<Arc<rustls::ClientConfig>>>,
    resolver: EgressResolver,
    pools: Mutex<HashMap<PoolKey, Weak<ConnectionPool>>>,
    /// TLS settings from files, which are renewed together.
    own_tls: Mutex<Vec<Weak<OwnTlsState>>>,
    open: Arc<AtomicUsize>,
}

/// The properties that two routes must share to use the same connections.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct PoolKey {
    /// Host and port with or without TLS, or a Unix socket.
    pub origin: AppOrigin,
    /// Time to establish a connection, TLS handshake included.
    pub connect_timeout: Duration,
    /// Time from the request to the head of the response.
    pub timeout: Duration,
    /// Lifetime of connections.
    pub keep: PoolLimits,
    /// The upstream's own authorities and client certificate. `None`: the system's authorities.
    pub own_tls: Option<OwnTls>,
    /// True where the host is on the internet: it needs TLS, and special addresses are rejected.
    pub is_external: bool,
    /// Proxy through which the host is reached.
    pub proxy: Option<Arc<EgressProxy>>,
}

/// The lifetime of pooled connections.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PoolLimits {
    /// Time for which an idle connection stays open.
    pub idle_timeout: Duration,
    /// Age from which a connection takes no further request; `None`: no limit.
    pub max_age: Option<Duration>,
    /// False where each request gets a connection of its own.
    pub reuse: bool,
}

impl PoolLimits {
    /// Returns limits with an idle timeout only.
    pub(crate) const fn idle(idle_timeout: Duration) -> Self {
        Self {
            idle_timeout,
            max_age: None,
            reuse: true,
        }
    }
}

/// The reason why an exchange returned no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// The connection closed before anything was written. Returns the request, which may be sent again.
    #[error("the connection was closed before the request was written")]
    Unwritten(Box<Request<Full<Bytes>>>),
    /// The connection closed or failed before the head of a response was complete.
    #[error("the host closed the connection without a response")]
    Closed(#[source] hyper::Error),
    /// The received bytes are not an HTTP/1.1 response.
    #[error("the host's response is not HTTP")]
    Garbage(#[source] hyper::Error),
    /// The deadline passed before the head of a response.
    #[error("the host did not respond in time")]
    Deadline,
}

/// The connections to one upstream.
pub(crate) struct ConnectionPool {
    origin: ConnectOrigin,
    connect_timeout: Duration,
    timeout: Duration,
    keep: PoolLimits,
    idle: Mutex<IdleStack>,
    open: Arc<AtomicUsize>,
}

#[derive(Default)]
struct IdleStack {
    /// Ordered from the oldest to the newest. The newest is used first, so that a pool shrinks to its current need.
    connections: Vec<(Instant, Box<PooledConnection>)>,
    is_swept: bool,
}

/// One connection and its driver, which reads and writes the socket.
struct PooledConnection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once the connection has ended.
    driver: Option<http1::Connection<TokioIo<UpstreamStream>, Full<Bytes>>>,
    probe: ReadinessProbe,
    /// Timer for the head of a response. It stays with the connection, since resetting a timer is cheaper than creating
    /// one.
    timer: Pin<Box<Sleep>>,
    opened: Instant,
    /// Generation of the TLS files with which it was opened.
    tls_generation: u64,
    open: Arc<AtomicUsize>,
}

/// A connection for one exchange, from the pool or newly opened. Dropping it closes the connection.
pub(crate) struct ConnectionLease {
    connection: Box<PooledConnection>,
    pool: Arc<ConnectionPool>,
}

/// Maximum number of idle connections per pool. Others, opened for a burst, are closed.
const MAX_IDLE: usize = 256;

/// Maximum number of buffered bytes of a response, which also limits the size of its head.
const MAX_BUFFER: usize = 64 * 1024;

impl OutgoingClient {
    /// Creates a client that verifies `https` upstreams with the system's roots, which are read at the first use.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Creates a client that verifies `https` upstreams with these roots.
    pub(crate) fn with_roots(roots: rustls::RootCertStore) -> Self {
        Self(Arc::new(ClientShared {
            roots: Some(roots),
            ..ClientShared::default()
        }))
    }

    /// Creates a client with its own resolver for hosts on the internet.
    #[cfg(test)]
    pub(crate) fn with_resolver(
        roots: Option<rustls::RootCertStore>,
        resolver: EgressResolver,
    ) -> Self {
        Self(Arc::new(ClientShared {
            roots,
            resolver,
            ..ClientShared::default()
        }))
    }

    /// Returns the pool for an upstream. An existing pool is shared, also with an older configuration snapshot.
    ///
    /// # Errors
    ///
    /// The host is invalid, or its `https` cannot be verified.
    pub(crate) fn pool(&self, key: PoolKey) -> Result<Arc<ConnectionPool>, ClientError> {
        let mut pools = self.0.pools.lock();
        // The map holds weak references: a pool disappears with the last route that uses it.
        if let Some(pool) = pools.get(&key).and_then(Weak::upgrade) {
            return Ok(pool);
        }
        let is_tls = matches!(key.origin, AppOrigin::Host { is_tls: true, .. });
        let tls = match &key.own_tls {
            _ if !is_tls => None,
            Some(own) => Some(TlsSource::Own(own.clone())),
            None => Some(TlsSource::Shared(self.tls()?.into())),
        };
        // Without TLS, the host's identity cannot be verified, and a network in between could redirect the request.
        let reach = match key.is_external {
            true if tls.is_none() => return Err(ClientError::Plain),
            true => NetworkReach::Internet(self.0.resolver.clone()),
            false => NetworkReach::Near,
        };
        let proxy = key.proxy.clone();
        let origin = ConnectOrigin::of(&key.origin, tls, reach, proxy).ok_or(ClientError::Host)?;
        let pool = Arc::new(ConnectionPool {
            origin,
            connect_timeout: key.connect_timeout,
            timeout: key.timeout,
            keep: key.keep,
            idle: Mutex::default(),
            open: Arc::clone(&self.0.open),
        });
        // Pools of past snapshots are removed here, so the map stays as small as the config.
        pools.retain(|_, pool| pool.strong_count() > 0);
        pools.insert(key, Arc::downgrade(&pool));
        Ok(pool)
    }

    /// Counts open upstream connections, in use or idle.
    pub(crate) fn open_connections(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// Counts open upstream connections that are idle.
    #[cfg(test)]
    pub(crate) fn idle_connections(&self) -> usize {
        let pools = self.0.pools.lock();
        let living = pools.values().filter_map(Weak::upgrade);
        living.map(|pool| pool.idle.lock().connections.len()).sum()
    }

    /// Returns the roots for verification: those given at creation, or the system's, which are read again on each call.
    pub(crate) fn roots(&self) -> Result<rustls::RootCertStore, ClientError> {
        match &self.0.roots {
            Some(roots) => Ok(roots.clone()),
            None => system_roots(),
        }
    }

    /// Returns the TLS settings of these files. Routes with the same files share them, and so their connections.
    ///
    /// # Errors
    ///
    /// A file cannot be read or lacks the expected content, or the key does not belong to the certificate.
    pub(crate) fn own_tls(&self, files: &TlsFiles) -> Result<OwnTls, ClientError> {
        let mut known = self.0.own_tls.lock();
        let mut living = known.iter().filter_map(OwnTls::upgrade);
        if let Some(own) = living.find(|own| own.files() == files) {
            // A reload must reject broken files, and use changed ones at once.
            own.renew(|| self.roots())?;
            return Ok(own);
        }
        let own = OwnTls::load(|| self.roots(), files.clone())?;
        known.retain(|state| state.strong_count() > 0);
        known.push(own.downgrade());
        Ok(own)
    }

    /// Reads all TLS files again. Returns the number of settings that changed, and each failure that is new. Blocks.
    pub(crate) fn renew_tls(&self) -> (usize, Vec<ClientError>) {
        // Copied, so that no route waits for the disk.
        let known: Vec<OwnTls> = {
            let known = self.0.own_tls.lock();
            known.iter().filter_map(OwnTls::upgrade).collect()
        };
        let (mut changed, mut failures) = (0_usize, Vec::new());
        for own in known {
            match own.renew(|| self.roots()) {
                Ok(is_new) => changed = changed.saturating_add(usize::from(is_new)),
                // The files are read again and again, so a failure that lasts is reported once.
                Err(error) if own.is_news(&error) => failures.push(error),
                Err(_) => {}
            }
        }
        (changed, failures)
    }

    fn tls(&self) -> Result<Arc<rustls::ClientConfig>, ClientError> {
        // Held while the roots are read, so that routes which load together read them once.
        let mut cached = self.0.tls.lock();
        if let Some(config) = &*cached {
            return Ok(Arc::clone(config));
        }
        let config = tls::config(self.roots()?, None)?;
        let config = Arc::new(config);
        *cached = Some(Arc::clone(&config));
        Ok(config)
    }
}

pub(crate) fn system_roots() -> Result<rustls::RootCertStore, ClientError> {
    let mut roots = rustls::RootCertStore::empty();
    let (added, _) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    // Single certificates that cannot be parsed are skipped; a store without any usable one is an error.
    if added == 0 {
        return Err(ClientError::Roots);
    }
    Ok(roots)
}

impl ConnectionPool {
    /// Returns the deadline for the head of a response, which is also that between two frames of its body.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Takes the connection that was used last, unless it has been idle for too long.
    pub(crate) fn idle(self: &Arc<Self>) -> Option<ConnectionLease> {
        let now = clock::instant();
        loop {
            // The lock ends with this statement, since dropping an unusable connection below closes its socket.
            let popped = self.idle.lock().connections.pop();
            let (since, connection) = popped?;
            // The newest connection is too old, so all others are, too. The sweep closes them.
            if now.saturating_duration_since(since) >= self.keep.idle_timeout {
                return None;
            }
            // One that was used last may be the oldest, so those below it may still be good.
            if self.is_usable(&connection, now) {
                return Some(ConnectionLease {
                    connection,
                    pool: Arc::clone(self),
                });
            }
        }
    }

    /// Returns false for a connection that has reached its maximum age, or was opened with TLS files that were renewed
    /// since.
    fn is_usable(&self, connection: &PooledConnection, now: Instant) -> bool {
        let is_young = match self.keep.max_age {
            None => true,
            Some(limit) => now.saturating_duration_since(connection.opened) < limit,
        };
        is_young && connection.tls_generation == self.origin.tls_generation()
    }

    /// Opens a new connection.
    pub(crate) async fn connect(self: &Arc<Self>) -> Result<ConnectionLease, ConnectError> {
        let probe = ReadinessProbe::default();
        // Before the settings are read, so that a renewal in between makes the connection old, never the settings.
        let tls_generation = self.origin.tls_generation();
        let wire = self
            .origin
            .connect(self.connect_timeout, probe.clone())
            .await?;
        let handshake = http1::Builder::new()
            .max_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(wire));
        // HTTP/1 has no handshake, so this exchanges no bytes.
        let (sender, driver) = handshake
            .await
            .map_err(|error| ConnectError::Refused(std::io::Error::other(error)))?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(ConnectionLease {
            connection: Box::new(PooledConnection {
                sender,
                driver: Some(driver),
                probe,
                timer: Box::pin(sleep(self.timeout)),
                opened: clock::instant(),
                tls_generation,
                open: Arc::clone(&self.open),
            }),
            pool: Arc::clone(self),
        })
    }

    fn put_back(self: &Arc<Self>, connection: Box<PooledConnection>) {
        let now = clock::instant();
        // Dropping the connection closes it.
        if !self.keep.reuse || !self.is_usable(&connection, now) {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.connections.len() >= MAX_IDLE {
            return;
        }
        idle.connections.push((now, connection));
        let is_swept = std::mem::replace(&mut idle.is_swept, true);
        drop(idle);
        if !is_swept {
            // The task ends by itself, with the last idle connection or with the pool.
            tokio::spawn(sweep(Arc::downgrade(self), self.keep.idle_timeout));
        }
    }

    /// Closes connections that were idle for too long. Returns false once no connection is idle.
    fn close_old(&self) -> bool {
        let now = clock::instant();
        let mut idle = self.idle.lock();
        let is_old =
            |since: Instant| now.saturating_duration_since(since) >= self.keep.idle_timeout;
        // Connections are added in the order in which they became idle, so the old ones are at the front.
        let count = idle.connections.partition_point(|entry| is_old(entry.0));
        let mut old: Vec<_> = idle.connections.drain(..count).collect();
        // The ages are in no order, since a connection returns to the end of the list with each use.
        let aged = idle
            .connections
            .extract_if(.., |entry| !self.is_usable(&entry.1, now));
        old.extend(aged);
        idle.is_swept = !idle.connections.is_empty();
        let is_swept = idle.is_swept;
        // Closing sockets happens after the lock is released, so that requests do not wait for it.
        drop(idle);
        drop(old);
        is_swept
    }
}

async fn sweep(pool: Weak<ConnectionPool>, idle_timeout: Duration) {
    // Half of the timeout, so that a connection is open for at most one and a half of it.
    let pause = (idle_timeout / 2).max(Duration::from_millis(50));
    loop {
        sleep(pause).await;
        if !pool.upgrade().is_some_and(|pool| pool.close_old()) {
            return;
        }
    }
}

impl ConnectionLease {
    /// Writes the request and waits for the head of the response, within the pool's `timeout`.
    ///
    /// The body of the response only makes progress while `drive` is polled.
    ///
    /// # Errors
    ///
    /// See `ExchangeError`. Unless it is `Unwritten`, the upstream may have seen the request.
    pub(crate) async fn exchange(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ExchangeError> {
        // The upstream need not wait for another request on this connection (RFC 9112, section 9.6).
        if !self.pool.keep.reuse {
            let close = HeaderValue::from_static("close");
            request.headers_mut().insert(CONNECTION, close);
        }
        // One deadline for the whole head, so an upstream that sends it byte by byte gains no time.
        let deadline = tokio::time::Instant::now() + self.pool.timeout;
        let connection = &mut *self.connection;
        // The next read asks the kernel, so that a connection closed meanwhile is noticed before anything is written.
        connection.probe.arm();
        connection.timer.as_mut().reset(deadline);
        let mut answer = pin!(connection.sender.try_send_request(request));
        poll_fn(|context| {
            // First the connection, then the request: hyper returns an unwritten request when its connection has ended.
            drive(&mut connection.driver, context);
            match answer.as_mut().poll(context) {
                Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
                Poll::Ready(Err(mut error)) => Poll::Ready(Err(match error.take_message() {
                    Some(request) => ExchangeError::Unwritten(Box::new(request)),
                    None => broken(error.into_error()),
                })),
                Poll::Pending => {
                    // Last, so that a response that is complete at the deadline is still accepted.
                    let timer = connection.timer.as_mut().poll(context);
                    timer.map(|()| Err(ExchangeError::Deadline))
                }
            }
        })
        .await
    }

    /// Lets the connection read and write. Call it whenever the body of the response has no frame ready.
    pub(crate) fn drive(&mut self, context: &mut Context<'_>) {
        drive(&mut self.connection.driver, context);
    }

    /// Returns true where the connection has ended. Bytes of a body that have not arrived by then never come.
    pub(crate) fn is_ended(&self) -> bool {
        self.connection.driver.is_none()
    }

    /// Returns the connection to the pool after the whole response was read, where it can take another request.
    pub(crate) fn finish(mut self, context: &mut Context<'_>) {
        // hyper becomes ready only after it has seen the end of the response, which may take one more poll.
        if !self.connection.sender.is_ready() {
            self.drive(context);
        }
        // Not ready after that means `Connection: close` or bytes that are left, after which no request may follow (RFC
        // 9112, section 9.6).
        if !self.is_ended() && self.connection.sender.is_ready() {
            self.pool.put_back(self.connection);
        }
    }
}

/// Polls the driver, and drops it once it has ended. Dropping it returns a request that it has not taken.
fn drive(
    driver: &mut Option<http1::Connection<TokioIo<UpstreamStream>, Full<Bytes>>>,
    context: &mut Context<'_>,
) {
    if let Some(running) = driver
        && let Poll::Ready(_) = Pin::new(running).poll(context)
    {
        *driver = None;
    }
}

fn broken(error: hyper::Error) -> ExchangeError {
    // A peer that speaks another protocol is a mistake in the config, so it must not look like a connection that was
    // cut.
    if error.is_parse() {
        ExchangeError::Garbage(error)
    } else {
        ExchangeError::Closed(error)
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
