//! The server of the admin listener: connections, the check of `Host`, and the paths outside of the API.
//!
//! `Host` has to be loopback, an IP address or a configured name, which stops DNS rebinding. Each connection serves one
//! request under one deadline.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hookgate_verify::net::host::without_root;
use http::header::{self, HeaderName};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::admin::access::{AccessRefusal, CallerOrigin};
use crate::admin::api::{self, AdminApi};
use crate::admin::connection_context::ConnectionContext;
use crate::admin::connection_deadline::ConnectionDeadline;
use crate::admin::listener::{AdminListener, AdminStream};
use crate::admin::problem::AdminProblem;
use crate::admin::resources::all_resources;
use crate::admin::state::AdminState;
use crate::admin::tls::AdminTls;
use crate::model::route_scope::RouteScope;
use crate::net::problem as generic;
use crate::net::response::{HttpResponse, ResponseBody};

/// Most connections at the same time: enough for a few scrapers, probes and operators.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// Time from accept to the end of the response. Long requests and live tails extend it.
pub(super) const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for the TLS handshake, and then for the head of the request.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest request head in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Time that responses in progress have left when the listener stops.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Pause after a failed `accept`, so that a lack of file descriptors causes no busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Path prefix of the console, which also serves `/`.
const CONSOLE: &str = "/console";

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Handlers for the paths below `/api/` and below [`CONSOLE`].
#[derive(Clone)]
struct AdminRouters {
    api: AdminApi,
    console: Option<Router>,
}

/// Serves the admin listener until `stop` is cancelled.
///
/// Stop it after the gate has drained, so that `/readyz` reports the drain. `console` serves the paths below
/// [`CONSOLE`] and checks access itself.
pub(crate) async fn serve(
    listener: AdminListener,
    state: Arc<AdminState>,
    console: Option<Router>,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let routers = AdminRouters {
        api: AdminApi::new(Arc::clone(&state)),
        console,
    };
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        // Reap finished tasks here: a `JoinSet` keeps their results until they are joined.
        while connections.try_join_next().is_some() {}
        let Ok((stream, origin)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // At the limit the connection is closed at once, so that a client sees an error instead of a hang.
        if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
            let visit = ConnectionContext {
                deadline: Arc::new(ConnectionDeadline::new(CONNECTION_TIMEOUT)),
                stop: stop.clone(),
                origin,
                tls: listener.tls().cloned(),
                remark: Arc::default(),
            };
            let patience = Arc::clone(&visit.deadline);
            let (state, routers) = (Arc::clone(&state), routers.clone());
            connections.spawn(async move {
                let _slot = slot;
                tokio::select! {
                    // The deadline covers handshake, request and response: no phase can hold a slot for long.
                    () = greet(stream, state, routers, visit) => {}
                    () = patience.is_over() => {}
                }
            });
        }
    }
    // Close the listener first: new clients get a refused connection instead of a wait in the backlog.
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(END_TIMEOUT, all).await;
}

/// Does the TLS handshake if the listener has a certificate, then serves the connection.
async fn greet(
    stream: Pin<Box<dyn AdminStream>>,
    state: Arc<AdminState>,
    routers: AdminRouters,
    visit: ConnectionContext,
) {
    let Some(acceptor) = visit.tls.as_ref().map(|tls| tls.acceptor()) else {
        return converse(stream, state, routers, visit).await;
    };
    let shaken = tokio::time::timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await;
    // A failed handshake gets no response: without TLS there is no channel for one.
    if let Ok(Ok(stream)) = shaken {
        converse(stream, state, routers, visit).await;
    }
}

/// Serves one request on a connection, then closes it.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    state: Arc<AdminState>,
    routers: AdminRouters,
    visit: ConnectionContext,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (state, routers, visit) = (Arc::clone(&state), routers.clone(), visit.clone());
        async move { Ok::<_, Infallible>(answer(request, state, routers, visit).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // An error here means that the client closed the connection or sent no valid HTTP. It concerns only this client.
    let _ = connection.await;
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<AdminState>,
    routers: AdminRouters,
    visit: ConnectionContext,
) -> HttpResponse {
    // Checked before routing, so that no handler runs for a rebound name.
    let is_ours = is_host_allowed(request.headers(), &state, visit.tls.as_deref());
    let (path, recorder) = (request.uri().path().to_owned(), Arc::clone(&state.recorder));
    let console = routers.console.filter(|_| is_console(&path));
    let mut answer = match console {
        Some(console) if is_ours => call_console(console, request, visit).await,
        _ if is_ours && path.starts_with(api::PREFIX) => {
            stream(routers.api.answer(request.map(Body::new), visit).await)
        }
        _ => route(&request, is_ours, state, visit.origin).await,
    };
    // Every response counts, rejected ones too, so that metrics show guesses and broken scrapers.
    recorder.admin_answer(counted_resource(&path), answer.status());
    let headers = answer.headers_mut();
    let fixed: [(HeaderName, &str); 2] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fixed {
        // The console sets its own cache policy for assets.
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    answer
}

/// Resources beside those of the API, for the counts of requests.
const RESOURCES_BESIDE: [&str; 5] = ["metrics", "healthz", "readyz", "console", "openapi.json"];

/// Returns the label under which requests for a path are counted: its resource, or `other`.
///
/// The path is text of an untrusted client, so it never becomes a label itself.
fn counted_resource(path: &str) -> &'static str {
    let below = path.strip_prefix(api::BASE);
    // The console and the metrics are not below the API's prefix.
    let below = below.or_else(|| path.strip_prefix('/')).unwrap_or(path);
    let first = below.split('/').next();
    let of_api = all_resources().iter().filter_map(|resource| {
        let below = resource.path.strip_prefix(api::BASE)?;
        below.split('/').next()
    });
    // A search of some fifty words: few requests come to this listener.
    let mut all = of_api.chain(RESOURCES_BESIDE);
    all.find(|known| Some(*known) == first).unwrap_or("other")
}

fn is_console(path: &str) -> bool {
    // `/consolex` is no page of the console.
    let rest = path.strip_prefix(CONSOLE);
    path == "/" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

async fn call_console(
    mut console: Router,
    mut request: Request<Incoming>,
    visit: ConnectionContext,
) -> HttpResponse {
    request.extensions_mut().insert(visit);
    match console.call(request.map(Body::new)).await {
        Ok(response) => stream(response),
        Err(never) => match never {},
    }
}

async fn route(
    request: &Request<Incoming>,
    is_ours: bool,
    state: Arc<AdminState>,
    origin: CallerOrigin,
) -> HttpResponse {
    if !is_ours {
        return refusal(StatusCode::MISDIRECTED_REQUEST);
    }
    let path = request.uri().path();
    // 404 before 405: an unknown path has no allowed methods.
    if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
        return refusal(StatusCode::NOT_FOUND);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = refusal(StatusCode::METHOD_NOT_ALLOWED);
        let allowed = HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(header::ALLOW, allowed);
        return answer;
    }
    match path {
        "/metrics" => metrics(request.headers(), state, origin).await,
        "/readyz" if !state.is_ready() => refusal(StatusCode::SERVICE_UNAVAILABLE),
        // Every handshake fails, so the text says why until there is a first certificate.
        "/readyz" if let Some(reason) = (state.controls.gate)().missing_certificate => {
            let mut answer = text("text/plain; charset=utf-8", format!("{reason}\n"));
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            answer
        }
        // A failing store takes the gate out of rotation, but does not fail liveness: a restart fixes no disk.
        // A shared database that is away would take out all nodes at once, though their proxy routes still work.
        "/readyz" if is_store_failing(&state) && state.node().is_some() => {
            text("text/plain; charset=utf-8", STORE_AWAY.to_owned())
        }
        "/readyz" if is_store_failing(&state) => {
            let mut answer = text("text/plain; charset=utf-8", STORE_FAILING.to_owned());
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            answer
        }
        "/healthz" if is_store_failing(&state) => {
            text("text/plain; charset=utf-8", STORE_FAILING.to_owned())
        }
        _ => text("text/plain; charset=utf-8", "ok\n".to_owned()),
    }
}

/// Body of both health paths while the store fails.
const STORE_FAILING: &str = "store failing\n";

/// Body of `/readyz` while the database that nodes share is away.
const STORE_AWAY: &str = "ok, but the store's database is away: queue routes respond with 503\n";

fn is_store_failing(state: &AdminState) -> bool {
    let store = state.controls.store.as_ref();
    store.is_some_and(|store| !store.is_healthy())
}

async fn metrics(
    headers: &HeaderMap,
    state: Arc<AdminState>,
    origin: CallerOrigin,
) -> HttpResponse {
    let scope = match state.identify(api::bearer(headers), origin) {
        Ok(caller) => caller.scope,
        // Metrics are only numbers. Without a token in the config every client that can connect may read them.
        Err(AccessRefusal::Open) => RouteScope::All,
        Err(refused) => return stream(AdminProblem::from(refused).into_response()),
    };
    state.recorder.refresh_store_reading().await;
    // Many routes make a long text, and it reads `/proc`. Both would block a thread that serves requests.
    let text_of = tokio::task::spawn_blocking(move || state.recorder.metrics_text_within(&scope));
    match text_of.await {
        Ok(metrics) => text(OPEN_METRICS, metrics),
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Returns whether exactly one `Host` is loopback, an IP address, or a name of this listener.
///
/// DNS rebinding needs any other name: an attacker's name that suddenly resolves to this listener.
fn is_host_allowed(headers: &HeaderMap, state: &AdminState, tls: Option<&AdminTls>) -> bool {
    let mut values = headers.get_all(header::HOST).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Ok(authority) = Authority::try_from(value.as_bytes()) else {
        return false;
    };
    let host = authority.host();
    // `Authority` keeps the brackets of an IPv6 address, which the parser of addresses does not accept.
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let name = without_root(host).to_ascii_lowercase();
    name == "localhost"
        || address.parse::<IpAddr>().is_ok()
        || state.hosts.load().contains(&name)
        || tls.is_some_and(|tls| tls.covers(&name))
}

fn stream(response: Response) -> HttpResponse {
    response.map(|body| ResponseBody::Stream(Box::pin(body.map_err(Into::into))))
}

fn refusal(status: StatusCode) -> HttpResponse {
    let document = generic::document(status, None);
    let mut answer = text("application/problem+json", document);
    *answer.status_mut() = status;
    answer
}

fn text(content_type: &'static str, body: String) -> HttpResponse {
    let mut answer = HttpResponse::new(ResponseBody::whole(Bytes::from(body)));
    let content_type = HeaderValue::from_static(content_type);
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails if a resource of the API is counted as `other`, or if text of a client becomes a label.
    #[test]
    fn a_path_is_counted_under_its_resource_or_other() {
        for resource in all_resources() {
            assert_ne!(
                counted_resource(resource.path),
                "other",
                "{}",
                resource.path
            );
        }
        let check = |path: &str, expected: &str| assert_eq!(counted_resource(path), expected);
        check("/metrics", "metrics");
        check("/api/v1/events", "events");
        check("/api/v1/events/0198/body", "events");
        check("/api/v1/openapi.json", "openapi.json");
        check("/console/events", "console");
        check("/api/v1/stolen", "other");
        check("/", "other");
        check("", "other");
        check("*", "other");
    }
}
