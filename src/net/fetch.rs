//! Fetches what the gate needs from a provider: keys, certificates, published ranges of addresses.
//!
//! Only `https`, verified with the system's roots; one deadline over all of it, a limit of bytes, no redirects, no
//! proxies, and few fetches at once. Whether a URL may be fetched at all is said before, by whoever made the
//! [`RemoteUrl`].

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::net::client::{Client, ClientError, ConnectError, ExchangeError, Lease, PoolKey};
use crate::net::remote_url::RemoteUrl;

/// Fetches that run at the same time; the others wait within their deadline.
const MAX_CONCURRENT: usize = 16;

/// How long and how large a fetch may become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchLimits {
    /// From the call to the last byte.
    pub deadline: Duration,
    /// The largest body.
    pub max_bytes: usize,
}

impl Default for FetchLimits {
    /// 5 seconds, since a sender waits for its answer meanwhile; 256 KiB, since the largest known key sets have 20.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            max_bytes: 256 * 1024,
        }
    }
}

/// Why nothing was fetched. Texts name what to do where the operator can do something.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the messages say they are")]
pub enum FetchError {
    /// No TLS.
    #[error("cannot fetch `{url}`; is the package `ca-certificates` installed?")]
    Setup { url: RemoteUrl, source: ClientError },
    /// No connection.
    #[error(
        "cannot connect to `{url}`; outgoing connections to port {} of this host have to be allowed", url.port()
    )]
    Connect {
        url: RemoteUrl,
        source: ConnectError,
    },
    /// No answer.
    #[error("`{url}` gave no answer")]
    Exchange {
        url: RemoteUrl,
        source: ExchangeError,
    },
    /// An answer that broke off.
    #[error("the answer of `{url}` broke off")]
    Broken { url: RemoteUrl },
    /// A redirect. They are not followed: they may lead to a host that nobody named.
    #[error(
        "`{url}` answers with a redirect, which is not followed; name the URL that it leads to"
    )]
    Redirect { url: RemoteUrl },
    /// Another status than 200.
    #[error("`{url}` answers with status {}", status.as_u16())]
    Status { url: RemoteUrl, status: StatusCode },
    /// A compressed answer, though nobody asked for one.
    #[error("the answer of `{url}` is compressed")]
    Compressed { url: RemoteUrl },
    /// Too much.
    #[error("the answer of `{url}` has more than {limit} bytes")]
    TooLarge { url: RemoteUrl, limit: usize },
    /// Not in time.
    #[error("`{url}` was not fetched within {limit:?}")]
    Deadline { url: RemoteUrl, limit: Duration },
}

/// The client for fetches. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    client: Client,
    places: Arc<Semaphore>,
}

impl Fetcher {
    /// Fetches through this client, whose roots verify the hosts.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            places: Arc::new(Semaphore::new(MAX_CONCURRENT)),
        }
    }

    /// The client that it fetches through.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The body behind a URL, where it answers with 200.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn get(&self, url: &RemoteUrl, limits: FetchLimits) -> Result<Bytes, FetchError> {
        self.fetch(url, Request::get(url.path_query()), Bytes::new(), limits)
            .await
    }

    /// The answer to a JSON document, where it is 200.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn post_json(
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
            // Never closed.
            let _place = self.places.acquire().await;
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
        let fetched = timeout(limits.deadline, exchange).await;
        fetched.unwrap_or_else(|_| {
            Err(FetchError::Deadline {
                url: url.clone(),
                limit: limits.deadline,
            })
        })
    }

    async fn connect(&self, url: &RemoteUrl, limit: Duration) -> Result<Lease, FetchError> {
        let setup = |source| FetchError::Setup {
            url: url.clone(),
            source,
        };
        let authority = format!("{}:{}", url.host(), url.port());
        let key = PoolKey {
            is_tls: true,
            authority: authority.parse().map_err(|_| setup(ClientError::Host))?,
            connect_timeout: limit,
            timeout: limit,
            idle_timeout: Duration::ZERO,
            own_tls: None,
            is_external: false,
        };
        let client = self.client.clone();
        // The first one reads the system's roots from the disk.
        let pool = tokio::task::spawn_blocking(move || client.pool(key)).await;
        let pool = pool.map_err(|_| FetchError::Broken { url: url.clone() })?;
        let connected = pool.map_err(setup)?.connect().await;
        connected.map_err(|source| FetchError::Connect {
            url: url.clone(),
            source,
        })
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fetcher")
    }
}

fn complete(
    url: &RemoteUrl,
    request: http::request::Builder,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, FetchError> {
    let host = match url.port() {
        443 => url.host().to_owned(),
        port => format!("{}:{port}", url.host()),
    };
    let request = request
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

/// Reads the body up to the limit; what is over it is not read.
async fn read(
    url: &RemoteUrl,
    answer: Response<Incoming>,
    mut lease: Lease,
    limit: usize,
) -> Result<Bytes, FetchError> {
    let mut body = answer.into_body();
    let mut whole = BytesMut::new();
    loop {
        let frame = poll_fn(|context| {
            if let Poll::Ready(frame) = Pin::new(&mut body).poll_frame(context) {
                return Poll::Ready(frame);
            }
            lease.drive(context);
            Pin::new(&mut body).poll_frame(context)
        });
        let piece = match frame.await {
            None => return Ok(whole.freeze()),
            Some(Err(_)) => return Err(FetchError::Broken { url: url.clone() }),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        if whole.len().saturating_add(piece.len()) > limit {
            return Err(FetchError::TooLarge {
                url: url.clone(),
                limit,
            });
        }
        whole.extend_from_slice(&piece);
    }
}

#[cfg(test)]
mod tests;
