//! The admin API: `/api/v1` on the admin listener. Every resource with its handler, and who may ask.
//!
//! Whoever reaches the listener over TCP needs a token, since every user of the machine can connect to loopback; a Unix
//! socket is for its owner only, and asks for a token where there is one. What changes something takes an operator, and is
//! refused to pages of other origins: a browser sends some requests for anybody.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use tower_service::Service;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::access::Who;
use crate::admin::audit::Ended;
use crate::admin::operations::{Asked, Operations};
use crate::admin::problem::Problem;
use crate::admin::{
    AdminState, Visit, audit, deliveries, destinations, events, gate, history, providers,
    rejections, replays, requests, status, tail, test_event, verdicts,
};
use crate::model::secret::TokenDigest;

/// Below this everything belongs to the API.
pub(super) const PREFIX: &str = "/api/";

/// Searches are small.
const MAX_BODY: usize = 64 * 1024;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "hookgate admin API",
        description = "Events in the inbox, their deliveries and attempts, destinations, replays. Lists go from the newest to the oldest; `next` of an answer is the `cursor` of the next part. Refusals are problem documents (RFC 9457)."
    ),
    modifiers(&Token)
)]
struct Document;

/// The token, as the document has it.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
        let needed = utoipa::openapi::security::SecurityRequirement::new::<_, _, &str>("token", []);
        document.security = Some(vec![needed]);
    }
}

/// The API as one function: for what comes over the admin listener, and for whoever asks on behalf of others.
#[derive(Clone, Debug)]
pub struct Api {
    router: Router,
    state: Arc<AdminState>,
    operations: Arc<Operations>,
}

/// All resources, and what requests for them ask for.
fn build(state: Arc<AdminState>) -> (Router, Operations) {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(events::list))
        .routes(routes!(tail::tail))
        .routes(routes!(events::show))
        .routes(routes!(events::body))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::retry_many))
        .routes(routes!(deliveries::cancel_many))
        .routes(routes!(deliveries::discard_many))
        .routes(routes!(deliveries::show))
        .routes(routes!(deliveries::retry))
        .routes(routes!(deliveries::cancel))
        .routes(routes!(deliveries::discard))
        .routes(routes!(destinations::list))
        .routes(routes!(destinations::pause))
        .routes(routes!(destinations::resume))
        .routes(routes!(test_event::send))
        .routes(routes!(destinations::pause_route))
        .routes(routes!(destinations::resume_route))
        .routes(routes!(replays::list, replays::begin))
        .routes(routes!(replays::show))
        .routes(routes!(replays::pause))
        .routes(routes!(replays::resume))
        .routes(routes!(status::store))
        .routes(routes!(status::status))
        .routes(routes!(audit::list))
        .routes(routes!(verdicts::list))
        .routes(routes!(verdicts::tail))
        .routes(routes!(verdicts::show))
        .routes(routes!(gate::routes))
        .routes(routes!(gate::route))
        .routes(routes!(history::show))
        .routes(routes!(history::promotion))
        .routes(routes!(history::secrets))
        .routes(routes!(gate::certificates))
        .routes(routes!(gate::config))
        .routes(routes!(gate::reload))
        .routes(routes!(providers::list))
        .routes(routes!(providers::show))
        .routes(routes!(deliveries::attempts))
        .routes(routes!(rejections::list))
        .routes(routes!(rejections::show))
        .routes(routes!(rejections::explanation))
        .routes(routes!(requests::capture))
        .split_for_parts();
    let operations = Operations::of(&document);
    let document = Bytes::from(document.to_json().unwrap_or_default());
    let document = move || async move {
        let kind = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, kind)], document)
    };
    let router = router
        .route("/api/v1/openapi.json", get(document))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(state);
    (router, operations)
}

async fn unknown() -> Problem {
    Problem::missing("there is no such resource; `/api/v1/openapi.json` describes all")
}

async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this resource does not take this method; `/api/v1/openapi.json` describes all",
    )
}

impl Api {
    /// Of the gate that `state` belongs to.
    #[must_use]
    pub fn new(state: Arc<AdminState>) -> Self {
        let (router, operations) = build(Arc::clone(&state));
        Self {
            router,
            state,
            operations: Arc::new(operations),
        }
    }

    /// Who asks with these headers, if they may.
    #[must_use]
    pub fn find_who(&self, headers: &HeaderMap, visit: &Visit) -> Option<Who> {
        self.state.identify(bearer(headers), visit.origin).ok()
    }

    /// Answers a request, or says why it may not be asked.
    pub async fn answer(&self, request: Request<Body>, visit: Visit) -> Response {
        let who = match self.state.identify(bearer(request.headers()), visit.origin) {
            Ok(who) => who,
            Err(refused) => return Problem::from(refused).into_response(),
        };
        let (method, path) = (request.method(), request.uri().path());
        let asked = self.operations.find(method, path);
        let asked = asked.filter(|asked| audit::is_kept(method, &asked.operation));
        let is_change = is_change(method);
        let (router, state) = (self.router.clone(), Arc::clone(&self.state));
        let work = act(router, request, state, visit, who, asked);
        if !is_change {
            return work.await;
        }
        // In a task of its own, so that it is done whole and noted though whoever asked hangs up.
        let done = tokio::spawn(work).await;
        done.unwrap_or_else(|_| deliveries::broken().into_response())
    }
}

/// Does what is asked, where whoever asks may, and notes what came of it.
async fn act(
    router: Router,
    mut request: Request<Body>,
    state: Arc<AdminState>,
    visit: Visit,
    who: Who,
    asked: Option<Asked>,
) -> Response {
    let remark = Arc::clone(&visit.remark);
    let response = match permit(&request, &who) {
        Ok(()) => {
            request.extensions_mut().insert(visit);
            request.extensions_mut().insert(who.clone());
            call(router, request).await
        }
        Err(problem) => problem.into_response(),
    };
    if let Some(asked) = asked {
        let ended = Ended {
            action: asked.operation,
            target: asked.target,
            detail: remark.get().cloned(),
            status: response.status(),
        };
        state.audit.note(&who, ended).await;
    }
    response
}

async fn call(mut router: Router, request: Request<Body>) -> Response {
    match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn is_change(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

/// Whether this may be asked.
fn permit<B>(request: &Request<B>, who: &Who) -> Result<(), Problem> {
    let is_change = is_change(request.method());
    if is_change && is_foreign(request.headers()) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "a page of another origin asks for a change",
        ));
    }
    if is_change {
        need_operator(who)?;
    }
    // What is claimed to be too large is not waited for.
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a request has {MAX_BODY} bytes at most"),
        ));
    }
    Ok(())
}

/// What a viewer may not do.
pub(super) fn need_operator(who: &Who) -> Result<(), Problem> {
    match who.is_operator() {
        true => Ok(()),
        false => Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!(
                "`{}` is a viewer's token, and this takes an operator's (`role` in `[[admin.tokens]]`)",
                who.name
            ),
        )),
    }
}

/// The token that a request shows.
pub(super) fn bearer(headers: &HeaderMap) -> Option<TokenDigest> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let scheme = b"Bearer ";
    let (given, token) = value.as_bytes().split_at_checked(scheme.len())?;
    let is_bearer = given.eq_ignore_ascii_case(scheme);
    is_bearer.then(|| TokenDigest::of(token))
}

/// Whether a browser says that a page of another origin asks. Other programs say neither.
#[must_use]
pub fn is_foreign(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let origin = origin.to_str().ok();
    let origin = origin.and_then(|origin| Some(origin.split_once("://")?.1));
    let host = headers.get(header::HOST);
    let host = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    origin.is_none() || origin != host.as_ref().map(Authority::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_others_are_foreign() {
        let check = |fields: &[(&'static str, &str)], expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "127.0.0.1:9180".parse().unwrap());
            for (name, value) in fields {
                headers.insert(*name, value.parse().unwrap());
            }
            assert_eq!(is_foreign(&headers), expected, "{fields:?}");
        };
        check(&[], false);
        check(&[("sec-fetch-site", "same-origin")], false);
        check(&[("sec-fetch-site", "none")], false);
        check(&[("sec-fetch-site", "cross-site")], true);
        check(&[("sec-fetch-site", "same-site")], true);
        check(&[("origin", "http://127.0.0.1:9180")], false);
        check(&[("origin", "http://127.0.0.1:8080")], true);
        check(&[("origin", "https://evil.example")], true);
        check(&[("origin", "null")], true);
    }

    #[test]
    fn the_document_describes_every_resource() {
        let (_, document) =
            OpenApiRouter::<()>::with_openapi(Document::openapi()).split_for_parts();
        let document: serde_json::Value =
            serde_json::from_str(&document.to_json().unwrap()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        assert!(document["components"]["securitySchemes"]["token"].is_object());
    }
}
