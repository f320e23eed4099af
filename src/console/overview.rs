//! Where one begins: what needs a person, and how every route does.

use std::collections::HashMap;

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use crate::admin::wire::{
    Certificates, Destination, Destinations, Moment, Need, Route, Routes, Status, Verdict, Verdicts,
};
use crate::console::chart::Chart;
use crate::console::client::{Client, Refused};
use crate::console::layout::{self, Layout};
use crate::console::query::Query;
use crate::console::visitor::Visitor;
use crate::console::{destinations, show};
use crate::model::clock::Now;

/// Verdicts that are looked at, in parts.
const PARTS: usize = 4;
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
    let verdicts = verdicts(client, &Query::default(), PARTS).await?;
    let certificates = client.get("/certificates").await?;
    let destinations = match client.get::<Destinations>("/destinations").await {
        Ok(found) => found.destinations,
        // Without a store there are none.
        Err(refused) if refused.status == StatusCode::NOT_FOUND => Vec::new(),
        Err(refused) => return Err(refused),
    };
    let now_ms = Now::read().unix_ms;
    let mut by_route: HashMap<&str, Vec<&Verdict>> = HashMap::new();
    for verdict in &verdicts {
        if let Some(route) = &verdict.route {
            by_route.entry(route).or_default().push(verdict);
        }
    }
    let lines = routes.into_iter().map(|route| {
        let verdicts = by_route.remove(route.name.as_str()).unwrap_or_default();
        let counts = route.requests.unwrap_or_default();
        RouteLine {
            chart: Chart::of_hour(verdicts.iter().copied(), now_ms),
            last: verdicts.first().map(|verdict| verdict.at),
            passed: counts.accepted + counts.challenge + counts.duplicate + counts.filtered,
            refused: counts.refused + counts.monitored,
            route,
        }
    });
    let routes = lines.collect();
    Ok(layout::page(&OverviewPage {
        layout: Layout::new(&visitor, "", "Overview"),
        status: visitor.status,
        routes,
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
        what if what.contains("config") || what.contains("reload") => "/console/config",
        what if what.contains("refus") || what.contains("secret") => "/console/rejections",
        _ => "/console/destinations",
    }
}
