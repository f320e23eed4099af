//! Page with the list of deliveries, newest first.
//!
//! Dead letters are the same page with a filter, under an entry of their own in the navigation.

use askama::Template;
use axum::response::Response;
use http::Uri;

use crate::admin::documents::{DeliveryDocument, DeliveryList, DestinationList};
use crate::admin::resources::{LIST_DELIVERIES, LIST_DESTINATIONS};
use crate::console::client::ApiRefusal;
use crate::console::display;
use crate::console::events::{FilterForm, SelectOption};
use crate::console::layout::{self, PageLayout};
use crate::console::no_store::without_store;
use crate::console::query::QueryPairs;
use crate::console::user::ConsoleUser;

const FILTERS: [&str; 9] = [
    "state",
    "route",
    "destination",
    "provider",
    "type",
    "event",
    "id",
    "since",
    "before",
];

#[derive(Template)]
#[template(path = "deliveries.html", config = "src/console/askama.toml")]
struct DeliveriesPage {
    layout: PageLayout,
    notice: &'static str,
    filter: FilterForm,
    destinations: Vec<SelectOption>,
    is_dead: bool,
    deliveries: Vec<DeliveryDocument>,
    here: String,
    newer: Option<String>,
    older: Option<String>,
}

pub(super) async fn list(visitor: ConsoleUser, uri: Uri) -> Result<Response, ApiRefusal> {
    let asked = QueryPairs::parse(uri.query());
    let query = asked.only(&FILTERS);
    let cursor = asked.text("cursor");
    let listed = query.with("cursor", cursor);
    let is_dead = query.text("state") == "dead";
    let (section, title) = match is_dead {
        true => ("deliveries?state=dead", "Dead letters"),
        false => ("events", "Deliveries"),
    };
    // Before any call to the API, which responds with 404 where there is no store.
    if let Some(page) = without_store(&visitor, section, title) {
        return Ok(page);
    }
    let found: DeliveryList = visitor
        .client
        .get(&listed.after(LIST_DELIVERIES.path))
        .await?;
    let known: DestinationList = visitor.client.get(LIST_DESTINATIONS.path).await?;
    let known = known.destinations;
    let routes = known.iter().map(|destination| destination.route.clone());
    let filter = FilterForm::new(query.clone(), routes.collect());
    // Routes may use the same name for a destination, and the list of choices shows each name once.
    let mut names: Vec<_> = known
        .into_iter()
        .map(|destination| destination.name)
        .collect();
    names.sort();
    names.dedup();
    let chosen = query.text("destination");
    let path = "/console/deliveries";
    let older = found
        .next
        .map(|next| query.with("cursor", &next).after(path));
    Ok(layout::page(&DeliveriesPage {
        layout: visitor.layout(section, title),
        notice: display::notice(asked.text("notice")),
        destinations: names
            .iter()
            .map(|name| SelectOption::new(name, name, chosen))
            .collect(),
        filter,
        is_dead,
        deliveries: found.deliveries,
        here: listed.after(path),
        newer: (!cursor.is_empty()).then(|| query.after(path)),
        older,
    }))
}
