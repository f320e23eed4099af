//! Undoing what a group did that was told as failed: a synchronisation that fails may leave it in the file all the same.
//!
//! Whoever asked was told that nothing was done. An event would be a duplicate for its sender, who was refused; a delivery
//! would be in flight with nobody attempting it.

use rusqlite::params;

use crate::store::sqlite::numbers;
use crate::store::sqlite::work::{Failure, Ghost, Work};

impl Work {
    /// Takes out again what was told as failed and stands in the file after all.
    pub(super) fn undo(&mut self, ghosts: &[Ghost]) -> rusqlite::Result<()> {
        for ghost in ghosts {
            match ghost {
                Ghost::Event { uid, claims } => {
                    let sql = "SELECT id FROM event WHERE uid = ?1";
                    for event in numbers(&self.conn, sql, [&uid[..]])? {
                        self.delete_event(event)?;
                        self.delete_claims(claims)?;
                    }
                }
                Ghost::Taken(delivery, attempt) => match self.interrupt(*delivery, *attempt) {
                    Err(Failure::Sql(err)) => return Err(err),
                    Err(Failure::Refused(_)) | Ok(_) => {}
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
