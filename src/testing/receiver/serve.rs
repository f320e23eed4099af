//! The server of the receiver: accepts connections, records requests, sends responses.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookgate_verify::net::host;
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

use crate::model::clock::ClockReading;
use crate::net::request_file::{self, RequestFile};
use crate::testing::placeholders;
use crate::testing::receiver::received::ReceivedRequest;
use crate::testing::receiver::respond::ResponseBehavior;
use crate::testing::receiver::shared::{GRACE, ReceiverShared};

/// Maximum size of a body; a longer one is rejected with 413.
const MAX_BODY: usize = 32 * 1024 * 1024;
/// Maximum number of open connections.
const MAX_CONNECTIONS: usize = 512;
/// Pause after `accept` fails, for example with too many open files.
const PAUSE: Duration = Duration::from_millis(50);
/// Path of the recorded requests.
const EVENTS: &str = "/_events";

/// Listener of the receiver, with the state that its connections share.
pub(super) struct ReceiverListener {
    pub(super) listener: TcpListener,
    pub(super) shared: Arc<ReceiverShared>,
    pub(super) stop: CancellationToken,
    pub(super) connections: TaskTracker,
}

impl ReceiverListener {
    /// Accepts connections until the receiver stops.
    pub(super) async fn accept(self) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let accepting = async {
            loop {
                // The permit comes before `accept`, so that connections beyond the limit wait in the kernel's queue.
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
    shared: Arc<ReceiverShared>,
    stop: CancellationToken,
) {
    let Some(socket) = SocketHandle::of(&stream) else {
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
    // Errors of a connection are ignored: the client may close it in any manner.
    tokio::select! {
        _ = serving.as_mut() => {}
        () = stop.cancelled() => {
            // A response in flight has a moment to complete.
            serving.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(GRACE, serving).await;
        }
    }
}

/// Second handle of a connection's socket, to change an option while hyper owns the stream.
#[derive(Clone)]
struct SocketHandle(Arc<socket2::Socket>);

impl SocketHandle {
    pub(super) fn of(stream: &TcpStream) -> Option<Self> {
        let socket = socket2::SockRef::from(stream).try_clone().ok()?;
        Some(Self(Arc::new(socket)))
    }

    /// Sets `SO_LINGER` to zero, so that closing the connection sends a reset.
    fn reset_when_closed(&self) {
        let _ = self.0.set_linger(Some(Duration::ZERO));
    }
}

/// Records one request and returns its response. An error makes the connection end with a reset.
async fn take(
    request: Request<Incoming>,
    source: SocketAddr,
    shared: &ReceiverShared,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let (head, body) = request.into_parts();
    // Reading the recorded requests is not recorded itself.
    if head.uri.path() == EVENTS {
        return Ok(events(&head, shared));
    }
    let unix_ms = ClockReading::read().unix_ms;
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return Ok(answer(
            413,
            "the body is larger than 32 MiB, or incomplete\n",
        ));
    };
    let request = request_of(&head, body.to_bytes(), source, unix_ms);
    let number = shared.requests.number();
    let respond = shared.respond().of(number, chance());
    shared.requests.push(ReceivedRequest {
        number,
        unix_ms,
        source,
        verdict: shared.judge.get().map(|judge| judge(&request, unix_ms)),
        request,
        answer: respond.word(),
    });
    match respond {
        ResponseBehavior::Status(status) => Ok(answer(status, "accepted\n")),
        ResponseBehavior::Slow(time) => {
            tokio::time::sleep(time).await;
            Ok(answer(200, "accepted\n"))
        }
        // Ends when the client closes the connection, or the receiver stops.
        ResponseBehavior::Timeout => std::future::pending().await,
        // `ResponseBehavior::of` has resolved the other two, so this is a reset.
        ResponseBehavior::Reset | ResponseBehavior::Flaky(_) | ResponseBehavior::Sequence(_) => {
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
    request.add_comment(request_file::RECEIVED, &received.to_string());
    request.add_comment(request_file::SOURCE, &source.ip().to_string());
    let headers = head.headers.iter();
    let headers = headers.map(|(name, value)| {
        // White space around a value is not part of it (RFC 9110, section 5.5).
        let value = Bytes::copy_from_slice(value.as_bytes().trim_ascii());
        (name.as_str().to_owned(), value)
    });
    request.headers.extend(headers);
    request
}

/// Returns or clears the recorded requests.
fn events(head: &Parts, shared: &ReceiverShared) -> Response<Full<Bytes>> {
    if !is_own_name(head) {
        return answer(403, "use an IP address or `localhost` as host\n");
    }
    match head.method {
        Method::GET => {
            let all = shared.requests.all();
            let all: Vec<Value> = all.iter().map(|one| one.document()).collect();
            let mut response = answer(200, &json!({ "events": all }).to_string());
            let json = header::HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            response
        }
        Method::DELETE => {
            shared.requests.clear();
            answer(204, "")
        }
        _ => answer(405, "use GET or DELETE\n"),
    }
}

/// Returns true if `Host` is an IP address or `localhost`: no untrusted DNS entry can make a browser send these here.
fn is_own_name(head: &Parts) -> bool {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    // Two `Host` headers are ambiguous, so neither is trusted.
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

/// Returns a random number from 0.0 to below 1.0.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    placeholders::fresh(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}
