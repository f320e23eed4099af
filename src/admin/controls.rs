//! What the admin API reaches of the rest of the gate. `app` fills it in, since these rooms do not know each other.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot};

use crate::explain::Explanation;
use crate::model::ids::RequestId;
use crate::store::Store;
use crate::store::rows::DestinationId;

/// Tells the workers of a destination to look what is due.
pub type Wake = Arc<dyn Fn(DestinationId) + Send + Sync>;

/// Asks how the destinations of the running config do.
pub type HealthSource = Arc<dyn Fn() -> Vec<DestinationHealth> + Send + Sync>;

/// Asks how the public side does.
pub type GateSource = Arc<dyn Fn() -> GateNow + Send + Sync>;

/// Somebody who wants the config read again, and waits for what comes of it.
pub type ReloadAsk = oneshot::Sender<Result<usize, ReloadRefused>>;

/// The public side at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GateNow {
    /// Requests that are worked on.
    pub in_flight: u64,
    /// Connections that are open.
    pub connections: u64,
    /// The names of each certificate in use, and its last moment in seconds since the epoch.
    pub certificates: Vec<(Vec<String>, i64)>,
}

/// Why a config was not taken. The old one goes on.
#[derive(Clone, PartialEq, Debug)]
pub struct ReloadRefused {
    /// For people.
    pub text: String,
    /// Place by place, where it is the file that is wrong.
    pub diagnostics: Option<serde_json::Value>,
}

/// Explains why a request was refused; none where nothing is known of it any more.
pub type ExplainSource = Arc<dyn Fn(RequestId) -> Explaining + Send + Sync>;

/// An explanation in the making.
pub type Explaining = Pin<Box<dyn Future<Output = Option<Explanation>> + Send>>;

/// How a destination does, as those see it who deliver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DestinationHealth {
    /// Which.
    pub id: DestinationId,
    /// The word for its breaker: `closed`, `open` or `half_open`.
    pub breaker: &'static str,
    /// Attempts that are going on.
    pub in_flight: u64,
    /// When it last took an event. Milliseconds since the epoch.
    pub last_success_ms: Option<i64>,
    /// When an attempt last failed. Milliseconds since the epoch.
    pub last_failure_ms: Option<i64>,
}

/// The store and those who work on it. Without a store the other parts are never asked.
#[derive(Clone)]
pub struct Controls {
    /// The store, where there is one.
    pub store: Option<Store>,
    /// Called after something became due, or may be attempted again.
    pub wake: Wake,
    /// How destinations do.
    pub health: HealthSource,
    /// Rung where a replay was begun or goes on; [`run_replays`](crate::admin::run_replays) listens.
    pub replays: Arc<Notify>,
    /// How the public side does.
    pub gate: GateSource,
    /// Where to ask for a reload; none where nobody listens.
    pub reload: Option<mpsc::Sender<ReloadAsk>>,
    /// Why requests were refused.
    pub explain: ExplainSource,
}

impl Controls {
    /// Of a gate without a store.
    #[must_use]
    pub fn without_store() -> Self {
        Self {
            store: None,
            wake: Arc::new(|_| {}),
            health: Arc::new(Vec::new),
            replays: Arc::new(Notify::new()),
            gate: Arc::new(GateNow::default),
            reload: None,
            explain: unexplained(),
        }
    }
}

/// Of a gate that knows no request.
#[must_use]
pub fn unexplained() -> ExplainSource {
    Arc::new(|_| Box::pin(async { None }))
}

impl fmt::Debug for Controls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_store = self.store.is_some();
        f.debug_struct("Controls")
            .field("has_store", &has_store)
            .finish_non_exhaustive()
    }
}
