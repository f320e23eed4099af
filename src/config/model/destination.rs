//! Checked values of a destination of stored events.

use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::document::TextSpan;
use hookgate_verify::document::value::choice_word;
use hookgate_verify::model::glob::PatternList;
use hookgate_verify::model::rate::RateLimit;
use hookgate_verify::model::secret::Secret;
use hookgate_verify::scheme::standard_webhooks::SigningKey;
use http::{HeaderName, HeaderValue};

use crate::criteria::when::WhenExpression;
use crate::model::ids::DestinationName;
use crate::net::app_url::AppUrl;
use crate::net::client::{PoolLimits, TlsFiles};
use crate::net::egress_proxy::EgressProxy;

/// One destination: `[routes.NAME.destinations.NAME]`, or the `upstream` of a queue or hybrid route under the name
/// `upstream`.
pub struct DestinationSection {
    /// NAME of the destination's table.
    pub name: DestinationName,
    /// Span of the table's name in the config.
    pub span: TextSpan,
    /// Host or Unix socket, a path, and optionally a query.
    pub url: AppUrl,
    /// Span of the URL in the config.
    pub url_span: TextSpan,
    /// Appends the path behind the route's prefix, and the query, as in proxy mode. True for the `upstream` of a route.
    pub appends_rest: bool,
    /// Event types that it gets; `None`: all.
    pub events: Option<PatternList>,
    /// Condition for an event to be delivered; `None`: always.
    pub when: Option<Arc<WhenExpression>>,
    /// Attempts deliveries now. Deliveries are created in any case.
    pub active: bool,
    /// Time limit from the start to an established connection, TLS included.
    pub connect_timeout: Duration,
    /// Time limit from the request to the end of the response.
    pub timeout: Duration,
    /// Lifetime of connections.
    pub keep: PoolLimits,
    /// Limit of attempts at the same time.
    pub concurrency: usize,
    /// Limit of attempts per time.
    pub rate_limit: Option<RateLimit>,
    /// Schedule for retries of failed attempts.
    pub retry: RetryPolicy,
    /// Order in which deliveries are attempted.
    pub order: DeliveryOrder,
    /// Headers to set on each attempt; they replace headers of the same name.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Keys that sign each attempt as Standard Webhooks; empty: no signature.
    pub secrets: Vec<Arc<SigningKey>>,
    /// Signs each attempt again in the sender's own scheme (`resign = "provider"` of the route).
    pub resign: bool,
    /// Client credentials for access tokens (`oauth2`); `None`: no token.
    pub oauth2: Option<ClientCredentials>,
    /// CAs and client certificate of its own; `None`: the system's CAs.
    pub tls: Option<TlsFiles>,
    /// Treats the destination as a host on the internet: https only, and no special addresses.
    pub external: bool,
    /// Proxy through which it is reached.
    pub egress_proxy: Option<Arc<EgressProxy>>,
    /// Adds `Repr-Digest` to each attempt.
    pub repr_digest: bool,
    /// Failures in a row after which attempts pause; `None`: never.
    pub breaker: Option<u32>,
}

/// Client credentials of OAuth 2.0 (`oauth2`). Without `Debug`, like the secret.
#[derive(Clone)]
pub struct ClientCredentials {
    /// URL of the token server.
    pub token_url: AppUrl,
    /// Id of hookgate at the token server.
    pub client_id: String,
    /// Secret of hookgate at the token server.
    pub client_secret: Arc<Secret>,
    /// Scopes of the token.
    pub scope: Option<String>,
    /// Parameter `audience`.
    pub audience: Option<String>,
    /// How the credentials are sent.
    pub authentication: ClientAuthentication,
    /// Proxy through which the token server is reached.
    pub egress_proxy: Option<Arc<EgressProxy>>,
}

/// How client credentials are sent to the token server (`auth`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientAuthentication {
    /// In the header `Authorization`.
    Basic,
    /// In the form of the request.
    Post,
}

impl ClientAuthentication {
    /// All values with their words in a config.
    pub const ALL: [(&'static str, Self); 2] = [("basic", Self::Basic), ("post", Self::Post)];

    /// Returns the word in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// Retry schedule of a destination (`retry`).
#[derive(Clone, PartialEq, Debug)]
pub struct RetryPolicy {
    /// Pauses after the first, second, ... failed attempt.
    pub pauses: RetryPauses,
    /// Limit of attempts, the first one included.
    pub max_attempts: u32,
    /// Age of a delivery after which no attempt begins; `None`: no limit.
    pub max_age: Option<Duration>,
    /// Largest share by which each pause grows at random: 0.0 to 1.0.
    pub jitter: f64,
}

/// Lengths of the pauses between attempts.
#[derive(Clone, PartialEq, Debug)]
pub enum RetryPauses {
    /// One after the other; the last one is used for all later attempts.
    List(Vec<Duration>),
    /// Begins with `base`; each pause is `factor` times the one before, but at most `cap`.
    Exponential {
        /// Length of the first pause.
        base: Duration,
        /// Growth per pause; at least 1.0.
        factor: f64,
        /// Length of the longest pause.
        cap: Duration,
    },
}

/// Order of the deliveries to a destination (`order`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeliveryOrder {
    /// No order: deliveries do not wait for each other.
    None,
    /// One delivery after the other, in the order of acceptance.
    Fifo,
    /// One after the other among events with the same value of this header.
    FifoByHeader(HeaderName),
    /// One after the other among events with the same value at this JSON pointer.
    FifoByJson(String),
}
