//! Pages about destinations: health, pending deliveries, pause and resume.

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::{StatusCode, Uri};
use serde_json::Value;

use crate::admin::documents::{
    ApiTimestamp, AttemptDocument, AttemptList, DeliveryList, DestinationDocument, DestinationList,
    RouteDocument,
};
use crate::admin::resources::{
    LIST_ATTEMPTS, LIST_DELIVERIES, LIST_DESTINATIONS, PAUSE_DESTINATION, RESUME_DESTINATION,
    SHOW_ROUTE,
};
use crate::console::chart::BarChart;
use crate::console::client::ApiRefusal;
use crate::console::display::{self, StateChip};
use crate::console::layout::{self, PageLayout};
use crate::console::no_store::without_store;
use crate::console::query::QueryPairs;
use crate::console::user::{ConsoleUser, PostedForm};

/// Deliveries read for the chart, and the most attempts that it shows.
const CHARTED: usize = 60;

#[derive(Template)]
#[template(path = "destinations.html", config = "src/console/askama.toml")]
struct DestinationsPage {
    layout: PageLayout,
    notice: &'static str,
    destinations: Vec<DestinationDocument>,
}

#[derive(Template)]
#[template(path = "destination.html", config = "src/console/askama.toml")]
struct DestinationPage {
    layout: PageLayout,
    notice: &'static str,
    destination: DestinationDocument,
    url: Option<String>,
    chart: Option<BarChart>,
    middle: u32,
    longest: u32,
    failed: usize,
    attempts: usize,
}

pub(super) async fn list(visitor: ConsoleUser, uri: Uri) -> Result<Response, ApiRefusal> {
    if let Some(page) = without_store(&visitor, "destinations", "Destinations") {
        return Ok(page);
    }
    let asked = QueryPairs::parse(uri.query());
    let found: DestinationList = visitor.client.get(LIST_DESTINATIONS.path).await?;
    Ok(layout::page(&DestinationsPage {
        layout: visitor.layout("destinations", "Destinations"),
        notice: display::notice(asked.text("notice")),
        destinations: found.destinations,
    }))
}

pub(super) async fn show(
    visitor: ConsoleUser,
    Path((route, name)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, ApiRefusal> {
    let asked = QueryPairs::parse(uri.query());
    let found: DestinationList = visitor.client.get(LIST_DESTINATIONS.path).await?;
    let mut found = found.destinations.into_iter();
    let destination = found.find(|one| one.route == route && one.name == name);
    let destination = destination.ok_or_else(|| {
        let detail = format!("Route `{route}` has no destination `{name}`.");
        ApiRefusal::new(StatusCode::NOT_FOUND, detail)
    })?;
    // The running config may no longer have the route. The page then leaves out the URL.
    let config = visitor
        .client
        .get::<RouteDocument>(&SHOW_ROUTE.at(&[&route]))
        .await;
    let url = config.ok().and_then(|config| {
        let mut known = config.destinations.into_iter();
        Some(known.find(|one| one.name == name)?.url)
    });
    let attempts = attempts(&visitor, &route, &name).await?;
    let durations: Vec<_> = attempts
        .iter()
        .map(|attempt| (attempt.started, attempt.duration_ms, is_good(attempt)))
        .collect();
    // Sorted for the median and the longest.
    let mut sorted: Vec<_> = durations.iter().map(|(_, ms, _)| *ms).collect();
    sorted.sort_unstable();
    Ok(layout::page(&DestinationPage {
        layout: visitor.layout("destinations", name),
        notice: display::notice(asked.text("notice")),
        destination,
        url,
        chart: (!durations.is_empty()).then(|| BarChart::of_durations(&durations)),
        middle: sorted.get(sorted.len() / 2).copied().unwrap_or(0),
        longest: sorted.last().copied().unwrap_or(0),
        failed: attempts.iter().filter(|attempt| !is_good(attempt)).count(),
        attempts: attempts.len(),
    }))
}

/// Reads the last attempts of a destination, oldest first.
async fn attempts(
    visitor: &ConsoleUser,
    route: &str,
    name: &str,
) -> Result<Vec<AttemptDocument>, ApiRefusal> {
    let mut query = QueryPairs::default();
    query.push("route", route);
    query.push("destination", name);
    query.push("limit", &CHARTED.to_string());
    let found: DeliveryList = visitor
        .client
        .get(&query.after(LIST_DELIVERIES.path))
        .await?;
    let mut attempts = Vec::new();
    // One call in process for each delivery: `CHARTED` bounds their number.
    for delivery in found
        .deliveries
        .iter()
        .filter(|delivery| delivery.attempts > 0)
    {
        let path = LIST_ATTEMPTS.at(&[&delivery.id.to_string()]);
        let of_one: AttemptList = visitor.client.get(&path).await?;
        attempts.extend(of_one.attempts);
    }
    // Retries of older deliveries mix with first attempts of newer ones, so order all of them by time.
    attempts.sort_by_key(|attempt| attempt.started);
    let first = attempts.len().saturating_sub(CHARTED);
    Ok(attempts.split_off(first))
}

fn is_good(attempt: &AttemptDocument) -> bool {
    attempt
        .status
        .is_some_and(|status| (200..300).contains(&status))
}

/// Pauses or resumes a destination.
pub(super) async fn change(
    Path((route, name, action)): Path<(String, String, String)>,
    posted: PostedForm,
) -> Result<Response, ApiRefusal> {
    let (resource, done) = match action.as_str() {
        "pause" => (&PAUSE_DESTINATION, "paused"),
        "resume" => (&RESUME_DESTINATION, "resumed"),
        _ => {
            return Err(ApiRefusal::new(
                StatusCode::NOT_FOUND,
                "This action does not exist.",
            ));
        }
    };
    let path = resource.at(&[&route, &name]);
    posted.user.client.post::<Value>(&path).await?;
    let back = posted.back("/console/destinations");
    Ok(Redirect::to(&layout::with_notice(&back, done)).into_response())
}

/// Returns labels for everything that stops deliveries to a destination, or one label that it is healthy.
pub(super) fn states(destination: &DestinationDocument) -> Vec<StateChip> {
    let mut chips = Vec::new();
    if destination.disabled.is_some() {
        chips.push(StateChip::new("bad", "disabled"));
    }
    if destination.paused {
        chips.push(StateChip::new("warn", "paused"));
    } else if destination.route_paused {
        chips.push(StateChip::new("warn", "route paused"));
    }
    match destination
        .health
        .as_ref()
        .map(|health| health.breaker.as_str())
    {
        // The store keeps destinations that left the config, because their deliveries may still be open.
        None => chips.push(StateChip::new("", "not in the config")),
        Some("open") => chips.push(StateChip::new("bad", "breaker open")),
        Some("half_open") => chips.push(StateChip::new("warn", "breaker half open")),
        Some(_) if chips.is_empty() => chips.push(StateChip::new("good", "delivering")),
        Some(_) => {}
    }
    chips
}

/// Returns whether deliveries stop until an operator resumes the destination.
pub(super) fn is_stopped(destination: &DestinationDocument) -> bool {
    destination.paused || destination.disabled.is_some()
}

/// Returns when the oldest open delivery was created.
pub(super) fn oldest(destination: &DestinationDocument) -> Option<ApiTimestamp> {
    destination.oldest_open
}
