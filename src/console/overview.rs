//! Where one begins: what needs a person, and how every route does.

use std::collections::HashMap;

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use crate::admin::wire::{
    Certificates, Destination, Destinations, History, Moment, Need, Route, Routes, Status, Tally,
    Verdict, Verdicts,
};
use crate::console::chart::Chart;
use crate::console::client::{Client, Refused};
use crate::console::layout::{self, Layout};
use crate::console::query::{Query, segment};
use crate::console::visitor::Visitor;
use crate::console::{destinations, show};
use crate::model::clock::Now;

/// Verdicts that are looked at together.
const PART: &str = "500";

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
        // Without a store there are none.
        Err(refused) if refused.status == StatusCode::NOT_FOUND => Vec::new(),
        Err(refused) => return Err(refused),
    };
    let now_ms = Now::read().unix_ms;
    let mut last = HashMap::new();
    for verdict in verdicts(client, &Query::default(), 1).await? {
        if let Some(route) = verdict.route {
            last.entry(route).or_insert(verdict.at);
        }
    }
    let mut lines = Vec::with_capacity(routes.len());
    for route in routes {
        let history = format!("/routes/{}/history", segment(&route.name));
        let History { minutes, hours, .. } = client.get(&history).await?;
        // What came before the verdicts that are remembered is known to the minute, or to the hour.
        let counted = minutes.last().or(hours.last()).map(|tally| tally.start);
        lines.push(RouteLine {
            chart: Chart::of_hour(&minutes, now_ms),
            last: last.remove(&route.name).or(counted),
            passed: minutes.iter().map(Tally::passed).sum(),
            refused: minutes.iter().map(Tally::failed).sum(),
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

/// The last verdicts that match, the newest first.
pub(super) async fn verdicts(
    client: &Client,
    query: &Query,
    parts: usize,
) -> Result<Vec<Verdict>, Refused> {
    let mut query = query.with("limit", PART);
    let mut all = Vec::new();
    for _ in 0..parts {
        let part: Verdicts = client.get(&query.after("/verdicts")).await?;
        all.extend(part.verdicts);
        let Some(next) = part.next else { break };
        query = query.with("cursor", &next);
    }
    Ok(all)
}

/// The page that a need is seen to on.
fn page_of(need: &Need) -> &'static str {
    match need.what.as_str() {
        "dead_letters" => "/console/deliveries?state=dead",
        "config" | "certificate" | "secret_ends" | "secret_idle" => "/console/config",
        _ => "/console/destinations",
    }
}
