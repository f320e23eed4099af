//! Acknowledgments of alerts, also on a node that does not lead.

use crate::alerts::center::{ACKNOWLEDGED, AlertCenter, BOOK, CenterRole};
use crate::alerts::distribution::distribute;
use crate::model::clock::ClockReading;
use crate::model::error::chain;

impl AlertCenter {
    /// Acknowledges an alert. Returns `false` if no such alert is open.
    ///
    /// # Errors
    /// If another node has to be notified and the database is away.
    pub(crate) async fn acknowledge(&self, id: u64, by: &str) -> Result<bool, String> {
        let now_ms = ClockReading::read().unix_ms;
        let plan = self.plan();
        let (role, is_known) = {
            let mut state = self.state.lock();
            let notes = state.stored.book.acknowledge(id, by, now_ms);
            let role = state.role;
            if let (Some(notes), CenterRole::Leads(_)) = (&notes, role) {
                distribute(&plan, &mut state.stored.outboxes, notes.clone());
            }
            (role, notes.is_some())
        };
        match role {
            CenterRole::Leads(term) => {
                let row = {
                    let mut state = self.state.lock();
                    let text = serde_json::to_string(&state.stored).unwrap_or_default();
                    state.written.clone_from(&text);
                    (BOOK.to_owned(), Some(text))
                };
                self.save(term, vec![row]).await;
            }
            // Only the leader writes the book, so it gets the acknowledgment in a row of its own.
            CenterRole::Follows if is_known => {
                let row = (format!("{ACKNOWLEDGED}{id}"), Some(by.to_owned()));
                let saved = self.keeper.save(None, vec![row]).await;
                saved.map_err(|error| chain(&error))?;
            }
            CenterRole::Follows | CenterRole::Unknown => {}
        }
        Ok(is_known)
    }

    /// Reads and removes the acknowledgments that other nodes received.
    pub(super) async fn take_acknowledgments(&self) -> Vec<(u64, String)> {
        let rows = self.keeper.rows_of_others(ACKNOWLEDGED).await;
        let rows = rows.unwrap_or_default().into_iter();
        let each = rows.filter_map(|(name, by)| {
            let id = name.strip_prefix(ACKNOWLEDGED)?.parse().ok()?;
            Some((id, by))
        });
        each.collect()
    }
}
