//! Address ranges that providers publish: the lists in use, and their refresh.
//!
//! `allow_ips = ["provider"]` is checked against a [`LiveRanges`] list. It starts with the ranges of the provider file, or
//! with newer ones that an earlier refresh saved to the state folder. A [`RangeRefresh`] replaces it while the gate runs. A
//! published list is accepted only if it is plausible in view of the known one (`plausibility`): a broken page, or one that an
//! attacker has written, must neither lock the sender out nor let all addresses in.

mod files;
mod plausibility;
mod published;
mod refresh;
mod sender_ranges;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use hookgate_verify::providers::Provider;
use parking_lot::Mutex;

pub(crate) use crate::ranges::refresh::{RangeChange, RangeRefresh, RefreshError};
pub(crate) use crate::ranges::sender_ranges::{RangesEndpoint, SenderRanges};

/// Ranges of one provider that are in use; all its routes share them.
#[derive(Debug)]
pub(crate) struct LiveRanges {
    ranges: ArcSwap<SenderRanges>,
    /// Source of the list; `None` if it cannot be refreshed.
    source: Option<RangesEndpoint>,
    updated: AtomicU64,
    unchanged: AtomicU64,
    failed: AtomicU64,
}

impl LiveRanges {
    fn new(ranges: SenderRanges, source: Option<RangesEndpoint>) -> Self {
        Self {
            ranges: ArcSwap::from_pointee(ranges),
            source,
            updated: AtomicU64::new(0),
            unchanged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Returns true if the address is in the ranges.
    pub(crate) fn contains(&self, ip: &IpAddr) -> bool {
        self.ranges.load().nets.iter().any(|net| net.contains(ip))
    }

    /// Returns the ranges that are in use now.
    pub(crate) fn ranges(&self) -> Arc<SenderRanges> {
        self.ranges.load_full()
    }

    /// Returns true if the provider publishes a machine-readable list.
    pub(crate) fn can_be_refreshed(&self) -> bool {
        self.source.is_some()
    }

    /// Counts refreshes since the start by outcome: changed, unchanged, or not accepted.
    pub(crate) fn refreshes(&self) -> [(&'static str, u64); 3] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("updated", read(&self.updated)),
            ("unchanged", read(&self.unchanged)),
            ("kept", read(&self.failed)),
        ]
    }
}

/// Ranges of all providers that routes use. It lives as long as the process.
#[derive(Debug)]
pub(crate) struct RangeBook {
    folder: Option<PathBuf>,
    live: Mutex<BTreeMap<String, Arc<LiveRanges>>>,
}

impl RangeBook {
    /// Creates an empty book. Refreshed ranges survive a restart only with a state folder.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            live: Mutex::default(),
        }
    }

    /// Returns the ranges of a provider, or `None` if it publishes no ranges. The first call reads the state folder.
    pub(crate) fn live(&self, provider: &Provider) -> Option<Arc<LiveRanges>> {
        let known = self.live.lock().get(&provider.id).cloned();
        if known.is_some() {
            return known;
        }
        let begun = LiveRanges::new(
            known_ranges(provider, self.folder.as_deref())?,
            RangesEndpoint::of(provider),
        );
        // Read outside the lock; if another thread was faster, its entry stays and is shared.
        let mut live = self.live.lock();
        let slot = live.entry(provider.id.clone());
        Some(Arc::clone(slot.or_insert_with(|| Arc::new(begun))))
    }

    /// Loads ranges that another process has saved to the state folder, if they are newer.
    pub(crate) fn reread(&self, provider: &Provider) {
        let found = known_ranges(provider, self.folder.as_deref());
        if let (Some(found), Some(live)) = (found, self.live(provider))
            // Only a newer day counts, so that an old file cannot undo a refresh of this process.
            && found.read > live.ranges().read
        {
            live.ranges.store(Arc::new(found));
        }
    }

    /// Lists all ranges by provider id, for the metrics.
    pub(crate) fn list(&self) -> Vec<(String, Arc<LiveRanges>)> {
        let live = self.live.lock();
        let rows = live.iter().map(|(id, live)| (id.clone(), Arc::clone(live)));
        rows.collect()
    }

    /// Fetches a provider's list, puts it to use and saves it to the state folder. An implausible list changes nothing.
    ///
    /// # Errors
    /// Returns the reason why the ranges did not change. With [`RefreshError::Keep`] they did change: they are in use,
    /// but not saved.
    pub(crate) async fn refresh(
        &self,
        refresh: &RangeRefresh,
        live: &LiveRanges,
    ) -> Result<RangeChange, RefreshError> {
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
        // In use before it is saved: a full disk must not keep a provider out.
        live.ranges.store(Arc::new(change.now.clone()));
        save(self.folder.as_deref(), source, &change.now)?;
        Ok(change)
    }
}

/// Saves ranges to the state folder, if there is one.
fn save(
    folder: Option<&Path>,
    source: &RangesEndpoint,
    ranges: &SenderRanges,
) -> Result<(), RefreshError> {
    let Some(folder) = folder else {
        return Ok(());
    };
    files::save(folder, source, ranges).map_err(|source| RefreshError::Keep {
        folder: folder.to_owned(),
        source,
    })
}

/// Returns the newer ranges of provider file and state folder.
fn known_ranges(provider: &Provider, folder: Option<&Path>) -> Option<SenderRanges> {
    let built_in = provider.ip_ranges.as_ref()?;
    let built_in = SenderRanges {
        read: built_in.read.clone(),
        nets: built_in.cidrs.clone(),
    };
    let source = RangesEndpoint::of(provider);
    let kept = folder.zip(source.as_ref());
    let kept = kept.and_then(|(folder, source)| files::load(folder, source));
    // `YYYY-MM-DD` sorts as text in the order of days.
    let newer = kept.filter(|kept| kept.read >= built_in.read);
    Some(newer.unwrap_or(built_in))
}

#[cfg(test)]
mod tests;
