//! State that the queries of one read share: the session with its snapshot, and the names as of that snapshot.

use std::sync::Arc;

use tokio_postgres::Error;

use crate::store::names::NameTable;
use crate::store::postgres::names;
use crate::store::postgres::session::Session;
use crate::store::postgres::shared::NodeShared;

/// A snapshot of the database with its names.
pub(super) struct ReadSnapshot<'a> {
    pub(super) session: &'a Session,
    pub(super) names: Arc<NameTable>,
    /// How far the database's clock is ahead of the wall clock.
    pub(super) skew_ms: i64,
}

impl<'a> ReadSnapshot<'a> {
    /// Returns the snapshot of a session that is inside a transaction.
    pub(super) async fn new(session: &'a Session, shared: &NodeShared) -> Result<Self, Error> {
        let sql = "SELECT version FROM name_version";
        let version: i64 = session.query_one(sql, &[]).await?.get(0);
        // Another node may have named a route or a type a moment ago. Without the names its events would be missing.
        let names = match shared.name_version() == version {
            true => shared.names(),
            false => Arc::new(names::load(session).await?.0),
        };
        Ok(Self {
            session,
            names,
            skew_ms: shared.clock.skew_ms(),
        })
    }
}
