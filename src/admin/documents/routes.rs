//! JSON shapes of the running config: routes, certificates and providers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::documents::values::{ApiTimestamp, StateCounts};

/// A secret of a route, without its text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CheckedSecret {
    /// Name of the secret in verdicts: its `name` in the config, or its position.
    pub name: String,
    /// Time from which the secret is valid.
    pub not_before: Option<ApiTimestamp>,
    /// Time at which the secret expires.
    pub until: Option<ApiTimestamp>,
}

/// A destination of a route, from the running config.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RouteDestination {
    /// Name of the destination.
    pub name: String,
    /// URL of the destination, with values of its query that may be secrets masked.
    pub url: String,
    /// True if deliveries are attempted.
    pub active: bool,
    /// True for an endpoint on the internet, to which no internal address may be connected.
    pub external: bool,
}

/// A route of the running config.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Route)]
pub(crate) struct RouteDocument {
    /// Name of the route.
    pub name: String,
    /// Place of the route in the config: file, line and column.
    pub place: String,
    /// Host that the route matches; null matches every host.
    pub host: Option<String>,
    /// Path that the route matches, or the prefix of paths.
    pub path: String,
    /// True if `path` is a prefix.
    pub is_prefix: bool,
    /// Id of the provider, or `custom`.
    pub provider: String,
    /// Mode of the route: `proxy`, `queue` or `hybrid`.
    pub mode: String,
    /// True if the gate rejects requests that fail a check; false in monitor mode.
    pub enforced: bool,
    /// URL of the app in proxy and hybrid mode.
    pub upstream: Option<String>,
    /// Secrets of the route, in the order of the config.
    pub secrets: Vec<CheckedSecret>,
    /// Destinations of the route in the config.
    pub destinations: Vec<RouteDestination>,
    /// Number of deliveries in each state, over all destinations; null without a store.
    pub backlog: Option<StateCounts>,
}

/// All routes of the running config.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Routes)]
pub(crate) struct RouteList {
    /// Routes, sorted by name.
    pub routes: Vec<RouteDocument>,
}

/// A TLS certificate in use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Certificate)]
pub(crate) struct CertificateDocument {
    /// Names and addresses that the certificate covers.
    pub names: Vec<String>,
    /// Time at which the certificate expires; null if there is no certificate yet.
    pub not_after: Option<ApiTimestamp>,
    /// Whole days until it expires, negative after that; null if there is no certificate yet.
    pub days_left: Option<i64>,
    /// Origin of the certificate: `file`, or `acme` if hookgate gets and renews it.
    #[serde(default)]
    pub origin: String,
    /// Time of the next attempt to get or renew it; null for files.
    #[serde(default)]
    pub next_renewal: Option<ApiTimestamp>,
    /// The failures since the last success; null if the last attempt succeeded.
    #[serde(default)]
    pub failure: Option<CertificateFailure>,
}

/// Failures to get or renew a certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CertificateFailure {
    /// Time of the last one.
    pub at: ApiTimestamp,
    /// Number of them since the last success.
    pub count: u32,
    /// The reason of the last one.
    pub reason: String,
}

impl CertificateDocument {
    /// Days before expiry at which a certificate needs attention. Most are renewed a month before.
    const FEW_DAYS: i64 = 14;

    /// Returns whether the certificate expires soon and should have been renewed.
    pub(crate) fn ends_soon(&self) -> bool {
        // Short-lived certificates of a CA are renewed in their last days, which is no reason to worry.
        let is_renewed = self.next_renewal.is_some() && self.failure.is_none();
        !is_renewed && self.days_left.is_none_or(|days| days < Self::FEW_DAYS)
    }
}

/// All TLS certificates in use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Certificates)]
pub(crate) struct CertificateList {
    /// Certificates; the first one serves names that no other covers.
    pub certificates: Vec<CertificateDocument>,
}

/// A provider of the catalogue.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Provider)]
pub(crate) struct ProviderDocument {
    /// Id of the provider, for `provider = "..."` in the config.
    pub id: String,
    /// Name of the provider for people.
    pub name: String,
    /// URL of the provider's documentation of its signatures.
    pub docs: String,
    /// True if the provider checks the URL before it sends events.
    pub has_challenge: bool,
    /// Evidence for the scheme: `vectors` (signatures from independent code or documentation) or `documentation_only`.
    pub proof: String,
}

/// All providers of the catalogue.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Providers)]
pub(crate) struct ProviderList {
    /// Providers, sorted by id.
    pub providers: Vec<ProviderDocument>,
}

/// A provider with all its details.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ProviderDetail {
    /// The provider, as in the list.
    #[serde(flatten)]
    pub provider: ProviderDocument,
    /// Notes that an operator must know.
    pub about: String,
    /// Settings to enter at the provider, and where to find its secret.
    pub setup: Option<String>,
    /// Default tolerance for its signed timestamp, in seconds.
    pub tolerance_seconds: u64,
    /// Time during which the provider retries, in seconds, if it documents one.
    pub retry_horizon_seconds: Option<u64>,
    /// Points in which the gate is stricter than the provider's own library.
    pub stricter: Vec<String>,
    /// Parts that the signature does not cover, beyond those that the scheme implies.
    pub unsigned: Vec<String>,
    /// Address ranges that the provider publishes, as of this version of hookgate.
    pub ranges: Vec<String>,
    /// Names of the routes in the running config that use the provider.
    pub routes: Vec<String>,
}

/// The outcome of a successful reload.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Reloaded)]
pub(crate) struct ReloadResult {
    /// Number of routes in the new config.
    pub routes: u64,
}
