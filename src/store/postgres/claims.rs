//! Claims: the dedup keys of events that an app or the inbox has taken.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use crate::model::error::chain;
use crate::model::ids::RouteName;
use crate::store::error::StoreError;
use crate::store::postgres::event_list::LONG_PATIENCE;
use crate::store::postgres::session::{Session, SqlValue};
use crate::store::postgres::sessions::no_answer;
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::store::PostgresStore;
use crate::store::postgres::tally::{self, TallyChanges};
use crate::store::rows::{ClaimRow, SpentClaim};

/// Claims that may wait to be written. Later ones are dropped.
const MAX_WAITING: usize = 64 * 1024;

/// Claims that one transaction writes.
const WRITTEN_AT_ONCE: usize = 1024;

/// Time for the thread of the store to answer, beyond the time for the query.
const GRACE: Duration = Duration::from_secs(5);

impl PostgresStore {
    pub(in crate::store) fn spend(&self, claims: Vec<SpentClaim>) {
        let mut waiting = self.shared.spent.lock();
        let room = MAX_WAITING.saturating_sub(waiting.len());
        let is_idle = waiting.is_empty();
        // A claim beyond the bound is dropped, since it only spares a repeated request after a restart.
        waiting.extend(claims.into_iter().take(room));
        if !is_idle || waiting.is_empty() {
            // The job that writes the earlier ones takes these too.
            return;
        }
        let sent = self
            .shared
            .send(Box::new(|shared| Box::pin(write_spent(shared))));
        // The store is closed, so no job will ever write them.
        if sent.is_err() {
            waiting.clear();
        }
    }

    pub(in crate::store) fn claims(
        &self,
        route: &RouteName,
        now_ms: i64,
        limit: u64,
    ) -> Result<Vec<SpentClaim>, StoreError> {
        if !self.was_opened() {
            // Without the database no claim is known. They are read again once it is open.
            return Ok(Vec::new());
        }
        let (route, limit) = (route.clone(), i64::try_from(limit).unwrap_or(i64::MAX));
        // A channel of the standard library: callers may block here even inside a runtime.
        let (reply, answer) = sync_channel(1);
        self.shared.send(Box::new(move |shared| {
            Box::pin(async move {
                let read = shared.sessions().read(LONG_PATIENCE, async |session| {
                    read(session, &route, now_ms, limit).await
                });
                // The caller may have given up.
                let _ = reply.send(read.await);
            })
        }))?;
        match answer.recv_timeout(LONG_PATIENCE + GRACE) {
            Ok(read) => read,
            Err(_) => Err(no_answer()),
        }
    }
}

/// Reads the youngest claims of a route. If memory cannot hold all, these are useful for the longest time.
async fn read(
    session: &Session,
    route: &RouteName,
    now_ms: i64,
    limit: i64,
) -> Result<Vec<SpentClaim>, tokio_postgres::Error> {
    // Without a status the first sender still waits for its response.
    let sql = "SELECT key, expires_ms, status FROM claim
        WHERE route = (SELECT id FROM route WHERE name = $1) AND expires_ms > $2
        AND status IS NOT NULL ORDER BY expires_ms DESC LIMIT $3";
    let rows = session
        .query(sql, &[&route.as_str(), &now_ms, &limit])
        .await?;
    let claims = rows.iter().filter_map(|row| {
        let key: &[u8] = row.get(0);
        Some(SpentClaim {
            route: route.clone(),
            claim: ClaimRow {
                key: *key.first_chunk::<16>()?,
                expires_ms: row.get(1),
            },
            status: u16::try_from(row.get::<_, i16>(2)).ok()?,
        })
    });
    Ok(claims.collect())
}

/// Pause before claims are written again while the database is away.
const AWAY_PAUSE: Duration = Duration::from_secs(1);

/// Writes the waiting claims in groups until there are no more.
async fn write_spent(shared: Arc<NodeShared>) {
    loop {
        let group: Vec<SpentClaim> = {
            let waiting = shared.spent.lock();
            waiting.iter().take(WRITTEN_AT_ONCE).cloned().collect()
        };
        if group.is_empty() {
            return;
        }
        if let Err(err) = write_group(&shared, &group).await {
            // While the database is away they wait, as many as the bound allows, and are written when it is back.
            if !shared.is_healthy() && !shared.is_closed() {
                tokio::time::sleep(AWAY_PAUSE).await;
                continue;
            }
            tracing::warn!(
                error = %chain(&err),
                "claims of proxy routes were not written: after a restart such an event may pass once more"
            );
        }
        // Removed only now: while the list is not empty, no second job starts.
        let mut waiting = shared.spent.lock();
        let written = group.len().min(waiting.len());
        waiting.drain(..written);
        if waiting.is_empty() {
            return;
        }
    }
}

async fn write_group(shared: &Arc<NodeShared>, group: &[SpentClaim]) -> Result<(), StoreError> {
    let failed = StoreError::Postgres;
    for spent in group {
        if shared.names().route(&spent.route).is_none() {
            // In a transaction of its own: a group that fails must not leave a number in memory that is not stored.
            let number = shared.sessions().write(async |session| {
                let number = shared.route_number(session, &spent.route).await;
                number.map_err(failed)
            });
            number.await?;
        }
    }
    let names = shared.names();
    // The last claim of a key counts, and one statement must not write a row twice.
    let mut rows: HashMap<(i64, [u8; 16]), (i64, i16)> = HashMap::new();
    for spent in group {
        if let Some(route) = names.route(&spent.route) {
            let status = i16::try_from(spent.status).unwrap_or(i16::MAX);
            rows.insert((route, spent.claim.key), (spent.claim.expires_ms, status));
        }
    }
    let (mut routes, mut keys) = (Vec::new(), Vec::new());
    let (mut expires_ms, mut statuses) = (Vec::new(), Vec::new());
    for ((route, key), (end_ms, status)) in &rows {
        routes.push(*route);
        keys.push(&key[..]);
        expires_ms.push(*end_ms);
        statuses.push(*status);
    }
    let write = shared.sessions().write(async |session| {
        // These claims only spare a repeated request, so a crash may lose the last of them.
        session
            .batch("SET LOCAL synchronous_commit = off")
            .await
            .map_err(failed)?;
        // Sorted, so that two nodes with the same claims wait for each other in the same order.
        let sql = "INSERT INTO claim (route, key, expires_ms, status)
            SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::smallint[])
                AS c (route, key, expires_ms, status) ORDER BY route, key
            ON CONFLICT (route, key) DO UPDATE SET expires_ms = excluded.expires_ms,
                status = excluded.status, event = NULL, node = NULL
            RETURNING xmax = 0";
        let values: [SqlValue<'_>; 4] = [&routes, &keys, &expires_ms, &statuses];
        let written = session.query(sql, &values).await.map_err(failed)?;
        let new = written.iter().filter(|row| row.get(0)).count();
        let mut changes = TallyChanges::default();
        changes.add_claims(i64::try_from(new).unwrap_or(0));
        tally::record(session, &changes).await.map_err(failed)
    });
    write.await
}
