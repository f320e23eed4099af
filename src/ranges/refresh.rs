//! A single refresh: fetch the list, parse it, and compare it with the known ranges.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hookgate_verify::net::remote_url::RemoteUrl;
use ipnet::IpNet;

use crate::model::clock::{self, ClockReading};
use crate::net::fetch::{FetchError, FetchLimits, HttpsFetcher};
use crate::ranges::plausibility::{self, ImplausibleRanges};
use crate::ranges::published::{self, PublishedFault};
use crate::ranges::sender_ranges::{RangesEndpoint, SenderRanges};

/// Limits of a fetch. No request waits for it; GitHub's document has half a megabyte.
const LIMITS: FetchLimits = FetchLimits {
    deadline: Duration::from_secs(30),
    max_bytes: 4 << 20,
};

/// Reason why a refresh did not complete.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefreshError {
    /// The provider has no machine-readable list.
    #[error("the provider does not publish its IP ranges in a machine-readable form")]
    Unpublished,
    /// The list could not be fetched.
    #[error(transparent)]
    Fetch(FetchError),
    /// The document is not a valid list.
    #[error("the list at `{url}` {fault}")]
    Published {
        url: RemoteUrl,
        fault: PublishedFault,
    },
    /// The ranges are not plausible.
    #[error("the list at `{url}` {absurd}")]
    Absurd {
        url: RemoteUrl,
        absurd: ImplausibleRanges,
    },
    /// The ranges are in use, but could not be saved, so a restart loses them.
    #[error("cannot save the IP ranges in `{}`", folder.display())]
    Keep { folder: PathBuf, source: io::Error },
}

/// Difference between the known and the published ranges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RangeChange {
    /// Ranges that are published now.
    pub now: SenderRanges,
    /// Ranges that are new in the list.
    pub added: Vec<IpNet>,
    /// Ranges that are no longer in the list.
    pub removed: Vec<IpNet>,
}

impl RangeChange {
    /// Compares two lists range by range.
    fn between(before: &SenderRanges, now: SenderRanges) -> Self {
        let missing = |from: &[IpNet], within: &[IpNet]| {
            let missing = from.iter().filter(|net| !within.contains(net));
            missing.copied().collect()
        };
        Self {
            added: missing(&now.nets, &before.nets),
            removed: missing(&before.nets, &now.nets),
            now,
        }
    }

    /// Returns true if both lists have the same ranges.
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

/// Settings of refreshes: the HTTP client, and the trust in large changes.
#[derive(Clone, Debug)]
pub(crate) struct RangeRefresh {
    /// HTTP client for the lists.
    pub fetcher: HttpsFetcher,
    /// Accepts lists that differ much from the known one. Ranges that no provider can have are still rejected.
    pub accepts_any_change: bool,
}

impl RangeRefresh {
    /// Fetches the published list and compares it with the known ranges.
    ///
    /// # Errors
    /// Returns a [`RefreshError`] if the list cannot be fetched, is invalid or is not plausible.
    pub(crate) async fn fetch(
        &self,
        source: &RangesEndpoint,
        before: &SenderRanges,
    ) -> Result<RangeChange, RefreshError> {
        let url = &source.url;
        let answer = self.fetcher.get(url, LIMITS).await;
        let answer = answer.map_err(RefreshError::Fetch)?;
        let nets =
            published::read(&answer, &source.format).map_err(|fault| RefreshError::Published {
                url: url.clone(),
                fault,
            })?;
        // Impossible ranges are always rejected, large changes only without the operator's consent.
        let judged = plausibility::check(&nets).and_then(|()| match self.accepts_any_change {
            true => Ok(()),
            false => plausibility::compare(&before.nets, &nets),
        });
        judged.map_err(|absurd| RefreshError::Absurd {
            url: url.clone(),
            absurd,
        })?;
        let read = clock::day(ClockReading::read().unix_seconds());
        // The published list is aggregated; ranges of a provider file need not be, and would all count as removed.
        let mut before = before.clone();
        before.nets = IpNet::aggregate(&before.nets);
        Ok(RangeChange::between(&before, SenderRanges { read, nets }))
    }
}
