//! The receiver's side of the sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::model::clock::Now;
use crate::net::host;
use crate::net::request_file::{self, RequestFile};
use crate::testing::fill;
use crate::testing::receiver::{GRACE, Received, Respond, Shared};

/// A body that is longer is refused.
const MAX_BODY: usize = 32 * 1024 * 1024;
/// Connections at the same time.
const MAX_CONNECTIONS: usize = 512;
/// After an error of accept, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);
/// Where what was received can be asked for.
const EVENTS: &str = "/_events";

/// What is needed to take connections.
pub(super) struct Door {
    pub(super) listener: TcpListener,
    pub(super) shared: Arc<Shared>,
    pub(super) stop: CancellationToken,
    pub(super) connections: TaskTracker,
}

impl Door {
    /// Takes connections until it is stopped.
    pub(super) async fn accept(self) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let accepting = async {
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                    return;
                };
                let Ok((stream, source)) = self.listener.accept().await else {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                };
                let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
                self.connections.spawn(async move {
                    connection(stream, source, shared, stop).await;
                    drop(place);
                });
            }
        };
        self.stop.run_until_cancelled(accepting).await;
    }
}

async fn connection(
    stream: TcpStream,
    source: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    let Some(socket) = Socket::of(&stream) else {
        return;
    };
    let service = service_fn(move |request| {
        let (shared, socket) = (Arc::clone(&shared), socket.clone());
        async move {
            let answer = take(request, source, &shared).await;
            if answer.is_err() {
                socket.reset_when_closed();
            }
            answer
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new());
    let serving = server.serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    // How the other side ends a connection is its business.
    tokio::select! {
        _ = serving.as_mut() => {}
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(GRACE, serving).await;
        }
    }
}

/// A second handle of a connection's socket.
#[derive(Clone)]
struct Socket(Arc<socket2::Socket>);

impl Socket {
    fn of(stream: &TcpStream) -> Option<Self> {
        let socket = socket2::SockRef::from(stream).try_clone().ok()?;
        Some(Self(Arc::new(socket)))
    }

    /// Closing sends a reset: nothing lingers.
    fn reset_when_closed(&self) {
        let _ = self.0.set_linger(Some(Duration::ZERO));
    }
}

/// One request; an error resets the connection.
async fn take(
    request: Request<Incoming>,
    source: SocketAddr,
    shared: &Shared,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let (head, body) = request.into_parts();
    if head.uri.path() == EVENTS {
        return Ok(events(&head, shared));
    }
    let unix_ms = Now::read().unix_ms;
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return Ok(answer(413, "the body is too long, or broke off\n"));
    };
    let request = request_of(&head, body.to_bytes(), source, unix_ms);
    let number = shared.kept.number();
    let respond = shared.respond().of(number, chance());
    shared.kept.push(Received {
        number,
        unix_ms,
        source,
        verdict: shared.judge.get().map(|judge| judge(&request, unix_ms)),
        request,
        answer: respond.word(),
    });
    match respond {
        Respond::Status(status) => Ok(answer(status, "taken\n")),
        Respond::Slow(time) => {
            tokio::time::sleep(time).await;
            Ok(answer(200, "taken\n"))
        }
        Respond::Timeout => std::future::pending().await,
        Respond::Reset | Respond::Flaky(_) | Respond::Sequence(_) => {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
}

fn request_of(head: &Parts, body: Bytes, source: SocketAddr, unix_ms: i64) -> RequestFile {
    let target = head.uri.path_and_query();
    let target = target.map_or("/", |target| target.as_str());
    let mut request = RequestFile::new(head.method.clone(), target, body);
    let received =
        jiff::Timestamp::from_millisecond(unix_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    request.note(request_file::RECEIVED, &received.to_string());
    request.note(request_file::SOURCE, &source.ip().to_string());
    let headers = head.headers.iter();
    let headers = headers.map(|(name, value)| {
        let value = Bytes::copy_from_slice(value.as_bytes().trim_ascii());
        (name.as_str().to_owned(), value)
    });
    request.headers.extend(headers);
    request
}

/// What was received, for programs.
fn events(head: &Parts, shared: &Shared) -> Response<Full<Bytes>> {
    if !is_own_name(head) {
        return answer(403, "ask by address, or as `localhost`\n");
    }
    match head.method {
        Method::GET => {
            let all = shared.kept.all();
            let all: Vec<Value> = all.iter().map(|one| one.document()).collect();
            let mut response = answer(200, &json!({ "events": all }).to_string());
            let json = header::HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            response
        }
        Method::DELETE => {
            shared.kept.clear();
            answer(204, "")
        }
        _ => answer(405, "GET or DELETE\n"),
    }
}

/// Whether the host that is asked for is one that no stranger can give to this address in the DNS.
fn is_own_name(head: &Parts) -> bool {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else {
        return false;
    };
    let host = authority.host();
    host::bare(host).parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost")
}

fn answer(status: u16, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    response
}

/// From 0.0 to below 1.0.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    fill::fresh(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}
