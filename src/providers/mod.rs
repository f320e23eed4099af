//! Providers: who sends, as data. One TOML file per provider is compiled in; `find` gives it by id.
//!
//! `config` looks a route's `provider` up here; nothing is read or fetched at run time.

mod load;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ipnet::IpNet;

use crate::scheme::spec::Spec;

/// The compiled-in files: name and text, sorted by name.
static FILES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/provider_files.rs"));

// A file that is wrong is left out here; the test over all files is what keeps that from being built.
static PROVIDERS: LazyLock<Vec<Arc<Provider>>> = LazyLock::new(|| {
    let parsed = FILES.iter().map(|(name, text)| load::parse(name, text));
    parsed.filter_map(Result::ok).map(Arc::new).collect()
});

/// What a provider file says.
#[derive(Debug)]
pub struct Provider {
    /// Lower-case words joined by underscores.
    pub id: String,
    /// For people.
    pub name: String,
    /// Where the provider documents its signatures.
    pub docs: String,
    /// How it signs.
    pub scheme: Spec,
    /// Default tolerance of the signed timestamp.
    pub tolerance: Duration,
    /// How long the provider goes on retrying; the default dedup window is at least that.
    pub retry_horizon: Option<Duration>,
    /// Its URL check, if it has one.
    pub challenge: Option<Challenge>,
    /// The addresses that it publishes.
    pub ip_ranges: Option<IpRanges>,
}

/// A provider's URL check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Challenge {
    /// Slack's signed `url_verification` event: the value of `challenge` goes back as text.
    SlackUrlVerification,
}

/// Published source addresses.
#[derive(Debug)]
pub struct IpRanges {
    /// The day on which they were read, `YYYY-MM-DD`.
    pub read: String,
    /// Where they are published.
    pub url: String,
    /// The ranges.
    pub cidrs: Vec<IpNet>,
}

/// The provider with this id.
#[must_use]
pub fn find(id: &str) -> Option<Arc<Provider>> {
    all().iter().find(|provider| provider.id == id).cloned()
}

/// Every provider, sorted by id.
#[must_use]
pub fn all() -> &'static [Arc<Provider>] {
    &PROVIDERS
}
