//! An open store, whichever database holds it.
//!
//! The set of databases is closed, so the store is an enum: a call costs one branch, and the compiler lists every place
//! that a new operation needs. The files of `handle/` have the calls by their callers.

mod nodes;
mod operator;
mod queue;

#[cfg(test)]
use std::sync::Arc;

use crate::model::clock::ClockReading;
use crate::model::database::DatabaseLocation;
use crate::model::ids::{DestinationName, RouteName};
use crate::store::error::StoreError;
#[cfg(test)]
use crate::store::node_testing::NodeStub;
use crate::store::options::{PurgeResult, RetentionLimits, StoreOptions, StoreStatistics};
use crate::store::postgres::store::PostgresStore;
#[cfg(test)]
use crate::store::rows::DueDelivery;
use crate::store::rows::{DestinationId, DestinationRow};
use crate::store::sqlite::options::SqliteOptions;
use crate::store::sqlite::store::SqliteStore;
#[cfg(test)]
use crate::store::take::TakeRequest;

/// An open store. A clone is cheap, and the last clone closes the store.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
    /// Answers of other nodes that a test wants.
    #[cfg(test)]
    stub: Option<Arc<NodeStub>>,
}

#[derive(Clone)]
enum Backend {
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
}

impl Store {
    /// Opens or creates the store, and migrates it to the newest schema. Blocks.
    ///
    /// An SQLite file returns to the queue what a dead process had in flight (`Step::Interrupt`, with an attempt of
    /// unknown outcome on record). If its disk is full or fails, or PostgreSQL is away, this still returns a store. That
    /// store rejects every task with [`StoreError::Reopening`] and tries again until it can open the database.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(options: StoreOptions) -> Result<Self, StoreError> {
        let backend = match options.location.clone() {
            DatabaseLocation::Sqlite(file) => {
                Backend::Sqlite(SqliteStore::open(SqliteOptions::new(file, options))?)
            }
            DatabaseLocation::Postgres(settings) => {
                Backend::Postgres(PostgresStore::open(*settings, options)?)
            }
        };
        Ok(Self {
            backend,
            #[cfg(test)]
            stub: None,
        })
    }

    /// Returns the number of a destination, and assigns one to a new name. A name keeps its number forever.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn destination(
        &self,
        route: &RouteName,
        name: &DestinationName,
    ) -> Result<DestinationId, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.destination(route, name).await,
            Backend::Postgres(store) => store.destination(route, name).await,
        }
    }

    /// Lists all destinations that ever had a name, with their numbers of deliveries.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn destinations(&self) -> Result<Vec<DestinationRow>, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.destinations().await,
            Backend::Postgres(store) => store.destinations().await,
        }
    }

    /// Pauses or resumes a destination, or all of a route if no name is given. The route still accepts events. Returns
    /// `false` if the name is unknown.
    pub(crate) async fn pause(
        &self,
        route: &RouteName,
        name: Option<&DestinationName>,
        is_paused: bool,
    ) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.pause(route, name, is_paused).await,
            Backend::Postgres(store) => store.pause(route, name, is_paused).await,
        }
    }

    /// Returns whether a destination is disabled, or it or its route is paused. Reads memory only.
    pub(crate) fn is_held(&self, destination: DestinationId) -> bool {
        match &self.backend {
            Backend::Sqlite(store) => store.is_held(destination),
            Backend::Postgres(store) => store.is_held(destination),
        }
    }

    /// Returns the number of a destination in the database. A destination that was named before the database was
    /// opened has another number outside of it.
    pub(crate) fn resolve(&self, destination: DestinationId) -> DestinationId {
        match &self.backend {
            Backend::Sqlite(store) => store.resolve(destination),
            Backend::Postgres(store) => store.resolve(destination),
        }
    }

    /// Disables a destination that responded with 410, or enables it again if no reason is given. Its deliveries wait
    /// meanwhile.
    pub(crate) async fn disable(
        &self,
        destination: DestinationId,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.disable(destination, reason).await,
            Backend::Postgres(store) => store.disable(destination, reason).await,
        }
    }

    /// Runs one bounded round of retention, and returns unused space.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn purge(
        &self,
        retention: &RetentionLimits,
        now_ms: i64,
    ) -> Result<PurgeResult, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.purge(retention, now_ms).await,
            Backend::Postgres(store) => store.purge(retention, now_ms).await,
        }
    }

    /// Returns the counters of the store.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn stats(&self) -> Result<StoreStatistics, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.stats().await,
            Backend::Postgres(store) => store.stats().await,
        }
    }

    /// Returns the time of the store's clock, with the monotonic time. This clock decides when a delivery is due, when
    /// its round began and when a claim expires. Setting the wall clock of this machine delays nothing.
    pub(crate) fn now(&self) -> ClockReading {
        match &self.backend {
            Backend::Sqlite(store) => store.now(),
            Backend::Postgres(store) => store.now(),
        }
    }

    /// Converts a time of the store's clock to the wall clock.
    pub(crate) fn to_wall_ms(&self, stored_ms: i64) -> i64 {
        match &self.backend {
            Backend::Sqlite(store) => store.to_wall_ms(stored_ms),
            Backend::Postgres(store) => store.to_wall_ms(stored_ms),
        }
    }

    /// Returns whether the store accepts commits now: `false` from a failed write until the database is open again.
    pub(crate) fn is_healthy(&self) -> bool {
        match &self.backend {
            Backend::Sqlite(store) => store.is_healthy(),
            Backend::Postgres(store) => store.is_healthy(),
        }
    }

    /// Returns whether the database was ever open. It is `false` if it was away at the start and still is. Until then
    /// the content is unknown, and destinations have temporary numbers that only this store understands.
    pub(crate) fn was_opened(&self) -> bool {
        match &self.backend {
            Backend::Sqlite(store) => store.was_opened(),
            Backend::Postgres(store) => store.was_opened(),
        }
    }

    /// Lets the process that follows this one open the store, while this one commits what its last exchanges need. Nodes
    /// on PostgreSQL share the database anyway.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) async fn share(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.share().await,
            Backend::Postgres(_) => Ok(()),
        }
    }

    /// Ends the time that [`Self::share`] began, because no other process followed. Returns `false` if one has the store.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) async fn take_back(&self) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.take_back().await,
            Backend::Postgres(_) => Ok(true),
        }
    }

    /// Returns whether the process that this one follows may still write to the store, without notice to this one.
    pub(crate) fn has_predecessor(&self) -> bool {
        match &self.backend {
            Backend::Sqlite(store) => store.has_predecessor(),
            // Its commits are announced like those of every other node.
            Backend::Postgres(_) => false,
        }
    }

    /// Writes all waiting tasks and closes the database, for all clones. Blocks.
    pub fn close(self) {
        match self.backend {
            Backend::Sqlite(store) => store.close(),
            Backend::Postgres(store) => store.close(),
        }
    }
}

#[cfg(test)]
impl Store {
    /// Returns the store of a file, for tests that reach inside it.
    pub(in crate::store) fn sqlite(&self) -> &SqliteStore {
        match &self.backend {
            Backend::Sqlite(store) => store,
            Backend::Postgres(_) => panic!("the store is not a file"),
        }
    }

    /// Starts a store whose file could not be opened.
    pub(in crate::store) fn open_late(options: StoreOptions) -> Self {
        let DatabaseLocation::Sqlite(file) = options.location.clone() else {
            panic!("the store is not a file");
        };
        let store = SqliteStore::open_late(SqliteOptions::new(file, options));
        Self {
            backend: Backend::Sqlite(store),
            stub: None,
        }
    }

    /// Returns this store with the answers of a shared one.
    pub(crate) fn with_stub(self, stub: Arc<NodeStub>) -> Self {
        Self {
            stub: Some(stub),
            ..self
        }
    }

    /// Takes due deliveries without limits across nodes.
    pub(crate) async fn begin(
        &self,
        destination: DestinationId,
        limit: usize,
        as_of_ms: i64,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let request = TakeRequest::new(destination, limit, as_of_ms);
        self.take(request).await.map(|taken| taken.due)
    }

    /// Returns the store in PostgreSQL, for tests that reach inside it.
    pub(in crate::store) fn postgres(&self) -> &PostgresStore {
        match &self.backend {
            Backend::Sqlite(_) => panic!("the store is a file"),
            Backend::Postgres(store) => store,
        }
    }
}
