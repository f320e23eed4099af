//! Handler for `/events/erase`: erase events, one or all that match, from the store and from memory.
//!
//! A search in contents has to decrypt and read each event, so a request works for some seconds and returns a cursor. The
//! client repeats it until a response has no cursor. The audit log gets digests of what was searched for, since that is what has to
//! disappear.

use std::collections::HashSet;
use std::time::Duration;

use axum::{Extension, Json};
use data_encoding::HEXLOWER;
use hookgate_verify::model::glob::GlobPattern;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::admin::caller_store::{CallerStore, VisibleUid};
use crate::admin::caller_view::CallerView;
use crate::admin::connection_context::ConnectionContext;
use crate::admin::deliveries;
use crate::admin::documents::EraseStep;
use crate::admin::memory_erase::MemoryCriteria;
use crate::admin::parameters::{self, EventFilter, JsonParameters};
use crate::admin::problem::AdminProblem;
use crate::model::ids::RequestId;
use crate::store::content_match::{BodyField, ContentCriterion};
use crate::store::erase::EraseResult;
use crate::store::search::{EventSearch, ListPage};

/// Duration of one step. The client shows its progress after each.
const STEP: Duration = Duration::from_secs(3);

/// Events that one query of a step returns at most.
const AT_ONCE: u32 = 128;

/// Longest pointer or value of a field.
const MAX_FIELD: usize = 4096;

/// A value at a location of the body.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FieldCriterion {
    /// JSON pointer (RFC 6901) into the body, such as `/customer/email`; for a form, `/` and the name of the field.
    pub pointer: String,
    /// The value: a string without quotes, or a number or a boolean as JSON has it.
    pub value: String,
}

/// A selection of events to erase: one by its id, or all that match.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EraseSelection {
    /// Id of one event in the inbox. No other criterion may be set with it.
    #[serde(default)]
    pub event: Option<String>,
    /// Filter that selects the events.
    #[serde(default)]
    pub search: EventFilter,
    /// Value that the body must have at a location.
    #[serde(default)]
    pub field: Option<FieldCriterion>,
    /// Must be `true` if nothing else is set, so that an empty request does not erase everything.
    #[serde(default)]
    pub all: bool,
    /// Counts the events and erases nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// `next` of the previous step.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// Erases events: bodies, headers, ids, deliveries and responses
///
/// A request is one step of some seconds. Repeat it with `next` as `cursor` until that is null. Open deliveries of the
/// events end. The dedup keys stay, which are digests, so that a retry of the sender is no new event. Recent verdicts and
/// rejected requests in the memory of this node are erased too. The audit log gets the number of events, and only
/// digests of ids and values. The last step removes what deleted rows leave in the files of an SQLite store.
#[utoipa::path(
    post, path = "",
    request_body = EraseSelection,
    responses(
        (status = 200, body = EraseStep),
    ),
)]
pub(super) async fn erase(
    view: CallerView,
    Extension(visit): Extension<ConnectionContext>,
    JsonParameters(wanted): JsonParameters<EraseSelection>,
) -> Result<Json<EraseStep>, AdminProblem> {
    let selected = CheckedSelection::parse(&view, &wanted)?;
    let store = view.store()?;
    let _slot = view.long_slot()?;
    visit.deadline.extend(deliveries::LONG);
    let mut work = EraseWork {
        view: &view,
        store,
        is_dry_run: wanted.dry_run,
        count: 0,
        erased: EraseResult::default(),
        uids: HashSet::new(),
    };
    let done = work.step(&selected).await;
    let (count, described) = (work.count, describe(&wanted));
    visit.remark(match (&done, wanted.dry_run) {
        (Ok(_), true) => format!("{described}: {count} counted"),
        (Ok(_), false) => format!("{described}: {count} erased"),
        (Err(_), _) => format!("{described}: failed after {count}"),
    });
    done.map(Json)
}

/// A selection whose criteria were parsed.
struct CheckedSelection {
    event: Option<RequestId>,
    search: EventSearch,
    content: Option<ContentCriterion>,
    memory: MemoryCriteria,
    after: Option<i64>,
}

impl CheckedSelection {
    fn parse(view: &CallerView, wanted: &EraseSelection) -> Result<Self, AdminProblem> {
        let is_filtered = wanted.search != EventFilter::default() || wanted.field.is_some();
        if wanted.event.is_some() && (is_filtered || wanted.all) {
            return Err(AdminProblem::bad(
                "`event` selects one event: send no other criterion with it",
            ));
        }
        if wanted.event.is_none() && !is_filtered && !wanted.all {
            return Err(AdminProblem::bad(
                "nothing is selected, which would erase all events: add `event`, `search` or `field`, or set `\"all\": true`",
            ));
        }
        let content = content(wanted)?;
        if content.is_some() {
            // The number of events with a text reveals it, whether they are erased or not.
            view.need_payload()?;
        }
        let event = wanted.event.as_deref();
        let event = event.map(|uid| parameters::request_id(uid, "an event"));
        let event = event.transpose()?;
        let search = wanted.search.search()?;
        let after = match wanted.cursor.as_deref().map(str::parse) {
            None => None,
            Some(Ok(after)) => Some(after),
            Some(Err(_)) => {
                return Err(AdminProblem::bad(
                    "`cursor` is invalid: use `next` of the previous step",
                ));
            }
        };
        let pattern = search.event_type.as_deref().map(GlobPattern::parse);
        let memory = MemoryCriteria {
            event,
            // A text that is no pattern matches no type.
            event_type: pattern.map(Result::ok),
            search: search.clone(),
            content: content.clone(),
        };
        Ok(Self {
            event,
            search,
            content,
            memory,
            after,
        })
    }
}

fn content(wanted: &EraseSelection) -> Result<Option<ContentCriterion>, AdminProblem> {
    let text = wanted
        .search
        .text
        .as_deref()
        .filter(|text| !text.is_empty());
    match (text, &wanted.field) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(ContentCriterion::Text(text.to_owned()))),
        (None, Some(field)) => {
            if !field.pointer.starts_with('/') {
                return Err(AdminProblem::bad(
                    "`pointer` is not a JSON pointer, which begins with a slash, such as `/customer/email`",
                ));
            }
            if field.pointer.len() > MAX_FIELD || field.value.len() > MAX_FIELD {
                return Err(AdminProblem::bad(format!(
                    "`field` is too long: at most {MAX_FIELD} bytes for the pointer and for the value"
                )));
            }
            Ok(Some(ContentCriterion::Field(BodyField {
                pointer: field.pointer.clone(),
                value: field.value.clone(),
            })))
        }
        (Some(_), Some(_)) => Err(AdminProblem::bad(
            "`text` and `field` cannot be combined: erase by one of them, then by the other",
        )),
    }
}

/// Formats the selection for the audit log, with digests in place of ids and values.
fn describe(wanted: &EraseSelection) -> String {
    let digest = |text: &str| HEXLOWER.encode(&Sha256::digest(text.as_bytes()));
    let search = &wanted.search;
    let mut shown = json!({
        "event": wanted.event,
        "route": search.route,
        "provider": search.provider,
        "type": search.event_type,
        "state": search.state,
        "since": search.since,
        "before": search.before,
        "id_sha256": search.id.as_deref().map(digest),
        "text_sha256": search.text.as_deref().map(digest),
        "field": wanted.field.as_ref().map(|field| &field.pointer),
        "value_sha256": wanted.field.as_ref().map(|field| digest(&field.value)),
        "all": wanted.all.then_some(true),
        "continued": wanted.cursor.is_some().then_some(true),
    });
    if let Some(fields) = shown.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    shown.to_string()
}

/// One step of an erasure.
struct EraseWork<'a> {
    view: &'a CallerView,
    store: CallerStore,
    is_dry_run: bool,
    count: u64,
    erased: EraseResult,
    /// Events that this step found.
    uids: HashSet<RequestId>,
}

impl EraseWork<'_> {
    async fn step(&mut self, selected: &CheckedSelection) -> Result<EraseStep, AdminProblem> {
        let mut next = None;
        match selected.event {
            Some(uid) => {
                if let Some(uid) = self.store.find_uid(uid).await? {
                    self.take(vec![uid]).await?;
                }
            }
            None => next = self.walk(selected).await?,
        }
        let is_first = selected.after.is_none();
        let memory =
            self.view
                .erase_memory(&selected.memory, &self.uids, is_first, self.is_dry_run);
        if selected.event.is_some() && self.count == 0 && memory == 0 {
            let uid = selected.event.map(|uid| uid.to_string());
            return Err(AdminProblem::missing(format!(
                "event `{}` does not exist: check the id; retention may have removed it",
                uid.unwrap_or_default()
            )));
        }
        for destination in &self.erased.destinations {
            // Other deliveries of an order key may have waited for one that is gone now.
            self.view.wake(*destination);
        }
        let scrubbed = match next.is_none() && !self.is_dry_run {
            true => Some(self.store.scrub().await?),
            false => None,
        };
        Ok(EraseStep {
            dry_run: self.is_dry_run,
            count: self.count,
            cancelled: self.erased.cancelled,
            in_flight: self.erased.in_flight,
            memory,
            percent: self.percent(next).await?,
            next: next.map(|next| next.to_string()),
            scrubbed,
            node: self.view.node(),
        })
    }

    /// Takes matching events, newest first, until the time of the step is over. Returns where the next step continues.
    async fn walk(&mut self, selected: &CheckedSelection) -> Result<Option<i64>, AdminProblem> {
        let began = Instant::now();
        let mut page = ListPage {
            after: selected.after,
            limit: AT_ONCE,
        };
        loop {
            let (search, content) = (selected.search.clone(), selected.content.clone());
            let (uids, next) = self.store.find_uids(search, content, page).await?;
            self.take(uids).await?;
            let Some(next) = next else { return Ok(None) };
            page.after = Some(next);
            if began.elapsed() >= STEP {
                return Ok(Some(next));
            }
        }
    }

    /// Counts events, and erases them unless this is a dry run.
    async fn take(&mut self, uids: Vec<VisibleUid>) -> Result<(), AdminProblem> {
        if self.is_dry_run {
            self.count = self.count.saturating_add(uids.len() as u64);
        } else {
            let erased = self.store.erase(&uids).await?;
            self.count = self.count.saturating_add(erased.events);
            self.erased.add(erased);
        }
        self.uids.extend(uids.into_iter().map(VisibleUid::get));
        Ok(())
    }

    /// Returns how much of the store lies behind the cursor.
    async fn percent(&self, next: Option<i64>) -> Result<u8, AdminProblem> {
        let Some(next) = next else { return Ok(100) };
        let extent = self.store.extent().await?;
        let all = extent.last.saturating_sub(extent.first).max(1);
        let read = extent.last.saturating_sub(next).clamp(0, all);
        // Never 100 before the end.
        let percent = i128::from(read) * 100 / i128::from(all);
        Ok(u8::try_from(percent.min(99)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when a searched id or value itself gets into the audit log.
    #[test]
    fn the_audit_log_gets_digests() {
        let wanted: EraseSelection = serde_json::from_value(json!({
            "search": { "route": "shop", "id": "cus_ann", "text": "ann@example.com" },
        }))
        .unwrap();
        let shown = describe(&wanted);
        assert!(!shown.contains("ann"), "{shown}");
        let digest = HEXLOWER.encode(&Sha256::digest(b"ann@example.com"));
        assert!(shown.contains(&digest) && shown.contains("shop"), "{shown}");
        let wanted: EraseSelection = serde_json::from_value(json!({
            "field": { "pointer": "/email", "value": "ann@example.com" },
        }))
        .unwrap();
        let shown = describe(&wanted);
        assert!(!shown.contains("ann"), "{shown}");
        assert!(
            shown.contains(&digest) && shown.contains("/email"),
            "{shown}"
        );
    }
}
