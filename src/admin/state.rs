//! State that all handlers of the admin listener share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use hookgate_verify::model::secret::TokenDigest;
use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::admin::access::{AccessControl, AccessRefusal, AdminCaller, CallerOrigin};
use crate::admin::audit_log::AuditLog;
use crate::admin::config_view::ConfigView;
use crate::admin::controls::AdminControls;
use crate::admin::problem::AdminProblem;
use crate::config::model::AdminToken;
use crate::model::clock::ClockReading;
use crate::record::TelemetryRecorder;
use crate::store::Store;

/// Most live tails at the same time. Each tail of events queries the store twice a second.
pub(super) const MAX_TAILS: usize = 16;

/// Most bulk changes and counts at the same time. Each may take long, and all wait for the same writer.
const MAX_LONG: usize = 4;

/// State that all handlers of the admin listener share.
#[derive(Debug)]
pub(crate) struct AdminState {
    pub(super) recorder: Arc<TelemetryRecorder>,
    pub(super) access: AccessControl,
    pub(super) audit: AuditLog,
    pub(super) facts: ArcSwap<ConfigView>,
    /// Error of the last reload; empty if it succeeded.
    pub(super) refused_reload: ArcSwapOption<String>,
    /// Allowed values of `Host` besides loopback and addresses, in lower case.
    pub(super) hosts: ArcSwap<Vec<String>>,
    is_ready: AtomicBool,
    pub(super) controls: AdminControls,
    pub(super) started_ms: i64,
    tails: Arc<Semaphore>,
    long: Arc<Semaphore>,
}

impl AdminState {
    /// Creates the state of a gate that is not ready yet. `/metrics` and the API accept `tokens`.
    pub(crate) fn new(
        recorder: Arc<TelemetryRecorder>,
        tokens: &[AdminToken],
        controls: AdminControls,
    ) -> Arc<Self> {
        Arc::new(Self {
            audit: AuditLog::new(Arc::clone(&recorder), controls.store.clone()),
            recorder,
            access: AccessControl::new(tokens),
            facts: ArcSwap::default(),
            refused_reload: ArcSwapOption::empty(),
            hosts: ArcSwap::default(),
            is_ready: AtomicBool::new(false),
            controls,
            started_ms: ClockReading::read().unix_ms,
            tails: Arc::new(Semaphore::new(MAX_TAILS)),
            long: Arc::new(Semaphore::new(MAX_LONG)),
        })
    }

    /// Sets whether the gate accepts requests, which `/readyz` reports.
    pub(crate) fn set_ready(&self, is_ready: bool) {
        // Relaxed is enough, because no other data depends on the flag.
        self.is_ready.store(is_ready, Ordering::Relaxed);
    }

    /// Returns the access control, whose tokens a reload replaces.
    pub(crate) fn access(&self) -> &AccessControl {
        &self.access
    }

    /// Replaces the facts about the running config after a reload.
    pub(crate) fn set_facts(&self, facts: ConfigView) {
        self.facts.store(Arc::new(facts));
    }

    /// Replaces the allowed values of `Host` after a reload. They must be in lower case.
    pub(crate) fn set_hosts(&self, hosts: Vec<String>) {
        self.hosts.store(Arc::new(hosts));
    }

    /// Stores the outcome of the last reload: its error, or `None` if it succeeded.
    pub(crate) fn set_reload(&self, refused: Option<String>) {
        self.refused_reload.store(refused.map(Arc::new));
    }

    /// Identifies the client with this token, and logs a wrong token.
    pub(crate) fn identify(
        &self,
        token: Option<TokenDigest>,
        source: CallerOrigin,
    ) -> Result<AdminCaller, AccessRefusal> {
        let identified = self.access.identify(token, source);
        // A missing token is no guess: a browser or a new client sends its first request without one.
        if identified == Err(AccessRefusal::Unknown) {
            self.recorder.audit_refused(&source.to_string());
        }
        identified
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    pub(super) fn store(&self) -> Result<&Store, AdminProblem> {
        self.controls.store.as_ref().ok_or_else(|| {
            AdminProblem::missing(
                "this gate has no store: routes in queue or hybrid mode need `[store]` in the config",
            )
        })
    }

    /// Returns the store and the name of this node, if several nodes may share the store.
    pub(super) fn shared_store(&self) -> Option<(&Store, &str)> {
        let store = self.controls.store.as_ref()?;
        Some((store, store.node_name()?))
    }

    /// Returns the name of this node, if several nodes may share the store. Data in memory is this node's only.
    pub(super) fn node(&self) -> Option<String> {
        self.shared_store().map(|(_, name)| name.to_owned())
    }

    /// Returns the end of a sentence about data in memory: which node's it is.
    pub(super) fn of_node(&self) -> String {
        self.node().map_or_else(String::new, |node| {
            format!(" (of node `{node}`: ask the node that got the request, each has its own)")
        })
    }

    pub(super) fn tail_slot(&self) -> Result<OwnedSemaphorePermit, AdminProblem> {
        let slot = Arc::clone(&self.tails).try_acquire_owned();
        slot.map_err(|_| {
            let detail = "too many live tails are open: close one of them, then try again";
            AdminProblem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })
    }

    pub(super) fn open_tails(&self) -> u64 {
        MAX_TAILS.saturating_sub(self.tails.available_permits()) as u64
    }

    pub(super) fn long_slot(&self) -> Result<OwnedSemaphorePermit, AdminProblem> {
        let slot = Arc::clone(&self.long).try_acquire_owned();
        slot.map_err(|_| {
            AdminProblem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many bulk changes are in progress: try again when they have finished",
            )
        })
    }
}
