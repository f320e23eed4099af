//! In-process client of the admin API that acts with the credentials of a visitor.
//!
//! It goes through the same handlers and the same access checks as a program that connects to the admin listener, so
//! the console can never do more than its visitor may.

use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::documents::ProblemDocument;
use crate::admin::{AdminApi, ConnectionContext};
use crate::console::layout::{self, ErrorPage, PageLayout};

/// Headers that say which page a browser request comes from. The API checks them against cross-site requests.
const ORIGIN_HEADERS: [&str; 3] = ["host", "origin", "sec-fetch-site"];

/// An API client that carries the credentials of one visitor.
#[derive(Clone)]
pub(super) struct ApiClient {
    api: AdminApi,
    visit: ConnectionContext,
    headers: HeaderMap,
}

/// A request that the API or the console rejects, with the status and the reason for the error page.
#[derive(Debug)]
pub(super) struct ApiRefusal {
    pub(super) status: StatusCode,
    pub(super) detail: String,
}

impl ApiRefusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { status, detail }
    }
}

impl IntoResponse for ApiRefusal {
    fn into_response(self) -> Response {
        let title = crate::net::problem::title(self.status);
        let page = ErrorPage {
            layout: PageLayout::bare(title),
            status: self.status.as_u16(),
            detail: self.detail,
        };
        (self.status, layout::page(&page)).into_response()
    }
}

impl ApiClient {
    /// Creates a client for the visitor who sent `headers`. `bearer` is the token of their session.
    pub(super) fn new(
        api: AdminApi,
        visit: ConnectionContext,
        headers: &HeaderMap,
        bearer: Option<HeaderValue>,
    ) -> Self {
        let mut passed = HeaderMap::new();
        // Only these: cookies and other browser headers mean nothing to the API.
        for name in ORIGIN_HEADERS {
            if let Some(value) = headers.get(name) {
                passed.insert(name, value.clone());
            }
        }
        if let Some(bearer) = bearer {
            passed.insert(header::AUTHORIZATION, bearer);
        }
        Self {
            api,
            visit,
            headers: passed,
        }
    }

    /// Returns whether the visitor may make changes.
    pub(super) fn is_operator(&self) -> bool {
        let who = self.api.find_who(&self.headers, &self.visit);
        who.is_some_and(|who| who.is_operator())
    }

    /// Reads a resource. Take `path` from the list of resources.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiRefusal> {
        read(self.stream(path).await?).await
    }

    /// Reads a resource and returns the response with its body unread.
    pub(super) async fn stream(&self, path: &str) -> Result<Response, ApiRefusal> {
        self.send(Method::GET, path, Body::empty()).await
    }

    /// Posts a change that needs no document.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiRefusal> {
        read(self.send(Method::POST, path, Body::empty()).await?).await
    }

    /// Posts a change that `document` describes.
    pub(super) async fn post_json<T: DeserializeOwned>(
        &self,
        path: &str,
        document: &impl Serialize,
    ) -> Result<T, ApiRefusal> {
        let document = serde_json::to_vec(document).map_err(|_| broken())?;
        read(self.send(Method::POST, path, Body::from(document)).await?).await
    }

    async fn send(&self, method: Method, path: &str, body: Body) -> Result<Response, ApiRefusal> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        let mut request = request.map_err(|_| {
            let detail =
                "The address of this page is not a valid URL. Check it, or go to the console.";
            ApiRefusal::new(StatusCode::BAD_REQUEST, detail)
        })?;
        request.headers_mut().extend(self.headers.clone());
        let answer = self.api.answer(request, self.visit.clone()).await;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        // The `detail` of the problem document is written for operators, so the error page shows it as it is.
        let problem = whole(answer).await?;
        let problem = serde_json::from_slice::<ProblemDocument>(&problem);
        let detail = problem.ok().and_then(|problem| problem.detail);
        Err(ApiRefusal::new(status, detail.unwrap_or_default()))
    }
}

/// Reads the whole body of a response.
pub(super) async fn whole(answer: Response) -> Result<Bytes, ApiRefusal> {
    // No limit: the response comes from this process, and events are bounded by `max_body` of their route.
    to_bytes(answer.into_body(), usize::MAX)
        .await
        .map_err(|_| broken())
}

async fn read<T: DeserializeOwned>(answer: Response) -> Result<T, ApiRefusal> {
    let document = whole(answer).await?;
    serde_json::from_slice(&document).map_err(|_| broken())
}

fn broken() -> ApiRefusal {
    ApiRefusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "The gate failed while it rendered this page. Look in its log for the error, then load the page again.",
    )
}
