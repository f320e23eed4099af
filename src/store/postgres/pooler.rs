//! Detection of a connection pooler that shares sessions between clients.

use crate::model::database::PostgresSettings;
use crate::store::error::StoreError;
use crate::store::postgres::connect;
use crate::store::postgres::session::Session;

/// Rejects a pooler in transaction mode, such as PgBouncer's.
///
/// There, `SET` and prepared statements last for one transaction only, and the next one may run in another session. The
/// store could then write into another schema, or wait without a deadline.
pub(super) async fn refuse(
    settings: &PostgresSettings,
    session: &Session,
) -> Result<(), StoreError> {
    let sql = "SELECT pg_backend_pid(), current_setting('search_path')";
    let ask = async |session: &Session| -> Result<(i32, String), StoreError> {
        // Not prepared: a pooler may lose the statement before it is used.
        let rows = session.client.query_typed(sql, &[]).await;
        let rows = rows.map_err(StoreError::Postgres)?;
        let row = rows.first().ok_or_else(shared)?;
        Ok((row.get(0), row.get(1)))
    };
    let (own, path) = ask(session).await?;
    // The other client holds a transaction, for which a pooler takes the session that it used last: the one above. A
    // direct connection has a process of its own.
    let other = connect::open(settings, "probe").await?;
    other.batch("BEGIN").await.map_err(StoreError::Postgres)?;
    let (process, _) = ask(&other).await?;
    let is_kept = path.trim_matches('"') == settings.schema;
    match process != own && is_kept {
        true => Ok(()),
        false => Err(shared()),
    }
}

fn shared() -> StoreError {
    StoreError::Setup {
        what: "a connection pooler in transaction mode, such as PgBouncer, answers instead of the server: connect to \
            the server itself, or set `pool_mode = session` for this database; a node uses at most 13 connections"
            .to_owned(),
        source: None,
    }
}
