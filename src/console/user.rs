//! Extractors for console handlers: the visitor of a page and the sender of a form.
//!
//! A handler that takes a [`ConsoleUser`] runs only if the API accepts the visitor. A handler that takes a [`PostedForm`]
//! form runs only if the form comes from a page of this console, which stops cross-site request forgery.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};
use subtle::ConstantTimeEq;
use url::form_urlencoded;

use crate::admin::documents::StatusDocument;
use crate::admin::resources::SHOW_STATUS;
use crate::admin::{ConnectionContext, is_foreign};
use crate::console::client::{ApiClient, ApiRefusal};
use crate::console::layout::PageLayout;
use crate::console::query::QueryPairs;
use crate::console::state::ConsoleState;

/// A visitor that the API accepts, with the status of the gate.
pub(super) struct ConsoleUser {
    pub(super) client: ApiClient,
    pub(super) status: StatusDocument,
    /// Token that each form carries; [`PostedForm`] compares it.
    pub(super) form_token: String,
    pub(super) has_session: bool,
    /// True if the visitor may make changes, so that pages show buttons.
    pub(super) is_operator: bool,
}

/// A form of this console, sent by a visitor.
pub(super) struct PostedForm {
    pub(super) user: ConsoleUser,
    pub(super) fields: QueryPairs,
}

impl ConsoleUser {
    /// Builds the frame of a page for this visitor.
    pub(super) fn layout(&self, section: &'static str, title: impl Into<String>) -> PageLayout {
        let status = &self.status;
        // The footer has room for one problem, and a gate that is not ready serves no request at all.
        let problem = match (status.ready, status.store_healthy) {
            (false, _) => Some("not ready"),
            (true, Some(false)) => Some("store failing"),
            (true, _) => None,
        };
        PageLayout {
            title: title.into(),
            section,
            form_token: self.form_token.clone(),
            has_session: self.has_session,
            is_operator: self.is_operator,
            is_limited: status.limited,
            sees_payload: status.payload,
            is_inside: true,
            version: status.version.clone(),
            node: status.node.clone(),
            problem,
        }
    }
}

impl FromRequestParts<Arc<ConsoleState>> for ConsoleUser {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        console: &Arc<ConsoleState>,
    ) -> Result<Self, Response> {
        let visit = visit(parts).map_err(IntoResponse::into_response)?;
        let session = cookie(&parts.headers).and_then(|id| console.sessions.find(&id));
        let has_session = session.is_some();
        let (bearer, form_token) = match session {
            // Without a session the API decides: on a Unix socket without tokens every visitor is an operator.
            Some(session) => (Some(session.bearer), session.form_token),
            None => (None, console.sessions.open_form_token()),
        };
        let client = ApiClient::new(console.api.clone(), visit, &parts.headers, bearer);
        // Every page asks for the status, so a token that was removed from the config ends its sessions here.
        match client.get::<StatusDocument>(SHOW_STATUS.path).await {
            Ok(status) => Ok(Self {
                is_operator: client.is_operator(),
                client,
                status,
                form_token,
                has_session,
            }),
            Err(refused) if refused.status == StatusCode::UNAUTHORIZED => Err(to_login(parts)),
            Err(refused) => Err(refused.into_response()),
        }
    }
}

impl FromRequest<Arc<ConsoleState>> for PostedForm {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Arc<ConsoleState>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visitor = ConsoleUser::from_request_parts(&mut parts, console).await?;
        let fields = fields(Request::from_parts(parts, body), console).await?;
        let given = fields.first("form_token").unwrap_or_default().as_bytes();
        let expected = visitor.form_token.as_bytes();
        // An empty token means that the system gave no random bytes. It must not match a form without a token.
        if expected.is_empty() || !bool::from(given.ct_eq(expected)) {
            return Err(foreign().into_response());
        }
        Ok(Self {
            user: visitor,
            fields,
        })
    }
}

impl PostedForm {
    /// Returns the path of the page that has the button, or `other` if the form does not name one.
    pub(super) fn back(&self, other: &str) -> String {
        let back = self.fields.first("back");
        // Only pages of this console: `//evil.example` would send the visitor to another site.
        let back = back.filter(|back| back.starts_with("/console/"));
        back.unwrap_or(other).to_owned()
    }
}

/// Reads the fields of a form, and rejects a form that comes from a page of another site.
pub(super) async fn fields(
    request: Request,
    console: &Arc<ConsoleState>,
) -> Result<QueryPairs, Response> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let is_form = kind.is_some_and(|kind| {
        let kind = kind.to_str().unwrap_or_default();
        kind.split(';').next() == Some("application/x-www-form-urlencoded")
    });
    // A form of HTML has this type. Others, such as `text/plain`, come from scripts or from forms that forge JSON.
    if is_foreign(request.headers()) || !is_form {
        return Err(foreign().into_response());
    }
    let body = Bytes::from_request(request, console).await;
    let body = body.map_err(IntoResponse::into_response)?;
    Ok(QueryPairs::from_pairs(form_urlencoded::parse(&body)))
}

fn foreign() -> ApiRefusal {
    ApiRefusal::new(
        StatusCode::FORBIDDEN,
        "This form is not valid any more: you logged in again since the page was loaded, or the form comes from \
         another site. Go back, reload the page and repeat the action.",
    )
}

/// Returns the connection data that the admin listener attached to a request.
pub(super) fn visit(parts: &Parts) -> Result<ConnectionContext, StatusCode> {
    let visit = parts.extensions.get::<ConnectionContext>().cloned();
    visit.ok_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn to_login(parts: &Parts) -> Response {
    let mut query = QueryPairs::default();
    let wanted = parts.uri.path_and_query().map(ToString::to_string);
    // Only pages can be opened after the login; the address of a form accepts no GET.
    if let Some(wanted) = wanted.filter(|_| parts.method == Method::GET) {
        query.push("next", &wanted);
    }
    Redirect::to(&query.after("/console/login")).into_response()
}

/// Returns the name of the session cookie, which contains the port of the request.
///
/// Browsers share cookies among all ports of a host. With the port in the name, a visitor can be logged in to two gates
/// on one host.
pub(super) fn cookie_name(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    format!("hookgate_{}", if is_port { port } else { "0" })
}

/// Returns the session id from the cookies of a request.
pub(super) fn cookie(headers: &HeaderMap) -> Option<String> {
    let name = cookie_name(headers);
    let fields = headers.get_all(header::COOKIE).iter();
    let fields = fields.filter_map(|field| field.to_str().ok());
    let mut pairs = fields.flat_map(|field| field.split(';'));
    pairs.find_map(|pair| {
        let (found, value) = pair.trim().split_once('=')?;
        (found == name).then(|| value.to_owned())
    })
}
