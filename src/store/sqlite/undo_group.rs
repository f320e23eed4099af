//! Undoing a group that was reported as failed but may be in the file.
//!
//! A failed synchronization can leave a group in the file although its callers were informed that it failed. Left
//! there, an event would turn the sender's retry into a duplicate, and a delivery would be in flight without an
//! attempt.

use rusqlite::params;

use crate::store::sqlite::group_work::{GroupWork, TaskFailure, UndoEntry};
use crate::store::sqlite::list_numbers::numbers;

impl GroupWork {
    /// Removes what was reported as failed and is in the file nevertheless.
    pub(super) fn undo(&mut self, ghosts: &[UndoEntry]) -> rusqlite::Result<()> {
        // A group that did not reach the file has no rows here, and each step then changes nothing.
        for ghost in ghosts {
            match ghost {
                UndoEntry::Event { uid, claims } => {
                    let sql = "SELECT id FROM event WHERE uid = ?1";
                    for event in numbers(&self.conn, sql, [&uid[..]])? {
                        self.delete_event(event)?;
                        self.delete_claims(claims)?;
                    }
                }
                UndoEntry::Taken(delivery, attempt) => match self.interrupt(*delivery, *attempt) {
                    Err(TaskFailure::Sql(err)) => return Err(err),
                    Err(TaskFailure::Refused(_)) | Ok(_) => {}
                },
            }
        }
        Ok(())
    }

    fn delete_claims(&mut self, claims: &[(i64, [u8; 16])]) -> rusqlite::Result<()> {
        for (route, key) in claims {
            let sql = "DELETE FROM claim WHERE route = ?1 AND key = ?2";
            let count = self
                .conn
                .prepare_cached(sql)?
                .execute(params![route, &key[..]])?;
            let count = i64::try_from(count).unwrap_or(0);
            self.add_total(|total| total.claims -= count);
        }
        Ok(())
    }
}
