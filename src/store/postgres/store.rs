//! An open store in PostgreSQL: its thread, and how calls reach it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::model::clock::ClockReading;
use crate::store::error::StoreError;
use crate::store::nodes::NodeReport;
use crate::store::postgres::session::Session;
use crate::store::postgres::shared::NodeShared;
use crate::store::rows::DestinationId;

/// A store in PostgreSQL. A clone is cheap, and the last clone closes the store.
///
/// Its methods are in the files of their subjects, beside the SQL that they run. They run on the store's own thread, so
/// that the load of the proxy never delays a beat.
#[derive(Clone)]
pub(in crate::store) struct PostgresStore {
    pub(super) shared: Arc<NodeShared>,
    thread: Arc<StoreThread>,
}

/// The thread of the sessions, which ends when this is dropped.
struct StoreThread {
    shared: Arc<NodeShared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl PostgresStore {
    /// Returns the handle of a thread that was started.
    pub(super) fn new(shared: Arc<NodeShared>, thread: JoinHandle<()>) -> Self {
        Self {
            thread: Arc::new(StoreThread {
                shared: Arc::clone(&shared),
                thread: Mutex::new(Some(thread)),
            }),
            shared,
        }
    }

    /// Runs a job on the store's thread and returns its result.
    pub(super) async fn run<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: AsyncFnOnce(&Arc<NodeShared>) -> Result<T, StoreError> + Send + 'static,
    {
        if !self.shared.is_healthy() {
            return Err(StoreError::Reopening);
        }
        let (reply, answer) = oneshot::channel();
        self.shared.send(Box::new(move |shared| {
            Box::pin(async move {
                // The caller may be gone; the job has run all the same.
                let _ = reply.send(job(&shared).await);
            })
        }))?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs queries in one read-only snapshot.
    pub(super) async fn read<T, F>(&self, patience: Duration, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: AsyncFnOnce(&Session) -> Result<T, tokio_postgres::Error> + Send + 'static,
    {
        self.run(async move |shared| shared.sessions().read(patience, query).await)
            .await
    }

    /// Runs an operator's change in one transaction, which is durable when this returns.
    pub(super) async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: AsyncFn(&Session) -> Result<T, StoreError> + Send + 'static,
    {
        self.run(async move |shared| shared.sessions().write(change).await)
            .await
    }

    pub(in crate::store) fn is_held(&self, destination: DestinationId) -> bool {
        self.shared
            .names()
            .is_held(self.shared.resolve(destination).0)
    }

    pub(in crate::store) fn resolve(&self, destination: DestinationId) -> DestinationId {
        self.shared.resolve(destination)
    }

    pub(in crate::store) fn may_attempt(&self) -> bool {
        self.shared.lease.is_valid()
    }

    pub(in crate::store) fn set_first_attempt(&self, limit: Duration) {
        self.shared.set_first_attempt(limit);
    }

    pub(in crate::store) fn node_name(&self) -> &str {
        &self.shared.settings.node
    }

    pub(in crate::store) fn publish(&self, report: NodeReport) {
        *self.shared.report.lock() = report;
    }

    pub(in crate::store) fn news(&self) -> mpsc::Receiver<DestinationId> {
        self.shared.subscribe()
    }

    pub(in crate::store) fn now(&self) -> ClockReading {
        self.shared.clock.now()
    }

    pub(in crate::store) fn to_wall_ms(&self, stored_ms: i64) -> i64 {
        stored_ms.saturating_sub(self.shared.clock.skew_ms())
    }

    pub(in crate::store) fn is_healthy(&self) -> bool {
        self.shared.is_healthy()
    }

    pub(in crate::store) fn was_opened(&self) -> bool {
        self.shared.was_opened()
    }

    pub(in crate::store) fn close(self) {
        self.end();
    }

    /// Ends the thread, for all clones. Blocks.
    pub(super) fn end(&self) {
        self.thread.close();
    }
}

impl StoreThread {
    /// Writes all waiting tasks, ends the node's row and the thread. Blocks.
    fn close(&self) {
        self.shared.close();
        let taken = self.thread.lock().take();
        if let Some(thread) = taken {
            let _ = thread.join();
        }
    }
}

impl Drop for StoreThread {
    fn drop(&mut self) {
        self.close();
    }
}
