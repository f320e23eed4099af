//! Pages about destinations: health, pending deliveries, pause and resume.

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::{StatusCode, Uri};
use serde_json::Value;

use crate::admin::path::segment;
use crate::admin::wire::{Attempt, Attempts, Deliveries, Destination, Destinations, Moment, Route};
use crate::console::chart::Chart;
use crate::console::client::Refused;
use crate::console::layout::{self, Layout};
use crate::console::query::Query;
use crate::console::show::{self, Chip};
use crate::console::visitor::{Posted, Visitor};

/// Deliveries read for the chart, and the most attempts that it shows.
const CHARTED: usize = 60;

#[derive(Template)]
#[template(path = "destinations.html", config = "src/console/askama.toml")]
struct DestinationsPage {
    layout: Layout,
    notice: &'static str,
    destinations: Vec<Destination>,
}

#[derive(Template)]
#[template(path = "destination.html", config = "src/console/askama.toml")]
struct DestinationPage {
    layout: Layout,
    notice: &'static str,
    destination: Destination,
    url: Option<String>,
    chart: Option<Chart>,
    middle: u32,
    longest: u32,
    failed: usize,
    attempts: usize,
}

pub(super) async fn list(visitor: Visitor, uri: Uri) -> Result<Response, Refused> {
    if let Some(page) = layout::without_store(&visitor, "destinations", "Destinations") {
        return Ok(page);
    }
    let asked = Query::parse(uri.query());
    let found: Destinations = visitor.client.get("/destinations").await?;
    Ok(layout::page(&DestinationsPage {
        layout: Layout::new(&visitor, "destinations", "Destinations"),
        notice: show::notice(asked.text("notice")),
        destinations: found.destinations,
    }))
}

pub(super) async fn show(
    visitor: Visitor,
    Path((route, name)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Refused> {
    let asked = Query::parse(uri.query());
    let found: Destinations = visitor.client.get("/destinations").await?;
    let mut found = found.destinations.into_iter();
    let destination = found.find(|one| one.route == route && one.name == name);
    let destination = destination.ok_or_else(|| {
        let detail = format!("Route `{route}` has no destination `{name}`.");
        Refused::new(StatusCode::NOT_FOUND, detail)
    })?;
    // The running config may no longer have the route. The page then leaves out the URL.
    let config = visitor
        .client
        .get::<Route>(&format!("/routes/{}", segment(&route)))
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
        layout: Layout::new(&visitor, "destinations", name),
        notice: show::notice(asked.text("notice")),
        destination,
        url,
        chart: (!durations.is_empty()).then(|| Chart::of_durations(&durations)),
        middle: sorted.get(sorted.len() / 2).copied().unwrap_or(0),
        longest: sorted.last().copied().unwrap_or(0),
        failed: attempts.iter().filter(|attempt| !is_good(attempt)).count(),
        attempts: attempts.len(),
    }))
}

/// Reads the last attempts of a destination, oldest first.
async fn attempts(visitor: &Visitor, route: &str, name: &str) -> Result<Vec<Attempt>, Refused> {
    let mut query = Query::default();
    query.push("route", route);
    query.push("destination", name);
    query.push("limit", &CHARTED.to_string());
    let found: Deliveries = visitor.client.get(&query.after("/deliveries")).await?;
    let mut attempts = Vec::new();
    // One call in process for each delivery: `CHARTED` bounds their number.
    for delivery in found
        .deliveries
        .iter()
        .filter(|delivery| delivery.attempts > 0)
    {
        let path = format!("/deliveries/{}/attempts", delivery.id);
        let of_one: Attempts = visitor.client.get(&path).await?;
        attempts.extend(of_one.attempts);
    }
    // Retries of older deliveries mix with first attempts of newer ones, so order all of them by time.
    attempts.sort_by_key(|attempt| attempt.started);
    let first = attempts.len().saturating_sub(CHARTED);
    Ok(attempts.split_off(first))
}

fn is_good(attempt: &Attempt) -> bool {
    attempt
        .status
        .is_some_and(|status| (200..300).contains(&status))
}

/// Pauses or resumes a destination.
pub(super) async fn change(
    Path((route, name, action)): Path<(String, String, String)>,
    posted: Posted,
) -> Result<Response, Refused> {
    let done = match action.as_str() {
        "pause" => "paused",
        "resume" => "resumed",
        _ => {
            return Err(Refused::new(
                StatusCode::NOT_FOUND,
                "This action does not exist.",
            ));
        }
    };
    let path = format!(
        "/destinations/{}/{}/{action}",
        segment(&route),
        segment(&name)
    );
    posted.visitor.client.post::<Value>(&path).await?;
    let back = posted.back("/console/destinations");
    Ok(Redirect::to(&layout::with_notice(&back, done)).into_response())
}

/// Returns labels for everything that stops deliveries to a destination, or one label that it is healthy.
pub(super) fn states(destination: &Destination) -> Vec<Chip> {
    let mut chips = Vec::new();
    if destination.disabled.is_some() {
        chips.push(Chip::new("bad", "disabled"));
    }
    if destination.paused {
        chips.push(Chip::new("warn", "paused"));
    } else if destination.route_paused {
        chips.push(Chip::new("warn", "route paused"));
    }
    match destination
        .health
        .as_ref()
        .map(|health| health.breaker.as_str())
    {
        // The store keeps destinations that left the config, because their deliveries may still be open.
        None => chips.push(Chip::new("", "not in the config")),
        Some("open") => chips.push(Chip::new("bad", "breaker open")),
        Some("half_open") => chips.push(Chip::new("warn", "breaker half open")),
        Some(_) if chips.is_empty() => chips.push(Chip::new("good", "delivering")),
        Some(_) => {}
    }
    chips
}

/// Returns whether deliveries stop until an operator resumes the destination.
pub(super) fn is_stopped(destination: &Destination) -> bool {
    destination.paused || destination.disabled.is_some()
}

/// Returns when the oldest open delivery was created.
pub(super) fn oldest(destination: &Destination) -> Option<Moment> {
    destination.oldest_open
}
