//! One connection to the database, with its prepared statements.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

/// Statements that stay prepared. Searches combine criteria freely, so their texts must be bounded.
const MAX_STATEMENTS: usize = 256;

/// An open connection. Dropping it closes the socket at once, even in the middle of a statement: an abandoned statement
/// must never answer the next question.
pub(super) struct Session {
    pub(super) client: Client,
    driver: JoinHandle<()>,
    statements: Mutex<HashMap<String, Statement>>,
    /// Set when the server warned that a commit may not be on a standby.
    has_warned: Arc<AtomicBool>,
}

/// A parameter of a statement.
pub(super) type SqlValue<'a> = &'a (dyn ToSql + Sync);

impl Session {
    pub(super) fn new(client: Client, driver: JoinHandle<()>, has_warned: Arc<AtomicBool>) -> Self {
        Self {
            client,
            driver,
            statements: Mutex::default(),
            has_warned,
        }
    }

    /// Returns whether the server closed the connection.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Returns whether the server warned since the last call that a commit may be on the primary only.
    pub(super) fn take_warning(&self) -> bool {
        // Reset by the read, so that each commit is judged by its own warnings.
        self.has_warned.swap(false, Ordering::SeqCst)
    }

    /// Prepares a statement, or returns the prepared one.
    pub(super) async fn prepare(&self, sql: &str) -> Result<Statement, Error> {
        // A statement of its own ends the lock before the server is asked to prepare.
        let known = self.statements.lock().get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        let mut statements = self.statements.lock();
        if statements.len() >= MAX_STATEMENTS {
            // Dropping a statement also closes it on the server.
            statements.clear();
        }
        statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Runs a query and returns its rows.
    pub(super) async fn query(
        &self,
        sql: &str,
        values: &[SqlValue<'_>],
    ) -> Result<Vec<Row>, Error> {
        let statement = self.prepare(sql).await?;
        self.client.query(&statement, values).await
    }

    /// Runs a query that returns at most one row.
    pub(super) async fn query_opt(
        &self,
        sql: &str,
        values: &[SqlValue<'_>],
    ) -> Result<Option<Row>, Error> {
        let statement = self.prepare(sql).await?;
        self.client.query_opt(&statement, values).await
    }

    /// Runs a query that returns exactly one row.
    pub(super) async fn query_one(&self, sql: &str, values: &[SqlValue<'_>]) -> Result<Row, Error> {
        let statement = self.prepare(sql).await?;
        self.client.query_one(&statement, values).await
    }

    /// Runs a statement and returns how many rows it changed.
    pub(super) async fn execute(&self, sql: &str, values: &[SqlValue<'_>]) -> Result<u64, Error> {
        let statement = self.prepare(sql).await?;
        self.client.execute(&statement, values).await
    }

    /// Runs statements without parameters.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Error> {
        // Without preparing, so that several statements may be in one text.
        self.client.batch_execute(sql).await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The driver owns the socket, so its end closes the connection.
        self.driver.abort();
    }
}
