//! A receiver for tests and development: records requests and sends the response that the test chose.
//!
//! `GET /_events` returns the recorded requests as JSON, and `DELETE /_events` clears them. Both require a `Host` that
//! is an IP address or `localhost`. Otherwise a web page could point its own name at this address (DNS rebinding) and
//! read the requests.

mod received;
mod request_buffer;
mod respond;
mod serve;
mod shared;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::testing::error::TestingError;
pub use crate::testing::receiver::received::ReceivedRequest;
use crate::testing::receiver::request_buffer::RequestBuffer;
pub use crate::testing::receiver::respond::ResponseBehavior;
pub use crate::testing::receiver::shared::RequestJudge;
use crate::testing::receiver::shared::{GRACE, ReceiverShared};

/// Running receiver. It stops when it is dropped.
///
/// ```
/// use std::time::Duration;
///
/// use hookgate::testing::{WebhookReceiver, RequestFile, ResponseBehavior, SendTarget, ServerTrust};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let app = WebhookReceiver::start().await?;
/// app.respond(ResponseBehavior::Sequence(vec![ResponseBehavior::Status(503), ResponseBehavior::Status(200)]));
///
/// let client = SendTarget::new(&app.url(""), ServerTrust::System, Duration::from_secs(10))?;
/// let request = RequestFile::parse(b"POST /in HTTP/1.1\nX-Own: 1\n\nhello")?;
/// assert_eq!(client.send(&request).await?.status, 503);
/// assert_eq!(client.send(&request).await?.status, 200);
///
/// let first = app.next().await;
/// assert_eq!((first.request.header("x-own"), &first.answer[..]), (Some("1"), "503"));
/// assert_eq!(app.received().len(), 2);
/// # Ok(())
/// # }
/// ```
pub struct WebhookReceiver {
    address: SocketAddr,
    shared: Arc<ReceiverShared>,
    /// Lowest number that `next` may return.
    position: AtomicU64,
    stop: CancellationToken,
    connections: TaskTracker,
}

impl WebhookReceiver {
    /// Starts a receiver on a free port of 127.0.0.1 that responds with 200.
    ///
    /// # Errors
    /// The receiver cannot listen.
    pub async fn start() -> Result<Self, TestingError> {
        Self::with(([127, 0, 0, 1], 0).into(), ResponseBehavior::Status(200)).await
    }

    /// Starts a receiver on an address, with the response to send.
    ///
    /// # Errors
    /// The receiver cannot listen on this address.
    pub async fn with(listen: SocketAddr, respond: ResponseBehavior) -> Result<Self, TestingError> {
        let failed = |error: std::io::Error| TestingError::Io("cannot listen", error.to_string());
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(ReceiverShared {
            requests: RequestBuffer::default(),
            respond: Mutex::new(respond),
            judge: OnceLock::new(),
        });
        let stop = CancellationToken::new();
        let connections = TaskTracker::new();
        // The listener is bound before the task starts, so a request that is sent right after `with` is never lost.
        let door = serve::ReceiverListener {
            listener,
            shared: Arc::clone(&shared),
            stop: stop.clone(),
            connections: connections.clone(),
        };
        tokio::spawn(door.accept());
        Ok(Self {
            address,
            shared,
            position: AtomicU64::new(0),
            stop,
            connections,
        })
    }

    /// Returns the address on which the receiver listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of a path at this receiver.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Changes the response, from the next request on.
    pub fn respond(&self, respond: ResponseBehavior) {
        *self.shared.respond.lock() = respond;
    }

    /// Sets the function that verifies each request from now on. A second call has no effect.
    pub fn judge(&self, judge: RequestJudge) {
        let _ = self.shared.judge.set(judge);
    }

    /// Returns the recorded requests, oldest first.
    #[must_use]
    pub fn received(&self) -> Vec<Arc<ReceivedRequest>> {
        self.shared.requests.all()
    }

    /// Waits for the next request that this method has not returned yet.
    pub async fn next(&self) -> Arc<ReceivedRequest> {
        let from = self.position.load(Ordering::Relaxed);
        // "At least", since requests may have been dropped at the limits.
        let next = self.shared.requests.at_least(from).await;
        self.position
            .store(next.number.saturating_add(1), Ordering::Relaxed);
        next
    }

    /// Stops the receiver. Requests in flight have one second to complete.
    pub async fn stop(self) {
        self.stop.cancel();
        self.connections.close();
        // The limit is needed: with `ResponseBehavior::Timeout`, a request never completes.
        let _ = tokio::time::timeout(GRACE, self.connections.wait()).await;
    }

    /// Clears the recorded requests.
    pub fn clear(&self) {
        self.shared.requests.clear();
    }
}

impl Drop for WebhookReceiver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
