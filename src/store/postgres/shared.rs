//! State that the thread of a node and the handles of its store share.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, mpsc, watch};

use crate::model::clock::{self, millis};
use crate::model::database::PostgresSettings;
use crate::model::ids::{DestinationName, RouteName};
use crate::store::aliases::DestinationAliases;
use crate::store::error::StoreError;
use crate::store::names::NameTable;
use crate::store::nodes::NodeReport;
use crate::store::options::{StoreOptions, StoreStatistics};
use crate::store::postgres::attempts::RunningAttempts;
use crate::store::postgres::clock::DatabaseClock;
use crate::store::postgres::lease::NodeLease;
use crate::store::postgres::measured_size::MeasuredSize;
use crate::store::postgres::queue::GroupQueue;
use crate::store::postgres::sessions::Sessions;
use crate::store::postgres::shared_claim_queue::SharedClaimQueue;
use crate::store::purge_sweeps::PurgeSweeps;
use crate::store::rows::{DestinationId, SpentClaim};
use crate::store::seal::ContentSealer;

/// Work for the thread.
pub(super) type Job = Box<dyn FnOnce(Arc<NodeShared>) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// Longest first attempt of a hybrid route while the config has not said it.
const UNKNOWN_FIRST_ATTEMPT_MS: i64 = 5 * 60 * 1000;

/// Destinations whose news may wait for the deliverer.
const NEWS: usize = 4096;

pub(super) struct NodeShared {
    pub(super) settings: PostgresSettings,
    pub(super) options: StoreOptions,
    pub(super) queue: GroupQueue,
    pub(super) claims: SharedClaimQueue,
    pub(super) clock: DatabaseClock,
    pub(super) lease: NodeLease,
    pub(super) report: Mutex<NodeReport>,
    pub(super) attempts: RunningAttempts,
    /// Claims of proxy routes that wait to be written.
    pub(super) spent: Mutex<Vec<SpentClaim>>,
    /// Positions of retention.
    pub(super) sweeps: Mutex<PurgeSweeps>,
    pub(super) measured_size: Mutex<MeasuredSize>,
    /// Since when the beat of each node is unchanged, as this node has seen it.
    pub(super) quiet: Mutex<HashMap<i32, Duration>>,
    sessions: Sessions,
    names: RwLock<Arc<NameTable>>,
    /// The version in the database that `names` has at least.
    name_version: AtomicI64,
    sealer: ArcSwap<ContentSealer>,
    pub(super) aliases: Mutex<DestinationAliases>,
    /// Held by a writer that numbers new kinds, so that both together keep the bound of their number.
    pub(super) naming: tokio::sync::Mutex<()>,
    /// Number of this node in the database; 0 while it is not registered.
    node: AtomicI32,
    news: Mutex<Option<mpsc::Sender<DestinationId>>>,
    jobs: mpsc::UnboundedSender<Job>,
    /// Notified when the store closes.
    pub(super) closing: Notify,
    /// Longest first attempt of a hybrid route in milliseconds, for the case that this node dies meanwhile.
    first_attempt_ms: AtomicI64,
    is_closed: AtomicBool,
    is_abandoned: AtomicBool,
    /// When the database was lost; absent while it is there.
    away_since: watch::Sender<Option<Instant>>,
    was_opened: AtomicBool,
    groups: AtomicU64,
    grouped: AtomicU64,
    reopened: AtomicU64,
    written_us: AtomicU64,
    /// True while the database has reached `max_size` or `max_events`.
    pub(super) is_full: Mutex<Option<&'static str>>,
}

impl NodeShared {
    pub(super) fn new(
        settings: PostgresSettings,
        options: StoreOptions,
        jobs: mpsc::UnboundedSender<Job>,
    ) -> Self {
        Self {
            sessions: Sessions::new(&settings),
            settings,
            options,
            queue: GroupQueue::default(),
            claims: SharedClaimQueue::default(),
            clock: DatabaseClock::default(),
            lease: NodeLease::default(),
            report: Mutex::default(),
            attempts: RunningAttempts::default(),
            spent: Mutex::default(),
            sweeps: Mutex::default(),
            measured_size: Mutex::default(),
            quiet: Mutex::default(),
            names: RwLock::default(),
            name_version: AtomicI64::new(0),
            sealer: ArcSwap::default(),
            aliases: Mutex::default(),
            naming: tokio::sync::Mutex::default(),
            node: AtomicI32::new(0),
            news: Mutex::new(None),
            jobs,
            closing: Notify::new(),
            first_attempt_ms: AtomicI64::new(UNKNOWN_FIRST_ATTEMPT_MS),
            is_closed: AtomicBool::new(false),
            is_abandoned: AtomicBool::new(false),
            // A node that starts waits for its database as after a loss.
            away_since: watch::Sender::new(Some(clock::instant())),
            was_opened: AtomicBool::new(false),
            groups: AtomicU64::new(0),
            grouped: AtomicU64::new(0),
            reopened: AtomicU64::new(0),
            written_us: AtomicU64::new(0),
            is_full: Mutex::new(None),
        }
    }

    pub(super) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Hands work to the thread.
    pub(super) fn send(&self, job: Job) -> Result<(), StoreError> {
        if self.is_closed() {
            return Err(StoreError::Closed);
        }
        self.jobs.send(job).map_err(|_| StoreError::Closed)
    }

    pub(super) fn names(&self) -> Arc<NameTable> {
        Arc::clone(&self.names.read())
    }

    /// Replaces the names with a newer state of the database.
    pub(super) fn set_names(&self, mut names: NameTable, version: i64) {
        let mut known = self.names.write();
        // A name that was added here while the others were loaded may be missing from them. Names never go.
        names.add_missing(&known);
        *known = Arc::new(names);
        drop(known);
        // After the names: a reader of this version must find at least its names.
        self.name_version.store(version, Ordering::SeqCst);
    }

    /// Returns the version of the names in memory.
    pub(super) fn name_version(&self) -> i64 {
        self.name_version.load(Ordering::SeqCst)
    }

    /// Changes the names in place.
    pub(super) fn with_names(&self, change: impl FnOnce(&mut Arc<NameTable>)) {
        change(&mut self.names.write());
    }

    pub(super) fn sealer(&self) -> Arc<ContentSealer> {
        self.sealer.load_full()
    }

    pub(super) fn set_sealer(&self, sealer: ContentSealer) {
        self.sealer.store(Arc::new(sealer));
    }

    /// Returns the number of this node; 0 while it is not registered.
    pub(super) fn node(&self) -> i32 {
        self.node.load(Ordering::SeqCst)
    }

    pub(super) fn set_node(&self, node: i32) {
        self.node.store(node, Ordering::SeqCst);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Rejects new work from now on. The thread then does what waits, and ends.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        // After the flag: `send` rejects new jobs from here on, so that the thread can empty its channel.
        self.queue.close();
        self.claims.close();
        // `notify_one` stores a permit, so the thread sees it even if it is not waiting at this moment.
        self.closing.notify_one();
    }

    /// Returns the longest first attempt of a hybrid route in milliseconds.
    pub(super) fn first_attempt_ms(&self) -> i64 {
        self.first_attempt_ms.load(Ordering::Relaxed)
    }

    pub(super) fn set_first_attempt(&self, limit: Duration) {
        let limit_ms = millis(limit);
        self.first_attempt_ms.store(limit_ms, Ordering::Relaxed);
    }

    /// Ends the thread at once at the next close, for tests.
    #[cfg(test)]
    pub(super) fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::SeqCst);
    }

    /// Returns whether the thread must end without finishing its work.
    pub(super) fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::SeqCst)
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.away_since.borrow().is_none() && !self.is_closed()
    }

    /// Returns whether the database is there, or returns within `patience` of its loss, for which this waits.
    pub(super) async fn is_back_soon(&self, patience: Duration) -> bool {
        let lost = *self.away_since.borrow();
        let rest = lost.and_then(|lost| patience.checked_sub(lost.elapsed()));
        if let Some(rest) = rest {
            let mut away = self.away_since.subscribe();
            let _ = tokio::time::timeout(rest, away.wait_for(Option::is_none)).await;
        }
        self.is_healthy()
    }

    pub(super) fn was_opened(&self) -> bool {
        self.was_opened.load(Ordering::SeqCst)
    }

    /// Records that the database is open.
    pub(super) fn set_open(&self) {
        let was_opened = self.was_opened.swap(true, Ordering::SeqCst);
        let was_away = self.away_since.send_replace(None).is_some();
        if was_opened && was_away {
            self.reopened.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records that the database is away.
    pub(super) fn set_away(&self) {
        // The time of the loss stays, however often the node tries to enter again.
        self.away_since.send_if_modified(|since| {
            since
                .replace(since.unwrap_or_else(clock::instant))
                .is_none()
        });
    }

    /// Returns the alias of a destination, a number below zero, while the database was never open.
    pub(super) fn alias(&self, route: &RouteName, name: &DestinationName) -> Option<DestinationId> {
        let mut aliases = self.aliases.lock();
        // Read under the lock, because the thread ends this phase under the same lock.
        (!self.was_opened()).then(|| DestinationId(aliases.number(route, name)))
    }

    /// Returns the number of a destination in the database. Negative numbers are aliases from a time without it.
    pub(super) fn resolve(&self, destination: DestinationId) -> DestinationId {
        match destination.0 {
            0.. => destination,
            alias => DestinationId(self.aliases.lock().resolve(alias)),
        }
    }

    /// Returns a new receiver of news, and closes the former one.
    pub(super) fn subscribe(&self) -> mpsc::Receiver<DestinationId> {
        let (sender, receiver) = mpsc::channel(NEWS);
        *self.news.lock() = Some(sender);
        receiver
    }

    /// Reports that a destination has due work. A full channel drops it: the next look finds the work again.
    pub(super) fn announce(&self, destination: DestinationId) {
        if let Some(sender) = &*self.news.lock() {
            let _ = sender.try_send(destination);
        }
    }

    pub(super) fn count_group(&self, tasks: usize, took: Duration) {
        self.groups.fetch_add(1, Ordering::Relaxed);
        let tasks = u64::try_from(tasks).unwrap_or(u64::MAX);
        self.grouped.fetch_add(tasks, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.written_us.fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn with_counters(&self, stats: StoreStatistics) -> StoreStatistics {
        StoreStatistics {
            groups: self.groups.load(Ordering::Relaxed),
            grouped: self.grouped.load(Ordering::Relaxed),
            reopened: self.reopened.load(Ordering::Relaxed),
            written_us: self.written_us.load(Ordering::Relaxed),
            ..stats
        }
    }
}
