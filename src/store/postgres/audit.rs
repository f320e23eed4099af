//! The table of operator actions.

use tokio_postgres::Row;

use crate::store::audit::{ActionRow, ActionSearch, OperatorAction};
use crate::store::error::StoreError;
use crate::store::postgres::event_list::{PATIENCE, page_size};
use crate::store::postgres::search_query::SearchQuery;
use crate::store::postgres::session::SqlValue;
use crate::store::postgres::store::PostgresStore;
use crate::store::postgres::text::without_nul;
use crate::store::search::ListPage;

/// Largest number of rows, about 30 MiB.
const MAX_ROWS: i64 = 100_000;

/// Largest age of a row: more than a year, which audits look back.
const MAX_AGE_MS: i64 = 400 * 86_400_000;

impl PostgresStore {
    pub(in crate::store) async fn record_action(
        &self,
        action: OperatorAction,
    ) -> Result<i64, StoreError> {
        let node = self.shared.settings.node.clone();
        // Targets come from requests, and a column cannot hold every character of them.
        let action = OperatorAction {
            who: without_nul(action.who),
            role: without_nul(action.role),
            source: without_nul(action.source),
            action: without_nul(action.action),
            target: without_nul(action.target),
            detail: action.detail.map(without_nul),
            ..action
        };
        // A wall clock that ran ahead must not delete young rows.
        let now_ms = action
            .at_ms
            .saturating_add(self.shared.clock.skew_ms().min(0));
        self.write(async move |session| {
            let failed = StoreError::Postgres;
            let sql =
                "INSERT INTO audit (node, at_ms, who, role, source, action, target, detail, status)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id";
            let status = i16::try_from(action.status).unwrap_or(i16::MAX);
            let values: [SqlValue<'_>; 9] = [
                &node,
                &action.at_ms,
                &action.who,
                &action.role,
                &action.source,
                &action.action,
                &action.target,
                &action.detail,
                &status,
            ];
            let row = session.query_one(sql, &values).await;
            let id: i64 = row.map_err(failed)?.get(0);
            // Checks only the oldest rows, and skips those that another node deletes just now.
            let sql = "DELETE FROM audit WHERE id IN (
                SELECT id FROM audit WHERE id IN (SELECT id FROM audit ORDER BY id LIMIT 100)
                AND (id <= $1 OR at_ms < $2) ORDER BY id FOR UPDATE SKIP LOCKED)";
            let before_ms = now_ms.saturating_sub(MAX_AGE_MS);
            let first = id.saturating_sub(MAX_ROWS);
            let deleted = session.execute(sql, &[&first, &before_ms]).await;
            deleted.map_err(failed)?;
            Ok(id)
        })
        .await
    }

    pub(in crate::store) async fn actions(
        &self,
        search: ActionSearch,
        page: ListPage,
    ) -> Result<Vec<ActionRow>, StoreError> {
        let limit = i64::try_from(page_size(page)).unwrap_or(i64::MAX);
        self.read(PATIENCE, async move |session| {
            let mut query = SearchQuery::default();
            query
                .add("SELECT id, node, at_ms, who, role, source, action, target, detail, status FROM audit WHERE id < ")
                .value(page.after.unwrap_or(i64::MAX));
            let texts = [
                ("who", search.who),
                ("action", search.action),
                ("target", search.target),
            ];
            for (column, wanted) in texts {
                if let Some(wanted) = wanted {
                    query
                        .add(&format!(" AND {column} = "))
                        .value(without_nul(wanted));
                }
            }
            if let Some(since_ms) = search.since_ms {
                query.add(" AND at_ms >= ").value(since_ms);
            }
            if let Some(before_ms) = search.before_ms {
                query.add(" AND at_ms < ").value(before_ms);
            }
            query.add(" ORDER BY id DESC LIMIT ").value(limit);
            let rows = query.run(session).await?;
            Ok(rows.iter().map(read).collect())
        })
        .await
    }
}

fn read(row: &Row) -> ActionRow {
    ActionRow {
        id: row.get(0),
        node: Some(row.get(1)),
        action: OperatorAction {
            at_ms: row.get(2),
            who: row.get(3),
            role: row.get(4),
            source: row.get(5),
            action: row.get(6),
            target: row.get(7),
            detail: row.get(8),
            status: u16::try_from(row.get::<_, i16>(9)).unwrap_or(0),
        },
    }
}
