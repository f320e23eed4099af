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
mod tls;

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::time::{Sleep, sleep};

use crate::model::clock;
pub(crate) use crate::net::client::connect::ConnectError;
use crate::net::client::connect::{ConnectOrigin, NetworkReach};
pub(crate) use crate::net::client::error::ClientError;
pub(crate) use crate::net::client::own_tls::OwnTls;
use crate::net::client::stream::{ReadinessProbe, UpstreamStream};
use crate::net::egress::EgressResolver;

/// All connection pools of the process. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct OutgoingClient(Arc<ClientShared>);

#[derive(Default)]
struct ClientShared {
    roots: Option<rustls::RootCertStore>,
    tls: Mutex<Option<Arc<rustls::ClientConfig>>>,
    resolver: EgressResolver,
    pools: Mutex<HashMap<PoolKey, Weak<ConnectionPool>>>,
    open: Arc<AtomicUsize>,
}

/// The properties that two routes must share to use the same connections.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct PoolKey {
    /// True for `https`, false for `http`.
    pub is_tls: bool,
    /// Host and port, as in the config.
    pub authority: http::uri::Authority,
    /// Time to establish a connection, TLS handshake included.
    pub connect_timeout: Duration,
    /// Time from the request to the head of the response.
    pub timeout: Duration,
    /// Time for which an idle connection stays open.
    pub idle_timeout: Duration,
    /// The upstream's own authorities and client certificate. `None`: the system's authorities.
    pub own_tls: Option<OwnTls>,
    /// True where the host is on the internet: it needs TLS, and special addresses are rejected.
    pub is_external: bool,
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
    idle_timeout: Duration,
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
        let tls = match &key.own_tls {
            _ if !key.is_tls => None,
            Some(own) => Some(own.config()),
            None => Some(self.tls()?),
        };
        // Without TLS, the host's identity cannot be verified, and a network in between could redirect the request.
        let reach = match key.is_external {
            true if tls.is_none() => return Err(ClientError::Plain),
            true => NetworkReach::Internet(self.0.resolver.clone()),
            false => NetworkReach::Near,
        };
        let origin = ConnectOrigin::of(&key.authority, tls, reach).ok_or(ClientError::Host)?;
        let pool = Arc::new(ConnectionPool {
            origin,
            connect_timeout: key.connect_timeout,
            timeout: key.timeout,
            idle_timeout: key.idle_timeout,
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

    fn tls(&self) -> Result<Arc<rustls::ClientConfig>, ClientError> {
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
        let popped = self.idle.lock().connections.pop();
        let (since, connection) = popped?;
        // The newest connection is too old, so all others are, too. The sweep closes them.
        if now.saturating_duration_since(since) >= self.idle_timeout {
            return None;
        }
        Some(ConnectionLease {
            connection,
            pool: Arc::clone(self),
        })
    }

    /// Opens a new connection.
    pub(crate) async fn connect(self: &Arc<Self>) -> Result<ConnectionLease, ConnectError> {
        let probe = ReadinessProbe::default();
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
                open: Arc::clone(&self.open),
            }),
            pool: Arc::clone(self),
        })
    }

    fn put_back(self: &Arc<Self>, connection: Box<PooledConnection>) {
        let now = clock::instant();
        let mut idle = self.idle.lock();
        // Dropping the connection closes it.
        if idle.connections.len() >= MAX_IDLE {
            return;
        }
        idle.connections.push((now, connection));
        let is_swept = std::mem::replace(&mut idle.is_swept, true);
        drop(idle);
        if !is_swept {
            // The task ends by itself, with the last idle connection or with the pool.
            tokio::spawn(sweep(Arc::downgrade(self), self.idle_timeout));
        }
    }

    /// Closes connections that were idle for too long. Returns false once no connection is idle.
    fn close_old(&self) -> bool {
        let now = clock::instant();
        let mut idle = self.idle.lock();
        let is_old = |since: Instant| now.saturating_duration_since(since) >= self.idle_timeout;
        let count = idle.connections.partition_point(|entry| is_old(entry.0));
        let old: Vec<_> = idle.connections.drain(..count).collect();
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
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ExchangeError> {
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
