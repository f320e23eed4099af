//! Statistics of the store, from stored counters and page counts.

use std::path::Path;
use std::sync::Arc;

use crate::store::error::StoreError;
use crate::store::lane_counts::LaneTally;
use crate::store::options::StoreStatistics;
use crate::store::sqlite::lane_oldest::oldest;
use crate::store::sqlite::limits::{disk_free, log_size, pages, size};
use crate::store::sqlite::load_names;
use crate::store::sqlite::open::open_untrusted;
use crate::store::sqlite::readers::{PATIENCE, ReadTransaction};
use crate::store::sqlite::store::SqliteStore;

impl SqliteStore {
    /// Returns the counters of the store.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(in crate::store) async fn stats(&self) -> Result<StoreStatistics, StoreError> {
        let shared = Arc::clone(&self.shared);
        let look = move |look: &ReadTransaction<'_>| stats(look, &shared.path);
        let stats = self.shared.read(PATIENCE, look).await?;
        Ok(self.shared.with_counters(stats))
    }
}

fn stats(look: &ReadTransaction<'_>, path: &Path) -> rusqlite::Result<StoreStatistics> {
    let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
    let sql = "SELECT events, claims FROM total";
    let (events, claims) = look
        .conn
        .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut stats = StoreStatistics {
        events: unsigned(events),
        claims: unsigned(claims),
        size: size(path),
        log: log_size(path),
        disk_free: disk_free(path),
        ..StoreStatistics::default()
    };
    let pages = pages(look.conn)?;
    stats.spare = pages.spare.saturating_mul(pages.size);
    for counted in LaneTally::load(look.conn)?.counts(&look.names, |_, _| true) {
        let state = usize::try_from(counted.state.code()).unwrap_or(usize::MAX);
        if let Some(count) = stats.deliveries.get_mut(state) {
            *count += unsigned(counted.count);
        }
        // The oldest open delivery of each lane is the first of its index range, so this reads one row per lane and
        // state.
        if counted.state.is_open() {
            let oldest = oldest(look.conn, counted.id, counted.state)?;
            let known = stats.oldest_open_ms;
            stats.oldest_open_ms = known.into_iter().chain(oldest).min();
        }
    }
    Ok(stats)
}

/// Returns the counters of a store file, beside a running gate or without one. Blocks.
pub(crate) fn stats_of(path: &Path) -> Result<StoreStatistics, StoreError> {
    let conn = open_untrusted(path)?;
    let names = load_names::load_names(&conn).map_err(StoreError::Read)?;
    let look = ReadTransaction {
        skew_ms: 0,
        conn: &conn,
        names: Arc::new(names),
    };
    stats(&look, path).map_err(StoreError::Read)
}
