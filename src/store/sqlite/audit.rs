//! The table of operator actions.

use rusqlite::{Connection, Row, params};

use crate::store::audit::{ActionRow, ActionSearch, OperatorAction};
use crate::store::error::StoreError;
use crate::store::search::ListPage;
use crate::store::sqlite::group_work::{GroupWork, TaskFailure};
use crate::store::sqlite::queue::TaskUrgency;
use crate::store::sqlite::readers::PATIENCE;
use crate::store::sqlite::store::SqliteStore;

/// Largest number of rows, about 30 MiB.
const MAX_ROWS: i64 = 100_000;

/// Largest age of a row: more than a year, which audits look back.
const MAX_AGE_MS: i64 = 400 * 86_400_000;

/// Largest number of rows in a page.
const MAX_PAGE: u32 = 1000;

impl SqliteStore {
    /// Stores an operator action and returns its number. Deletes the oldest actions beyond the limit.
    pub(crate) async fn record_action(&self, action: OperatorAction) -> Result<i64, StoreError> {
        let bytes = action.detail.as_ref().map_or(0, String::len);
        let run = move |work: &mut GroupWork| work.record_action(&action);
        self.write(TaskUrgency::Outcome, bytes, run).await
    }

    /// Lists operator actions, newest first. A page holds at most 1,000 rows.
    pub(crate) async fn actions(
        &self,
        search: ActionSearch,
        page: ListPage,
    ) -> Result<Vec<ActionRow>, StoreError> {
        let look = self
            .shared
            .read(PATIENCE, move |look| list(look.conn, &search, page));
        look.await
    }
}

impl GroupWork {
    fn record_action(&self, action: &OperatorAction) -> Result<i64, TaskFailure> {
        let sql = "INSERT INTO audit (at_ms, who, role, source, action, target, detail, status)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        self.conn.prepare_cached(sql)?.execute(params![
            action.at_ms,
            action.who,
            action.role,
            action.source,
            action.action,
            action.target,
            action.detail,
            action.status
        ])?;
        let id = self.conn.last_insert_rowid();
        // Checks only the oldest rows. A row with an earlier time that came later waits for its turn.
        let sql = "DELETE FROM audit WHERE id IN (
            SELECT id FROM (SELECT id, at_ms FROM audit ORDER BY id LIMIT 100) WHERE id <= ?1 OR at_ms < ?2)";
        // A wall clock that ran ahead must not delete young rows.
        let now_ms = action.at_ms.saturating_add(self.clock.skew_ms().min(0));
        let before_ms = now_ms.saturating_sub(MAX_AGE_MS);
        let (first, oldest) = (id - MAX_ROWS, before_ms);
        self.conn.prepare_cached(sql)?.execute([first, oldest])?;
        Ok(id)
    }
}

/// Lists matching actions, newest first.
fn list(
    conn: &Connection,
    search: &ActionSearch,
    page: ListPage,
) -> rusqlite::Result<Vec<ActionRow>> {
    let limit = usize::try_from(page.limit.min(MAX_PAGE)).unwrap_or(usize::MAX);
    let sql = "SELECT id, at_ms, who, role, source, action, target, detail, status FROM audit
        WHERE id < ?1 ORDER BY id DESC";
    let mut stmt = conn.prepare_cached(sql)?;
    let mut rows = stmt.query([page.after.unwrap_or(i64::MAX)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let row = read(row)?;
        if search.wants(&row.action) {
            found.push(row);
        }
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<ActionRow> {
    Ok(ActionRow {
        id: row.get(0)?,
        node: None,
        action: OperatorAction {
            at_ms: row.get(1)?,
            who: row.get(2)?,
            role: row.get(3)?,
            source: row.get(4)?,
            action: row.get(5)?,
            target: row.get(6)?,
            detail: row.get(7)?,
            status: row.get(8)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::migrate;

    fn work() -> (GroupWork, Connection, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let conn = Connection::open(&path).unwrap();
        migrate::migrate(&conn, 0).unwrap();
        let limits = crate::store::sqlite::limits::StoreLimits::new(
            &crate::store::sqlite::options::SqliteOptions {
                path: path.clone(),
                encryption_keys: Vec::new(),
                keep_body: true,
                max_size: None,
                max_events: None,
                min_free: 0,
            },
        );
        let work = GroupWork::new(conn, limits, true, std::sync::Arc::default()).unwrap();
        (work, Connection::open(&path).unwrap(), folder)
    }

    fn action(at_ms: i64) -> OperatorAction {
        OperatorAction {
            at_ms,
            who: "ann".to_owned(),
            role: "operator".to_owned(),
            source: "127.0.0.1".to_owned(),
            action: "retry_delivery".to_owned(),
            target: at_ms.to_string(),
            detail: None,
            status: 200,
        }
    }

    fn note(work: &GroupWork, action: &OperatorAction) -> i64 {
        work.record_action(action)
            .unwrap_or_else(|_| panic!("not noted"))
    }

    #[test]
    fn the_oldest_go_by_number_and_by_age() {
        let (work, conn, _folder) = work();
        let count = || -> i64 {
            let sql = "SELECT count(*) FROM audit";
            conn.query_row(sql, [], |row| row.get(0)).unwrap()
        };
        note(&work, &action(0));
        note(&work, &action(1));
        assert_eq!(count(), 2);
        note(&work, &action(MAX_AGE_MS + 1));
        assert_eq!(count(), 2);
        let sql = "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'audit'";
        work.conn.execute(sql, [MAX_ROWS + 1]).unwrap();
        note(&work, &action(MAX_AGE_MS + 2));
        assert_eq!(count(), 2);
        let page = ListPage {
            after: None,
            limit: 10,
        };
        let rows = list(&conn, &ActionSearch::default(), page).unwrap();
        assert_eq!(rows[0].id, MAX_ROWS + 2);
        assert_eq!(rows[1].action, action(MAX_AGE_MS + 1));
        let older = ListPage {
            after: Some(rows[0].id),
            limit: 10,
        };
        assert_eq!(
            list(&conn, &ActionSearch::default(), older).unwrap().len(),
            1
        );
        let nobody = ActionSearch {
            who: Some("bob".to_owned()),
            ..ActionSearch::default()
        };
        assert!(list(&conn, &nobody, page).unwrap().is_empty());
    }
}
