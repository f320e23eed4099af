//! `/routes`, `/certificates`, `/config`: what the running config says; and `/reload`, which reads it again.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use tokio::sync::oneshot;

use crate::admin::input::Named;
use crate::admin::problem::Problem;
use crate::admin::wire::{
    Certificate, Certificates, Counts, Moment, ProblemDocument, Reloaded, Route, Routes,
};
use crate::admin::{AdminState, Visit, deliveries};
use crate::model::clock::Now;
use crate::store::rows::DestinationRow;

const DAY: i64 = 86_400;

/// The routes of the running config, with what waits for them
#[utoipa::path(
    get, path = "/api/v1/routes", tag = "config", operation_id = "list_routes",
    responses(
        (status = 200, body = Routes),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn routes(State(state): State<Arc<AdminState>>) -> Result<Json<Routes>, Problem> {
    let mut routes = state.facts.load().routes.clone();
    add_backlog(&state, &mut routes).await?;
    Ok(Json(Routes { routes }))
}

/// One route of the running config
#[utoipa::path(
    get, path = "/api/v1/routes/{route}", tag = "config", operation_id = "show_route",
    params(("route" = String, Path, description = "Its name")),
    responses(
        (status = 200, body = Route),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn route(
    State(state): State<Arc<AdminState>>,
    Named(name): Named<String>,
) -> Result<Json<Route>, Problem> {
    let mut route = state.facts.load().route(&name)?.clone();
    add_backlog(&state, std::slice::from_mut(&mut route)).await?;
    Ok(Json(route))
}

/// Adds what waits, where there is a store.
async fn add_backlog(state: &AdminState, routes: &mut [Route]) -> Result<(), Problem> {
    let Some(store) = &state.controls.store else {
        return Ok(());
    };
    let rows = store.destinations().await?;
    for route in routes {
        route.backlog = Some(waiting(&rows, &route.name));
    }
    Ok(())
}

fn waiting(rows: &[DestinationRow], route: &str) -> Counts {
    let mut sum = [0_u64; 6];
    for row in rows.iter().filter(|row| row.route.as_str() == route) {
        for (sum, count) in sum.iter_mut().zip(row.deliveries) {
            *sum = sum.saturating_add(count);
        }
    }
    Counts::new(sum)
}

/// The certificates in use, with their ends
#[utoipa::path(
    get, path = "/api/v1/certificates", tag = "config", operation_id = "list_certificates",
    responses(
        (status = 200, body = Certificates),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn certificates(State(state): State<Arc<AdminState>>) -> Json<Certificates> {
    let certificates = (state.controls.gate)().certificates;
    Json(Certificates {
        certificates: certificates_of(certificates, Now::read()),
    })
}

/// Certificates as the API shows them.
pub(super) fn certificates_of(ends: Vec<(Vec<String>, i64)>, now: Now) -> Vec<Certificate> {
    let each = ends.into_iter().map(|(names, not_after)| Certificate {
        names,
        not_after: Moment(not_after.saturating_mul(1000)),
        days_left: not_after.saturating_sub(now.unix_seconds()).div_euclid(DAY),
    });
    each.collect()
}

/// The running config, with what holds by default
///
/// Under the keys of the config file. Of secrets and headers only the names are there.
#[utoipa::path(
    get, path = "/api/v1/config", tag = "config", operation_id = "show_config",
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn config(State(state): State<Arc<AdminState>>) -> Json<serde_json::Value> {
    Json(state.facts.load().config.clone())
}

/// Reads the config file again, as SIGHUP does
///
/// Where it cannot be used the old config goes on, and the answer says what is wrong, place by place.
#[utoipa::path(
    post, path = "/api/v1/reload", tag = "config", operation_id = "reload_config",
    responses(
        (status = 200, description = "The new config is in use", body = Reloaded),
        (status = 422, description = "The config cannot be used; the old one goes on", body = ProblemDocument, content_type = "application/problem+json"),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn reload(
    State(state): State<Arc<AdminState>>,
    Extension(visit): Extension<Visit>,
) -> Result<Json<Reloaded>, Problem> {
    let busy = || {
        let detail = "this process cannot read its config now: it starts, ends, or reloads already";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    };
    let asks = state.controls.reload.as_ref().ok_or_else(busy)?;
    visit.patience.extend(deliveries::LONG);
    let (answer, came) = oneshot::channel();
    asks.try_send(answer).map_err(|_| busy())?;
    match came.await.map_err(|_| busy())? {
        Ok(routes) => Ok(Json(Reloaded {
            routes: routes as u64,
        })),
        Err(refused) => {
            let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, refused.text);
            Err(problem.with_diagnostics(refused.diagnostics))
        }
    }
}
