//! The admin API below `/api/v1`: its router, and the checks before a handler runs.
//!
//! A client over TCP needs a token, because every user of the machine can connect to loopback. A Unix socket is open to
//! its owner only, and needs a token only if the config has one. A change needs the role of an operator, and pages of
//! other origins may not make one: a browser sends some requests on behalf of any page.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use hookgate_verify::model::secret::TokenDigest;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use tower_service::Service;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use crate::admin::access::{AdminCaller, AdminRole};
use crate::admin::api_resource::need_role;
use crate::admin::audit_log::CompletedAction;
use crate::admin::caller_view::ApiState;
use crate::admin::connection_context::ConnectionContext;
use crate::admin::deliveries;
use crate::admin::operations::{self, RequestedOperation};
use crate::admin::problem::AdminProblem;
use crate::admin::resources::all_resources;
use crate::admin::state::AdminState;

/// Path prefix of the API.
pub(super) const PREFIX: &str = "/api/";

/// Path prefix of all resources of this version of the API.
pub(super) const BASE: &str = "/api/v1/";

/// Largest request body in bytes. Requests carry a search at most.
const MAX_BODY: usize = 64 * 1024;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "hookgate admin API",
        description = "Manages events in the inbox, their deliveries and attempts, destinations and replays. Lists go from the newest to the oldest; send `next` of a response as the `cursor` of the next request. Errors are problem documents (RFC 9457)."
    ),
    modifiers(&BearerTokenScheme)
)]
struct ApiDocument;

/// Adds the bearer token to the OpenAPI document as its security scheme.
struct BearerTokenScheme;

impl Modify for BearerTokenScheme {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
        let needed = utoipa::openapi::security::SecurityRequirement::new::<_, _, &str>("token", []);
        document.security = Some(vec![needed]);
    }
}

/// The API as one function, for requests of the admin listener and of the console.
#[derive(Clone, Debug)]
pub(crate) struct AdminApi {
    router: Router,
    state: Arc<AdminState>,
}

/// Builds the router of all resources.
fn build(state: Arc<AdminState>) -> Router {
    let mut mounted = OpenApiRouter::with_openapi(ApiDocument::openapi());
    for resource in all_resources() {
        mounted = mounted.routes(resource.routes());
    }
    let (router, document) = mounted.split_for_parts();
    let document = Bytes::from(document.to_json().unwrap_or_default());
    let document = move || async move {
        let kind = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, kind)], document)
    };
    router
        .route("/api/v1/openapi.json", get(document))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        // Bounds bodies without a `Content-Length`, too; `permit` rejects announced ones earlier.
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(ApiState::new(state))
}

async fn unknown() -> AdminProblem {
    AdminProblem::missing(
        "this resource does not exist: see `/api/v1/openapi.json` for the list of resources",
    )
}

async fn wrong_method() -> AdminProblem {
    AdminProblem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this resource does not support this method: see `/api/v1/openapi.json` for the list of operations",
    )
}

impl AdminApi {
    /// Creates the API of the gate that `state` belongs to.
    pub(crate) fn new(state: Arc<AdminState>) -> Self {
        let router = build(Arc::clone(&state));
        Self { router, state }
    }

    /// Identifies the client of a request by its headers, if it has access.
    pub(crate) fn find_who(
        &self,
        headers: &HeaderMap,
        visit: &ConnectionContext,
    ) -> Option<AdminCaller> {
        self.state.identify(bearer(headers), visit.origin).ok()
    }

    /// Handles a request, or responds with the reason why the client has no access.
    pub(crate) async fn answer(
        &self,
        request: Request<Body>,
        visit: ConnectionContext,
    ) -> Response {
        let who = match self.state.identify(bearer(request.headers()), visit.origin) {
            Ok(who) => who,
            Err(refused) => return AdminProblem::from(refused).into_response(),
        };
        let (method, path) = (request.method(), request.uri().path());
        // Most reads are not audited: they reveal no bytes of a sender.
        let asked = operations::find(method, path).filter(|asked| asked.resource.is_audited());
        let is_change = is_change(method);
        let (router, state) = (self.router.clone(), Arc::clone(&self.state));
        let work = act(router, request, state, visit, who, asked);
        // A read that ends with its connection leaves nothing half done.
        if !is_change {
            return work.await;
        }
        // hyper drops this future when the client hangs up. A task of its own finishes the change and its audit entry.
        let done = tokio::spawn(work).await;
        done.unwrap_or_else(|_| deliveries::broken().into_response())
    }
}

/// Runs a request if the client may make it, and adds its outcome to the audit log.
async fn act(
    router: Router,
    mut request: Request<Body>,
    state: Arc<AdminState>,
    visit: ConnectionContext,
    who: AdminCaller,
    asked: Option<RequestedOperation>,
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
    // Rejected requests are audited too: they show which operator tried what.
    if let Some(asked) = asked {
        let ended = CompletedAction {
            action: asked.resource.operation.to_owned(),
            target: asked.target,
            detail: remark.get().cloned(),
            status: response.status(),
        };
        state.audit.record_action(&who, ended).await;
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

/// Rejects a change from another origin or by a viewer, and a body that is too large.
fn permit<B>(request: &Request<B>, who: &AdminCaller) -> Result<(), AdminProblem> {
    let is_change = is_change(request.method());
    if is_change && is_foreign(request.headers()) {
        return Err(AdminProblem::new(
            StatusCode::FORBIDDEN,
            "a web page of another origin requested this change: make it from the console or from a program",
        ));
    }
    // The row of a change needs an operator too. Here a viewer gets this response for every path, before its body is read.
    if is_change {
        need_role(who, AdminRole::Operator)?;
    }
    // A client that announces a body that is too large gets its response before it sends the body.
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(AdminProblem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request body is too large: send at most {MAX_BODY} bytes"),
        ));
    }
    Ok(())
}

/// Returns the digest of the bearer token of a request.
pub(super) fn bearer(headers: &HeaderMap) -> Option<TokenDigest> {
    // Exactly one header: with two it would be unclear which one counts.
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    // The scheme is case-insensitive (RFC 9110, section 11.1), the token is not.
    let scheme = b"Bearer ";
    let (given, token) = value.as_bytes().split_at_checked(scheme.len())?;
    let is_bearer = given.eq_ignore_ascii_case(scheme);
    is_bearer.then(|| TokenDigest::of(token))
}

/// Returns whether a browser marks a request as one of a page of another origin.
///
/// Programs other than browsers send neither `Sec-Fetch-Site` nor `Origin`, so their requests pass.
pub(crate) fn is_foreign(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        // `none` is a navigation by the user. `same-site` may be another port of this host, so it does not pass.
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    // Older browsers send only `Origin`. It may be `null`, which has no scheme and equals no host.
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
            OpenApiRouter::<()>::with_openapi(ApiDocument::openapi()).split_for_parts();
        let document: serde_json::Value =
            serde_json::from_str(&document.to_json().unwrap()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        assert!(document["components"]["securitySchemes"]["token"].is_object());
    }
}
