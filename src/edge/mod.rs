//! Sockets -> HTTP requests. Knows nothing of webhooks, logs nothing: what happens below the level of requests is counted
//! (`counters`) and told to an observer (`event`).
//!
//! `Edge` outlives reloads: it holds the settings, which a reload swaps, and the limits and counters, which it does not.
//! The way of a connection is in `connection`.

mod block_walk;
pub mod certificates;
pub mod chunk_check;
mod connection;
pub mod counters;
pub mod event;
mod frame_watch;
pub mod head_check;
mod head_guard;
mod http1;
mod http2;
mod limits;
pub mod listener;
mod proxy_protocol;
mod request_check;
pub mod settings;
mod source;
mod stop;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod watch;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Request;
use hyper::body::Incoming;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::edge::certificates::{CertificateError, CertificateInfo};
use crate::edge::counters::Counters;
use crate::edge::event::{EdgeEvent, Refusal};
use crate::edge::limits::{Limits, Slot};
use crate::edge::settings::Settings;
use crate::edge::stop::Stop;
use crate::model::clock::Now;
use crate::model::source::{Source, canonical};
use crate::net::answer::Answer;

/// After a failed `accept`, such as one for lack of file descriptors: they come back when connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why settings cannot be built.
#[derive(Debug, Error)]
pub enum EdgeError {
    /// A certificate, a key or an authority file.
    #[error("cannot use the certificate")]
    Certificate {
        /// What is wrong with it.
        #[from]
        source: CertificateError,
    },
    /// The authorities of client certificates.
    #[error("cannot use the authorities of `client_ca`")]
    ClientCa {
        /// The words of the TLS library.
        source: rustls::server::VerifierBuilderError,
    },
    /// The TLS library refused the settings.
    #[error("cannot set up TLS")]
    Tls {
        /// Its words.
        source: rustls::Error,
    },
}

/// What answers requests: any cloneable function from request and source to a future answer.
pub trait Handler: Clone + Send + Sync + 'static {
    /// What the function returns.
    type Future: Future<Output = Answer> + Send + 'static;

    /// Answers one request.
    fn answer(&self, request: Request<Incoming>, source: Source) -> Self::Future;
}

impl<H, F> Handler for H
where
    H: Fn(Request<Incoming>, Source) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    type Future = F;

    fn answer(&self, request: Request<Incoming>, source: Source) -> F {
        self(request, source)
    }
}

/// Who is told what happens. Called from the tasks of connections, so it must not block.
pub type Observer = Arc<dyn Fn(EdgeEvent) + Send + Sync>;

/// The sockets' side of the process.
pub struct Edge {
    settings: ArcSwap<Settings>,
    limits: Arc<Limits>,
    counters: Arc<Counters>,
    observer: Observer,
}

impl Edge {
    /// An edge without listeners. Tells the observer of certificates past their end.
    #[must_use]
    pub fn new(settings: Settings, observer: Observer) -> Arc<Self> {
        let counters = Arc::<Counters>::default();
        let edge = Arc::new(Self {
            settings: ArcSwap::from_pointee(settings),
            limits: Limits::new(Arc::clone(&counters)),
            counters,
            observer,
        });
        let now = Now::read();
        for info in edge.certificates() {
            if info.is_expired(now) {
                edge.tell(EdgeEvent::CertificateExpired { names: info.names });
            }
        }
        edge
    }

    /// Takes new settings for new connections; those that are open go on with theirs.
    pub fn replace(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// What the sockets have done so far.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The certificates in use, in the order of the config.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateInfo> {
        let settings = self.settings.load();
        let tls = settings.tls.as_ref();
        tls.map(|tls| tls.certificates.infos()).unwrap_or_default()
    }

    /// Reads the certificate files again and uses them if they changed; whether they had. Blocks on the files.
    ///
    /// # Errors
    /// Files that cannot be used, or a certificate past its end; then the ones in use stay.
    pub fn reload_certificates(&self) -> Result<bool, EdgeError> {
        match &self.settings.load_full().tls {
            Some(tls) => Ok(tls.certificates.reload()?),
            None => Ok(false),
        }
    }

    /// Accepts connections and serves them, with TLS where the settings have it, until `drain` is cancelled and all of
    /// them have ended. A drain closes idle connections at once and the others after the requests in flight. `abort` ends
    /// them all where they stand; the caller cancels it when its patience is over.
    pub async fn serve<H: Handler>(
        self: Arc<Self>,
        listener: TcpListener,
        handler: H,
        drain: CancellationToken,
        abort: CancellationToken,
    ) {
        let stop = Arc::new(Stop::default());
        let tracker = TaskTracker::new();
        let accepting = self.accept_all(&listener, &handler, &stop, &tracker);
        let is_aborted = tokio::select! {
            () = drain.cancelled() => false,
            () = abort.cancelled() => true,
            () = accepting => false,
        };
        drop(listener);
        tracker.close();
        if !is_aborted {
            stop.begin_drain();
            tokio::select! {
                () = tracker.wait() => return,
                () = abort.cancelled() => {}
            }
        }
        stop.begin_abort();
        tracker.wait().await;
    }

    async fn accept_all<H: Handler>(
        self: &Arc<Self>,
        listener: &TcpListener,
        handler: &H,
        stop: &Arc<Stop>,
        tracker: &TaskTracker,
    ) {
        loop {
            match listener.accept().await {
                Ok((stream, socket)) => {
                    let Some(slot) = self.enter(canonical(socket.ip())) else {
                        continue;
                    };
                    listener::prepare(&stream);
                    let serving = connection::serve(
                        Arc::clone(self),
                        stream,
                        socket,
                        handler.clone(),
                        Arc::clone(stop),
                        tracker.clone(),
                    );
                    tracker.spawn(async move {
                        let _slot = slot;
                        serving.await;
                    });
                }
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    self.counters.accept_failed.add();
                    self.tell(EdgeEvent::AcceptFailed { error });
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// A slot for one more connection; none: too many.
    fn enter(&self, ip: std::net::IpAddr) -> Option<Slot> {
        self.counters.accepted.add();
        let slot = self.limits.enter(self.settings.load().max_connections);
        if slot.is_none() {
            self.counters.refused_total.add();
            let reason = Refusal::TooManyConnections;
            self.tell(EdgeEvent::ConnectionRefused { ip, reason });
        }
        slot
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    fn tell(&self, event: EdgeEvent) {
        (self.observer)(event);
    }
}

/// Whether `accept` failed for the one connection only.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
