//! What is done with many deliveries: first it is counted and asked for, then done. What comes in between is not touched.

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::{StatusCode, Uri};
use serde_json::{Map, Value, json};

use crate::admin::wire::{Changed, Moment, ReplayAsked};
use crate::console::client::{Client, Refused};
use crate::console::layout::{self, Layout};
use crate::console::query::Query;
use crate::console::show;
use crate::console::visitor::{Posted, Visitor};
use crate::model::clock::Now;

/// What deliveries are chosen by; the names are those of the API.
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

/// Something that can be done with many.
struct Action {
    word: &'static str,
    /// As a heading and on the button.
    name: &'static str,
    what: &'static str,
    path: &'static str,
}

const ACTIONS: [Action; 4] = [
    Action {
        word: "replay",
        name: "Replay",
        what: "Each delivery below is made once more, as a new delivery of the same event to the same destination. Apps see the \
               same webhook-id again.",
        path: "/replays",
    },
    Action {
        word: "retry",
        name: "Retry",
        what: "Each of these deliveries is attempted now. Dead letters come to life again.",
        path: "/deliveries/retry",
    },
    Action {
        word: "cancel",
        name: "Cancel",
        what: "No more attempts are made for these deliveries.",
        path: "/deliveries/cancel",
    },
    Action {
        word: "discard",
        name: "Discard",
        what: "These dead letters are done with: they are not attempted any more, and retention removes them in time.",
        path: "/deliveries/discard",
    },
];

#[derive(Template)]
#[template(path = "bulk.html", config = "src/console/askama.toml")]
struct BulkPage {
    layout: Layout,
    action: &'static Action,
    filter: Query,
    /// The filter as people read it.
    words: Vec<(String, String)>,
    count: u64,
    /// Whether nothing narrows what is meant.
    is_all: bool,
}

pub(super) async fn ask(
    visitor: Visitor,
    Path(word): Path<String>,
    uri: Uri,
) -> Result<Response, Refused> {
    let action = find(&word)?;
    let mut filter = Query::parse(uri.query()).only(&FILTERS);
    let is_all = filter.is_empty();
    let now = Now::read().unix_ms;
    // Without an end in time, most filters are counted without a look at each delivery.
    let count = run(&visitor.client, action, &filter, true).await?;
    if filter.first("before").is_none() {
        filter.push("before", &now.to_string());
    }
    Ok(layout::page(&BulkPage {
        layout: Layout::new(&visitor, "events", action.name),
        action,
        words: words(&filter),
        filter,
        count,
        is_all,
    }))
}

pub(super) async fn act(Path(word): Path<String>, posted: Posted) -> Result<Response, Refused> {
    let action = find(&word)?;
    let filter = posted.fields.only(&FILTERS);
    if filter.is_empty() {
        return Err(Refused::new(
            StatusCode::BAD_REQUEST,
            "Nothing says which deliveries are meant.",
        ));
    }
    run(&posted.visitor.client, action, &filter, false).await?;
    let page = match action.word {
        "replay" => "/console/replays".to_owned(),
        _ => filter
            .only(&["route", "destination", "event"])
            .after("/console/deliveries"),
    };
    Ok(Redirect::to(&layout::with_notice(&page, action.word)).into_response())
}

fn find(word: &str) -> Result<&'static Action, Refused> {
    let action = ACTIONS.iter().find(|action| action.word == word);
    action.ok_or_else(|| Refused::new(StatusCode::NOT_FOUND, "There is no such action."))
}

fn words(filter: &Query) -> Vec<(String, String)> {
    let words = filter.pairs().iter().map(|(name, value)| {
        let text = match (name.as_str(), value.parse()) {
            ("before", Ok(ms)) => Moment(ms).to_string(),
            ("state", _) => value.replace('_', " "),
            _ => value.clone(),
        };
        (name.clone(), text)
    });
    words.collect()
}

/// Does it, or only counts; how many.
async fn run(
    client: &Client,
    action: &Action,
    filter: &Query,
    is_dry: bool,
) -> Result<u64, Refused> {
    let mut search = Map::new();
    for (name, value) in filter.pairs() {
        let value = match name.as_str() {
            "replay" => Value::Bool(value == "true"),
            _ => Value::String(value.clone()),
        };
        search.insert(name.clone(), value);
    }
    // Only a count may be about all there is.
    let many = json!({ "search": search, "dry_run": is_dry, "all": is_dry });
    if action.word == "replay" {
        let asked: ReplayAsked = client.post_json(action.path, &many).await?;
        return Ok(asked.count);
    }
    let changed: Changed = client.post_json(action.path, &many).await?;
    Ok(changed.count)
}
