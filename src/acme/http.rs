//! HTTP to the CA for `instant-acme`, with hookgate's own client, and facts from responses that it does not pass on.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header, response};
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use parking_lot::Mutex;
use serde_json::Value;
use thiserror::Error as ThisError;

use crate::model::clock::ClockReading;
use crate::net::client::OutgoingClient;
use crate::net::egress_proxy::EgressProxy;
use crate::net::fetch::FetchLimits;
use crate::net::https_request::{self, HttpsAccess, HttpsRequestError};
use crate::net::retry_after::parse_retry_after;

/// Limits of one request. CAs respond within a second, and slowly when they are busy; chains have some 5 KiB.
const LIMITS: FetchLimits = FetchLimits {
    deadline: Duration::from_secs(30),
    max_bytes: 1 << 20,
};

/// Name of the challenge whose fields `instant-acme` does not know.
const PERSIST: &str = "dns-persist-01";

/// The reason why a request to the CA has no usable response.
#[derive(Debug, ThisError)]
pub(super) enum AuthorityHttpError {
    #[error("the CA cannot be reached")]
    Request(#[source] HttpsRequestError),
    #[error("the CA responds with status {}", status.as_u16())]
    Status {
        status: StatusCode,
        retry_after: Option<Duration>,
    },
}

impl AuthorityHttpError {
    /// Returns the pause that the CA asks for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Request(_) => None,
            Self::Status { retry_after, .. } => *retry_after,
        }
    }
}

/// Facts from responses that `instant-acme` does not pass on.
#[derive(Default)]
struct ResponseFacts {
    /// `Retry-After` of the last error response.
    retry_after: Option<Duration>,
    /// Domain names by which the CA identifies itself in DNS records.
    issuers: Vec<String>,
}

/// The client for one CA. Cheap to clone.
#[derive(Clone)]
pub(super) struct AuthorityHttp {
    client: OutgoingClient,
    ca: Option<PathBuf>,
    proxy: Option<Arc<EgressProxy>>,
    facts: Arc<Mutex<ResponseFacts>>,
}

impl AuthorityHttp {
    /// Creates a client that trusts the authorities of a file, or of the system.
    pub(super) fn new(ca: Option<PathBuf>, proxy: Option<Arc<EgressProxy>>) -> Self {
        Self {
            // A client of its own, because the connections of the upstreams' client are a metric.
            client: OutgoingClient::new(),
            ca,
            proxy,
            facts: Arc::default(),
        }
    }

    /// Takes the last `Retry-After` of an error.
    pub(super) fn take_retry_after(&self) -> Option<Duration> {
        self.facts.lock().retry_after.take()
    }

    /// Returns the domain names by which the CA identifies itself in DNS records.
    pub(super) fn issuers(&self) -> Vec<String> {
        self.facts.lock().issuers.clone()
    }

    async fn exchange(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<Response<Full<Bytes>>, AuthorityHttpError> {
        let (head, body) = request.into_parts();
        // The error type of this body has no value.
        let body = match body.collect().await {
            Ok(whole) => whole.to_bytes(),
            Err(never) => match never {},
        };
        let access = HttpsAccess {
            client: &self.client,
            ca: self.ca.clone(),
            proxy: self.proxy.clone(),
        };
        let sent = https_request::send(access, head, body, LIMITS);
        let (head, body) = sent.await.map_err(AuthorityHttpError::Request)?;
        self.take_facts(&head, &body);
        // `instant-acme` expects a problem document in each error, but proxies and broken CAs send anything.
        if !head.status.is_success() && !is_problem(&head.headers) {
            return Err(AuthorityHttpError::Status {
                retry_after: retry_after(&head.headers),
                status: head.status,
            });
        }
        Ok(Response::from_parts(head, Full::new(body)))
    }

    fn take_facts(&self, head: &response::Parts, body: &[u8]) {
        let mut facts = self.facts.lock();
        if !head.status.is_success() {
            facts.retry_after = retry_after(&head.headers);
        }
        let issuers = issuers_in(body);
        if !issuers.is_empty() {
            facts.issuers = issuers;
        }
    }
}

impl HttpClient for AuthorityHttp {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let response = client.exchange(request).await;
            let response = response.map_err(|error| Error::Other(Box::new(error)))?;
            Ok(BytesResponse::from(response))
        })
    }
}

/// Returns the issuer names in an authorization that offers `dns-persist-01`.
fn issuers_in(body: &[u8]) -> Vec<String> {
    // Most responses do not offer it, so most are not parsed a second time.
    if memchr::memmem::find(body, PERSIST.as_bytes()).is_none() {
        return Vec::new();
    }
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    let challenges = parsed.as_ref().and_then(|parsed| parsed.get("challenges"));
    let challenges = challenges.and_then(Value::as_array).into_iter().flatten();
    let names = challenges
        .filter(|challenge| challenge.get("type").and_then(Value::as_str) == Some(PERSIST))
        .filter_map(|challenge| challenge.get("issuer-domain-names")?.as_array())
        .flatten();
    names
        .filter_map(Value::as_str)
        .filter(|name| is_issuer(name))
        .map(str::to_owned)
        .collect()
}

/// Returns true for a name that may be in a record: it comes from the network, and operators copy it.
fn is_issuer(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    !name.is_empty() && name.len() <= 253 && name.bytes().all(is_plain)
}

fn is_problem(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.trim_start().starts_with("application/problem+json")
}

/// Returns the pause that a response asks for.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?;
    parse_retry_after(value, ClockReading::read().unix_ms)
}
