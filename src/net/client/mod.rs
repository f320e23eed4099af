//! The outgoing client: one pool of idle HTTP/1.1 connections for each upstream, and the exchange of one request.
//!
//! A connection is driven by the task of the request that uses it, not by a task of its own: no hand-over between
//! tasks, and an idle connection costs nothing but its socket. It goes back to the pool only after the whole answer was
//! read and while it is still clean; in all other cases dropping the `Lease` closes it.
//!
//! Before a request is written on a connection that was idle, the kernel is asked what the app has done meanwhile
//! (`wire`). A connection that was closed, or on which bytes lie that nobody asked for, gives the request back unwritten:
//! such a request may be sent again on another connection. One that was written, even in part, never is.

mod connect;
mod drain;
mod tls;
mod wire;

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{Sleep, sleep};

use crate::model::clock;
pub use crate::net::client::connect::ConnectError;
use crate::net::client::connect::{Origin, Reach};
pub use crate::net::client::drain::{Drained, Ending};
pub use crate::net::client::tls::OwnTls;
use crate::net::client::wire::{Probe, Wire};
use crate::net::egress::Resolver;

/// All pools of the process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Client(Arc<Shared>);

#[derive(Default)]
struct Shared {
    roots: Option<rustls::RootCertStore>,
    tls: Mutex<Option<Arc<rustls::ClientConfig>>>,
    resolver: Resolver,
    pools: Mutex<HashMap<PoolKey, Weak<Pool>>>,
    open: Arc<AtomicUsize>,
}

/// What two routes must have in common to share connections.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PoolKey {
    /// `http` or `https`.
    pub is_tls: bool,
    /// Host and port as the config has them.
    pub authority: http::uri::Authority,
    /// From the start to an established connection, TLS included.
    pub connect_timeout: Duration,
    /// From the request to the head of the answer.
    pub timeout: Duration,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// Authorities and a client certificate of its own; none: the system's authorities.
    pub own_tls: Option<OwnTls>,
    /// Whether the host is out on the internet: then no special address is connected to, and only with TLS.
    pub is_external: bool,
}

/// Why a pool cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The host is none that TLS or the resolver could use.
    #[error("the host is not a name or an address")]
    Host,
    /// The system has no root certificates to verify an `https` upstream with.
    #[error("no root certificate could be read from the system's store")]
    Roots,
    /// The TLS library refused its own settings.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// A PEM file that cannot be read, or holds no such thing.
    #[error("`{}` cannot be used", path.display())]
    #[expect(missing_docs, reason = "the fields are what the message says they are")]
    File {
        path: std::path::PathBuf,
        source: rustls::pki_types::pem::Error,
    },
    /// Out on the internet without TLS.
    #[error("a host on the internet is connected to with TLS only")]
    Plain,
}

/// Why an exchange gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The connection had gone before anything was written; here is the request.
    #[error("the connection was closed before the request was written")]
    Unwritten(Box<Request<Full<Bytes>>>),
    /// The connection ended or broke before the head of an answer was complete.
    #[error("the host closed the connection without an answer")]
    Closed(#[source] hyper::Error),
    /// What came is not an HTTP/1.1 answer.
    #[error("the host's answer is not HTTP")]
    Garbage(#[source] hyper::Error),
    /// No head of an answer within the deadline.
    #[error("the host did not answer in time")]
    Deadline,
}

/// The connections to one upstream.
pub struct Pool {
    origin: Origin,
    connect_timeout: Duration,
    timeout: Duration,
    idle_timeout: Duration,
    idle: Mutex<IdleStack>,
    open: Arc<AtomicUsize>,
}

#[derive(Default)]
struct IdleStack {
    /// The oldest first; the newest is used first, so that a pool shrinks to what is needed.
    connections: Vec<(Instant, Box<Connection>)>,
    is_swept: bool,
}

/// One connection and its driver.
struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// None once it has ended.
    driver: Option<http1::Connection<TokioIo<Wire>, Full<Bytes>>>,
    probe: Probe,
    /// For the head of an answer. Kept with the connection, since moving a deadline is cheaper than making one.
    timer: Pin<Box<Sleep>>,
    open: Arc<AtomicUsize>,
}

/// A connection taken from the pool, or opened, for one exchange. Dropping it closes the connection.
pub struct Lease {
    connection: Box<Connection>,
    pool: Arc<Pool>,
}

/// More idle connections than this are closed: what a burst needed.
const MAX_IDLE: usize = 256;

/// Bytes of an answer that are held before they are passed on, and the largest head of an answer.
const MAX_BUFFER: usize = 64 * 1024;

impl Client {
    /// A client that verifies `https` upstreams with the system's root certificates, read when the first is needed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A client that verifies `https` upstreams with these roots.
    #[must_use]
    pub fn with_roots(roots: rustls::RootCertStore) -> Self {
        Self(Arc::new(Shared {
            roots: Some(roots),
            ..Shared::default()
        }))
    }

    /// The same roots with another resolver for hosts on the internet.
    #[must_use]
    pub fn with_resolver(roots: Option<rustls::RootCertStore>, resolver: Resolver) -> Self {
        Self(Arc::new(Shared {
            roots,
            resolver,
            ..Shared::default()
        }))
    }

    /// The pool for this upstream: the one that is in use already, also by an older generation, or a new one.
    ///
    /// # Errors
    ///
    /// Where the host cannot be one, or `https` cannot be verified.
    pub fn pool(&self, key: PoolKey) -> Result<Arc<Pool>, ClientError> {
        let mut pools = lock(&self.0.pools);
        if let Some(pool) = pools.get(&key).and_then(Weak::upgrade) {
            return Ok(pool);
        }
        let tls = match &key.own_tls {
            _ if !key.is_tls => None,
            Some(own) => Some(own.config()),
            None => Some(self.tls()?),
        };
        let reach = match key.is_external {
            true if tls.is_none() => return Err(ClientError::Plain),
            true => Reach::Internet(self.0.resolver.clone()),
            false => Reach::Near,
        };
        let origin = Origin::of(&key.authority, tls, reach).ok_or(ClientError::Host)?;
        let pool = Arc::new(Pool {
            origin,
            connect_timeout: key.connect_timeout,
            timeout: key.timeout,
            idle_timeout: key.idle_timeout,
            idle: Mutex::default(),
            open: Arc::clone(&self.0.open),
        });
        pools.retain(|_, pool| pool.strong_count() > 0);
        pools.insert(key, Arc::downgrade(&pool));
        Ok(pool)
    }

    /// Upstream connections that are open, in use or idle.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// Upstream connections that are open and idle.
    #[must_use]
    pub fn idle_connections(&self) -> usize {
        let pools = lock(&self.0.pools);
        let living = pools.values().filter_map(Weak::upgrade);
        living.map(|pool| lock(&pool.idle).connections.len()).sum()
    }

    /// The authorities that vouch for hosts: those that it was made with, or the system's, read anew.
    ///
    /// # Errors
    /// [`ClientError::Roots`]
    pub fn roots(&self) -> Result<rustls::RootCertStore, ClientError> {
        match &self.0.roots {
            Some(roots) => Ok(roots.clone()),
            None => system_roots(),
        }
    }

    fn tls(&self) -> Result<Arc<rustls::ClientConfig>, ClientError> {
        let mut cached = lock(&self.0.tls);
        if let Some(config) = &*cached {
            return Ok(Arc::clone(config));
        }
        let config = tls::config(self.roots()?, None)?;
        let config = Arc::new(config);
        *cached = Some(Arc::clone(&config));
        Ok(config)
    }
}

fn system_roots() -> Result<rustls::RootCertStore, ClientError> {
    let mut roots = rustls::RootCertStore::empty();
    let (added, _) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err(ClientError::Roots);
    }
    Ok(roots)
}

impl Pool {
    /// The deadline for the head of an answer, and between two pieces of its body.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The connection that was used last, if one is idle and not too old.
    #[must_use]
    pub fn idle(self: &Arc<Self>) -> Option<Lease> {
        let now = clock::instant();
        let popped = lock(&self.idle).connections.pop();
        let (since, connection) = popped?;
        if now.saturating_duration_since(since) >= self.idle_timeout {
            return None;
        }
        Some(Lease {
            connection,
            pool: Arc::clone(self),
        })
    }

    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// See `ConnectError`.
    pub async fn connect(self: &Arc<Self>) -> Result<Lease, ConnectError> {
        let probe = Probe::default();
        let wire = self
            .origin
            .connect(self.connect_timeout, probe.clone())
            .await?;
        let handshake = http1::Builder::new()
            .max_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(wire));
        // Nothing is exchanged here: HTTP/1 has no handshake.
        let (sender, driver) = handshake
            .await
            .map_err(|error| ConnectError::Refused(std::io::Error::other(error)))?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Lease {
            connection: Box::new(Connection {
                sender,
                driver: Some(driver),
                probe,
                timer: Box::pin(sleep(self.timeout)),
                open: Arc::clone(&self.open),
            }),
            pool: Arc::clone(self),
        })
    }

    fn put_back(self: &Arc<Self>, connection: Box<Connection>) {
        let now = clock::instant();
        let mut idle = lock(&self.idle);
        if idle.connections.len() >= MAX_IDLE {
            return;
        }
        idle.connections.push((now, connection));
        let is_swept = std::mem::replace(&mut idle.is_swept, true);
        drop(idle);
        if !is_swept {
            // Ends by itself with the last idle connection or with the pool.
            tokio::spawn(sweep(Arc::downgrade(self), self.idle_timeout));
        }
    }

    /// Closes what is too old; false once nothing is idle any more.
    fn close_old(&self) -> bool {
        let now = clock::instant();
        let mut idle = lock(&self.idle);
        let is_old = |since: Instant| now.saturating_duration_since(since) >= self.idle_timeout;
        let count = idle.connections.partition_point(|entry| is_old(entry.0));
        let old: Vec<_> = idle.connections.drain(..count).collect();
        idle.is_swept = !idle.connections.is_empty();
        let is_swept = idle.is_swept;
        drop(idle);
        drop(old);
        is_swept
    }
}

async fn sweep(pool: Weak<Pool>, idle_timeout: Duration) {
    let pause = (idle_timeout / 2).max(Duration::from_millis(50));
    loop {
        sleep(pause).await;
        if !pool.upgrade().is_some_and(|pool| pool.close_old()) {
            return;
        }
    }
}

impl Lease {
    /// Writes the request and waits for the head of the answer, within the pool's `timeout`.
    ///
    /// The body of the answer comes only while `drive` is polled.
    ///
    /// # Errors
    ///
    /// See `ExchangeError`. Unless it is `Unwritten`, the app may have seen the request.
    pub async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ExchangeError> {
        let deadline = tokio::time::Instant::now() + self.pool.timeout;
        let connection = &mut *self.connection;
        connection.probe.arm();
        connection.timer.as_mut().reset(deadline);
        let mut answer = pin!(connection.sender.try_send_request(request));
        poll_fn(|context| {
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

    /// Lets the connection read and write; to be called whenever the answer's body has nothing to give.
    pub fn drive(&mut self, context: &mut Context<'_>) {
        drive(&mut self.connection.driver, context);
    }

    /// Whether the connection has ended: what the body does not have by now will not come.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.connection.driver.is_none()
    }

    /// After the whole answer was read: puts the connection back, where it can take another request.
    pub fn finish(mut self, context: &mut Context<'_>) {
        if !self.connection.sender.is_ready() {
            self.drive(context);
        }
        if !self.is_ended() && self.connection.sender.is_ready() {
            self.pool.put_back(self.connection);
        }
    }
}

/// Polls the driver and drops it where it has ended, which gives back a request that it has not taken.
fn drive(
    driver: &mut Option<http1::Connection<TokioIo<Wire>, Full<Bytes>>>,
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

impl Drop for Connection {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A panic while one of these locks is held leaves the data whole: no step in between can be seen.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
