//! Opening a store: its thread, and the wait for the first connection.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::model::database::PostgresSettings;
use crate::store::error::StoreError;
use crate::store::options::StoreOptions;
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::store::PostgresStore;
use crate::store::postgres::thread;

impl PostgresStore {
    /// Connects, migrates the schema and registers this node. Blocks, up to ten seconds if no server can be reached: the
    /// store then keeps trying.
    pub(in crate::store) fn open(
        settings: PostgresSettings,
        options: StoreOptions,
    ) -> Result<Self, StoreError> {
        let (jobs, inbox) = mpsc::unbounded_channel();
        let shared = Arc::new(NodeShared::new(settings, options, jobs));
        // A channel of the standard library: callers may block here even inside a runtime.
        let (started, opened) = std::sync::mpsc::sync_channel(1);
        let handle = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || thread::run(handle, inbox, started))
            .map_err(|err| StoreError::Connect {
                what: "its thread could not be started".to_owned(),
                source: Some(err.into()),
            })?;
        // Made before the wait, so that an early return also ends the thread.
        let store = Self::new(shared, thread);
        // The thread answers at the first success, at an error that waiting does not cure, or after its patience.
        match opened.recv() {
            Ok(Ok(())) => Ok(store),
            Ok(Err(err)) => Err(err),
            Err(_) => Err(StoreError::Closed),
        }
    }
}
