//! The published address ranges of one sender.

use hookgate_verify::net::remote_url::RemoteUrl;
use hookgate_verify::providers::{Provider, RangesFormat};
use ipnet::IpNet;

/// Address ranges of one provider, as of one day.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SenderRanges {
    /// Day on which the list was read, `YYYY-MM-DD`.
    pub read: String,
    /// The ranges; no range lies within another.
    pub nets: Vec<IpNet>,
}

/// Machine-readable list of a provider's ranges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RangesEndpoint {
    /// Id of the provider in the catalogue.
    pub id: String,
    /// URL from which the list is fetched.
    pub url: RemoteUrl,
    /// Format of the list: lines of text, or locations in JSON.
    pub format: RangesFormat,
}

impl RangesEndpoint {
    /// Returns the source of a provider, or `None` if it publishes no machine-readable list.
    pub(crate) fn of(provider: &Provider) -> Option<Self> {
        let ranges = provider.ip_ranges.as_ref()?;
        Some(Self {
            id: provider.id.clone(),
            url: RemoteUrl::parse(&ranges.url).ok()?,
            format: ranges.format.clone()?,
        })
    }
}
