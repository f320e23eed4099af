//! The addresses that senders publish: those that are in use now, and how they are brought up to date.
//!
//! `allow_ips = ["provider"]` is checked against a [`Live`] list. It begins as what the provider file says or, where that
//! is newer, as what the state folder keeps from an earlier refresh; a [`Refresh`] replaces it while the gate runs. What
//! is published is believed only where it looks like what was known before (`judge`): a broken page, or one that somebody
//! else has written, must neither lock the sender out nor let the world in.

mod judge;
mod published;
mod refresh;
mod store;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::net::remote_url::RemoteUrl;
use crate::providers::{Provider, RangesFormat};

pub use crate::ranges::refresh::{Change, Refresh, RefreshError};

/// The ranges of one sender at one time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ranges {
    /// The day on which they were read, `YYYY-MM-DD`.
    pub read: String,
    /// The ranges, none within another.
    pub nets: Vec<IpNet>,
}

/// Where a sender publishes its ranges in a form that programs read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// The provider's id.
    pub id: String,
    /// Where they stand.
    pub url: RemoteUrl,
    /// How they stand there.
    pub format: RangesFormat,
}

impl Source {
    /// Where this provider publishes them; none where no program can read them.
    #[must_use]
    pub fn of(provider: &Provider) -> Option<Self> {
        let ranges = provider.ip_ranges.as_ref()?;
        Some(Self {
            id: provider.id.clone(),
            url: RemoteUrl::parse(&ranges.url).ok()?,
            format: ranges.format.clone()?,
        })
    }
}

/// The ranges of one sender that are in use, for all routes of it.
#[derive(Debug)]
pub struct Live {
    ranges: ArcSwap<Ranges>,
    /// None where they cannot be refreshed.
    source: Option<Source>,
    updated: AtomicU64,
    unchanged: AtomicU64,
    failed: AtomicU64,
}

impl Live {
    fn new(ranges: Ranges, source: Option<Source>) -> Self {
        Self {
            ranges: ArcSwap::from_pointee(ranges),
            source,
            updated: AtomicU64::new(0),
            unchanged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Whether the sender may send from this address.
    #[must_use]
    pub fn contains(&self, ip: &IpAddr) -> bool {
        self.ranges.load().nets.iter().any(|net| net.contains(ip))
    }

    /// The ranges in use.
    #[must_use]
    pub fn ranges(&self) -> Arc<Ranges> {
        self.ranges.load_full()
    }

    /// Whether the sender publishes them in a form that programs read.
    #[must_use]
    pub fn can_be_refreshed(&self) -> bool {
        self.source.is_some()
    }

    /// Refreshes since the start, by how they ended: with other ranges, with the same, with none.
    #[must_use]
    pub fn refreshes(&self) -> [(&'static str, u64); 3] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("updated", read(&self.updated)),
            ("unchanged", read(&self.unchanged)),
            ("kept", read(&self.failed)),
        ]
    }
}

/// The ranges of all senders that routes name. Lives as long as the process.
#[derive(Debug)]
pub struct RangeBook {
    folder: Option<PathBuf>,
    live: Mutex<BTreeMap<String, Arc<Live>>>,
}

impl RangeBook {
    /// With the state folder, in which refreshed ranges outlive a restart; none: they do not.
    #[must_use]
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            live: Mutex::default(),
        }
    }

    /// The ranges of a provider in use; none where it publishes none. The first call reads the state folder.
    #[must_use]
    pub fn live(&self, provider: &Provider) -> Option<Arc<Live>> {
        let known = self.all().get(&provider.id).cloned();
        if known.is_some() {
            return known;
        }
        let begun = Live::new(
            known_ranges(provider, self.folder.as_deref())?,
            Source::of(provider),
        );
        let mut live = self.all();
        let slot = live.entry(provider.id.clone());
        Some(Arc::clone(slot.or_insert_with(|| Arc::new(begun))))
    }

    /// Takes over what another process has put into the state folder since.
    pub fn reread(&self, provider: &Provider) {
        let found = known_ranges(provider, self.folder.as_deref());
        if let (Some(found), Some(live)) = (found, self.live(provider))
            && found.read > live.ranges().read
        {
            live.ranges.store(Arc::new(found));
        }
    }

    /// By provider id, for the metrics.
    #[must_use]
    pub fn list(&self) -> Vec<(String, Arc<Live>)> {
        let live = self.all();
        let rows = live.iter().map(|(id, live)| (id.clone(), Arc::clone(live)));
        rows.collect()
    }

    /// Asks a sender for its ranges, uses them, and keeps them in the state folder. Without a good answer nothing changes.
    ///
    /// # Errors
    /// Why the ranges stayed as they were; [`RefreshError::Keep`] where they are in use and only not kept on disk.
    pub async fn refresh(&self, refresh: &Refresh, live: &Live) -> Result<Change, RefreshError> {
        let Some(source) = &live.source else {
            return Err(RefreshError::Unpublished);
        };
        let fetched = refresh.fetch(source, &live.ranges()).await;
        let change = fetched.inspect_err(|_| {
            live.failed.fetch_add(1, Ordering::Relaxed);
        })?;
        let count = match change.is_empty() {
            true => &live.unchanged,
            false => &live.updated,
        };
        count.fetch_add(1, Ordering::Relaxed);
        live.ranges.store(Arc::new(change.now.clone()));
        keep(self.folder.as_deref(), source, &change.now)?;
        Ok(change)
    }

    /// A panic while it is locked leaves it whole.
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep(folder: Option<&Path>, source: &Source, ranges: &Ranges) -> Result<(), RefreshError> {
    let Some(folder) = folder else {
        return Ok(());
    };
    store::save(folder, source, ranges).map_err(|source| RefreshError::Keep {
        folder: folder.to_owned(),
        source,
    })
}

/// The newer of what the provider file and the state folder say.
fn known_ranges(provider: &Provider, folder: Option<&Path>) -> Option<Ranges> {
    let built_in = provider.ip_ranges.as_ref()?;
    let built_in = Ranges {
        read: built_in.read.clone(),
        nets: built_in.cidrs.clone(),
    };
    let source = Source::of(provider);
    let kept = folder.zip(source.as_ref());
    let kept = kept.and_then(|(folder, source)| store::load(folder, source));
    // Days as `YYYY-MM-DD` sort as texts do.
    let newer = kept.filter(|kept| kept.read >= built_in.read);
    Some(newer.unwrap_or(built_in))
}

#[cfg(test)]
mod tests;
