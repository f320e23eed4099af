//! Replays: delivering old events again, as new deliveries in the order of the events.
//!
//! A replay is a row with its search and a position. Each step creates the next deliveries and moves the position in one
//! transaction, which holds the row: of several nodes one steps at a time, and no restart repeats or skips any. Only rows
//! from before the request count.

use std::sync::Arc;

use tokio_postgres::{Error, Row};

use crate::store::error::StoreError;
use crate::store::postgres::event_list::{LONG_PATIENCE, PATIENCE};
use crate::store::postgres::replay_source::{ReplayPart, measure, next};
use crate::store::postgres::replay_step::step;
use crate::store::postgres::session::{Session, SqlValue};
use crate::store::postgres::snapshot::ReadSnapshot;
use crate::store::postgres::store::PostgresStore;
use crate::store::replay_text::{replay_scope, write_search};
use crate::store::search::{ReplayRow, ReplaySearch};

const COLUMNS: &str = "id, created_ms, total, done, skipped, is_paused, is_ended, search";

impl PostgresStore {
    async fn measure(&self, replay: &ReplaySearch) -> Result<i64, StoreError> {
        let (shared, search) = (Arc::clone(&self.shared), replay.search.clone());
        self.read(LONG_PATIENCE, async move |session| {
            let snapshot = ReadSnapshot::new(session, &shared).await?;
            measure(&snapshot, &search).await
        })
        .await
    }

    pub(in crate::store) async fn count_replay(
        &self,
        replay: &ReplaySearch,
    ) -> Result<u64, StoreError> {
        let total = self.measure(replay).await?;
        Ok(u64::try_from(total).unwrap_or(0))
    }

    pub(in crate::store) async fn begin_replay(
        &self,
        replay: ReplaySearch,
        now_ms: i64,
    ) -> Result<ReplayRow, StoreError> {
        // Remember the newest number before counting, so that later rows do not extend the replay.
        let last = self.last_number().await?;
        let total = self.measure(&replay).await?;
        let text = write_search(&replay.search).to_string();
        self.write(async move |session| {
            let sql = format!(
                "INSERT INTO replay (created_ms, search, last, position, total, done, skipped, is_paused, is_ended)
                VALUES ($1, $2, $3, 0, $4, 0, 0, false, $5) RETURNING {COLUMNS}"
            );
            let is_ended = total == 0;
            let values: [SqlValue<'_>; 5] = [&now_ms, &text, &last, &total, &is_ended];
            let row = session.query_one(&sql, &values).await;
            Ok(row_of(&row.map_err(StoreError::Postgres)?))
        })
        .await
    }

    pub(in crate::store) async fn step_replay(
        &self,
        id: i64,
        limit: u64,
        now_ms: i64,
    ) -> Result<Option<ReplayRow>, StoreError> {
        let shared = Arc::clone(&self.shared);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        // A reader selects the rows. The transaction checks that the position has not moved since.
        let batch = self.read(LONG_PATIENCE, async move |session| {
            let snapshot = ReadSnapshot::new(session, &shared).await?;
            next(&snapshot, id, limit).await
        });
        let batch: Option<ReplayPart> = batch.await?;
        if let Some(batch) = &batch {
            // New lanes get their numbers first, each in a transaction of its own: a step that fails must not leave a
            // number in memory that is not stored.
            for lane in batch.new_lanes(&self.shared.names()) {
                let shared = Arc::clone(&self.shared);
                self.write(async move |session| {
                    let number = shared.lane_number(session, lane).await;
                    number.map(drop).map_err(StoreError::Postgres)
                })
                .await?;
            }
        }
        let shared = Arc::clone(&self.shared);
        self.write(async move |session| {
            if let Some(batch) = &batch {
                let stepped = step(&shared, session, id, batch, now_ms).await;
                stepped.map_err(StoreError::Postgres)?;
            }
            find(session, id).await.map_err(StoreError::Postgres)
        })
        .await
    }

    pub(in crate::store) async fn pause_replay(
        &self,
        id: i64,
        is_paused: bool,
    ) -> Result<Option<ReplayRow>, StoreError> {
        self.write(async move |session| {
            let sql = format!("UPDATE replay SET is_paused = $2 WHERE id = $1 RETURNING {COLUMNS}");
            let row = session.query_opt(&sql, &[&id, &is_paused]).await;
            Ok(row.map_err(StoreError::Postgres)?.as_ref().map(row_of))
        })
        .await
    }

    pub(in crate::store) async fn replays(&self, limit: u64) -> Result<Vec<ReplayRow>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(PATIENCE, async move |session| {
            let sql = format!("SELECT {COLUMNS} FROM replay ORDER BY id DESC LIMIT $1");
            let rows = session.query(&sql, &[&limit]).await?;
            Ok(rows.iter().map(row_of).collect())
        })
        .await
    }
}

async fn find(session: &Session, id: i64) -> Result<Option<ReplayRow>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM replay WHERE id = $1");
    let row = session.query_opt(&sql, &[&id]).await?;
    Ok(row.as_ref().map(row_of))
}

fn row_of(row: &Row) -> ReplayRow {
    let unsigned = |column: usize| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    ReplayRow {
        id: row.get(0),
        created_ms: row.get(1),
        total: unsigned(2),
        done: unsigned(3),
        skipped: unsigned(4),
        is_paused: row.get(5),
        is_ended: row.get(6),
        scope: replay_scope(row.get(7)),
    }
}
