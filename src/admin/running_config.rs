//! Handlers for the running config: `/routes`, `/certificates`, `/config` and `/reload`.

use axum::{Extension, Json};
use http::StatusCode;
use tokio::sync::oneshot;

use crate::admin::caller_view::{CallerView, WholeGate};
use crate::admin::certificate_list::certificates_of;
use crate::admin::connection_context::ConnectionContext;
use crate::admin::deliveries;
use crate::admin::documents::{
    CertificateList, ProblemDocument, ReloadResult, RouteDocument, RouteList, StateCounts,
};
use crate::admin::parameters::PathParameter;
use crate::admin::problem::AdminProblem;
use crate::config::effective::EffectiveValue;
use crate::model::clock::ClockReading;
use crate::store::rows::DestinationRow;

/// Lists the routes of the running config with their deliveries by state
#[utoipa::path(
    get, path = "",
    responses(
        (status = 200, body = RouteList),
    ),
)]
pub(super) async fn routes(view: CallerView) -> Result<Json<RouteList>, AdminProblem> {
    let mut routes = view.routes();
    add_backlog(&view, &mut routes).await?;
    Ok(Json(RouteList { routes }))
}

/// Shows a route of the running config
#[utoipa::path(
    get, path = "",
    params(("route" = String, Path, description = "Name of the route")),
    responses(
        (status = 200, body = RouteDocument),
    ),
)]
pub(super) async fn route(
    view: CallerView,
    PathParameter(name): PathParameter<String>,
) -> Result<Json<RouteDocument>, AdminProblem> {
    let mut route = view.route(&name)?;
    add_backlog(&view, std::slice::from_mut(&mut route)).await?;
    Ok(Json(route))
}

/// Adds the deliveries by state to each route, if there is a store.
async fn add_backlog(view: &CallerView, routes: &mut [RouteDocument]) -> Result<(), AdminProblem> {
    if view.store_health().is_none() {
        return Ok(());
    }
    let rows = view.store()?.destinations().await?;
    for route in routes {
        route.backlog = Some(waiting(&rows, &route.name));
    }
    Ok(())
}

/// Sums the deliveries by state over the destinations of a route.
fn waiting(rows: &[DestinationRow], route: &str) -> StateCounts {
    let mut sum = [0_u64; 6];
    for row in rows.iter().filter(|row| row.route.as_str() == route) {
        for (sum, count) in sum.iter_mut().zip(row.deliveries) {
            *sum = sum.saturating_add(count);
        }
    }
    StateCounts::new(sum)
}

/// Lists the certificates in use with their expiry
#[utoipa::path(
    get, path = "",
    responses(
        (status = 200, body = CertificateList),
    ),
)]
pub(super) async fn certificates(state: WholeGate) -> Json<CertificateList> {
    let certificates = (state.controls.gate)().certificates;
    Json(CertificateList {
        certificates: certificates_of(certificates, ClockReading::read()),
    })
}

/// Shows the running config with all defaults
///
/// It has every key of the config file, in the order of the reference, with the value that applies. A key that is off
/// or not set is null. Secrets show only their names and validity, and headers only their names. Tokens are masked, and
/// other keys show only their count.
#[utoipa::path(
    get, path = "",
    responses(
        (status = 200, body = Object),
    ),
)]
pub(super) async fn config(state: WholeGate) -> Json<EffectiveValue> {
    Json(state.facts.load().config.clone())
}

/// Reloads the config file, as SIGHUP does
///
/// If the new config is invalid, the previous one stays in use, and the response lists every error with its location.
#[utoipa::path(
    post, path = "",
    responses(
        (status = 200, description = "The new config is in use", body = ReloadResult),
        (status = 422, description = "The config is invalid; the previous one stays in use", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn reload(
    state: WholeGate,
    Extension(visit): Extension<ConnectionContext>,
) -> Result<Json<ReloadResult>, AdminProblem> {
    let busy = || {
        let detail =
            "cannot reload the config while the gate starts, stops or reloads: try again later";
        AdminProblem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    };
    let asks = state.controls.reload.as_ref().ok_or_else(busy)?;
    visit.deadline.extend(deliveries::LONG);
    let (answer, came) = oneshot::channel();
    // A full channel means that a reload is in progress. The client gets an error at once instead of a long wait.
    asks.try_send(answer).map_err(|_| busy())?;
    match came.await.map_err(|_| busy())? {
        Ok(routes) => Ok(Json(ReloadResult {
            routes: routes as u64,
        })),
        Err(refused) => {
            let problem = AdminProblem::new(StatusCode::UNPROCESSABLE_ENTITY, refused.text);
            Err(problem.with_diagnostics(refused.diagnostics))
        }
    }
}
