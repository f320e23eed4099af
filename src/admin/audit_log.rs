//! Audit log of operator actions.
//!
//! It records every change, every rejected change, and every view of bytes from a sender, which may be personal data.
//! Each entry goes to the log and, if there is one, to the store. Wrong tokens go to the log only: an untrusted client
//! must not be able to push out entries.

use std::collections::VecDeque;
use std::sync::Arc;

use http::StatusCode;
use parking_lot::Mutex;

use crate::admin::access::AdminCaller;
use crate::model::clock::ClockReading;
use crate::model::error::chain;
use crate::record::TelemetryRecorder;
use crate::record::audit::AuditLine;
use crate::store::audit::{self as kept, ActionRow, ActionSearch};
use crate::store::search::ListPage;
use crate::store::{Store, StoreError};

/// Most entries kept in memory if there is no store.
const MAX_REMEMBERED: usize = 1000;

/// Most characters of a target or a detail.
const MAX_TEXT: usize = 2000;

/// A finished action of an operator.
#[derive(Clone, Debug)]
pub(crate) struct CompletedAction {
    /// Name of the operation: the `operationId` of the API.
    pub action: String,
    /// Values of the path parameters; empty if the operation has no parameters.
    pub target: String,
    /// Detail that the path does not show, such as a search.
    pub detail: Option<String>,
    /// Status of the response.
    pub status: StatusCode,
}

/// The audit log: the log, and the store or the memory.
pub(crate) struct AuditLog {
    recorder: Arc<TelemetryRecorder>,
    store: Option<Store>,
    remembered: Mutex<VecDeque<ActionRow>>,
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog").finish_non_exhaustive()
    }
}

impl AuditLog {
    pub(super) fn new(recorder: Arc<TelemetryRecorder>, store: Option<Store>) -> Self {
        Self {
            recorder,
            store,
            remembered: Mutex::default(),
        }
    }

    /// Logs and stores an action, or an attempt at one that was rejected. Returns when it is stored.
    pub(crate) async fn record_action(&self, who: &AdminCaller, ended: CompletedAction) {
        let action = kept::OperatorAction {
            at_ms: ClockReading::read().unix_ms,
            who: who.name.to_string(),
            role: who.role.word().to_owned(),
            source: who.source.to_string(),
            action: ended.action,
            target: cut(ended.target),
            detail: ended.detail.map(cut),
            status: ended.status.as_u16(),
        };
        // The log comes first: it has the entry even if the store fails.
        self.recorder.audit(&AuditLine {
            who: &action.who,
            role: &action.role,
            source: &action.source,
            action: &action.action,
            target: &action.target,
            detail: action.detail.as_deref(),
            status: action.status,
            outcome: outcome(action.status),
        });
        // Without a store the memory keeps the last entries, so that `/audit` is never empty for that reason.
        let Some(store) = &self.store else {
            self.remember(action);
            return;
        };
        if let Err(err) = store.record_action(action).await {
            tracing::error!(error = %chain(&err), "cannot store an audit entry: the previous log line has it");
        }
    }

    /// Keeps an entry in memory, newest first, and drops the oldest beyond the bound.
    fn remember(&self, action: kept::OperatorAction) {
        let mut remembered = self.remembered.lock();
        // Ids must grow as in the store, since they are the cursor of the list.
        let last = remembered.front().map_or(0, |row| row.id);
        let id = last.saturating_add(1);
        remembered.push_front(ActionRow {
            id,
            node: None,
            action,
        });
        remembered.truncate(MAX_REMEMBERED);
    }

    /// Returns the matching entries of a page, newest first.
    pub(super) async fn list(
        &self,
        search: ActionSearch,
        page: ListPage,
    ) -> Result<Vec<ActionRow>, StoreError> {
        if let Some(store) = &self.store {
            return store.actions(search, page).await;
        }
        let remembered = self.remembered.lock();
        let older = remembered.iter();
        let older = older.filter(|row| page.after.is_none_or(|after| row.id < after));
        let wanted = older.filter(|row| search.wants(&row.action)).cloned();
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        Ok(wanted.take(limit).collect())
    }
}

/// Returns the word for the outcome of an action.
pub(super) fn outcome(status: u16) -> &'static str {
    match status {
        200..=299 => "done",
        400..=499 => "refused",
        _ => "failed",
    }
}

/// Cuts text to [`MAX_TEXT`] characters, because a client chooses its length.
fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(end);
    }
    text
}
