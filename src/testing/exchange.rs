//! HTTP client of the test tools: sends a request as it is and returns the response.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::dispatch;
use crate::model::clock::instant;
use crate::model::error::chain;
use crate::net::app_url::{AppUrl, UNIX};
use crate::net::client::drain::BodyEnding;
use crate::net::client::{
    ClientError, ConnectionLease, ConnectionPool, OutgoingClient, OwnTls, PoolKey, PoolLimits,
};
use crate::net::event_headers::set_length;
use crate::net::request_file::{RequestFile, is_framing};
use crate::testing::error::TestingError;

/// Limits for the body of a response: bytes that are kept, and bytes that are read.
const KEPT_ANSWER: usize = 64 * 1024;
const READ_ANSWER: usize = 16 * 1024 * 1024;

/// Trust anchors for the certificate of a server.
pub enum ServerTrust {
    /// The authorities of the system.
    System,
    /// Only the given authorities.
    Roots(rustls::RootCertStore),
    /// Only the authorities in this PEM file.
    File(PathBuf),
    /// Any certificate: verification is off.
    Anybody,
}

/// Server to which requests are sent.
pub struct SendTarget {
    pool: Arc<ConnectionPool>,
    host: HeaderValue,
}

/// Response to a request.
#[derive(Clone, Debug)]
pub struct ReceivedResponse {
    /// Status code of the response.
    pub status: u16,
    /// Headers of the response.
    pub headers: HeaderMap,
    /// Body of the response, at most its first 64 KiB.
    pub body: Bytes,
    /// True if the body was longer, or ended early.
    pub is_cut: bool,
    /// Time from sending the request to the end of the response; includes connecting if no connection was open.
    pub took: Duration,
}

impl ReceivedResponse {
    /// Returns the value of a header that appears exactly once and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        }
    }
}

impl SendTarget {
    /// Prepares connections to the host of a URL; its path is ignored. `timeout` limits the whole response.
    ///
    /// # Errors
    /// The URL is invalid, or the authorities cannot be read.
    pub fn new(url: &str, trust: ServerTrust, timeout: Duration) -> Result<Self, TestingError> {
        let origin = parse(url)?.origin().clone();
        let host = HeaderValue::from_str(origin.host_header());
        let host = host.map_err(|_| TestingError::Url(url.to_owned()))?;
        let failed = |error: ClientError| TestingError::Io("cannot set up TLS", chain(&error));
        let (client, own_tls) = match trust {
            ServerTrust::System => (OutgoingClient::new(), None),
            ServerTrust::Roots(roots) => (OutgoingClient::with_roots(roots), None),
            ServerTrust::File(path) => {
                let client = OutgoingClient::new();
                let own = OwnTls::read(|| client.roots(), Some(&path), None).map_err(failed)?;
                (client, Some(own))
            }
            ServerTrust::Anybody => (
                OutgoingClient::new(),
                Some(OwnTls::unverified().map_err(failed)?),
            ),
        };
        let pool = client.pool(PoolKey {
            origin,
            connect_timeout: timeout,
            timeout,
            keep: PoolLimits::idle(Duration::from_secs(10)),
            own_tls,
            // Tests send to loopback, which an external target must never reach.
            is_external: false,
            proxy: None,
        });
        Ok(Self {
            pool: pool.map_err(failed)?,
            host,
        })
    }

    /// Sends a request unchanged, except for framing headers and a missing `Host`.
    ///
    /// # Errors
    /// No response was received. The text says why.
    pub async fn send(&self, request: &RequestFile) -> Result<ReceivedResponse, String> {
        let request = self.request(request)?;
        let started = instant();
        let sent = dispatch::exchange(&self.pool, request, Duration::ZERO).await;
        let (response, lease) = sent.map_err(|error| chain(&error))?;
        Ok(read(response, lease, started).await)
    }

    fn request(&self, file: &RequestFile) -> Result<Request<Full<Bytes>>, String> {
        let mut headers = file.header_map().map_err(|error| error.to_string())?;
        // The framing in the file describes the saved body; `set_length` below writes that of this request.
        let names: Vec<_> = headers.keys().cloned().collect();
        for name in names.iter().filter(|name| is_framing(name.as_str())) {
            headers.remove(name);
        }
        if !headers.contains_key(HOST) {
            headers.insert(HOST, self.host.clone());
        }
        set_length(&mut headers, &file.method, file.body.len());
        let mut request = Request::new(Full::new(file.body.clone()));
        *request.method_mut() = file.method.clone();
        let target = file.target.parse();
        *request.uri_mut() =
            target.map_err(|_| format!("`{}` is not a valid request target", file.target))?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// Parses an `http` or `https` URL without credentials, or a Unix socket.
pub(crate) fn parse(url: &str) -> Result<AppUrl, TestingError> {
    let wrong = || TestingError::Url(url.to_owned());
    if let Some(rest) = url.strip_prefix(UNIX) {
        return AppUrl::parse_socket(rest).map_err(|_| wrong());
    }
    let parsed: Uri = url.parse().map_err(|_| wrong())?;
    // Credentials in a URL would be dropped silently.
    let authority = parsed.authority().filter(|one| !one.as_str().contains('@'));
    if authority.is_none() {
        return Err(wrong());
    }
    AppUrl::of_uri(&parsed).ok_or_else(wrong)
}

/// Splits a URL into its origin, and its path with the query. Senders sign the origin: that of a socket is
/// `http://localhost`, which fits its `Host`.
pub(super) fn split(url: &str) -> Result<(String, String), TestingError> {
    let parsed = parse(url)?;
    let scheme = if parsed.is_tls() { "https" } else { "http" };
    let host = parsed.origin().host_header();
    let target = parsed.target().as_str();
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok((format!("{scheme}://{host}"), format!("{slash}{target}")))
}

pub(super) async fn read(
    response: Response<Incoming>,
    lease: ConnectionLease,
    started: Instant,
) -> ReceivedResponse {
    let (head, body) = response.into_parts();
    let drained = lease.drain(body, KEPT_ANSWER, READ_ANSWER).await;
    ReceivedResponse {
        status: head.status.as_u16(),
        headers: head.headers,
        is_cut: drained.ending != BodyEnding::Whole || drained.start.len() >= KEPT_ANSWER,
        body: drained.start,
        took: instant().saturating_duration_since(started),
    }
}
