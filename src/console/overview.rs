//! Start page: what needs attention, and the state of every route.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use crate::admin::documents::{
    ApiTimestamp, AttentionItem, CertificateList, DestinationDocument, DestinationList,
    HistoryDocument, RouteDocument, RouteList, StatusDocument, VerdictList,
};
use crate::admin::path::with_query;
use crate::admin::resources::{
    LIST_CERTIFICATES, LIST_DESTINATIONS, LIST_ROUTES, LIST_VERDICTS, SHOW_ROUTE_HISTORY,
};
use crate::console::chart::BarChart;
use crate::console::client::ApiRefusal;
use crate::console::layout::{self, PageLayout};
use crate::console::user::ConsoleUser;
use crate::console::{destinations, display};
use crate::model::clock::ClockReading;

/// Number of verdicts read to find the last request of each route.
const VERDICTS: &str = "500";

#[derive(Template)]
#[template(path = "overview.html", config = "src/console/askama.toml")]
struct OverviewPage {
    layout: PageLayout,
    status: StatusDocument,
    routes: Vec<RouteLine>,
    destinations: Vec<DestinationDocument>,
    certificates: CertificateList,
}

struct RouteLine {
    route: RouteDocument,
    chart: BarChart,
    last: Option<ApiTimestamp>,
    passed: u64,
    refused: u64,
}

pub(super) async fn show(visitor: ConsoleUser) -> Result<Response, ApiRefusal> {
    let client = &visitor.client;
    let RouteList { routes } = client.get(LIST_ROUTES.path).await?;
    // Certificates belong to no route, so a token that is limited to routes does not see them.
    let certificates = match visitor.status.limited {
        true => CertificateList {
            certificates: Vec::new(),
        },
        false => client.get(LIST_CERTIFICATES.path).await?,
    };
    let destinations = match client.get::<DestinationList>(LIST_DESTINATIONS.path).await {
        Ok(found) => found.destinations,
        // Without a store the API responds with 404, and there are no destinations.
        Err(refused) if refused.status == StatusCode::NOT_FOUND => Vec::new(),
        Err(refused) => return Err(refused),
    };
    let now_ms = ClockReading::read().unix_ms;
    let newest: VerdictList = client
        .get(&with_query(LIST_VERDICTS.path, &[("limit", VERDICTS)]))
        .await?;
    let mut last = newest.last_by_route();
    let mut lines = Vec::with_capacity(routes.len());
    for route in routes {
        let history = SHOW_ROUTE_HISTORY.at(&[&route.name]);
        let history: HistoryDocument = client.get(&history).await?;
        lines.push(RouteLine {
            chart: BarChart::of_hour(&history, now_ms),
            // Verdicts in memory give the exact time. For older requests the history knows the minute or the hour.
            last: last.remove(&route.name).or(history.last()),
            passed: history.passed(),
            refused: history.failed(),
            route,
        });
    }
    Ok(layout::page(&OverviewPage {
        layout: visitor.layout("", "Overview"),
        status: visitor.status,
        routes: lines,
        destinations,
        certificates,
    }))
}

/// Returns the page where an operator handles a need. A visitor who is limited to routes may not open some of them.
fn page_of(need: &AttentionItem, layout: &PageLayout) -> &'static str {
    let is_limited = layout.is_limited;
    match need.what.as_str() {
        "dead_letters" => "/console/deliveries?state=dead",
        "node" => "/console/nodes",
        "quiet" | "receiver" if !is_limited => "/console/alerts",
        "refusals" => "/console/rejections",
        "config" | "certificate" | "renewal" | "revocation_list" | "secret_ends"
        | "secret_idle" | "ranges"
            if !is_limited =>
        {
            "/console/config"
        }
        _ => "/console/destinations",
    }
}
