//! `/audit`: who did what. Each action of an operator is told to the log and kept, in the store where there is one; so is
//! each one that was refused, and each look at the bytes that a sender sent, which are somebody's data.
//!
//! Wrong tokens are only told to the log: a stranger must not be able to push out what was kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::{Extension, Json};
use http::{Method, StatusCode, Uri};
use serde::Deserialize;

use crate::admin::access::Who;
use crate::admin::input::{self, Paging};
use crate::admin::problem::Problem;
use crate::admin::wire::{AuditEntries, AuditEntry, Moment, ProblemDocument};
use crate::admin::{AdminState, api};
use crate::model::clock::Now;
use crate::model::error::chain;
use crate::record::Recorder;
use crate::record::audit::Audited;
use crate::store::audit::{self as kept, ActionRow, ActionSearch};
use crate::store::search::Page;
use crate::store::{Store, StoreError};

/// Actions that are remembered without a store.
const MAX_REMEMBERED: usize = 1000;

/// Characters of what an action is about.
const MAX_TEXT: usize = 2000;

/// An action that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What was asked for: the name of an operation of the API, or of the console.
    pub action: String,
    /// With what; empty where the action has no target.
    pub target: String,
    /// What else tells it from others of its name.
    pub detail: Option<String>,
    /// The status of the answer.
    pub status: StatusCode,
}

/// Takes in what was done.
pub struct Audit {
    recorder: Arc<Recorder>,
    store: Option<Store>,
    remembered: Mutex<VecDeque<ActionRow>>,
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}

impl Audit {
    pub(super) fn new(recorder: Arc<Recorder>, store: Option<Store>) -> Self {
        Self {
            recorder,
            store,
            remembered: Mutex::default(),
        }
    }

    /// Tells and keeps what somebody did, or was not let do. Returns when it is kept.
    pub async fn note(&self, who: &Who, ended: Ended) {
        let action = kept::Action {
            at_ms: Now::read().unix_ms,
            who: who.name.to_string(),
            role: who.role.word().to_owned(),
            source: who.source.to_string(),
            action: ended.action,
            target: cut(ended.target),
            detail: ended.detail.map(cut),
            status: ended.status.as_u16(),
        };
        self.recorder.audit(&Audited {
            who: &action.who,
            role: &action.role,
            source: &action.source,
            action: &action.action,
            target: &action.target,
            detail: action.detail.as_deref(),
            status: action.status,
            outcome: outcome(action.status),
        });
        let Some(store) = &self.store else {
            self.remember(action);
            return;
        };
        if let Err(err) = store.note_action(action).await {
            tracing::error!(error = %chain(&err), "an action could not be kept: the line before has it");
        }
    }

    fn remember(&self, action: kept::Action) {
        let remembered = self.remembered.lock();
        let mut remembered = remembered.unwrap_or_else(PoisonError::into_inner);
        let last = remembered.front().map_or(0, |row| row.id);
        let id = last.saturating_add(1);
        remembered.push_front(ActionRow { id, action });
        remembered.truncate(MAX_REMEMBERED);
    }

    /// The newest first.
    async fn list(&self, search: ActionSearch, page: Page) -> Result<Vec<ActionRow>, StoreError> {
        if let Some(store) = &self.store {
            return store.actions(search, page).await;
        }
        let remembered = self.remembered.lock();
        let remembered = remembered.unwrap_or_else(PoisonError::into_inner);
        let older = remembered.iter();
        let older = older.filter(|row| page.after.is_none_or(|after| row.id < after));
        let wanted = older.filter(|row| search.wants(&row.action)).cloned();
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        Ok(wanted.take(limit).collect())
    }
}

/// Whether what this operation does is kept.
pub(super) fn is_kept(method: &Method, operation: &str) -> bool {
    const LOOKS: [&str; 2] = ["show_event_body", "capture_request"];
    *method != Method::GET || LOOKS.contains(&operation)
}

/// The word for what became of an action.
fn outcome(status: u16) -> &'static str {
    match status {
        200..=299 => "done",
        400..=499 => "refused",
        _ => "failed",
    }
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(end);
    }
    text
}

/// Which actions. All that is said has to hold.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ActionFilter {
    /// Of this token, by its name, or of this user of the socket (`uid:0`).
    who: Option<String>,
    /// This operation, by its `operationId` in this document.
    action: Option<String>,
    /// With this target, as the list shows it.
    target: Option<String>,
    /// At this time or later: RFC 3339, seconds or milliseconds since the epoch, a day, or so long ago (`2h`).
    since: Option<String>,
    /// Before this time, in the same forms.
    before: Option<String>,
}

/// What operators did, the newest first
///
/// Changes, attempts at changes that were refused, and looks at the bytes of events. With a store the last 100,000 of the
/// last 400 days are kept, without one the last 1,000 since the start. For operators only.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "gate", operation_id = "list_actions",
    params(ActionFilter, Paging),
    responses(
        (status = 200, body = AuditEntries),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    uri: Uri,
) -> Result<Json<AuditEntries>, Problem> {
    api::need_operator(&who)?;
    let (filter, page) = input::listing::<ActionFilter>(&uri)?;
    let search = ActionSearch {
        who: filter.who,
        action: filter.action,
        target: filter.target,
        since_ms: input::time("since", filter.since.as_deref())?,
        before_ms: input::time("before", filter.before.as_deref())?,
    };
    let rows = state.audit.list(search, input::one_more(page)).await?;
    let (rows, next) = input::cut(rows, page.limit, |row| row.id);
    Ok(Json(AuditEntries {
        actions: rows.into_iter().map(shown).collect(),
        next,
    }))
}

fn shown(row: ActionRow) -> AuditEntry {
    let action = row.action;
    AuditEntry {
        id: row.id,
        at: Moment(action.at_ms),
        who: action.who,
        role: action.role,
        source: action.source,
        action: action.action,
        target: Some(action.target).filter(|target| !target.is_empty()),
        detail: action.detail,
        outcome: outcome(action.status).to_owned(),
        status: action.status,
    }
}
