//! Connections from the admin API to other parts of the gate.
//!
//! `app` fills them in. So this module imports neither the workers nor the listeners, which would make a cycle.

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot};

use crate::acme::CertificateHealth;
use crate::alerts::{AlertCenter, AlertKeeper};
use crate::explain::RefusalExplanation;
use crate::model::ids::{DestinationName, RequestId, RouteName};
use crate::store::Store;
use crate::store::rows::DestinationId;

/// Wakes the worker of a destination, so that it queries for due deliveries.
pub(crate) type WorkerWaker = Arc<dyn Fn(DestinationId) + Send + Sync>;

/// Returns the health of the destinations in the running config.
pub(crate) type HealthSource = Arc<dyn Fn() -> Vec<DestinationHealth> + Send + Sync>;

/// Returns the current load and the certificates of the public listeners.
pub(crate) type GateSource = Arc<dyn Fn() -> GateStatus + Send + Sync>;

/// Returns the providers whose ranges are refreshed, each with the day of its list.
pub(crate) type RangeDaySource = Arc<dyn Fn() -> Vec<(String, String)> + Send + Sync>;

/// A request to reload the config; the outcome goes back through the channel.
pub(crate) type ReloadRequest = oneshot::Sender<Result<usize, ReloadRejection>>;

/// Load and certificates of the public listeners at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct GateStatus {
    /// In-flight requests on the public listeners.
    pub in_flight: u64,
    /// Open connections on the public listeners.
    pub connections: u64,
    /// The health of each certificate.
    pub certificates: Vec<CertificateHealth>,
    /// The reason why no handshake can succeed, while there is no certificate at all.
    pub missing_certificate: Option<String>,
    /// The routes with revocation lists, and the earliest end of a list in seconds since the epoch.
    pub revocation_lists: Vec<(RouteName, i64)>,
}

/// The reason why a reload failed. The previous config stays in use.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct ReloadRejection {
    /// The error as text for operators.
    pub text: String,
    /// Errors with their locations, if the config file is invalid.
    pub diagnostics: Option<serde_json::Value>,
}

/// Explains why a request was rejected; `None` if the request is no longer in memory.
pub(crate) type ExplainSource = Arc<dyn Fn(RequestId) -> ExplanationFuture + Send + Sync>;

/// Future of an explanation.
pub(crate) type ExplanationFuture =
    Pin<Box<dyn Future<Output = Option<RefusalExplanation>> + Send>>;

/// Health of a destination, as its worker sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DestinationHealth {
    /// The destination, by its id in the store.
    pub id: DestinationId,
    /// The route of the destination.
    pub route: RouteName,
    /// The name of the destination in its route.
    pub name: DestinationName,
    /// State of its circuit breaker: `closed`, `open` or `half_open`.
    pub breaker: &'static str,
    /// Attempts in progress.
    pub in_flight: u64,
    /// Time of the last successful attempt, in milliseconds since the epoch.
    pub last_success_ms: Option<i64>,
    /// Time of the last failed attempt, in milliseconds since the epoch.
    pub last_failure_ms: Option<i64>,
}

/// Limits of the store; `None` where it has no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct StoreLimitSettings {
    /// Bytes that must stay free on the disk.
    pub min_free: Option<u64>,
    /// Most bytes of the database.
    pub max_size: Option<u64>,
    /// Most events.
    pub max_events: Option<u64>,
}

/// The parts of the gate that the admin API may use.
#[derive(Clone)]
pub(crate) struct AdminControls {
    /// The store, if the config has one.
    pub store: Option<Store>,
    /// Called after a delivery became due or a destination was resumed.
    pub wake: WorkerWaker,
    /// Source of the health of destinations.
    pub health: HealthSource,
    /// Notified when a replay begins, pauses or resumes; [`run_replays`](crate::admin::run_replays) waits for it.
    pub replays: Arc<Notify>,
    /// Source of the load and the certificates of the public listeners.
    pub gate: GateSource,
    /// Channel for reload requests; `None` if no task handles them.
    pub reload: Option<mpsc::Sender<ReloadRequest>>,
    /// Source of explanations for rejected requests.
    pub explain: ExplainSource,
    /// Name of this machine.
    pub host: Arc<str>,
    /// Limits of the store.
    pub bounds: StoreLimitSettings,
    /// Source of the days of refreshed ranges.
    pub ranges: RangeDaySource,
    /// Open alerts and their receivers.
    pub alerts: Arc<AlertCenter>,
}

impl AdminControls {
    /// Returns the controls of a gate without a store.
    pub(crate) fn without_store() -> Self {
        Self {
            store: None,
            // Without a store there is no worker to wake and no destination with health.
            wake: Arc::new(|_| {}),
            health: Arc::new(Vec::new),
            replays: Arc::new(Notify::new()),
            gate: Arc::new(GateStatus::default),
            reload: None,
            explain: unexplained(),
            host: Arc::from("localhost"),
            bounds: StoreLimitSettings::default(),
            ranges: Arc::new(Vec::new),
            // Without a plan it has no receivers, and then it writes nothing.
            alerts: AlertCenter::new(
                AlertKeeper::new(Path::new(""), None),
                Arc::from("localhost"),
            ),
        }
    }
}

/// Returns a source that explains no request.
pub(crate) fn unexplained() -> ExplainSource {
    Arc::new(|_| Box::pin(async { None }))
}

impl fmt::Debug for AdminControls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_store = self.store.is_some();
        f.debug_struct("Controls")
            .field("has_store", &has_store)
            .finish_non_exhaustive()
    }
}
