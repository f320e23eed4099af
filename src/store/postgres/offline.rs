//! Commands on a database, beside running nodes or without them. They open a session of their own and are no node.

use std::time::Duration;

use crate::model::database::PostgresSettings;
use crate::store::error::StoreError;
use crate::store::postgres::session::Session;
use crate::store::postgres::{connect, migrate, probe};

/// Longest duration of one statement of a command.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Runs work on a session, on a thread of its own: callers may be inside a runtime, which cannot run another one. Blocks.
pub(super) fn on_session<T: Send>(
    settings: &PostgresSettings,
    work: impl AsyncFnOnce(&Session) -> Result<T, StoreError> + Send,
) -> Result<T, StoreError> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            probe::block(async || {
                let session = connect::open(settings, "command").await?;
                migrate::check_readable(&session, &settings.schema).await?;
                let patience = format!("SET statement_timeout = {}", PATIENCE.as_millis());
                // A snapshot that waits for a slow terminal must not be ended as an idle transaction.
                session
                    .batch(&format!(
                        "{patience}; SET idle_in_transaction_session_timeout = 0; SET jit = off"
                    ))
                    .await
                    .map_err(StoreError::Postgres)?;
                work(&session).await
            })
        });
        thread.join().unwrap_or(Err(StoreError::Closed))
    })
}

/// Begins a transaction that sees the database as of one moment.
pub(super) async fn begin(session: &Session) -> Result<(), StoreError> {
    let sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    session.batch(sql).await.map_err(StoreError::Postgres)
}

/// Ends the transaction of [`begin`].
pub(super) async fn end(session: &Session) -> Result<(), StoreError> {
    session
        .batch("ROLLBACK")
        .await
        .map_err(StoreError::Postgres)
}
