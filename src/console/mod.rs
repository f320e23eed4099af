//! The web console: HTML pages for operators, rendered from the admin API.
//!
//! Every page calls the API in process with the credentials of its visitor (`client`). So a page shows and does only
//! what that visitor may, and no second path leads into the store. The server renders each page whole; the script adds
//! comfort only. Text from a sender is untrusted: templates escape it, and the content security policy (`POLICY`)
//! allows no script and no style except the two files that are compiled in.

mod alerts;
mod assets;
mod body;
mod bulk;
mod chart;
mod client;
mod curl;
mod deliveries;
mod destinations;
mod display;
mod erase;
mod event;
mod events;
mod layout;
mod live;
mod login;
mod no_store;
mod nodes;
mod overview;
mod providers;
mod query;
mod rejections;
mod replays;
mod session;
mod settings;
mod state;
mod user;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::admin::AdminApi;
use crate::console::client::ApiRefusal;
use crate::console::session::SessionTable;
use crate::console::state::ConsoleState;

/// Largest form body in bytes. A form has a token, a path to go back to and a few filters.
const MAX_FORM: usize = 64 * 1024;

/// Content security policy of every page: only files of the console, and no inline script or style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Builds the router for everything below `/console`, and redirects `/` there.
pub(crate) fn router(api: AdminApi) -> Router {
    let console = Arc::new(ConsoleState {
        api,
        sessions: SessionTable::new(),
    });
    Router::new()
        .route("/", get(home))
        .route("/console", get(home))
        .route("/console/", get(overview::show))
        .route("/console/assets/{name}", get(assets::asset))
        .route("/console/login", get(login::show).post(login::log_in))
        .route("/console/logout", post(login::log_out))
        .route("/console/events", get(events::list))
        .route("/console/events/live", get(live::live))
        .route("/console/events/{uid}", get(event::show))
        .route("/console/events/{uid}/body", get(event::download))
        .route("/console/erase", get(erase::show).post(erase::act))
        .route("/console/deliveries", get(deliveries::list))
        .route("/console/deliveries/{id}/{action}", post(event::change))
        .route("/console/destinations", get(destinations::list))
        .route(
            "/console/destinations/{route}/{name}",
            get(destinations::show),
        )
        .route(
            "/console/destinations/{route}/{name}/{action}",
            post(destinations::change),
        )
        .route("/console/replays", get(replays::list))
        .route("/console/replays/{id}/{action}", post(replays::change))
        .route("/console/rejections", get(rejections::list))
        .route("/console/requests/{id}", get(rejections::show))
        .route("/console/providers", get(providers::list))
        .route("/console/providers/{id}", get(providers::show))
        .route("/console/config", get(settings::config))
        .route("/console/reload", post(settings::reload))
        .route("/console/alerts", get(alerts::list))
        .route(
            "/console/alerts/{id}/acknowledge",
            post(alerts::acknowledge),
        )
        .route("/console/nodes", get(nodes::list))
        .route("/console/audit", get(settings::audit))
        .route(
            "/console/bulk/{action}",
            get(bulk::show_confirmation).post(bulk::act),
        )
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(MAX_FORM))
        // Outside of the routes and the fallback, so that error pages carry the security headers too.
        .layer(map_response(guarded))
        .with_state(console)
}

async fn home() -> Redirect {
    Redirect::to("/console/")
}

async fn unknown() -> Response {
    ApiRefusal::new(
        StatusCode::NOT_FOUND,
        "This page does not exist. It may have moved: go to the console and choose a page in the navigation.",
    )
    .into_response()
}

/// Adds the security headers that every response has.
async fn guarded(mut response: Response) -> Response {
    let fields: [(HeaderName, &str); 6] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`: with it a browser sends `Origin: null` for our own forms too, and `is_foreign` rejects
        // that.
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), microphone=(), geolocation=()",
        ),
    ];
    for (name, value) in fields {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
