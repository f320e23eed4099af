//! A receiver for tests and development: keeps what it gets, within bounds, and answers as told.
//!
//! `GET /_events` gives what it has as JSON, `DELETE /_events` forgets it. Both only for a `Host` that is an address or
//! `localhost`: a page in a browser may have any name lead here, and would read it.

mod kept;
mod respond;
mod serve;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::net::request_file::{self, RequestFile};
use crate::testing::TestingError;
use crate::testing::receiver::kept::Kept;
pub use crate::testing::receiver::respond::Respond;

/// What is in flight when it is stopped may still be answered.
const GRACE: Duration = Duration::from_secs(1);

/// Says of a request, and when it came, whether it is genuine, and why not.
pub type Judge = Box<dyn Fn(&RequestFile, i64) -> Result<String, String> + Send + Sync>;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Counts from 0.
    pub number: u64,
    /// Milliseconds since the epoch.
    pub unix_ms: i64,
    /// Who sent it.
    pub source: SocketAddr,
    /// The request.
    pub request: RequestFile,
    /// What the judge says; none without one.
    pub verdict: Option<Result<String, String>>,
    /// How it was answered.
    pub answer: String,
}

impl Received {
    /// All of it, for programs.
    #[must_use]
    pub fn document(&self) -> Value {
        let request = &self.request;
        let headers = request.headers.iter();
        let headers = headers.map(|(name, value)| json!([name, String::from_utf8_lossy(value)]));
        let (body, base64) = match std::str::from_utf8(&request.body) {
            Ok(text) => (Some(text), None),
            Err(_) => (None, Some(BASE64.encode(&request.body))),
        };
        let verdict = self.verdict.as_ref();
        json!({
            "number": self.number,
            "received": request.fact(request_file::RECEIVED),
            "source": self.source.to_string(),
            "method": request.method.as_str(),
            "target": request.target,
            "headers": headers.collect::<Vec<_>>(),
            "body": body,
            "body_base64": base64,
            "verified": verdict.map(Result::is_ok),
            "verdict": verdict.map(|verdict| match verdict { Ok(text) | Err(text) => text }),
            "answer": self.answer,
        })
    }
}

/// A running receiver; it ends when it is dropped.
///
/// ```
/// use std::time::Duration;
///
/// use hookgate::testing::{Receiver, RequestFile, Respond, Target, Trust};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let app = Receiver::start().await?;
/// app.respond(Respond::Sequence(vec![Respond::Status(503), Respond::Status(200)]));
///
/// let client = Target::new(&app.url(""), Trust::System, Duration::from_secs(10))?;
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
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// The number that `next` gives next.
    position: AtomicU64,
    stop: CancellationToken,
    connections: TaskTracker,
}

struct Shared {
    kept: Kept,
    respond: Mutex<Respond>,
    judge: OnceLock<Judge>,
}

impl Shared {
    fn respond(&self) -> Respond {
        let respond = self.respond.lock().unwrap_or_else(PoisonError::into_inner);
        respond.clone()
    }
}

impl Receiver {
    /// Listens on a free port of 127.0.0.1, and answers 200.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn start() -> Result<Self, TestingError> {
        Self::with(([127, 0, 0, 1], 0).into(), Respond::Status(200)).await
    }

    /// Listens there, and answers so.
    ///
    /// # Errors
    /// It cannot listen there.
    pub async fn with(listen: SocketAddr, respond: Respond) -> Result<Self, TestingError> {
        let failed = |error: std::io::Error| TestingError::Io("cannot listen", error.to_string());
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared {
            kept: Kept::default(),
            respond: Mutex::new(respond),
            judge: OnceLock::new(),
        });
        let stop = CancellationToken::new();
        let connections = TaskTracker::new();
        let door = serve::Door {
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

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers so from the next request on.
    pub fn respond(&self, respond: Respond) {
        let held = self.shared.respond.lock();
        *held.unwrap_or_else(PoisonError::into_inner) = respond;
    }

    /// Has each request judged from now on. The first judge stays.
    pub fn judge(&self, judge: Judge) {
        let _ = self.shared.judge.set(judge);
    }

    /// What it has, the oldest first.
    #[must_use]
    pub fn received(&self) -> Vec<Arc<Received>> {
        self.shared.kept.all()
    }

    /// Waits for the next request that was not given yet.
    pub async fn next(&self) -> Arc<Received> {
        let from = self.position.load(Ordering::Relaxed);
        let next = self.shared.kept.at_least(from).await;
        self.position
            .store(next.number.saturating_add(1), Ordering::Relaxed);
        next
    }

    /// Takes no more requests, and lets those that came be answered, for a moment.
    pub async fn stop(self) {
        self.stop.cancel();
        self.connections.close();
        // What is never to be answered is given up.
        let _ = tokio::time::timeout(GRACE, self.connections.wait()).await;
    }

    /// Forgets what it has.
    pub fn clear(&self) {
        self.shared.kept.clear();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
