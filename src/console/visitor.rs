//! Who looks at a page, and who sent a form.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};
use subtle::ConstantTimeEq;
use url::form_urlencoded;

use crate::admin::wire::Status;
use crate::admin::{Visit, is_foreign};
use crate::console::Console;
use crate::console::client::{Client, Refused};
use crate::console::query::Query;

/// Whoever may look at the page.
pub(super) struct Visitor {
    pub(super) client: Client,
    pub(super) status: Status,
    /// What each form carries.
    pub(super) form_token: String,
    pub(super) has_session: bool,
    /// Whether there are buttons.
    pub(super) is_operator: bool,
}

/// A form of ours, sent by a visitor.
pub(super) struct Posted {
    pub(super) visitor: Visitor,
    pub(super) fields: Query,
}

impl FromRequestParts<Arc<Console>> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        console: &Arc<Console>,
    ) -> Result<Self, Response> {
        let visit = visit(parts).map_err(IntoResponse::into_response)?;
        let session = cookie(&parts.headers).and_then(|id| console.sessions.find(&id));
        let has_session = session.is_some();
        let (bearer, form_token) = match session {
            Some(session) => (Some(session.bearer), session.form_token),
            None => (None, console.sessions.open_form_token()),
        };
        let client = Client::new(console.api.clone(), visit, &parts.headers, bearer);
        match client.get::<Status>("/status").await {
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

impl FromRequest<Arc<Console>> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, console).await?;
        let fields = fields(Request::from_parts(parts, body), console).await?;
        let given = fields.first("form_token").unwrap_or_default().as_bytes();
        let expected = visitor.form_token.as_bytes();
        if expected.is_empty() || !bool::from(given.ct_eq(expected)) {
            return Err(foreign().into_response());
        }
        Ok(Self { visitor, fields })
    }
}

impl Posted {
    /// The page with the button, else another one.
    pub(super) fn back(&self, other: &str) -> String {
        let back = self.fields.first("back");
        // Nothing but a page of ours: not `//evil.example`.
        let back = back.filter(|back| back.starts_with("/console/"));
        back.unwrap_or(other).to_owned()
    }
}

/// The fields of a form that does not come from a page of somebody else.
pub(super) async fn fields(request: Request, console: &Arc<Console>) -> Result<Query, Response> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let is_form = kind.is_some_and(|kind| {
        let kind = kind.to_str().unwrap_or_default();
        kind.split(';').next() == Some("application/x-www-form-urlencoded")
    });
    if is_foreign(request.headers()) || !is_form {
        return Err(foreign().into_response());
    }
    let body = Bytes::from_request(request, console).await;
    let body = body.map_err(IntoResponse::into_response)?;
    Ok(Query::from_pairs(form_urlencoded::parse(&body)))
}

fn foreign() -> Refused {
    Refused::new(
        StatusCode::FORBIDDEN,
        "This form does not come from a page of this console, or you logged in anew since it was opened. Go back, load the \
         page again, and repeat what you wanted to do.",
    )
}

/// The connection of a request.
pub(super) fn visit(parts: &Parts) -> Result<Visit, StatusCode> {
    let visit = parts.extensions.get::<Visit>().cloned();
    visit.ok_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn to_login(parts: &Parts) -> Response {
    let mut query = Query::default();
    let wanted = parts.uri.path_and_query().map(ToString::to_string);
    if let Some(wanted) = wanted.filter(|_| parts.method == Method::GET) {
        query.push("next", &wanted);
    }
    Redirect::to(&query.after("/console/login")).into_response()
}

/// The name of the cookie. Browsers share cookies among the ports of a host: with the port in it, who looks at two gates
/// through two ports stays logged in at both.
pub(super) fn cookie_name(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    format!("hookgate_{}", if is_port { port } else { "0" })
}

/// The id of the session that a browser shows.
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
