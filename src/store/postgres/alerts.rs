//! The duty of alerts, and the rows that alerts remember.

use std::time::Duration;

use crate::store::error::StoreError;
use crate::store::postgres::duty;
use crate::store::postgres::store::PostgresStore;
use crate::store::postgres::text::without_nul;

/// Longest duration of a query.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most rows of one query: what all nodes find, and a row for each route.
const MAX_ROWS: i64 = 20_000;

impl PostgresStore {
    pub(in crate::store) async fn take_alert_duty(
        &self,
        lease: Duration,
    ) -> Result<Option<i64>, StoreError> {
        let node = self.shared.node();
        let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX / 4);
        self.write(async move |session| {
            // Two nodes that ask at the same moment: the second one asks again with its next round.
            if !duty::try_lock(session, "alerts").await.map_err(StoreError::Postgres)? {
                return Ok(None);
            }
            // By the database's clock, so that clocks of nodes which differ do not give the duty to two of them.
            let sql = "INSERT INTO alert_duty (node, term, until_ms)
                VALUES ($1, 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $2)
                ON CONFLICT (one) DO UPDATE SET node = excluded.node, until_ms = excluded.until_ms,
                    term = alert_duty.term + (alert_duty.node <> excluded.node)::int
                WHERE alert_duty.node = excluded.node
                    OR alert_duty.until_ms < (extract(epoch FROM clock_timestamp()) * 1000)::bigint
                    OR EXISTS (SELECT 1 FROM node WHERE node.id = alert_duty.node AND node.ended_ms IS NOT NULL)
                RETURNING term";
            let row = session.query_opt(sql, &[&node, &lease_ms]).await;
            let row = row.map_err(StoreError::Postgres)?;
            Ok(row.map(|row| row.get(0)))
        })
        .await
    }

    pub(in crate::store) async fn alert_rows(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let prefix = prefix.to_owned();
        self.read(PATIENCE, async move |session| {
            let sql = "SELECT name, body FROM alert_row WHERE starts_with(name, $1) ORDER BY name LIMIT $2";
            let rows = session.query(sql, &[&prefix, &MAX_ROWS]).await?;
            Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
        })
        .await
    }

    pub(in crate::store) async fn put_alert_rows(
        &self,
        term: Option<i64>,
        rows: Vec<(String, Option<String>)>,
    ) -> Result<bool, StoreError> {
        let node = self.shared.node();
        self.write(async move |session| {
            let failed = StoreError::Postgres;
            if let Some(term) = term {
                // Locked until the commit, so that no other node takes the duty meanwhile.
                let sql = "SELECT 1 FROM alert_duty WHERE node = $1 AND term = $2 FOR UPDATE";
                let has_duty = session.query_opt(sql, &[&node, &term]).await;
                if has_duty.map_err(failed)?.is_none() {
                    return Ok(false);
                }
            }
            for (name, body) in &rows {
                let written = match body {
                    Some(body) => {
                        let sql = "INSERT INTO alert_row (name, body) VALUES ($1, $2)
                            ON CONFLICT (name) DO UPDATE SET body = excluded.body";
                        let (name, body) = (without_nul(name.clone()), without_nul(body.clone()));
                        session.execute(sql, &[&name, &body]).await
                    }
                    None => {
                        let sql = "DELETE FROM alert_row WHERE name = $1";
                        session.execute(sql, &[&name]).await
                    }
                };
                written.map_err(failed)?;
            }
            Ok(true)
        })
        .await
    }
}
