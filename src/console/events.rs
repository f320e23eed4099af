//! Page with the list of events, newest first.

use askama::Template;
use axum::response::{IntoResponse, Redirect, Response};
use http::Uri;

use crate::admin::path::segment;
use crate::admin::wire::{Destinations, Event, Events};
use crate::console::client::Refused;
use crate::console::layout::{self, Layout};
use crate::console::query::Query;
use crate::console::show;
use crate::console::visitor::Visitor;
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

const STATES: [&str; 6] = [
    "pending",
    "in_flight",
    "waiting",
    "delivered",
    "dead",
    "cancelled",
];

#[derive(Template)]
#[template(path = "events.html", config = "src/console/askama.toml")]
struct EventsPage {
    layout: Layout,
    notice: &'static str,
    filter: Filter,
    events: Vec<Event>,
    newer: Option<String>,
    older: Option<String>,
}

#[derive(Template)]
#[template(path = "event_rows.html", config = "src/console/askama.toml")]
struct EventRows {
    events: Vec<Event>,
}

/// The filter of a list, with the choices of its form.
pub(super) struct Filter {
    pub(super) query: Query,
    pub(super) routes: Vec<Choice>,
    pub(super) states: Vec<Choice>,
    pub(super) spans: Vec<Choice>,
}

/// One option of a `<select>` element.
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) text: String,
    pub(super) is_chosen: bool,
}

pub(super) async fn list(visitor: Visitor, uri: Uri) -> Result<Response, Refused> {
    if let Some(page) = layout::without_store(&visitor, "events", "Events") {
        return Ok(page);
    }
    let asked = Query::parse(uri.query());
    // An id in the form of the inbox names one event, so open it instead of listing it.
    if let Some(uid) = RequestId::parse(asked.text("id")) {
        let event = format!("/console/events/{}", segment(&uid.to_string()));
        return Ok(Redirect::to(&event).into_response());
    }
    let query = asked.only(&FILTERS);
    let cursor = asked.text("cursor");
    let listed = query.with("cursor", cursor).after("/events");
    let Events { events, next } = visitor.client.get(&listed).await?;
    // The script of an open list requests only the rows.
    if asked.first("part") == Some("rows") {
        return Ok(layout::page(&EventRows { events }));
    }
    let destinations: Destinations = visitor.client.get("/destinations").await?;
    let routes = destinations.destinations.into_iter();
    let routes = routes.map(|destination| destination.route).collect();
    let here = "/console/events";
    Ok(layout::page(&EventsPage {
        layout: Layout::new(&visitor, "events", "Events"),
        notice: show::notice(asked.text("notice")),
        newer: (!cursor.is_empty()).then(|| query.after(here)),
        older: next.map(|next| query.with("cursor", &next).after(here)),
        filter: Filter::new(query, routes),
        events,
    }))
}

impl Filter {
    pub(super) fn new(query: Query, mut routes: Vec<String>) -> Self {
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
            .map(|(value, text)| Choice::new(value, &format!("last {text}"), &since))
            .collect();
        // The address may have any time that the API accepts, not only one of the choices.
        if !since.is_empty() && !spans.iter().any(|span| span.is_chosen) {
            spans.push(Choice::new(&since, &format!("since {since}"), &since));
        }
        let state = query.text("state").to_owned();
        let states = STATES.iter();
        Self {
            routes: routes
                .iter()
                .map(|name| Choice::new(name, name, &route))
                .collect(),
            states: states
                .map(|word| Choice::new(word, &word.replace('_', " "), &state))
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

impl Choice {
    pub(super) fn new(value: &str, text: &str, chosen: &str) -> Self {
        Self {
            value: value.to_owned(),
            text: text.to_owned(),
            is_chosen: value == chosen,
        }
    }
}
