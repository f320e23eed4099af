//! The state that all listeners share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;

use crate::edge::counters::EdgeCounters;
use crate::edge::event::EdgeEvent;
use crate::edge::limits::ConnectionLimits;
use crate::edge::managed::ManagedCertificates;
use crate::edge::settings::EdgeSettings;

/// The receiver of edge events. It is called from the tasks of connections, so it must not block.
pub(crate) type EdgeObserver = Arc<dyn Fn(EdgeEvent) + Send + Sync>;

/// The state that all listeners and connections share.
pub(crate) struct EdgeServer {
    pub(super) settings: ArcSwap<EdgeSettings>,
    pub(super) limits: Arc<ConnectionLimits>,
    pub(super) counters: Arc<EdgeCounters>,
    pub(super) observer: EdgeObserver,
    pub(super) idle_grace_ms: AtomicU64,
    /// Certificates and challenge answers that outlive the settings.
    pub(super) managed: Arc<ManagedCertificates>,
}
