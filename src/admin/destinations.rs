//! Handlers for `/destinations`: list, pause and resume. A pause stops deliveries, never the acceptance of events.

use axum::Json;
use hookgate_verify::document::suggest;

use crate::admin::caller_store::CallerStore;
use crate::admin::caller_view::CallerView;
use crate::admin::controls::DestinationHealth;
use crate::admin::documents::{
    ApiTimestamp, DestinationDocument, DestinationList, HealthDocument, StateCounts,
};
use crate::admin::parameters::PathParameter;
use crate::admin::problem::AdminProblem;
use crate::model::ids::{DestinationName, RouteName};
use crate::store::rows::DestinationRow;

/// Lists all destinations, including those that left the config
#[utoipa::path(
    get, path = "",
    responses(
        (status = 200, body = DestinationList),
    ),
)]
pub(super) async fn list(view: CallerView) -> Result<Json<DestinationList>, AdminProblem> {
    let rows = view.store()?.destinations().await?;
    Ok(Json(shown(&view, rows)))
}

/// Pauses a destination: its deliveries wait and are not attempted
#[utoipa::path(
    post, path = "",
    params(("route" = String, Path, description = "Name of the route"), ("name" = String, Path, description = "Name of the destination")),
    responses(
        (status = 200, body = DestinationList),
    ),
)]
pub(super) async fn pause(
    view: CallerView,
    PathParameter((route, name)): PathParameter<(String, String)>,
) -> Result<Json<DestinationList>, AdminProblem> {
    set(&view, &route, Some(&name), true).await
}

/// Resumes a destination that was paused, or that was disabled after a response with status 410
#[utoipa::path(
    post, path = "",
    params(("route" = String, Path, description = "Name of the route"), ("name" = String, Path, description = "Name of the destination")),
    responses(
        (status = 200, body = DestinationList),
    ),
)]
pub(super) async fn resume(
    view: CallerView,
    PathParameter((route, name)): PathParameter<(String, String)>,
) -> Result<Json<DestinationList>, AdminProblem> {
    set(&view, &route, Some(&name), false).await
}

/// Pauses all destinations of a route
#[utoipa::path(
    post, path = "",
    params(("route" = String, Path, description = "Name of the route")),
    responses(
        (status = 200, body = DestinationList),
    ),
)]
pub(super) async fn pause_route(
    view: CallerView,
    PathParameter(route): PathParameter<String>,
) -> Result<Json<DestinationList>, AdminProblem> {
    set(&view, &route, None, true).await
}

/// Resumes a paused route; destinations that were paused one by one stay paused
#[utoipa::path(
    post, path = "",
    params(("route" = String, Path, description = "Name of the route")),
    responses(
        (status = 200, body = DestinationList),
    ),
)]
pub(super) async fn resume_route(
    view: CallerView,
    PathParameter(route): PathParameter<String>,
) -> Result<Json<DestinationList>, AdminProblem> {
    set(&view, &route, None, false).await
}

/// Pauses or resumes a destination or a route, and returns the destinations concerned.
async fn set(
    view: &CallerView,
    route: &str,
    name: Option<&str>,
    is_paused: bool,
) -> Result<Json<DestinationList>, AdminProblem> {
    let store = view.store()?;
    let route = RouteName::new(route);
    let name = name.map(DestinationName::new);
    // The store keeps the pause, so that it survives a restart and a reload.
    if !store.pause(&route, name.as_ref(), is_paused).await? {
        return Err(unknown(&store, &route, name.as_ref()).await?);
    }
    let mut rows = store.destinations().await?;
    rows.retain(|row| row.route == route && name.as_ref().is_none_or(|name| *name == row.name));
    if !is_paused {
        for row in &mut rows {
            // Only a resume by name enables a disabled destination: a resume of its route must not repeat a 410.
            if name.is_some() && row.disabled.is_some() {
                store.enable(row).await?;
                row.disabled = None;
            }
            view.wake(row.id);
        }
    }
    Ok(Json(shown(view, rows)))
}

/// Builds the 404 for an unknown route or destination, with the most similar name.
pub(super) async fn unknown(
    store: &CallerStore,
    route: &RouteName,
    name: Option<&DestinationName>,
) -> Result<AdminProblem, AdminProblem> {
    let rows = store.destinations().await?;
    let is_route = rows.iter().any(|row| row.route == *route);
    // For a wrong route the name of the destination means nothing yet, so suggest a route first.
    let (what, near) = match name.filter(|_| is_route) {
        Some(name) => {
            let names = rows.iter().filter(|row| row.route == *route);
            let names = names.map(|row| row.name.as_str());
            (
                format!("route `{route}` has no destination `{name}`"),
                suggest::nearest(name.as_str(), names),
            )
        }
        None => {
            let routes = rows.iter().map(|row| row.route.as_str());
            (
                format!("no destination has the route `{route}`"),
                suggest::nearest(route.as_str(), routes),
            )
        }
    };
    Ok(AdminProblem::missing(match near {
        Some(near) => format!("{what}: did you mean `{near}`?"),
        None => what,
    }))
}

/// Combines rows of the store with the health that the workers report.
fn shown(view: &CallerView, rows: Vec<DestinationRow>) -> DestinationList {
    let health = view.health();
    // A destination without a worker is not in the running config, so it has no health.
    let destinations = rows.into_iter().map(|row| {
        let health = health.iter().find(|health| health.id == row.id);
        destination(row, health)
    });
    DestinationList {
        destinations: destinations.collect(),
    }
}

fn destination(row: DestinationRow, health: Option<&DestinationHealth>) -> DestinationDocument {
    DestinationDocument {
        route: row.route.to_string(),
        name: row.name.to_string(),
        paused: row.is_paused,
        route_paused: row.is_route_paused,
        disabled: row.disabled,
        deliveries: StateCounts::new(row.deliveries),
        oldest_open: row.oldest_open_ms.map(ApiTimestamp),
        health: health.map(|health| HealthDocument {
            breaker: health.breaker.to_owned(),
            in_flight: health.in_flight,
            last_success: health.last_success_ms.map(ApiTimestamp),
            last_failure: health.last_failure_ms.map(ApiTimestamp),
        }),
    }
}
