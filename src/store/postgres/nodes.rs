//! The list of nodes, and the state of breakers that they share.

use std::time::Duration;

use crate::store::error::StoreError;
use crate::store::nodes::{NodeReport, NodeRow};
use crate::store::postgres::store::PostgresStore;

/// Nodes that ended stay in the list for a day.
const LISTED_MS: i64 = 24 * 3600 * 1000;

/// Longest duration of the query.
const PATIENCE: Duration = Duration::from_secs(2);

impl PostgresStore {
    pub(in crate::store) async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        let own = self.shared.node();
        let quiet = self.shared.quiet.lock().clone();
        let since_ms = self.now().unix_ms.saturating_sub(LISTED_MS);
        self.read(PATIENCE, async move |session| {
            let sql = "SELECT id, name, version, started_ms, ended_ms, report FROM node
                WHERE ended_ms IS NULL OR ended_ms > $1 ORDER BY id = $2 DESC, ended_ms IS NOT NULL, id DESC
                LIMIT 1000";
            let rows = session.query(sql, &[&since_ms, &own]).await?;
            let read = |row: &tokio_postgres::Row| {
                let id: i32 = row.get(0);
                let quiet = quiet.get(&id).map_or(0, Duration::as_millis);
                // A later version may write a report that this one cannot read.
                let report: NodeReport = serde_json::from_str(row.get(5)).unwrap_or_default();
                NodeRow {
                    id: id.into(),
                    name: row.get(1),
                    version: row.get(2),
                    started_ms: row.get(3),
                    ended_ms: row.get(4),
                    quiet_ms: u64::try_from(quiet).unwrap_or(u64::MAX),
                    is_self: id == own,
                    report,
                }
            };
            Ok(rows.iter().map(read).collect())
        })
        .await
    }
}
