//! Statistics of the store, from counted rows and the sizes of tables.

use std::sync::Arc;

use tokio_postgres::Error;

use crate::model::database::PostgresSettings;
use crate::store::error::StoreError;
use crate::store::options::StoreStatistics;
use crate::store::postgres::event_list::PATIENCE;
use crate::store::postgres::session::Session;
use crate::store::postgres::snapshot::ReadSnapshot;
use crate::store::postgres::store::PostgresStore;
use crate::store::postgres::{names, offline, tally};

impl PostgresStore {
    pub(in crate::store) async fn stats(&self) -> Result<StoreStatistics, StoreError> {
        let shared = Arc::clone(&self.shared);
        let stats = self.read(PATIENCE, async move |session| {
            let snapshot = ReadSnapshot::new(session, &shared).await?;
            read(&snapshot).await
        });
        Ok(self.shared.with_counters(stats.await?))
    }
}

/// Returns the statistics of a database, beside running nodes or without them. Blocks.
pub(in crate::store) fn stats_of_database(
    settings: &PostgresSettings,
) -> Result<StoreStatistics, StoreError> {
    offline::on_session(settings, async |session| {
        offline::begin(session).await?;
        let failed = StoreError::Postgres;
        let (names, _) = names::load(session).await.map_err(failed)?;
        let snapshot = ReadSnapshot {
            session,
            names: Arc::new(names),
            skew_ms: 0,
        };
        let stats = read(&snapshot).await.map_err(failed)?;
        offline::end(session).await?;
        Ok(stats)
    })
}

/// Reads the statistics of a database.
pub(super) async fn read(snapshot: &ReadSnapshot<'_>) -> Result<StoreStatistics, Error> {
    let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
    let totals = tally::load(snapshot.session).await?;
    let mut stats = StoreStatistics {
        events: unsigned(totals.events),
        claims: unsigned(totals.claims),
        size: size(snapshot.session).await?,
        ..StoreStatistics::default()
    };
    let mut open = Vec::new();
    for counted in totals.lanes.counts(&snapshot.names, |_, _| true) {
        let state = usize::try_from(counted.state.code()).unwrap_or(usize::MAX);
        if let Some(count) = stats.deliveries.get_mut(state) {
            *count += unsigned(counted.count);
        }
        if counted.state.is_open() {
            open.push(counted.id);
        }
    }
    let oldest = oldest_open(snapshot.session, &open).await?;
    stats.oldest_open_ms = oldest.iter().map(|(_, created_ms)| *created_ms).min();
    Ok(stats)
}

/// Returns for each lane when its oldest open delivery was created. Reads one row of each lane.
pub(super) async fn oldest_open(
    session: &Session,
    lanes: &[i64],
) -> Result<Vec<(i64, i64)>, Error> {
    let sql = "SELECT lane, (SELECT created_ms FROM open_delivery AS d WHERE d.lane = l.lane ORDER BY id LIMIT 1)
        FROM (SELECT DISTINCT lane FROM unnest($1::bigint[]) AS lane) AS l";
    let rows = session.query(sql, &[&lanes]).await?;
    let found = rows
        .iter()
        .filter_map(|row| Some((row.get(0), row.get::<_, Option<i64>>(1)?)));
    Ok(found.collect())
}

/// Returns the bytes of all tables with their indexes. They include the space of deleted rows, which later rows use.
pub(super) async fn size(session: &Session) -> Result<u64, Error> {
    let sql = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'S')";
    let bytes: i64 = session.query_one(sql, &[]).await?.get(0);
    Ok(u64::try_from(bytes).unwrap_or(0))
}
