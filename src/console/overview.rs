//! Start page: what needs attention, and the state of every route.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use crate::admin::path::{segment, with_query};
use crate::admin::wire::{
    Certificates, Destination, Destinations, History, Moment, Need, Route, Routes, Status, Verdicts,
};
use crate::console::chart::Chart;
use crate::console::client::Refused;
use crate::console::layout::{self, Layout};
use crate::console::visitor::Visitor;
use crate::console::{destinations, show};
use crate::model::clock::Now;

/// Number of verdicts read to find the last request of each route.
const VERDICTS: &str = "500";

#[derive(Template)]
#[template(path = "overview.html", config = "src/console/askama.toml")]
struct OverviewPage {
    layout: Layout,
    status: Status,
    routes: Vec<RouteLine>,
    destinations: Vec<Destination>,
    certificates: Certificates,
}

struct RouteLine {
    route: Route,
    chart: Chart,
    last: Option<Moment>,
    passed: u64,
    refused: u64,
}

pub(super) async fn show(visitor: Visitor) -> Result<Response, Refused> {
    let client = &visitor.client;
    let Routes { routes } = client.get("/routes").await?;
    let certificates = client.get("/certificates").await?;
    let destinations = match client.get::<Destinations>("/destinations").await {
        Ok(found) => found.destinations,
        // Without a store the API responds with 404, and there are no destinations.
        Err(refused) if refused.status == StatusCode::NOT_FOUND => Vec::new(),
        Err(refused) => return Err(refused),
    };
    let now_ms = Now::read().unix_ms;
    let newest: Verdicts = client
        .get(&with_query("/verdicts", &[("limit", VERDICTS)]))
        .await?;
    let mut last = newest.last_by_route();
    let mut lines = Vec::with_capacity(routes.len());
    for route in routes {
        let history = format!("/routes/{}/history", segment(&route.name));
        let history: History = client.get(&history).await?;
        lines.push(RouteLine {
            chart: Chart::of_hour(&history, now_ms),
            // Verdicts in memory give the exact time. For older requests the history knows the minute or the hour.
            last: last.remove(&route.name).or(history.last()),
            passed: history.passed(),
            refused: history.failed(),
            route,
        });
    }
    Ok(layout::page(&OverviewPage {
        layout: Layout::new(&visitor, "", "Overview"),
        status: visitor.status,
        routes: lines,
        destinations,
        certificates,
    }))
}

/// Returns the page where an operator handles a need.
fn page_of(need: &Need) -> &'static str {
    match need.what.as_str() {
        "dead_letters" => "/console/deliveries?state=dead",
        "config" | "certificate" | "secret_ends" | "secret_idle" => "/console/config",
        _ => "/console/destinations",
    }
}
