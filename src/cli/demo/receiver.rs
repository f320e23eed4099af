//! The app of the demo: responds with 200 to each webhook and records it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::TcpListener;

/// Request as the app received it.
#[derive(Clone)]
pub(super) struct UpstreamRequest {
    pub(super) path: String,
    pub(super) event_id: String,
    pub(super) event_type: String,
    pub(super) body: Bytes,
}

/// The running app of the demo.
pub(super) struct DemoUpstream {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<UpstreamRequest>>>,
}

impl DemoUpstream {
    /// Starts the app on a free port of 127.0.0.1.
    pub(super) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let seen = Arc::<Mutex<Vec<UpstreamRequest>>>::default();
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&kept);
                let service = service_fn(move |request| take(request, Arc::clone(&seen)));
                let mut server = http1::Builder::new();
                // hyper requires a timer for its header timeout.
                server.timer(TokioTimer::new());
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self {
            address,
            requests: seen,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn count(&self) -> usize {
        self.requests.lock().len()
    }

    /// Returns the requests after the first `count`.
    pub(super) fn since(&self, count: usize) -> Vec<UpstreamRequest> {
        self.requests.lock().iter().skip(count).cloned().collect()
    }
}

async fn take(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<UpstreamRequest>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let text = |name: &str| {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    // An incomplete body becomes an empty one, which no line of the table expects, so the table shows the fault.
    let body = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    seen.lock().push(UpstreamRequest {
        path: head.uri.path().to_owned(),
        event_id: text("hookgate-event-id"),
        event_type: text("hookgate-event-type"),
        body,
    });
    Ok(Response::new(Full::from("thank you\n")))
}
