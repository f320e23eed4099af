//! Retention: deleting events, attempts and claims after their time.
//!
//! A round is one transaction that looks at a bounded number of rows and deletes those whose time is over. An advisory
//! lock lets one node at a time run a round. Each node sweeps on its own, so that no node depends on another one being alive.
//!
//! PostgreSQL does not return the space of deleted rows to the file system; later rows use it. The bound on the size is
//! therefore one on the stored rows, not on the files.

use std::sync::Arc;

use tokio_postgres::Error;

use crate::store::error::StoreError;
use crate::store::options::{PurgeResult, RetentionLimits};
use crate::store::postgres::duty;
use crate::store::postgres::purge_events::{by_age, by_size, delete_events};
use crate::store::postgres::session::Session;
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::store::PostgresStore;
use crate::store::postgres::tally::{self, TallyChanges};
use crate::store::purge_sweeps::{PurgeCutoffs, PurgeSweep, PurgeSweeps};

/// Rows that one round looks at, for each kind of row.
const LOOKED_AT: i64 = 2_000;

/// Claims that one round looks at, and deletes at most.
const CLAIMS_LOOKED_AT: i64 = 10_000;
const CLAIMS: i64 = 2_000;

/// Shortest pause of the sweep of claims, which reads all of them.
const CLAIMS_REST_MS: i64 = 5 * 1000;

impl PostgresStore {
    pub(in crate::store) async fn purge(
        &self,
        retention: &RetentionLimits,
        now_ms: i64,
    ) -> Result<PurgeResult, StoreError> {
        let (shared, retention) = (Arc::clone(&self.shared), retention.clone());
        let skew_ms = self.shared.clock.skew_ms();
        // End times come from the wall clock. If that clock runs ahead of the store's clock, rows must not look too
        // old.
        let times = PurgeCutoffs {
            ended_ms: now_ms.saturating_add(skew_ms.min(0)),
            claims_ms: now_ms.saturating_add(skew_ms),
        };
        // A copy, because the transaction may be repeated: only the positions of a committed round count.
        let sweeps = self.shared.sweeps.lock().clone();
        let round = self.write(async move |session| {
            let mut sweeps = sweeps.clone();
            let round = run(&shared, session, &mut sweeps, &retention, times);
            let purged = round.await.map_err(StoreError::Postgres)?;
            Ok((purged, sweeps))
        });
        let (purged, sweeps) = round.await?;
        // A round that failed looks at the same rows again.
        *self.shared.sweeps.lock() = sweeps;
        Ok(purged)
    }
}

async fn run(
    shared: &NodeShared,
    session: &Session,
    sweeps: &mut PurgeSweeps,
    retention: &RetentionLimits,
    times: PurgeCutoffs,
) -> Result<PurgeResult, Error> {
    let mut purged = PurgeResult::default();
    // Another node runs a round just now. Waiting for it would only mean reading the same rows again.
    if !duty::try_lock(session, "purge").await? {
        return Ok(purged);
    }
    let mut changes = TallyChanges::default();
    // Both searches run before the deletions, so an event may be in both results. Deleting it again changes nothing.
    for found in [
        by_age(session, &mut sweeps.age, retention, times.ended_ms).await?,
        by_size(shared, session, &mut sweeps.size, retention, times.ended_ms).await?,
    ] {
        let deleted = delete_events(session, &found, &mut changes).await?;
        purged.events += deleted.events;
        purged.bytes += deleted.bytes;
        purged.is_more |= found.is_more;
        if deleted.events > 0 {
            shared
                .measured_size
                .lock()
                .subtract(deleted.bytes, deleted.events);
        }
    }
    purge_attempts(session, sweeps, retention, times.ended_ms, &mut purged).await?;
    purge_claims(session, sweeps, retention, times.claims_ms, &mut purged).await?;
    changes.add_claims(-i64::try_from(purged.claims).unwrap_or(0));
    tally::record(session, &changes).await?;
    Ok(purged)
}

/// Deletes the attempts of deliveries that ended long ago.
async fn purge_attempts(
    session: &Session,
    sweeps: &mut PurgeSweeps,
    retention: &RetentionLimits,
    now_ms: i64,
    purged: &mut PurgeResult,
) -> Result<(), Error> {
    let sweep = &mut sweeps.attempts;
    let Some(kept_ms) = retention.attempts_ms.filter(|_| !sweep.is_resting(now_ms)) else {
        return Ok(());
    };
    // The delivery is locked, so that a retry which brings it back waits and then numbers its attempts behind these.
    let sql = "WITH seen AS MATERIALIZED (
            SELECT DISTINCT delivery FROM (
                SELECT delivery FROM attempt WHERE delivery > $1 ORDER BY delivery LIMIT $2) AS a
        ), past AS MATERIALIZED (
            SELECT id FROM delivery WHERE id IN (SELECT delivery FROM seen) AND ended_ms <= $3
            ORDER BY id FOR SHARE SKIP LOCKED
        ), gone AS (
            DELETE FROM attempt USING past WHERE attempt.delivery = past.id RETURNING attempt.delivery
        ) SELECT (SELECT max(delivery) FROM seen), (SELECT count(*) FROM gone)";
    let before_ms = now_ms.saturating_sub(kept_ms);
    let row = session
        .query_one(sql, &[&sweep.position, &LOOKED_AT, &before_ms])
        .await?;
    purged.attempts += u64::try_from(row.get::<_, i64>(1)).unwrap_or(0);
    advance(sweep, row.get(0), now_ms, kept_ms, purged);
    Ok(())
}

/// Deletes claims whose window is over.
async fn purge_claims(
    session: &Session,
    sweeps: &mut PurgeSweeps,
    retention: &RetentionLimits,
    now_ms: i64,
    purged: &mut PurgeResult,
) -> Result<(), Error> {
    let sweep = &mut sweeps.claims;
    if sweep.is_resting(now_ms) {
        return Ok(());
    }
    // Claims have no index by expiry, because it would cost each commit another random write. A commit that renews a
    // claim just now holds its row, so it is skipped.
    let sql = "WITH seen AS MATERIALIZED (
            SELECT route, key, expires_ms FROM claim WHERE (route, key) > ($1, $2)
            ORDER BY route, key LIMIT $3
        ), past AS MATERIALIZED (
            SELECT c.route, c.key FROM claim AS c JOIN (
                SELECT route, key FROM seen WHERE expires_ms <= $4 ORDER BY route, key LIMIT $5) AS s
            ON c.route = s.route AND c.key = s.key WHERE c.expires_ms <= $4
            ORDER BY c.route, c.key FOR UPDATE OF c SKIP LOCKED
        ), gone AS (
            DELETE FROM claim USING past WHERE claim.route = past.route AND claim.key = past.key
            RETURNING claim.route
        ), last AS (
            SELECT route, key FROM seen WHERE (SELECT count(*) FROM past) < $5
            UNION ALL SELECT route, key FROM past WHERE (SELECT count(*) FROM past) >= $5
            ORDER BY route DESC, key DESC LIMIT 1
        ) SELECT (SELECT count(*) FROM gone), last.route, last.key FROM (VALUES (1)) AS one LEFT JOIN last ON true";
    let row = session
        .query_one(
            sql,
            &[
                &sweep.position,
                &sweep.key,
                &CLAIMS_LOOKED_AT,
                &now_ms,
                &CLAIMS,
            ],
        )
        .await?;
    purged.claims += u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
    // The last claim that was read, or the last one that was deleted if the bound on deletions ended the round.
    let last: Option<i64> = row.get(1);
    match last {
        Some(route) => {
            sweep.position = route;
            sweep.key = row.get(2);
            purged.is_more = true;
        }
        None => {
            let kept_ms = retention.claims_ms.unwrap_or(i64::MAX);
            sweep.end(now_ms, kept_ms.max(CLAIMS_REST_MS * 16));
        }
    }
    Ok(())
}

/// Moves a sweep behind the last row that was looked at, or ends it.
pub(super) fn advance(
    sweep: &mut PurgeSweep,
    last: Option<i64>,
    now_ms: i64,
    kept_ms: i64,
    purged: &mut PurgeResult,
) {
    match last {
        Some(last) => {
            sweep.position = last;
            purged.is_more = true;
        }
        None => sweep.end(now_ms, kept_ms),
    }
}
