//! Single requests over verified HTTPS to a host of the operator's choice, with the whole response in memory.
//!
//! One request uses one connection. It has one deadline and a limit of bytes, and follows no redirects.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request;
use http::response;
use http::uri::Authority;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::Full;
use tokio::time::timeout;

use crate::net::app_url::AppOrigin;
use crate::net::client::{
    ClientError, ConnectError, ConnectionLease, ExchangeError, OutgoingClient, OwnTls, PoolKey,
    PoolLimits, system_roots,
};
use crate::net::egress_proxy::EgressProxy;
use crate::net::fetch::{FetchLimits, WholeBodyError, read_whole};

/// The reason why a request has no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpsRequestError {
    /// The URL is not https, or its host or path cannot be used.
    #[error("`{url}` is not a usable https URL")]
    Url { url: String },
    /// TLS cannot be set up.
    #[error("cannot set up TLS to `{host}`")]
    Setup { host: String, source: ClientError },
    /// No connection could be opened.
    #[error("cannot connect to `{host}`")]
    Connect { host: String, source: ConnectError },
    /// No response came.
    #[error("`{host}` sent no response")]
    Exchange { host: String, source: ExchangeError },
    /// The body of the response is incomplete or too large.
    #[error("the response of `{host}` cannot be read")]
    Body {
        host: String,
        source: WholeBodyError,
    },
    /// The deadline passed before the last byte.
    #[error("`{host}` did not respond in time")]
    Deadline { host: String },
}

/// The client and the settings by which hosts are reached.
pub(crate) struct HttpsAccess<'a> {
    pub(crate) client: &'a OutgoingClient,
    /// The authorities that may have signed the host's certificate. The file is read for each request, so that a new one
    /// needs no restart.
    pub(crate) ca: Option<PathBuf>,
    /// Proxy for hosts that are not its exceptions.
    pub(crate) proxy: Option<Arc<EgressProxy>>,
}

/// Sends one request and reads its response.
pub(crate) async fn send(
    access: HttpsAccess<'_>,
    head: request::Parts,
    body: Bytes,
    limits: FetchLimits,
) -> Result<(response::Parts, Bytes), HttpsRequestError> {
    let host = authority_of(&head.uri)?.to_string();
    let sent = timeout(limits.deadline, send_at_once(access, head, body, limits));
    sent.await
        .unwrap_or(Err(HttpsRequestError::Deadline { host }))
}

async fn send_at_once(
    access: HttpsAccess<'_>,
    head: request::Parts,
    body: Bytes,
    limits: FetchLimits,
) -> Result<(response::Parts, Bytes), HttpsRequestError> {
    let authority = authority_of(&head.uri)?;
    let host = authority.to_string();
    let unusable = || HttpsRequestError::Url {
        url: head.uri.to_string(),
    };
    let mut lease = connect(access, authority, limits.deadline).await?;
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::new(Full::new(body));
    *request.uri_mut() = path.parse().map_err(|_| unusable())?;
    let own_host = HeaderValue::from_str(&host).map_err(|_| unusable())?;
    *request.method_mut() = head.method;
    *request.headers_mut() = head.headers;
    let headers = request.headers_mut();
    headers.insert(header::HOST, own_host);
    let agent = concat!("hookgate/", env!("CARGO_PKG_VERSION"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let response = lease.exchange(request).await;
    let response = response.map_err(|source| HttpsRequestError::Exchange {
        host: host.clone(),
        source,
    })?;
    let (head, body) = response.into_parts();
    let body = read_whole(body, lease, limits.max_bytes).await;
    let body = body.map_err(|source| HttpsRequestError::Body { host, source })?;
    Ok((head, body))
}

fn authority_of(uri: &Uri) -> Result<Authority, HttpsRequestError> {
    let is_https = uri.scheme_str() == Some("https");
    let authority = uri.authority().filter(|_| is_https);
    authority.cloned().ok_or_else(|| HttpsRequestError::Url {
        url: uri.to_string(),
    })
}

async fn connect(
    access: HttpsAccess<'_>,
    authority: Authority,
    deadline: Duration,
) -> Result<ConnectionLease, HttpsRequestError> {
    let host = authority.to_string();
    let HttpsAccess { client, ca, proxy } = access;
    let client = client.clone();
    // Reads files of authorities, which would block the runtime.
    let pool = tokio::task::spawn_blocking(move || {
        let own = ca
            .as_deref()
            .map(|ca: &Path| OwnTls::read(system_roots, Some(ca), None));
        let own_tls = own.transpose()?;
        client.pool(PoolKey {
            proxy: proxy.filter(|proxy| !proxy.spares(authority.host())),
            origin: AppOrigin::Host {
                is_tls: true,
                authority,
            },
            connect_timeout: deadline,
            timeout: deadline,
            // Requests are rare, so a connection is not kept for the next one.
            keep: PoolLimits::idle(Duration::ZERO),
            own_tls,
            is_external: false,
        })
    });
    let pool = pool.await.unwrap_or(Err(ClientError::Host));
    let pool = pool.map_err(|source| HttpsRequestError::Setup {
        host: host.clone(),
        source,
    })?;
    let connected = pool.connect().await;
    connected.map_err(|source| HttpsRequestError::Connect { host, source })
}
