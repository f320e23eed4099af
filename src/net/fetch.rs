//! Fetches of provider data over HTTPS: keys, certificates, published address ranges.
//!
//! A fetch uses `https` only, verified with the system's roots. It has one deadline and a limit of bytes, and follows
//! no redirects. It goes through the egress proxy of the config, which gets the name of the host. The [`RemoteUrl`] decides whether a URL may be fetched at all, before this module sees
//! it.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::{Bytes, BytesMut};
use hookgate_verify::net::remote_url::RemoteUrl;
use http::{HeaderName, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::net::app_url::AppOrigin;
use crate::net::client::{
    ClientError, ConnectError, ConnectionLease, ExchangeError, OutgoingClient, PoolKey, PoolLimits,
};
use crate::net::egress_proxy::EgressProxy;

/// Maximum number of concurrent fetches. Others wait, within their deadline.
const MAX_CONCURRENT: usize = 16;

/// Limits of one fetch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FetchLimits {
    /// Time from the call to the last byte.
    pub deadline: Duration,
    /// Maximum size of the body, in bytes.
    pub max_bytes: usize,
}

impl Default for FetchLimits {
    /// Returns 5 seconds, since a sender waits meanwhile, and 256 KiB, since the largest known key sets have 20 KiB.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            max_bytes: 256 * 1024,
        }
    }
}

/// The reason why a fetch failed. The messages say what the operator can do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// TLS cannot be set up.
    #[error("cannot fetch `{url}`; is the package `ca-certificates` installed?")]
    Setup { url: RemoteUrl, source: ClientError },
    /// No connection could be opened.
    #[error(
        "cannot connect to `{url}`; allow outgoing connections to port {} of this host, or set `egress_proxy`", url.port()
    )]
    Connect {
        url: RemoteUrl,
        source: ConnectError,
    },
    /// No response came.
    #[error("`{url}` sent no response")]
    Exchange {
        url: RemoteUrl,
        source: ExchangeError,
    },
    /// The response ended before its body was complete.
    #[error("the response of `{url}` ended before it was complete")]
    Broken { url: RemoteUrl },
    /// A redirect. It is not followed, since it may point to a host that neither provider nor operator named.
    #[error(
        "`{url}` responds with a redirect, which hookgate does not follow; use the URL that it points to"
    )]
    Redirect { url: RemoteUrl },
    /// A status other than 200.
    #[error("`{url}` responds with status {}", status.as_u16())]
    Status { url: RemoteUrl, status: StatusCode },
    /// A compressed response, although the request asked for `identity`.
    #[error("the response of `{url}` is compressed, which hookgate does not read")]
    Compressed { url: RemoteUrl },
    /// The body is larger than the limit.
    #[error("the response of `{url}` is larger than {limit} bytes")]
    TooLarge { url: RemoteUrl, limit: usize },
    /// The deadline passed before the last byte.
    #[error("`{url}` could not be fetched within {limit:?}")]
    Deadline { url: RemoteUrl, limit: Duration },
}

/// The client for fetches. Cheap to clone.
#[derive(Clone)]
pub(crate) struct HttpsFetcher {
    client: OutgoingClient,
    permits: Arc<Semaphore>,
    proxy: EgressRoute,
}

/// The egress proxy in use, which a reload may replace. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct EgressRoute(Arc<ArcSwapOption<EgressProxy>>);

impl EgressRoute {
    /// Replaces the proxy for all fetches from now on; `None`: hosts are reached directly.
    pub(crate) fn set(&self, proxy: Option<Arc<EgressProxy>>) {
        self.0.store(proxy);
    }

    /// Returns the proxy for a host.
    fn of(&self, host: &str) -> Option<Arc<EgressProxy>> {
        self.0.load_full().filter(|proxy| !proxy.spares(host))
    }
}

impl HttpsFetcher {
    /// Creates a fetcher on top of a client, whose roots verify the hosts.
    pub(crate) fn new(client: OutgoingClient) -> Self {
        Self {
            client,
            permits: Arc::new(Semaphore::new(MAX_CONCURRENT)),
            proxy: EgressRoute::default(),
        }
    }

    /// Sets the proxy of a fetcher.
    pub(crate) fn through(mut self, proxy: EgressRoute) -> Self {
        self.proxy = proxy;
        self
    }

    /// Returns the client below the fetcher.
    pub(crate) fn client(&self) -> &OutgoingClient {
        &self.client
    }

    /// Fetches the body of a URL by `GET`. Any status but 200 is an error.
    pub(crate) async fn get(
        &self,
        url: &RemoteUrl,
        limits: FetchLimits,
    ) -> Result<Bytes, FetchError> {
        self.fetch(url, Request::get(url.path_query()), Bytes::new(), limits)
            .await
    }

    /// Sends a JSON document by `POST` and returns the body of the response. Any status but 200 is an error.
    pub(crate) async fn post_json(
        &self,
        url: &RemoteUrl,
        document: Bytes,
        limits: FetchLimits,
    ) -> Result<Bytes, FetchError> {
        let request = Request::post(url.path_query());
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.fetch(url, request, document, limits).await
    }

    async fn fetch(
        &self,
        url: &RemoteUrl,
        request: http::request::Builder,
        body: Bytes,
        limits: FetchLimits,
    ) -> Result<Bytes, FetchError> {
        let exchange = async {
            // The semaphore is never closed, so this only ever waits.
            let _place = self.permits.acquire().await;
            let mut lease = self.connect(url, limits.deadline).await?;
            let request = complete(url, request, body)?;
            let answer = lease.exchange(request).await;
            let answer = answer.map_err(|source| FetchError::Exchange {
                url: url.clone(),
                source,
            })?;
            check(url, &answer)?;
            read(url, answer, lease, limits.max_bytes).await
        };
        // One deadline over everything, the wait for the semaphore included, since a sender may be waiting.
        let fetched = timeout(limits.deadline, exchange).await;
        fetched.unwrap_or_else(|_| {
            Err(FetchError::Deadline {
                url: url.clone(),
                limit: limits.deadline,
            })
        })
    }

    async fn connect(
        &self,
        url: &RemoteUrl,
        limit: Duration,
    ) -> Result<ConnectionLease, FetchError> {
        let setup = |source| FetchError::Setup {
            url: url.clone(),
            source,
        };
        let authority = format!("{}:{}", url.host(), url.port());
        let key = PoolKey {
            origin: AppOrigin::Host {
                is_tls: true,
                authority: authority.parse().map_err(|_| setup(ClientError::Host))?,
            },
            connect_timeout: limit,
            timeout: limit,
            // Fetches are rare, so a connection is not kept for the next one.
            keep: PoolLimits::idle(Duration::ZERO),
            own_tls: None,
            is_external: false,
            proxy: self.proxy.of(url.host()),
        };
        let client = self.client.clone();
        // The first pool reads the system's roots from disk, which would block the runtime.
        let pool = tokio::task::spawn_blocking(move || client.pool(key)).await;
        let pool = pool.map_err(|_| FetchError::Broken { url: url.clone() })?;
        let connected = pool.map_err(setup)?.connect().await;
        connected.map_err(|source| FetchError::Connect {
            url: url.clone(),
            source,
        })
    }
}

impl fmt::Debug for HttpsFetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fetcher")
    }
}

fn complete(
    url: &RemoteUrl,
    request: http::request::Builder,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, FetchError> {
    // The normal form of an authority omits the default port (RFC 9110, section 4.2.3).
    let host = match url.port() {
        443 => url.host().to_owned(),
        port => format!("{}:{port}", url.host()),
    };
    let request = request
        // One fetch uses one connection, so `close`. `identity`, so that the limit of bytes applies to the plain body.
        .header(header::HOST, host)
        .header(
            header::USER_AGENT,
            concat!("hookgate/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::ACCEPT, "*/*")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::CONNECTION, "close")
        .body(Full::new(body));
    request.map_err(|_| FetchError::Setup {
        url: url.clone(),
        source: ClientError::Host,
    })
}

fn check(url: &RemoteUrl, answer: &Response<Incoming>) -> Result<(), FetchError> {
    let (status, url) = (answer.status(), url.clone());
    if status.is_redirection() {
        return Err(FetchError::Redirect { url });
    }
    if status != StatusCode::OK {
        return Err(FetchError::Status { url, status });
    }
    if !is_plain(answer, &header::CONTENT_ENCODING) {
        return Err(FetchError::Compressed { url });
    }
    Ok(())
}

fn is_plain(answer: &Response<Incoming>, name: &HeaderName) -> bool {
    let mut values = answer.headers().get_all(name).iter();
    values.all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// The reason why a body could not be read as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum WholeBodyError {
    /// The body ended before it was complete.
    #[error("the response ended before it was complete")]
    Broken,
    /// The body is larger than the limit.
    #[error("the response is larger than {0} bytes")]
    TooLarge(usize),
}

async fn read(
    url: &RemoteUrl,
    answer: Response<Incoming>,
    lease: ConnectionLease,
    limit: usize,
) -> Result<Bytes, FetchError> {
    let whole = read_whole(answer.into_body(), lease, limit).await;
    whole.map_err(|error| match error {
        WholeBodyError::Broken => FetchError::Broken { url: url.clone() },
        WholeBodyError::TooLarge(limit) => FetchError::TooLarge {
            url: url.clone(),
            limit,
        },
    })
}

/// Reads a body up to the limit, and closes its connection. Bytes past the limit are not read.
pub(crate) async fn read_whole(
    mut body: Incoming,
    mut lease: ConnectionLease,
    limit: usize,
) -> Result<Bytes, WholeBodyError> {
    let mut whole = BytesMut::new();
    loop {
        let frame = poll_fn(|context| {
            // A body's frames may be ready already; only where they are not, the connection has to read more.
            if let Poll::Ready(frame) = Pin::new(&mut body).poll_frame(context) {
                return Poll::Ready(frame);
            }
            lease.drive(context);
            Pin::new(&mut body).poll_frame(context)
        });
        let piece = match frame.await {
            None => return Ok(whole.freeze()),
            Some(Err(_)) => return Err(WholeBodyError::Broken),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        // Checked before the copy, and not by `Content-Length`, which may be absent or wrong.
        if whole.len().saturating_add(piece.len()) > limit {
            return Err(WholeBodyError::TooLarge(limit));
        }
        whole.extend_from_slice(&piece);
    }
}

#[cfg(test)]
mod tests;
