//! Bulk actions on deliveries: a page that counts and asks, then the action itself.
//!
//! The filter of the form ends at the time of the count, so deliveries created in between stay untouched.

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::{StatusCode, Uri};
use serde_json::{Map, Value, json};

use crate::admin::documents::{ApiTimestamp, BulkChangeResult, ReplayCreated};
use crate::admin::resources::{
    BEGIN_REPLAY, CANCEL_DELIVERIES, DISCARD_DELIVERIES, RETRY_DELIVERIES,
};
use crate::console::client::{ApiClient, ApiRefusal};
use crate::console::display;
use crate::console::layout::{self, PageLayout};
use crate::console::query::QueryPairs;
use crate::console::user::{ConsoleUser, PostedForm};
use crate::model::clock::ClockReading;

/// Filters that select deliveries, under the names of the API.
pub(super) const FILTERS: [&str; 10] = [
    "route",
    "destination",
    "provider",
    "event",
    "id",
    "type",
    "state",
    "replay",
    "since",
    "before",
];

/// An action on many deliveries.
struct BulkAction {
    word: &'static str,
    /// Label for the heading and the button.
    name: &'static str,
    what: &'static str,
    path: &'static str,
}

const ACTIONS: [BulkAction; 4] = [
    BulkAction {
        word: "replay",
        name: "Replay",
        what: "Creates a new delivery of the same event to the same destination for each matching delivery. Apps \
               receive the same webhook-id again.",
        path: BEGIN_REPLAY.path,
    },
    BulkAction {
        word: "retry",
        name: "Retry",
        what: "Attempts each matching delivery now. Dead letters become pending deliveries again.",
        path: RETRY_DELIVERIES.path,
    },
    BulkAction {
        word: "cancel",
        name: "Cancel",
        what: "Ends the matching deliveries. They are not attempted again.",
        path: CANCEL_DELIVERIES.path,
    },
    BulkAction {
        word: "discard",
        name: "Discard",
        what: "Ends the matching dead letters. They are not attempted again, and retention removes them later.",
        path: DISCARD_DELIVERIES.path,
    },
];

#[derive(Template)]
#[template(path = "bulk.html", config = "src/console/askama.toml")]
struct BulkPage {
    layout: PageLayout,
    action: &'static BulkAction,
    filter: QueryPairs,
    /// The filter in readable form.
    words: Vec<(String, String)>,
    count: u64,
    /// True if no filter is set, so that the action selects all deliveries.
    is_all: bool,
}

pub(super) async fn show_confirmation(
    visitor: ConsoleUser,
    Path(word): Path<String>,
    uri: Uri,
) -> Result<Response, ApiRefusal> {
    let action = find(&word)?;
    let mut filter = QueryPairs::parse(uri.query()).only(&FILTERS);
    let is_all = filter.is_empty();
    let now = ClockReading::read().unix_ms;
    // Count before `before` is set: without an end in time the store need not read each delivery for most filters.
    let count = run(&visitor.client, action, &filter, true).await?;
    if filter.first("before").is_none() {
        filter.push("before", &now.to_string());
    }
    Ok(layout::page(&BulkPage {
        layout: visitor.layout("events", action.name),
        action,
        words: describe_filter(&filter),
        filter,
        count,
        is_all,
    }))
}

pub(super) async fn act(
    Path(word): Path<String>,
    posted: PostedForm,
) -> Result<Response, ApiRefusal> {
    let action = find(&word)?;
    let filter = posted.fields.only(&FILTERS);
    // The form always has `before`, so an empty filter is no form of ours and must not select everything.
    if filter.is_empty() {
        return Err(ApiRefusal::new(
            StatusCode::BAD_REQUEST,
            "The form has no filter, so no delivery is selected. Go back, filter the list and choose the action again.",
        ));
    }
    run(&posted.user.client, action, &filter, false).await?;
    let page = match action.word {
        "replay" => "/console/replays".to_owned(),
        _ => filter
            .only(&["route", "destination", "event"])
            .after("/console/deliveries"),
    };
    Ok(Redirect::to(&layout::with_notice(&page, action.word)).into_response())
}

fn find(word: &str) -> Result<&'static BulkAction, ApiRefusal> {
    let action = ACTIONS.iter().find(|action| action.word == word);
    action.ok_or_else(|| ApiRefusal::new(StatusCode::NOT_FOUND, "This action does not exist."))
}

fn describe_filter(filter: &QueryPairs) -> Vec<(String, String)> {
    let words = filter.pairs().iter().map(|(name, value)| {
        let text = match (name.as_str(), value.parse()) {
            ("before", Ok(ms)) => ApiTimestamp(ms).to_string(),
            ("state", _) => value.replace('_', " "),
            _ => value.clone(),
        };
        (name.clone(), text)
    });
    words.collect()
}

/// Runs an action, or only counts with `is_dry`. Returns how many deliveries it concerns.
async fn run(
    client: &ApiClient,
    action: &BulkAction,
    filter: &QueryPairs,
    is_dry: bool,
) -> Result<u64, ApiRefusal> {
    let mut search = Map::new();
    for (name, value) in filter.pairs() {
        let value = match name.as_str() {
            "replay" => Value::Bool(value == "true"),
            _ => Value::String(value.clone()),
        };
        search.insert(name.clone(), value);
    }
    // `all` allows an empty search. Only a count may use one.
    let many = json!({ "search": search, "dry_run": is_dry, "all": is_dry });
    if action.word == "replay" {
        let asked: ReplayCreated = client.post_json(action.path, &many).await?;
        return Ok(asked.count);
    }
    let changed: BulkChangeResult = client.post_json(action.path, &many).await?;
    Ok(changed.count)
}
