//! Page with the list of events, newest first.

use askama::Template;
use axum::response::{IntoResponse, Redirect, Response};
use http::Uri;

use crate::admin::documents::{DestinationList, EventDocument, EventList};
use crate::admin::path::segment;
use crate::admin::resources::{LIST_DESTINATIONS, LIST_EVENTS};
use crate::console::client::ApiRefusal;
use crate::console::display;
use crate::console::layout::{self, PageLayout};
use crate::console::no_store::without_store;
use crate::console::query::QueryPairs;
use crate::console::user::ConsoleUser;
use crate::model::delivery::DeliveryState;
use crate::model::ids::RequestId;

/// Filters for a list of events, under the names of the API.
pub(super) const FILTERS: [&str; 8] = [
    "route", "provider", "type", "state", "id", "since", "before", "text",
];

/// Choices for the age of events: the value for the API and the label.
const SPANS: [(&str, &str); 5] = [
    ("15m", "15 minutes"),
    ("1h", "hour"),
    ("24h", "24 hours"),
    ("7d", "7 days"),
    ("30d", "30 days"),
];

#[derive(Template)]
#[template(path = "events.html", config = "src/console/askama.toml")]
struct EventsPage {
    layout: PageLayout,
    notice: &'static str,
    filter: FilterForm,
    events: Vec<EventDocument>,
    newer: Option<String>,
    older: Option<String>,
}

#[derive(Template)]
#[template(path = "event_rows.html", config = "src/console/askama.toml")]
struct EventRows {
    events: Vec<EventDocument>,
}

/// The filter of a list, with the choices of its form.
pub(super) struct FilterForm {
    pub(super) query: QueryPairs,
    pub(super) routes: Vec<SelectOption>,
    pub(super) states: Vec<SelectOption>,
    pub(super) spans: Vec<SelectOption>,
}

/// One option of a `<select>` element.
pub(super) struct SelectOption {
    pub(super) value: String,
    pub(super) text: String,
    pub(super) is_chosen: bool,
}

pub(super) async fn list(visitor: ConsoleUser, uri: Uri) -> Result<Response, ApiRefusal> {
    if let Some(page) = without_store(&visitor, "events", "Events") {
        return Ok(page);
    }
    let asked = QueryPairs::parse(uri.query());
    // An id in the form of the inbox names one event, so open it instead of listing it.
    if let Some(uid) = RequestId::parse(asked.text("id")) {
        let event = format!("/console/events/{}", segment(&uid.to_string()));
        return Ok(Redirect::to(&event).into_response());
    }
    let query = asked.only(&FILTERS);
    let cursor = asked.text("cursor");
    let listed = query.with("cursor", cursor).after(LIST_EVENTS.path);
    let EventList { events, next } = visitor.client.get(&listed).await?;
    // The script of an open list requests only the rows.
    if asked.first("part") == Some("rows") {
        return Ok(layout::page(&EventRows { events }));
    }
    let destinations: DestinationList = visitor.client.get(LIST_DESTINATIONS.path).await?;
    let routes = destinations.destinations.into_iter();
    let routes = routes.map(|destination| destination.route).collect();
    let here = "/console/events";
    Ok(layout::page(&EventsPage {
        layout: visitor.layout("events", "Events"),
        notice: display::notice(asked.text("notice")),
        newer: (!cursor.is_empty()).then(|| query.after(here)),
        older: next.map(|next| query.with("cursor", &next).after(here)),
        filter: FilterForm::new(query, routes),
        events,
    }))
}

impl FilterForm {
    pub(super) fn new(query: QueryPairs, mut routes: Vec<String>) -> Self {
        // A route that left the config stays a choice while it is the filter, or the form would drop it.
        let route = query.text("route").to_owned();
        if !route.is_empty() {
            routes.push(route.clone());
        }
        routes.sort();
        routes.dedup();
        let since = query.text("since").to_owned();
        let mut spans: Vec<_> = SPANS
            .iter()
            .map(|(value, text)| SelectOption::new(value, &format!("last {text}"), &since))
            .collect();
        // The address may have any time that the API accepts, not only one of the choices.
        if !since.is_empty() && !spans.iter().any(|span| span.is_chosen) {
            spans.push(SelectOption::new(&since, &format!("since {since}"), &since));
        }
        let state = query.text("state").to_owned();
        let states = DeliveryState::ALL.into_iter().map(DeliveryState::word);
        Self {
            routes: routes
                .iter()
                .map(|name| SelectOption::new(name, name, &route))
                .collect(),
            states: states
                .map(|word| SelectOption::new(word, &word.replace('_', " "), &state))
                .collect(),
            spans,
            query,
        }
    }

    /// Returns the address of a bulk action on all matching deliveries.
    pub(super) fn bulk(&self, action: &str) -> String {
        self.query.after(&format!("/console/bulk/{action}"))
    }
}

impl SelectOption {
    pub(super) fn new(value: &str, text: &str, chosen: &str) -> Self {
        Self {
            value: value.to_owned(),
            text: text.to_owned(),
            is_chosen: value == chosen,
        }
    }
}
