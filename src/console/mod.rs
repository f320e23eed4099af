//! The web console: pages over the admin API, for people.
//!
//! Every page asks the API in process and in the name of its visitor (`client`), so that it can show and do what that
//! visitor may, and there is no second way into the store. Pages are made here, whole; the script only makes them
//! pleasant. Whatever a sender wrote is text: templates escape, and the policy of the pages (`POLICY`) runs no script
//! and takes no style but the two files that are compiled in.

mod assets;
mod body;
mod bulk;
mod chart;
mod client;
mod curl;
mod deliveries;
mod destinations;
mod event;
mod events;
mod layout;
mod live;
mod login;
mod overview;
mod providers;
mod query;
mod rejections;
mod replays;
mod session;
mod settings;
mod show;
mod visitor;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::admin::Api;
use crate::console::client::Refused;
use crate::console::session::Sessions;

/// Forms are small.
const MAX_FORM: usize = 64 * 1024;

/// What a page may load: its own files. No script or style stands in a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What all pages share.
struct Console {
    api: Api,
    sessions: Sessions,
}

/// Answers below `/console`, and sends `/` there.
pub fn router(api: Api) -> Router {
    let console = Arc::new(Console {
        api,
        sessions: Sessions::new(),
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
        .route("/console/audit", get(settings::audit))
        .route("/console/bulk/{action}", get(bulk::ask).post(bulk::act))
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(map_response(guarded))
        .with_state(console)
}

async fn home() -> Redirect {
    Redirect::to("/console/")
}

async fn unknown() -> Response {
    Refused::new(
        StatusCode::NOT_FOUND,
        "There is no such page. It may have moved: begin with one of the pages on the left.",
    )
    .into_response()
}

/// The headers that every answer has.
async fn guarded(mut response: Response) -> Response {
    let fields: [(HeaderName, &str); 6] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`, with which a browser hides the origin of a form of our own, too.
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
