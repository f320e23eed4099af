//! Page that erases events: a form, the count with a question, and the work in steps.
//!
//! Every step is a posted form. So the value that was searched for is never part of an address, which browsers keep and
//! proxies log.

use askama::Template;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde_json::{Map, Value, json};

use crate::admin::documents::EraseStep;
use crate::admin::resources::ERASE_EVENTS;
use crate::console::client::{ApiClient, ApiRefusal};
use crate::console::display;
use crate::console::layout::{self, PageLayout};
use crate::console::no_store::without_store;
use crate::console::query::QueryPairs;
use crate::console::user::{ConsoleUser, PostedForm};
use crate::model::clock::ClockReading;

/// Filters of the form, under the names of the API.
const FILTERS: [&str; 6] = ["text", "route", "type", "id", "since", "before"];

/// All fields that select events.
const FIELDS: [&str; 9] = [
    "event", "pointer", "value", "text", "route", "type", "id", "since", "before",
];

/// Stage of the page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EraseStage {
    /// The form is empty or has to be changed.
    Form,
    /// The events are counted, and the button erases them.
    Counted,
    /// A part of the store was read, and the button goes on.
    Erasing,
    /// All of the store was read.
    Done,
}

#[derive(Template)]
#[template(path = "erase.html", config = "src/console/askama.toml")]
struct ErasePage {
    layout: PageLayout,
    fields: QueryPairs,
    stage: EraseStage,
    /// The last step.
    step: Option<EraseStep>,
    /// Events that all steps so far have counted or erased.
    total: u64,
}

pub(super) async fn show(visitor: ConsoleUser, uri: Uri) -> Result<Response, ApiRefusal> {
    if let Some(page) = without_store(&visitor, "events", "Erase events") {
        return Ok(page);
    }
    // Links from other pages name one event or a route, and never a searched value.
    let fields = QueryPairs::parse(uri.query()).only(&["event", "route", "type"]);
    Ok(layout::page(&ErasePage {
        layout: visitor.layout("events", "Erase events"),
        fields,
        stage: EraseStage::Form,
        step: None,
        total: 0,
    }))
}

pub(super) async fn act(posted: PostedForm) -> Result<Response, ApiRefusal> {
    let mut fields = posted.fields.only(&FIELDS);
    if fields.is_empty() {
        return Err(ApiRefusal::new(
            StatusCode::BAD_REQUEST,
            "The form is empty, which would select all events. Go back and enter an event id, a value or a filter.",
        ));
    }
    let is_dry = posted.fields.text("step") != "erase";
    // Events that come in after the count stay untouched.
    if is_dry && fields.first("before").is_none() && fields.first("event").is_none() {
        fields.push("before", &ClockReading::read().unix_ms.to_string());
    }
    let client = &posted.user.client;
    let cursor = posted.fields.text("cursor");
    let step = run(client, &fields, cursor, is_dry).await?;
    let earlier: u64 = posted.fields.text("total").parse().unwrap_or(0);
    let stage = match (is_dry, &step.next) {
        (true, _) => EraseStage::Counted,
        (false, Some(_)) => EraseStage::Erasing,
        (false, None) => EraseStage::Done,
    };
    Ok(layout::page(&ErasePage {
        layout: posted.user.layout("events", "Erase events"),
        fields,
        stage,
        total: earlier.saturating_add(step.count),
        step: Some(step),
    }))
}

/// Runs one step, or only counts.
async fn run(
    client: &ApiClient,
    fields: &QueryPairs,
    cursor: &str,
    is_dry: bool,
) -> Result<EraseStep, ApiRefusal> {
    let mut selection = Map::new();
    selection.insert("dry_run".to_owned(), is_dry.into());
    if let Some(event) = fields.first("event") {
        selection.insert("event".to_owned(), event.into());
    }
    let search: Map<String, Value> = fields
        .only(&FILTERS)
        .pairs()
        .iter()
        .map(|(name, value)| (name.clone(), Value::String(value.clone())))
        .collect();
    if !search.is_empty() {
        selection.insert("search".to_owned(), search.into());
    }
    if let Some(pointer) = fields.first("pointer") {
        let field = json!({ "pointer": pointer, "value": fields.text("value") });
        selection.insert("field".to_owned(), field);
    }
    if !cursor.is_empty() {
        selection.insert("cursor".to_owned(), cursor.into());
    }
    client.post_json(ERASE_EVENTS.path, &selection).await
}

impl ErasePage {
    fn is_at(&self, stage: &str) -> bool {
        match self.stage {
            EraseStage::Form => stage == "form",
            EraseStage::Counted => stage == "counted",
            EraseStage::Erasing => stage == "erasing",
            EraseStage::Done => stage == "done",
        }
    }

    /// Returns the cursor of the next step of erasing. Erasing begins at the start again after a count.
    fn cursor(&self) -> &str {
        let next = self.step.as_ref().and_then(|step| step.next.as_deref());
        match self.stage {
            EraseStage::Erasing => next.unwrap_or_default(),
            EraseStage::Form | EraseStage::Counted | EraseStage::Done => "",
        }
    }

    /// Returns the number of erased events that the next form carries.
    fn erased(&self) -> u64 {
        match self.stage {
            EraseStage::Erasing => self.total,
            EraseStage::Form | EraseStage::Counted | EraseStage::Done => 0,
        }
    }
}
