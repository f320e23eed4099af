//! One refresh: ask the sender, read its answer, hold it against what was known.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::model::clock::{self, Now};
use crate::net::fetch::{FetchError, FetchLimits, Fetcher};
use crate::net::remote_url::RemoteUrl;
use crate::ranges::judge::{self, Absurd};
use crate::ranges::published::{self, PublishedFault};
use crate::ranges::{Ranges, Source};

/// Nobody waits for it; GitHub's document has half a megabyte.
const LIMITS: FetchLimits = FetchLimits {
    deadline: Duration::from_secs(30),
    max_bytes: 4 << 20,
};

/// Why ranges stayed as they were.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the messages say they are")]
pub enum RefreshError {
    /// Nothing to ask.
    #[error("the sender publishes its ranges in no form that a program can read")]
    Unpublished,
    /// No answer.
    #[error(transparent)]
    Fetch(FetchError),
    /// An answer without ranges.
    #[error("what `{url}` answers {fault}")]
    Published {
        url: RemoteUrl,
        fault: PublishedFault,
    },
    /// Ranges that are not believed.
    #[error("what `{url}` answers {absurd}")]
    Absurd { url: RemoteUrl, absurd: Absurd },
    /// They are in use, and forgotten with the process.
    #[error("cannot keep the ranges in `{}`", folder.display())]
    Keep { folder: PathBuf, source: io::Error },
}

/// What a refresh changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// What is published now.
    pub now: Ranges,
    /// Ranges that were not there before.
    pub added: Vec<IpNet>,
    /// Ranges that are gone.
    pub removed: Vec<IpNet>,
}

impl Change {
    fn between(before: &Ranges, now: Ranges) -> Self {
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

    /// Whether the ranges are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

/// How refreshes are made.
#[derive(Clone, Debug)]
pub struct Refresh {
    /// What asks.
    pub fetcher: Fetcher,
    /// Believes ranges that differ much from what was known. Ranges that no sender can have stay refused.
    pub accepts_any_change: bool,
}

impl Refresh {
    /// What the sender publishes now, held against what was known.
    ///
    /// # Errors
    /// See [`RefreshError`].
    pub async fn fetch(&self, source: &Source, before: &Ranges) -> Result<Change, RefreshError> {
        let url = &source.url;
        let answer = self.fetcher.get(url, LIMITS).await;
        let answer = answer.map_err(RefreshError::Fetch)?;
        let nets =
            published::read(&answer, &source.format).map_err(|fault| RefreshError::Published {
                url: url.clone(),
                fault,
            })?;
        let judged = judge::check(&nets).and_then(|()| match self.accepts_any_change {
            true => Ok(()),
            false => judge::compare(&before.nets, &nets),
        });
        judged.map_err(|absurd| RefreshError::Absurd {
            url: url.clone(),
            absurd,
        })?;
        let read = clock::day(Now::read().unix_seconds());
        let mut before = before.clone();
        before.nets = IpNet::aggregate(&before.nets);
        Ok(Change::between(&before, Ranges { read, nets }))
    }
}
