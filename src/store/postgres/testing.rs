//! Access for tests to the inside of a store.

use crate::store::error::StoreError;
use crate::store::postgres::order::{self, OrderedKey};
use crate::store::postgres::store::PostgresStore;

impl PostgresStore {
    /// Ends the thread without writing or closing anything, as if the process were killed.
    pub(in crate::store) fn abandon(&self) {
        self.shared.abandon();
        self.end();
    }

    /// Runs statements as they are.
    pub(in crate::store) async fn run_sql(&self, sql: String) {
        let run = self.write(async move |session| {
            let done = session.client.batch_execute(&sql).await;
            done.map_err(StoreError::Postgres)
        });
        run.await.unwrap();
    }

    /// Returns the single number of a query.
    pub(in crate::store) async fn read_number(&self, sql: &'static str) -> i64 {
        let patience = std::time::Duration::from_secs(5);
        let read = self.read(patience, async move |session| {
            Ok(session.client.query_one(sql, &[]).await?.get(0))
        });
        read.await.unwrap()
    }

    pub(in crate::store) fn kinds_for_test(&self) -> usize {
        self.shared.names().kinds.len()
    }

    /// Returns the number of the lock of an order key.
    pub(in crate::store) fn key_lock(&self, destination: i64, key: i64) -> i64 {
        let key = OrderedKey { destination, key };
        order::lock_number(&self.shared.settings.schema, key)
    }

    /// Returns the number of this node.
    pub(in crate::store) fn node_number(&self) -> i32 {
        self.shared.node()
    }
}
