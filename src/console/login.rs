//! Login with a token of `[admin]`, and logout.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

use crate::admin::documents::StatusDocument;
use crate::admin::resources::SHOW_STATUS;
use crate::console::client::ApiClient;
use crate::console::layout::{self, PageLayout};
use crate::console::query::QueryPairs;
use crate::console::session::LIFE_SECONDS;
use crate::console::state::ConsoleState;
use crate::console::user::{self, PostedForm};

#[derive(Template)]
#[template(path = "login.html", config = "src/console/askama.toml")]
struct LoginPage {
    layout: PageLayout,
    next: String,
    is_wrong: bool,
}

pub(super) async fn show(uri: Uri) -> Response {
    let next = safe_redirect(QueryPairs::parse(uri.query()).text("next"));
    layout::page(&LoginPage {
        layout: PageLayout::bare("Log in"),
        next,
        is_wrong: false,
    })
}

pub(super) async fn log_in(State(console): State<Arc<ConsoleState>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (visit, headers) = match user::visit(&parts) {
        Ok(visit) => (visit, parts.headers.clone()),
        Err(status) => return status.into_response(),
    };
    let fields = match user::fields(Request::from_parts(parts, body), &console).await {
        Ok(fields) => fields,
        Err(response) => return response,
    };
    let next = safe_redirect(fields.text("next"));
    // A token with a line break or another control character is no header value, so it cannot be one of the config.
    let bearer = HeaderValue::try_from(format!("Bearer {}", fields.text("token")));
    let Ok(bearer) = bearer else {
        return wrong(next);
    };
    let api = console.api.clone();
    let client = ApiClient::new(api, visit, &headers, Some(bearer.clone()));
    // The API judges the token and counts wrong ones per source, so the login needs no rate limit of its own.
    match client.get::<StatusDocument>(SHOW_STATUS.path).await {
        Ok(_) => {
            let cookie = set_cookie(&headers, &console.sessions.begin(bearer), LIFE_SECONDS);
            ([(header::SET_COOKIE, cookie)], Redirect::to(&next)).into_response()
        }
        Err(refused) if refused.status == StatusCode::UNAUTHORIZED => wrong(next),
        Err(refused) => refused.into_response(),
    }
}

pub(super) async fn log_out(
    State(console): State<Arc<ConsoleState>>,
    headers: HeaderMap,
    _form: PostedForm,
) -> Response {
    if let Some(id) = user::cookie(&headers) {
        console.sessions.end(&id);
    }
    // `Max-Age=0` has the browser delete the cookie.
    let cookie = set_cookie(&headers, "", 0);
    let login = Redirect::to("/console/login");
    ([(header::SET_COOKIE, cookie)], login).into_response()
}

fn wrong(next: String) -> Response {
    let page = layout::page(&LoginPage {
        layout: PageLayout::bare("Log in"),
        next,
        is_wrong: true,
    });
    (StatusCode::UNAUTHORIZED, page).into_response()
}

/// Returns the page to open after the login. Rejects every address outside of the console (open redirect).
fn safe_redirect(next: &str) -> String {
    // Not the login or logout page, which would start the same round again.
    let is_ours = next.starts_with("/console/") && !next.starts_with("/console/log");
    let next = if is_ours { next } else { "/console/" };
    next.to_owned()
}

fn set_cookie(headers: &HeaderMap, id: &str, seconds: u64) -> String {
    let name = user::cookie_name(headers);
    // The browser says whether it uses TLS, because a proxy in front of the gate may terminate TLS. A false `Origin`
    // changes only the cookie of the client that sent it.
    let origin = headers.get(header::ORIGIN);
    let is_tls = origin.is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    let secure = if is_tls { "; Secure" } else { "" };
    format!("{name}={id}; Path=/console; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when a browser that logs in over TLS would send the cookie over plain HTTP later.
    #[test]
    fn a_cookie_of_tls_stays_with_tls() {
        let mut headers = HeaderMap::new();
        let secure = |headers: &HeaderMap| set_cookie(headers, "a", 60).contains("; Secure");
        headers.insert("host", HeaderValue::from_static("gate.example:9180"));
        assert!(!secure(&headers));
        headers.insert("origin", HeaderValue::from_static("http://127.0.0.1:9180"));
        assert!(!secure(&headers));
        headers.insert(
            "origin",
            HeaderValue::from_static("https://gate.example:9180"),
        );
        assert!(secure(&headers));
    }

    // Fails when a link can send a visitor who logs in to a page of another site.
    #[test]
    fn only_own_pages_come_next() {
        assert_eq!(
            safe_redirect("/console/events?route=a"),
            "/console/events?route=a"
        );
        for next in [
            "",
            "https://evil.example/",
            "//evil.example/console/",
            "/api/v1/events",
            "/console/logout",
        ] {
            assert_eq!(safe_redirect(next), "/console/", "{next}");
        }
    }
}
