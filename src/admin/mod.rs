//! The operator's door: metrics, health and the API of the inbox, on a listener of its own that is never a public one.
//!
//! `app` binds it, tells it when the gate is ready, and gives it what it reaches of the rest (`Controls`): by itself it
//! changes nothing. A browser cannot be tricked into using it: `Host` has to be loopback, an address or a name of ours, so
//! that a name which an attacker rebinds to it is refused, and pages of other origins may change nothing. Each connection
//! serves one request under one deadline; a live tail moves its own as long as it is read.

pub mod access;
mod api;
#[cfg(test)]
mod api_tests;
pub mod audit;
pub mod controls;
mod deliveries;
mod destinations;
mod events;
pub mod facts;
mod gate;
mod hide;
mod history;
pub mod input;
mod listener;
mod operations;
pub mod path;
mod patience;
mod problem;
mod providers;
mod rejections;
mod replaying;
mod replays;
mod requests;
mod rotation;
mod status;
mod stream;
mod tail;
mod test_event;
#[cfg(test)]
mod tests;
pub mod tls;
mod verdicts;
pub mod wire;

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::admin::access::{Access, Origin, Refused, Who};
pub use crate::admin::api::{Api, is_foreign};
use crate::admin::audit::Audit;
pub use crate::admin::controls::Controls;
use crate::admin::facts::Facts;
use crate::admin::listener::Wire;
pub use crate::admin::listener::{AdminError, AdminListener, SocketFile, default_listen};
use crate::admin::patience::Patience;
use crate::admin::problem::Problem;
pub use crate::admin::replaying::run_replays;
pub use crate::admin::rotation::watch_secrets;
use crate::admin::tls::AdminTls;
use crate::config::model::AdminToken;
use crate::model::clock::Now;
use crate::model::secret::TokenDigest;
use crate::net::answer::{Answer, AnswerBody};
use crate::net::host::without_root;
use crate::net::problem as generic;
use crate::record::Recorder;
use crate::store::Store;

/// Connections at the same time: a few scrapers and probes.
const MAX_CONNECTIONS: usize = 64;

/// From accept to the end of the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

const MAX_HEAD: usize = 16 * 1024;

/// Answers that are being written at the end have this long.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// After a failed `accept`.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Below this the console answers, and for `/`.
pub const CONSOLE: &str = "/console";

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Live tails at the same time: each of events looks into the store twice a second.
const MAX_TAILS: usize = 16;

/// Changes and counts of many at the same time: each may take long, and they wait for the same writer.
const MAX_LONG: usize = 4;

/// What the answers are made from.
#[derive(Debug)]
pub struct AdminState {
    recorder: Arc<Recorder>,
    access: Access,
    audit: Audit,
    facts: ArcSwap<Facts>,
    /// Why the last reload was refused; none where it was not.
    refused_reload: ArcSwapOption<String>,
    /// Names under which it may be asked, in lower case.
    hosts: ArcSwap<Vec<String>>,
    is_ready: AtomicBool,
    controls: Controls,
    started_ms: i64,
    tails: Arc<Semaphore>,
    long: Arc<Semaphore>,
}

/// What a handler may know of the connection that it answers.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Its deadline.
    patience: Arc<Patience>,
    /// The end of the admin door.
    stop: CancellationToken,
    /// Who is at its other end.
    origin: Origin,
    /// Its certificate.
    tls: Option<Arc<AdminTls>>,
    /// What the audit log shall say beside what the request itself says.
    remark: Arc<OnceLock<String>>,
}

/// Who answers below `/api/` and below [`CONSOLE`].
#[derive(Clone)]
struct Routers {
    api: Api,
    console: Option<Router>,
}

impl Visit {
    /// Has the audit log say this of the action.
    fn remark(&self, text: String) {
        let _ = self.remark.set(text);
    }
}

impl AdminState {
    /// Not ready yet. `tokens` are what `/metrics` and the API ask for.
    #[must_use]
    pub fn new(recorder: Arc<Recorder>, tokens: &[AdminToken], controls: Controls) -> Arc<Self> {
        Arc::new(Self {
            audit: Audit::new(Arc::clone(&recorder), controls.store.clone()),
            recorder,
            access: Access::new(tokens),
            facts: ArcSwap::default(),
            refused_reload: ArcSwapOption::empty(),
            hosts: ArcSwap::default(),
            is_ready: AtomicBool::new(false),
            controls,
            started_ms: Now::read().unix_ms,
            tails: Arc::new(Semaphore::new(MAX_TAILS)),
            long: Arc::new(Semaphore::new(MAX_LONG)),
        })
    }

    /// Whether the gate takes requests: from now on, or no more.
    pub fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Ordering::Relaxed);
    }

    /// Who may ask.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Tells of another config from now on.
    pub fn set_facts(&self, facts: Facts) {
        self.facts.store(Arc::new(facts));
    }

    /// Takes the names of a new config under which it may be asked.
    pub fn set_hosts(&self, hosts: Vec<String>) {
        self.hosts.store(Arc::new(hosts));
    }

    /// What came of the last reload: why it was refused, or none.
    pub fn set_reload(&self, refused: Option<String>) {
        self.refused_reload.store(refused.map(Arc::new));
    }

    /// Takes in what operators do.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Who shows this token from there; a wrong one is told to the log.
    ///
    /// # Errors
    /// Why they may not ask.
    pub fn identify(&self, token: Option<TokenDigest>, source: Origin) -> Result<Who, Refused> {
        let identified = self.access.identify(token, source);
        if identified == Err(Refused::Unknown) {
            self.recorder.audit_refused(&source.to_string());
        }
        identified
    }

    fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    fn store(&self) -> Result<&Store, Problem> {
        self.controls.store.as_ref().ok_or_else(|| {
            Problem::missing(
                "this gate has no store: routes in queue or hybrid mode need `[store]` in the config",
            )
        })
    }

    fn tail_slot(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let slot = Arc::clone(&self.tails).try_acquire_owned();
        slot.map_err(|_| {
            let detail = "too many tails are open: end one of them";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })
    }

    fn open_tails(&self) -> u64 {
        MAX_TAILS.saturating_sub(self.tails.available_permits()) as u64
    }

    fn long_slot(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let slot = Arc::clone(&self.long).try_acquire_owned();
        slot.map_err(|_| {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "other changes of many are going on: try again when they are done",
            )
        })
    }
}

/// Answers until `stop` is cancelled; to be stopped after the gate has drained, so that `/readyz` tells of the drain.
/// `console` answers what lies below [`CONSOLE`], and decides itself who may ask.
pub async fn serve(
    listener: AdminListener,
    state: Arc<AdminState>,
    console: Option<Router>,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let routers = Routers {
        api: Api::new(Arc::clone(&state)),
        console,
    };
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        let Ok((stream, origin)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Where all slots are taken the connection is closed at once.
        if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
            let visit = Visit {
                patience: Arc::new(Patience::new(CONNECTION_TIMEOUT)),
                stop: stop.clone(),
                origin,
                tls: listener.tls().cloned(),
                remark: Arc::default(),
            };
            let patience = Arc::clone(&visit.patience);
            let (state, routers) = (Arc::clone(&state), routers.clone());
            connections.spawn(async move {
                let _slot = slot;
                tokio::select! {
                    () = greet(stream, state, routers, visit) => {}
                    () = patience.is_over() => {}
                }
            });
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(END_TIMEOUT, all).await;
}

/// The handshake, where there is one.
async fn greet(stream: Pin<Box<dyn Wire>>, state: Arc<AdminState>, routers: Routers, visit: Visit) {
    let Some(acceptor) = visit.tls.as_ref().map(|tls| tls.acceptor()) else {
        return converse(stream, state, routers, visit).await;
    };
    let shaken = tokio::time::timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await;
    // Whoever does not speak TLS has no answer.
    if let Ok(Ok(stream)) = shaken {
        converse(stream, state, routers, visit).await;
    }
}

/// One request, one answer.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    state: Arc<AdminState>,
    routers: Routers,
    visit: Visit,
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
    // Whoever breaks off has no answer; that concerns nobody else.
    let _ = connection.await;
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<AdminState>,
    routers: Routers,
    visit: Visit,
) -> Answer {
    let is_ours = is_host_allowed(request.headers(), &state, visit.tls.as_deref());
    let (path, recorder) = (request.uri().path().to_owned(), Arc::clone(&state.recorder));
    let console = routers.console.filter(|_| is_console(&path));
    let mut answer = match console {
        Some(console) if is_ours => ask_console(console, request, visit).await,
        _ if is_ours && path.starts_with(api::PREFIX) => {
            stream(routers.api.answer(request.map(Body::new), visit).await)
        }
        _ => route(&request, is_ours, state, visit.origin).await,
    };
    recorder.admin_answer(&path, answer.status());
    let headers = answer.headers_mut();
    let fixed: [(HeaderName, &str); 2] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fixed {
        // The console says what may be kept.
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    answer
}

fn is_console(path: &str) -> bool {
    let rest = path.strip_prefix(CONSOLE);
    path == "/" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

async fn ask_console(mut console: Router, mut request: Request<Incoming>, visit: Visit) -> Answer {
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
    origin: Origin,
) -> Answer {
    if !is_ours {
        return refusal(StatusCode::MISDIRECTED_REQUEST);
    }
    let path = request.uri().path();
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

/// Body of both health paths while nothing can be stored.
const STORE_FAILING: &str = "store failing\n";

fn is_store_failing(state: &AdminState) -> bool {
    let store = state.controls.store.as_ref();
    store.is_some_and(|store| !store.is_healthy())
}

async fn metrics(headers: &HeaderMap, state: Arc<AdminState>, origin: Origin) -> Answer {
    match state.identify(api::bearer(headers), origin) {
        // Numbers only, which whoever may connect may see where nothing else was asked for.
        Ok(_) | Err(Refused::Open) => {}
        Err(refused) => return stream(Problem::from(refused).into_response()),
    }
    state.recorder.look_into_store().await;
    // Many routes make a long text, and `/proc` is read: not on a thread that serves requests.
    let text_of = tokio::task::spawn_blocking(move || state.recorder.metrics_text());
    match text_of.await {
        Ok(metrics) => text(OPEN_METRICS, metrics),
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Whether exactly one `Host` says loopback, an address, or a name of ours. Names of others are what DNS rebinding needs.
fn is_host_allowed(headers: &HeaderMap, state: &AdminState, tls: Option<&AdminTls>) -> bool {
    let mut values = headers.get_all(header::HOST).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Ok(authority) = Authority::try_from(value.as_bytes()) else {
        return false;
    };
    let host = authority.host();
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

fn stream(response: Response) -> Answer {
    response.map(|body| AnswerBody::Stream(Box::pin(body.map_err(Into::into))))
}

fn refusal(status: StatusCode) -> Answer {
    let document = generic::document(status, None);
    let mut answer = text("application/problem+json", document);
    *answer.status_mut() = status;
    answer
}

fn text(content_type: &'static str, body: String) -> Answer {
    let mut answer = Answer::new(AnswerBody::whole(Bytes::from(body)));
    let content_type = HeaderValue::from_static(content_type);
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    answer
}
