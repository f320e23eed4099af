//! Checked values of a route.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::document::TextSpan;
use hookgate_verify::document::value::choice_word;
use hookgate_verify::model::glob::{GlobPattern, PatternList};
use hookgate_verify::model::rate::RateLimit;
use hookgate_verify::model::secret::Secret;
use hookgate_verify::providers::Provider;
use hookgate_verify::providers::challenge::OnChallenge;
use hookgate_verify::scheme::spec::SchemeSpec;
use hookgate_verify::scheme::standard_webhooks::SigningKey;
use http::Method;
use ipnet::IpNet;

use crate::client_certs::ClientCertRule;
use crate::config::model::alerts::QuietRule;
use crate::config::model::dedup::{DedupRule, TenantRule};
use crate::config::model::destination::DestinationSection;
use crate::config::model::mode::RouteMode;
use crate::config::model::secret::SecretEntry;
use crate::config::model::upstream::{UpstreamBranch, UpstreamSettings};
use crate::criteria::schema::EventSchema;
use crate::criteria::when::WhenExpression;
use crate::model::ids::RouteName;

/// Source addresses that may send (`allow_ips`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AllowIps {
    /// The ranges that the config lists.
    pub nets: Vec<IpNet>,
    /// Adds the ranges that the provider publishes (`"provider"`).
    pub is_provider: bool,
}

/// Settings of one route: `[routes.NAME]`.
pub struct Route {
    /// NAME of the route's table.
    pub name: RouteName,
    /// Span of the table's name in the config.
    pub span: TextSpan,
    /// The same place for people: file, line and column.
    pub place: String,
    /// `host` in lower case, without port; `None`: every host.
    pub host: Option<String>,
    /// The rule for the request path: `path` or `prefix`.
    pub path: PathRule,
    /// Methods that the route accepts; default POST.
    pub methods: Vec<Method>,
    /// Allowed media types, in lower case, without parameters; empty: all.
    pub content_types: Vec<String>,
    /// The provider, if the route names one.
    pub provider: Option<Arc<Provider>>,
    /// The provider's signature scheme, or the route's own.
    pub scheme: SchemeSpec,
    /// Secrets that may verify a request, in config order.
    pub secrets: Vec<SecretEntry>,
    /// Largest difference between a signed timestamp and now.
    pub tolerance: Duration,
    /// Scheme, host and port by which the sender knows this route, without a slash at the end.
    pub public_url: Option<String>,
    /// Source addresses that may send; `None`: all.
    pub allow_ips: Option<AllowIps>,
    /// Client certificates that it demands; `None`: it does not ask for any.
    pub client_cert: Option<Arc<ClientCertRule>>,
    /// Limit of verified requests per time.
    pub rate_limit: Option<RateLimit>,
    /// Limit of the request body, in bytes.
    pub max_body: usize,
    /// Deduplication settings; `None`: `dedup = false`.
    pub dedup: Option<DedupRule>,
    /// Customers whose events it accepts; `None` if each customer has a signing key.
    pub tenant: Option<TenantRule>,
    /// `enforce`: block or monitor failed checks.
    pub enforce: EnforceMode,
    /// `continue_trace`: continues the sender's trace.
    pub continue_trace: bool,
    /// `quiet_after`: when the route counts as quiet.
    pub quiet: QuietRule,
    /// Token that proves that a URL check comes from the provider, if the check is not signed.
    pub verify_token: Option<Secret>,
    /// Handling of the provider's URL checks; `None`: like any other request.
    pub on_challenge: Option<OnChallenge>,
    /// Event types that the upstream gets; `None`: all.
    pub events: Option<PatternList>,
    /// Event versions that the upstream gets; `None`: all.
    pub versions: Option<PatternList>,
    /// Condition for an event to reach the upstream; `None`: always.
    pub when: Option<Arc<WhenExpression>>,
    /// JSON Schemas by pattern of event type; a body must fit every schema whose pattern matches.
    pub schemas: Vec<SchemaRule>,
    /// Keys that sign forwarded requests; empty: no signature.
    pub sign_upstream: Vec<Arc<SigningKey>>,
    /// Handling of verified requests: forward, store or both.
    pub mode: RouteMode,
    /// Upstream that gets verified requests while the sender waits; always present in proxy and hybrid mode.
    pub upstream: Option<UpstreamSettings>,
    /// Other upstreams for some of the events; the first match counts.
    pub branches: Vec<UpstreamBranch>,
    /// Upstream for requests that failed a check in monitor mode; `None`: `upstream`.
    pub unverified_upstream: Option<UpstreamSettings>,
    /// Unix socket on which local apps post without a secret; `None`: no socket.
    pub socket: Option<LocalSocket>,
    /// Destinations of stored events; at least one in queue and hybrid mode, empty otherwise.
    pub destinations: Vec<Arc<DestinationSection>>,
}

/// One JSON Schema of a route (`schemas`).
#[derive(Clone)]
pub struct SchemaRule {
    /// Pattern of the event types that it applies to.
    pub pattern: GlobPattern,
    /// The file of the schema.
    pub path: PathBuf,
    /// The compiled schema.
    pub schema: Arc<EventSchema>,
}

/// Unix socket for local apps (`socket` of a route).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalSocket {
    /// The path of the Unix socket.
    pub path: PathBuf,
    /// User ids that may post events.
    pub users: Vec<u32>,
}

/// Rule for the request path (`path` or `prefix`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PathRule {
    /// The raw path must equal this text.
    Exact(String),
    /// The raw path must equal this text or continue it with a `/`; the rest is appended to the upstream's path. The
    /// text has no slash at the end, except for `/` itself.
    Prefix(String),
}

impl PathRule {
    /// Returns the prefix, if the rule is one.
    #[must_use]
    pub fn prefix(&self) -> Option<&str> {
        match self {
            Self::Exact(_) => None,
            Self::Prefix(prefix) => Some(prefix),
        }
    }
}

/// Handling of revocation lists that are past their end (`expired_crl`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ExpiredCrl {
    /// Refuses every client.
    Refuse,
    /// Goes on with the old list.
    Accept,
}

impl ExpiredCrl {
    /// All values with their words in a config.
    pub(crate) const ALL: [(&'static str, Self); 2] =
        [("refuse", Self::Refuse), ("accept", Self::Accept)];

    /// Returns the word for the value in a config.
    pub(crate) fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// Handling of failed checks (`enforce`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EnforceMode {
    /// Rejects requests that fail a check.
    Block,
    /// Records requests that fail a check, and forwards them.
    Monitor,
}

impl EnforceMode {
    /// All values with their words in a config.
    pub const ALL: [(&'static str, Self); 2] = [("block", Self::Block), ("monitor", Self::Monitor)];

    /// Returns the word for the value in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}
