//! The running listeners.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::edge::certificates::CertificateInfo;
use crate::edge::counters::EdgeCounters;
use crate::edge::error::EdgeError;
use crate::edge::event::{ConnectionRefusal, EdgeEvent};
use crate::edge::handler::RequestHandler;
use crate::edge::limits::{ConnectionLimits, ConnectionSlot};
use crate::edge::managed::ManagedCertificates;
pub(crate) use crate::edge::server_state::{EdgeObserver, EdgeServer};
use crate::edge::settings::EdgeSettings;
use crate::edge::stop_signal::StopSignal;
use crate::edge::{connection, listener};
use crate::model::clock::ClockReading;
use crate::model::source::canonical;

/// Pause after a failed `accept`. A common cause is a lack of file descriptors, which become free when connections end.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl EdgeServer {
    /// Creates an edge without listeners, and reports expired certificates to the observer.
    pub(crate) fn new(settings: EdgeSettings, observer: EdgeObserver) -> Arc<Self> {
        Self::with_managed(settings, observer, Arc::default())
    }

    /// Creates an edge like [`Self::new`], which also serves these certificates.
    pub(crate) fn with_managed(
        settings: EdgeSettings,
        observer: EdgeObserver,
        managed: Arc<ManagedCertificates>,
    ) -> Arc<Self> {
        let counters = Arc::<EdgeCounters>::default();
        let edge = Arc::new(Self {
            settings: ArcSwap::from_pointee(settings),
            limits: ConnectionLimits::new(Arc::clone(&counters)),
            counters,
            observer,
            idle_grace_ms: AtomicU64::new(0),
            managed,
        });
        let now = ClockReading::read();
        for info in edge.certificates() {
            // An expired certificate is served all the same, so the operator must hear of it.
            if info.is_expired(now) {
                edge.notify(EdgeEvent::CertificateExpired { names: info.names });
            }
        }
        edge
    }

    /// Replaces the settings for new connections. Open connections keep theirs.
    pub(crate) fn replace(&self, settings: EdgeSettings) {
        self.settings.store(Arc::new(settings));
    }

    /// Sets how long idle connections stay open during the drain that follows. Another process accepts their clients'
    /// next connections then, so there is no need to close them at once.
    pub(crate) fn set_idle_grace(&self, grace: Duration) {
        let millis = u64::try_from(grace.as_millis()).unwrap_or(0);
        self.idle_grace_ms.store(millis, Ordering::Relaxed);
    }

    fn idle_grace(&self) -> Duration {
        Duration::from_millis(self.idle_grace_ms.load(Ordering::Relaxed))
    }

    /// Returns the counters of all connections so far.
    pub(crate) fn counters(&self) -> &Arc<EdgeCounters> {
        &self.counters
    }

    /// Returns the certificates and challenge answers that outlive the settings.
    pub(crate) fn managed(&self) -> &Arc<ManagedCertificates> {
        &self.managed
    }

    /// Returns the certificates in use, in the order of the config.
    pub(crate) fn certificates(&self) -> Vec<CertificateInfo> {
        let settings = self.settings.load();
        let tls = settings.tls.as_ref();
        tls.map(|tls| tls.certificates.infos()).unwrap_or_default()
    }

    /// Returns the certificates of files, in the order of the config.
    pub(crate) fn file_certificates(&self) -> Vec<CertificateInfo> {
        let settings = self.settings.load();
        let tls = settings.tls.as_ref();
        tls.map(|tls| tls.certificates.file_infos())
            .unwrap_or_default()
    }

    /// Reads the certificate files again and uses them where they have changed. Returns true where they had changed.
    ///
    /// Blocks on the files.
    ///
    /// # Errors
    /// A file cannot be used, or a certificate is expired. The certificates in use then stay.
    pub(crate) fn reload_certificates(&self) -> Result<bool, EdgeError> {
        match &self.settings.load_full().tls {
            Some(tls) => Ok(tls.certificates.reload()?),
            None => Ok(false),
        }
    }

    /// Accepts and serves connections until `drain` is canceled and all of them have ended.
    ///
    /// A drain closes idle connections at once, and the others after their requests in flight. `abort` ends all
    /// connections immediately; the caller cancels it when its shutdown timeout is over.
    pub(crate) async fn serve<H: RequestHandler>(
        self: Arc<Self>,
        listener: TcpListener,
        handler: H,
        drain: CancellationToken,
        abort: CancellationToken,
    ) {
        let stop = Arc::new(StopSignal::default());
        let tracker = TaskTracker::new();
        let accepting = self.accept_all(&listener, &handler, &stop, &tracker);
        let is_aborted = tokio::select! {
            () = drain.cancelled() => false,
            () = abort.cancelled() => true,
            () = accepting => false,
        };
        // From here on no new connection is accepted, and open ones are drained.
        drop(listener);
        // A closed tracker lets `wait` end once all connections have ended.
        tracker.close();
        if !is_aborted {
            stop.begin_drain(self.idle_grace());
            tokio::select! {
                () = tracker.wait() => return,
                () = abort.cancelled() => {}
            }
        }
        stop.begin_abort();
        tracker.wait().await;
    }

    async fn accept_all<H: RequestHandler>(
        self: &Arc<Self>,
        listener: &TcpListener,
        handler: &H,
        stop: &Arc<StopSignal>,
        tracker: &TaskTracker,
    ) {
        loop {
            match listener.accept().await {
                Ok((stream, socket)) => {
                    // Dropping the stream closes it, before it has cost a task or a handshake.
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
                        // The slot lives as long as the task, so it is also freed after a panic.
                        let _slot = slot;
                        serving.await;
                    });
                }
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    self.counters.accept_failed.add();
                    self.notify(EdgeEvent::AcceptFailed { error });
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Takes a slot for one more connection, or returns `None` where there are too many.
    fn enter(&self, ip: std::net::IpAddr) -> Option<ConnectionSlot> {
        self.counters.accepted.add();
        let slot = self.limits.enter(self.settings.load().max_connections);
        if slot.is_none() {
            self.counters.refused_total.add();
            let reason = ConnectionRefusal::TooManyConnections;
            self.notify(EdgeEvent::ConnectionRefused { ip, reason });
        }
        slot
    }

    pub(super) fn settings(&self) -> Arc<EdgeSettings> {
        self.settings.load_full()
    }

    pub(super) fn notify(&self, event: EdgeEvent) {
        (self.observer)(event);
    }
}

/// Returns true where `accept` failed for one connection only, so that no pause is needed.
pub(crate) fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
