//! What the running config says: routes, certificates, providers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::wire::{Counts, Moment};

/// A secret of a route: never its text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CheckedSecret {
    /// What verdicts call it: its `name`, or its position.
    pub name: String,
    /// When it begins to count.
    pub not_before: Option<Moment>,
    /// When it ceases to count.
    pub until: Option<Moment>,
}

/// Where a route delivers to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RouteDestination {
    /// Its name.
    pub name: String,
    /// Where it is; values of its query that may be secrets are left out.
    pub url: String,
    /// Whether deliveries are attempted.
    pub active: bool,
    /// Whether it is out on the internet.
    pub external: bool,
}

/// A route of the running config.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// The host it takes; none: every one.
    pub host: Option<String>,
    /// The path it takes, or the prefix of paths.
    pub path: String,
    /// Whether `path` is a prefix.
    pub is_prefix: bool,
    /// The provider's id, or `custom`.
    pub provider: String,
    /// `proxy`, `queue` or `hybrid`.
    pub mode: String,
    /// Whether what fails a check is refused; not in monitor mode.
    pub enforced: bool,
    /// The app, in proxy and hybrid mode.
    pub upstream: Option<String>,
    /// Its secrets.
    pub secrets: Vec<CheckedSecret>,
    /// Its destinations.
    pub destinations: Vec<RouteDestination>,
    /// Deliveries by state, of all its destinations; none without a store.
    pub backlog: Option<Counts>,
}

/// The routes, sorted by name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Routes {
    /// The routes.
    pub routes: Vec<Route>,
}

/// A certificate in use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Certificate {
    /// The names and addresses that it is good for.
    pub names: Vec<String>,
    /// Its last moment.
    pub not_after: Moment,
    /// Whole days until then; negative where it is past.
    pub days_left: i64,
}

impl Certificate {
    /// One that ends within so many days should have been renewed: most are a month before.
    const FEW_DAYS: i64 = 14;

    /// Whether it should have been renewed.
    #[must_use]
    pub fn ends_soon(&self) -> bool {
        self.days_left < Self::FEW_DAYS
    }
}

/// The certificates in use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Certificates {
    /// The certificates; the first serves names that no other covers.
    pub certificates: Vec<Certificate>,
}

/// A sender that is known by name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Provider {
    /// As in `provider = "..."`.
    pub id: String,
    /// For people.
    pub name: String,
    /// Where it documents its signatures.
    pub docs: String,
    /// Whether it checks the URL before it sends.
    pub has_challenge: bool,
    /// `vectors`: somebody else's code or documentation agrees with the file; `documentation_only`: only the recipe is known.
    pub proof: String,
}

/// The senders that are known by name, sorted by id.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Providers {
    /// The senders.
    pub providers: Vec<Provider>,
}

/// A sender in full.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProviderDetail {
    /// As in the list.
    #[serde(flatten)]
    pub provider: Provider,
    /// What an operator must know.
    pub about: String,
    /// What to enter there, and where its secret is found.
    pub setup: Option<String>,
    /// How far its signed timestamp may be from now, in seconds, where the route does not say.
    pub tolerance_seconds: u64,
    /// How long it goes on retrying, in seconds, where it says so.
    pub retry_horizon_seconds: Option<u64>,
    /// Where the gate is stricter than the sender's own library.
    pub stricter: Vec<String>,
    /// What its signature does not cover, beyond what the scheme tells by itself.
    pub unsigned: Vec<String>,
    /// The ranges of addresses that it publishes, as they stood when this version was made.
    pub ranges: Vec<String>,
    /// The routes of the running config that name it.
    pub routes: Vec<String>,
}

/// What came of a reload.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// Routes of the new config.
    pub routes: u64,
}
