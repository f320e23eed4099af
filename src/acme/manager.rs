//! The manager of certificates: finds what is due, orders it, and puts it in use.
//!
//! With a shared store, each node has a manager. The one that holds the lease orders, and the others take up what it
//! stored. The work of a round depends only on the stored documents and the clock, so it does not matter which node does
//! it, or whether it was restarted in between.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::acme::account;
use crate::acme::answer;
use crate::acme::failure::{FailureKind, OrderFailure};
use crate::acme::health::CertificateHealth;
use crate::acme::http::AuthorityHttp;
use crate::acme::managed_name::{DueWork, ManagedNames};
use crate::acme::order::{self, OrderContext, OrderRequest};
use crate::acme::plan::AcmePlan;
use crate::acme::records::{NameRecord, RecordKind};
use crate::acme::renewal;
use crate::acme::storage::{RecordStorage, StorageError, StoredRecords};
use crate::acme::window;
use crate::edge::certificates::CertificateInfo;
use crate::edge::managed::ManagedCertificates;
use crate::model::clock::{ClockReading, millis};
use crate::model::error::chain;
use crate::store::Store;

/// Longest time for one order: three polls of two minutes, and the requests between them.
const ORDER_LIMIT: Duration = Duration::from_secs(8 * 60);

/// Length of the lease, longer than an order. A node that died keeps the others waiting for so long at most.
const LEASE: Duration = Duration::from_secs(10 * 60);

/// Longest pause between two rounds, so that a step of the clock is noticed.
const MOST_PAUSE: Duration = Duration::from_secs(60);

/// The same for nodes that share a store, which take up what others stored.
const SHARED_PAUSE: Duration = Duration::from_secs(10);

/// Pause while another node orders what this one needs.
const OTHER_NODE: Duration = Duration::from_secs(1);

/// Returns the time. Tests let it run ahead.
pub(crate) type ManagerClock = Arc<dyn Fn() -> ClockReading + Send + Sync>;

/// Returns the certificates of files, whose names need no other.
pub(crate) type FileCertificates = Arc<dyn Fn() -> Vec<CertificateInfo> + Send + Sync>;

/// The manager. It lives as long as the process; a reload gives it a new plan.
pub(crate) struct CertificateManager {
    storage: RecordStorage,
    edge: Arc<ManagedCertificates>,
    files: FileCertificates,
    clock: ManagerClock,
    plan: Mutex<Option<Arc<AcmePlan>>>,
    names: Mutex<ManagedNames>,
    /// The version of the shared documents that `names` has.
    version: Mutex<Option<(i64, i64)>>,
    changed: Notify,
}

impl CertificateManager {
    /// Creates a manager without a plan. Only a store that nodes share is used; otherwise files in the state folder.
    pub(crate) fn new(
        state_folder: &std::path::Path,
        store: Option<Store>,
        edge: Arc<ManagedCertificates>,
        files: FileCertificates,
        clock: ManagerClock,
    ) -> Arc<Self> {
        let storage = RecordStorage::new(state_folder, store);
        if storage.is_shared() {
            edge.set_lookup(answer::lookup(&edge, &storage));
        }
        Arc::new(Self {
            storage,
            edge,
            files,
            clock,
            plan: Mutex::default(),
            names: Mutex::default(),
            version: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Checks that the folder for keys can be written. Blocks.
    ///
    /// # Errors
    /// The folder cannot be created or written.
    pub(crate) fn prepare(&self) -> Result<(), StorageError> {
        self.storage.create_folder()
    }

    /// Puts a plan in use, with the certificates that are in files already. Blocks.
    pub(crate) fn follow(&self, plan: Option<AcmePlan>) {
        *self.plan.lock() = plan.map(Arc::new);
        self.take_up(&self.storage.read_files(), None);
        // Whatever the shared store has is newer, so the next round reads it.
        *self.version.lock() = None;
        self.changed.notify_one();
    }

    /// Returns the health of each managed certificate.
    pub(crate) fn health(&self) -> Vec<CertificateHealth> {
        let covered = (self.files)();
        self.names.lock().health(&covered)
    }

    /// Returns why no handshake can succeed, while there is no certificate at all.
    pub(crate) fn missing(&self) -> Option<String> {
        let names = self.names.lock();
        if names.is_empty() || names.has_certificate() || !(self.files)().is_empty() {
            return None;
        }
        let failure = names.last_failure();
        let reason = failure.unwrap_or_else(|| "the CA was not asked yet".to_owned());
        Some(format!("no certificate yet: {reason}"))
    }

    /// Does what is due, again and again, until the future is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let pause = self.round().await;
            // A reload wakes it.
            let _ = timeout(pause, self.changed.notified()).await;
        }
    }

    /// Does what is due now. Returns the pause until the next round.
    pub(crate) async fn round(&self) -> Duration {
        let Some(plan) = self.plan.lock().clone() else {
            return MOST_PAUSE;
        };
        if let Err(error) = self.take_up_changes().await {
            tracing::warn!(
                error = chain(&error),
                "the shared certificates cannot be read: no certificate is renewed meanwhile"
            );
            return SHARED_PAUSE;
        }
        let covered = (self.files)();
        if !self
            .names
            .lock()
            .due(&plan, &covered, (self.clock)())
            .is_empty()
        {
            match self.storage.take_lease(LEASE).await {
                Ok(true) => {
                    let done = self.work(&plan, &covered).await;
                    self.storage.end_lease().await;
                    if let Err(error) = done {
                        tracing::warn!(error = chain(&error), "certificates were not renewed");
                        return SHARED_PAUSE;
                    }
                }
                Ok(false) => return OTHER_NODE,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "certificates were not renewed");
                    return SHARED_PAUSE;
                }
            }
        }
        let pause = self.names.lock().pause(&plan, &covered, (self.clock)());
        let most = match self.storage.is_shared() {
            true => SHARED_PAUSE,
            false => MOST_PAUSE,
        };
        pause.min(most)
    }

    /// Works off everything that is due, while this node has the lease.
    async fn work(&self, plan: &AcmePlan, covered: &[CertificateInfo]) -> Result<(), StorageError> {
        // Another node may have done it before this one got the lease.
        let records = self.load().await?;
        self.storage.share_missing(&records).await?;
        let due = self.names.lock().due(plan, covered, (self.clock)());
        for (name, work) in due {
            // Extended for each order, since there may be many.
            if !self.storage.take_lease(LEASE).await? {
                return Ok(());
            }
            match work {
                DueWork::Order => self.obtain(plan, &name).await?,
                DueWork::Window => self.ask_window(plan, &name).await?,
            }
        }
        Ok(())
    }

    /// Orders a certificate, and records the outcome.
    async fn obtain(&self, plan: &AcmePlan, name: &str) -> Result<(), StorageError> {
        let http = AuthorityHttp::new(plan.section.ca.clone(), plan.proxy.clone());
        let ordered = timeout(ORDER_LIMIT, self.order(plan, &http, name)).await;
        let ordered = ordered.unwrap_or_else(|_| {
            let text = "the CA did not finish the order in time";
            Err(OrderFailure::new(FailureKind::Away, text))
        });
        let now = (self.clock)();
        match ordered {
            Ok(info) => {
                let lifetime = info.not_after.saturating_sub(info.not_before);
                let rest = renewal::rest(lifetime);
                // The window of the new certificate is asked for at once.
                let state = NameRecord {
                    rest_ms: now.unix_ms.saturating_add(millis(rest)),
                    ..NameRecord::default()
                };
                let recorded = self.storage.put(RecordKind::State, name, &state).await;
                // The certificate is stored already, so it is put in use even if its state cannot be stored.
                self.load().await?;
                recorded?;
                // Logged last, so that the health has the certificate and its state when the line is read.
                tracing::info!(name, until = info.not_after, "a certificate was obtained");
            }
            Err(failure) => {
                let asked = failure.retry_after.or_else(|| http.take_retry_after());
                let mut state = self.names.lock().state(name);
                state.failures = state.failures.saturating_add(1);
                let pause = renewal::pause(failure.kind, state.failures, asked);
                state.failed_ms = Some(now.unix_ms);
                state.retry_ms = now.unix_ms.saturating_add(millis(pause));
                state.failure = Some(failure.text.clone());
                if failure.kind == FailureKind::AlreadyReplaced {
                    // Without a window, the next order names no certificate that it replaces.
                    state.window = None;
                }
                let mut recorded = self.storage.put(RecordKind::State, name, &state).await;
                if recorded.is_ok() {
                    recorded = self.load().await.map(drop);
                }
                // Reported last, so that the health has the failure when the line is read.
                self.report(name, &failure, &state, pause, now);
                recorded?;
            }
        }
        Ok(())
    }

    /// Runs the order of a name. Returns the facts of the stored certificate.
    async fn order(
        &self,
        plan: &AcmePlan,
        http: &AuthorityHttp,
        name: &str,
    ) -> Result<CertificateInfo, OrderFailure> {
        let records = self.storage.read_all().await.map_err(account::local)?;
        let opened = account::open(&plan.section, http, &self.storage, &records).await?;
        let (kinds, replaces) = {
            let names = self.names.lock();
            (names.kinds(&plan.section, name), names.replaces(name))
        };
        let request = OrderRequest {
            section: &plan.section,
            name,
            kinds: &kinds,
            replaces,
            unfinished: records.get(RecordKind::Order, name),
        };
        let context = OrderContext {
            account: &opened,
            http,
            storage: &self.storage,
            edge: &self.edge,
            now: (self.clock)(),
        };
        let ran = order::run(&context, &request).await;
        if let Err(OrderFailure {
            kind: FailureKind::NoAccount,
            ..
        }) = &ran
        {
            account::forget(&plan.section.directory, &self.storage).await?;
        }
        ran.map(|pair| pair.info)
    }

    /// Asks the CA when to renew a certificate.
    async fn ask_window(&self, plan: &AcmePlan, name: &str) -> Result<(), StorageError> {
        let http = AuthorityHttp::new(plan.section.ca.clone(), plan.proxy.clone());
        let records = self.storage.read_all().await?;
        let leaf = self.names.lock().leaf(name);
        let Some(leaf) = leaf else {
            return Ok(());
        };
        let asked = window::ask(&plan.section, &http, &self.storage, &records, &leaf).await;
        let now = (self.clock)();
        let mut state = self.names.lock().state(name);
        state.ask_ms = now.unix_ms.saturating_add(millis(asked.pause));
        if let Some(found) = asked.window {
            if state.window.as_ref() != Some(&found) {
                tracing::info!(
                    name,
                    start = found.start_seconds,
                    end = found.end_seconds,
                    explanation = found.explanation.as_deref().unwrap_or_default(),
                    "the CA suggests a window for the renewal"
                );
            }
            state.window = Some(found);
        }
        self.storage.put(RecordKind::State, name, &state).await?;
        self.load().await?;
        Ok(())
    }

    fn report(
        &self,
        name: &str,
        failure: &OrderFailure,
        state: &NameRecord,
        pause: Duration,
        now: ClockReading,
    ) {
        let until = self.names.lock().not_after(name);
        let left = until.map(|until| until.saturating_sub(now.unix_seconds()));
        let retry = pause.as_secs();
        let (reason, failures) = (failure.text.as_str(), state.failures);
        // With a certificate that is valid for long there is time; without one, handshakes fail now.
        match left {
            Some(left) if left > URGENT_SECONDS => tracing::warn!(
                name,
                reason,
                failures,
                retry_seconds = retry,
                valid_seconds = left,
                "a certificate was not renewed"
            ),
            Some(left) => tracing::error!(
                name,
                reason,
                failures,
                retry_seconds = retry,
                valid_seconds = left,
                "a certificate was not renewed and expires soon"
            ),
            None => tracing::error!(
                name,
                reason,
                failures,
                retry_seconds = retry,
                "a certificate was not obtained: handshakes for this name fail"
            ),
        }
    }

    /// Reads the shared documents if another node changed them.
    async fn take_up_changes(&self) -> Result<(), StorageError> {
        if !self.storage.is_shared() {
            return Ok(());
        }
        let version = self.storage.version().await?;
        if *self.version.lock() == Some(version) {
            return Ok(());
        }
        self.load().await?;
        *self.version.lock() = Some(version);
        Ok(())
    }

    /// Reads all documents and puts the certificates in use.
    async fn load(&self) -> Result<StoredRecords, StorageError> {
        let records = self.storage.read_all().await?;
        self.take_up(&records, Some((self.clock)()));
        Ok(records)
    }

    /// Puts the certificates of these documents in use. `now` is the time for the log, if they may be new.
    fn take_up(&self, records: &StoredRecords, now: Option<ClockReading>) {
        let Some(plan) = self.plan.lock().clone() else {
            *self.names.lock() = ManagedNames::default();
            self.edge.set(&[]);
            return;
        };
        let mut names = self.names.lock();
        let before = names.digests();
        *names = ManagedNames::of(&plan.section, records, &self.storage);
        if names.digests() == before && now.is_some() {
            return;
        }
        self.edge.set(&names.pairs());
        if now.is_some() {
            tracing::info!("certificates reloaded");
        }
    }
}

/// Time to the expiry from which a failure is an error.
const URGENT_SECONDS: i64 = 14 * 86_400;
