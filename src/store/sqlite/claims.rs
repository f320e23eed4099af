//! Claims: the dedup keys of events that an app or the inbox has taken.

use rusqlite::{OptionalExtension, params};

use crate::model::ids::RouteName;
use crate::store::error::StoreError;
use crate::store::rows::{ClaimRow, SpentClaim};
use crate::store::sqlite::group_work::{GroupWork, TaskFailure};
use crate::store::sqlite::queue::{TaskUrgency, enqueue_task};
use crate::store::sqlite::readers::LONG_PATIENCE;
use crate::store::sqlite::store::SqliteStore;

impl SqliteStore {
    /// Records that an app has taken events of a proxy route. Returns at once; the next group writes the claims. If too
    /// many tasks wait, the claims are dropped: after a restart such an event may then pass once more.
    pub(crate) fn spend(&self, claims: Vec<SpentClaim>) {
        let bytes = claims.len() * size_of::<SpentClaim>();
        let (task, _) = enqueue_task(move |work| work.spend_claims(&claims));
        let _ = self.shared.queue.push(task, bytes, TaskUrgency::Commit);
    }

    /// Returns the claims of a route that are valid at `now_ms` of the store's clock, at most the youngest `limit`.
    /// Blocks.
    pub(crate) fn claims(
        &self,
        route: &RouteName,
        now_ms: i64,
        limit: u64,
    ) -> Result<Vec<SpentClaim>, StoreError> {
        if !self.shared.was_opened() {
            // Without a file no claim is known. They are read again once the file is open.
            return Ok(Vec::new());
        }
        self.shared.read_blocking(LONG_PATIENCE, |look| {
            let Some(id) = look.names.route(route) else {
                return Ok(Vec::new());
            };
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            // If memory cannot hold all claims, the youngest are useful for the longest time.
            let sql =
                "SELECT key, expires_ms, status FROM claim WHERE route = ?1 AND expires_ms > ?2
                ORDER BY expires_ms DESC LIMIT ?3";
            let mut stmt = look.conn.prepare_cached(sql)?;
            let rows = stmt.query_map([id, now_ms, limit], |row| {
                Ok(SpentClaim {
                    route: route.clone(),
                    claim: ClaimRow {
                        key: row.get(0)?,
                        expires_ms: row.get(1)?,
                    },
                    status: row.get(2)?,
                })
            })?;
            rows.collect()
        })
    }
}

impl GroupWork {
    /// Deletes claims of this event. An expired claim that they replaced is not restored, since it was no longer valid.
    pub(super) fn give_up_claims(
        &mut self,
        route: i64,
        claims: &[ClaimRow],
    ) -> rusqlite::Result<()> {
        for claim in claims {
            let sql = "DELETE FROM claim WHERE route = ?1 AND key = ?2";
            let values = params![route, &claim.key[..]];
            let count = self.conn.prepare_cached(sql)?.execute(values)?;
            let count = i64::try_from(count).unwrap_or(0);
            self.add_total(|total| total.claims -= count);
        }
        Ok(())
    }

    pub(super) fn spent_by(
        &self,
        route: i64,
        claim: &ClaimRow,
        now_ms: i64,
    ) -> rusqlite::Result<Option<u16>> {
        let sql = "SELECT status FROM claim WHERE route = ?1 AND key = ?2 AND expires_ms > ?3";
        let mut stmt = self.conn.prepare_cached(sql)?;
        let values = params![
            route,
            &claim.key[..],
            // The time of reception is of the wall clock, and claims expire by the store's clock.
            now_ms.saturating_add(self.clock.skew_ms())
        ];
        stmt.query_row(values, |row| row.get(0)).optional()
    }

    fn spend_claims(&mut self, claims: &[SpentClaim]) -> Result<(), TaskFailure> {
        for spent in claims {
            let route = self.route(&spent.route)?;
            self.write_claim(route, &spent.claim, spent.status)?;
        }
        Ok(())
    }

    /// Inserts a claim or replaces the one with the same key.
    fn write_claim(&mut self, route: i64, claim: &ClaimRow, status: u16) -> rusqlite::Result<()> {
        match self.insert_claim(route, claim, status)? {
            true => Ok(()),
            false => self.replace_claim(route, claim, status),
        }
    }

    /// Inserts a claim. Returns `false` if one with this key exists.
    pub(super) fn insert_claim(
        &mut self,
        route: i64,
        claim: &ClaimRow,
        status: u16,
    ) -> rusqlite::Result<bool> {
        let values = params![route, &claim.key[..], claim.expires_ms, status];
        let sql = "INSERT INTO claim (route, key, expires_ms, status) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT DO NOTHING";
        if self.conn.prepare_cached(sql)?.execute(values)? == 0 {
            return Ok(false);
        }
        self.add_total(|total| total.claims += 1);
        Ok(true)
    }

    pub(super) fn replace_claim(
        &self,
        route: i64,
        claim: &ClaimRow,
        status: u16,
    ) -> rusqlite::Result<()> {
        let values = params![route, &claim.key[..], claim.expires_ms, status];
        let sql = "UPDATE claim SET expires_ms = ?3, status = ?4 WHERE route = ?1 AND key = ?2";
        self.conn.prepare_cached(sql)?.execute(values).map(drop)
    }
}
