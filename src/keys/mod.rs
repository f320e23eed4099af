//! Cache of keys that senders publish: fetched on first use, held in memory, and refreshed.
//!
//! It fails closed: without a key nothing is verified, and the sender has to retry. Fetched keys stay valid for a day
//! while their source is unreachable: senders keep keys for months, and their outage must not stop verification here.
//! Fetched keys are also stored in the state folder (`files`), so a restart begins with them.
//!
//! Untrusted clients must not be able to cause many fetches. Requests for one source share one fetch, and a source is
//! fetched again only at the pace of `RETRY`, whatever key a request names. Sources that requests choose (certificates,
//! keys fetched by name) must be on hosts of the sender, and their number is bounded. New ones are limited per minute
//! for each route, and by the budget of the client that names them.

mod fault;
mod files;
mod slot;

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota};
use hookgate_verify::scheme::remote_keys::{KeyNeed, KeySource, RemoteKeys};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;

use crate::keys::fault::HELD;
pub(crate) use crate::keys::fault::KeyFault;
use crate::keys::files::KeyFiles;
use crate::keys::slot::{FetchedKeys, KeySlot};
use crate::model::clock::{self, ClockReading};
use crate::model::error::chain;
use crate::model::ids::RouteName;
use crate::net::client::OutgoingClient;
use crate::net::fetch::{FetchLimits, HttpsFetcher};

/// Limit of cached sources. Configs name a handful, and requests some dozens.
const MAX_SOURCES: u64 = 512;

/// New sources that the requests of one route may name at once, and per minute. Senders have one or two. A client's own
/// budget ends earlier, so that the route has some left for other clients.
const NEW_SOURCES: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);

/// Limit of routes whose allowance is tracked.
const MAX_ROUTES: u64 = 4096;

/// Age after which keys are fetched again, so that a key that its sender has withdrawn becomes invalid.
const FRESH: Duration = Duration::from_secs(3600);

/// Cache of keys by source. It lives as long as the process.
pub(crate) struct KeyCache {
    fetcher: HttpsFetcher,
    /// Stored keys; `None`: keys are lost at exit.
    files: Option<Arc<KeyFiles>>,
    slots: Cache<KeySource, Arc<KeySlot>>,
    /// Rate limiters for new sources, by route.
    new_sources: Cache<RouteName, Arc<DefaultDirectRateLimiter>>,
}

impl KeyCache {
    /// Returns an empty cache that fetches with `fetcher`.
    pub(crate) fn new(fetcher: HttpsFetcher) -> Self {
        Self {
            fetcher,
            files: None,
            slots: Cache::builder()
                .max_capacity(MAX_SOURCES)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            new_sources: Cache::builder().max_capacity(MAX_ROUTES).build(),
        }
    }

    /// Stores fetched keys in the state folder, and begins with the keys that an earlier process stored there.
    pub(crate) fn with_state_folder(mut self, state_folder: &Path) -> Self {
        self.files = Some(Arc::new(KeyFiles::open(state_folder)));
        self
    }

    /// Returns the fetcher that the cache uses.
    pub(crate) fn fetcher(&self) -> &HttpsFetcher {
        &self.fetcher
    }

    /// Returns the keys of a source that contain the needed one. If this request causes a fetch, `may_ask` takes it
    /// from the budget of its client, and `route` is the route of the request.
    pub(crate) async fn find(
        self: &Arc<Self>,
        need: &KeyNeed,
        route: &RouteName,
        mut may_ask: impl FnMut() -> bool,
    ) -> Result<Arc<RemoteKeys>, KeyFault> {
        let mut is_paid = false;
        // The disk is cheaper than a fetch and costs no budget, so look there first.
        let known = match self.slots.get(&need.source) {
            None => self.recall(&need.source).await,
            known => known,
        };
        let slot = match known {
            Some(slot) => slot,
            None => {
                // A source from the config is trusted; one that the request chose must be paid for before anything is
                // allocated.
                if need.source.is_chosen_by_request() {
                    is_paid = true;
                    self.take_new_source(route, &mut may_ask)?;
                }
                self.slots.get_with_by_ref(&need.source, KeySlot::new)
            }
        };
        let now = clock::instant();
        if let Some(held) = slot.held().filter(|held| held.answers(need, now)) {
            // Held keys stay valid during the refresh, so this request does not wait for it.
            if held.is_older(FRESH, now)
                && let Ok(turn) = Arc::clone(&slot.fetch_lock).try_lock_owned()
            {
                self.spawn_fetch(turn, &slot, &need.source);
            }
            return Ok(held.keys);
        }
        // Count the fetches before waiting: a fetch that ends meanwhile also answers this request.
        let before = slot.tries();
        let turn = Arc::clone(&slot.fetch_lock).lock_owned().await;
        // If another request has fetched meanwhile, its result counts for this one.
        if slot.tries() == before {
            // A key name that does not exist would cause one fetch after another, at the expense of new key names.
            let is_named = |held: FetchedKeys| !held.is_older(HELD, now);
            if !is_paid && slot.held().is_some_and(is_named) && !may_ask() {
                return Err(KeyFault::Spent);
            }
            if let Some(asking) = self.spawn_fetch(turn, &slot, &need.source) {
                let _ = asking.await;
            }
        }
        match slot.held() {
            Some(held) if held.answers(need, clock::instant()) => Ok(held.keys),
            _ => Err(slot.fault()),
        }
    }

    /// Returns the slot of a source that an earlier process fetched, with its stored keys. It takes nothing from any
    /// budget, because nothing is fetched.
    async fn recall(&self, source: &KeySource) -> Option<Arc<KeySlot>> {
        let files = self.files.clone().filter(|files| files.has(source))?;
        let (client, wanted) = (self.fetcher.client().clone(), source.clone());
        let recalled = tokio::task::spawn_blocking(move || {
            let now = ClockReading::read().unix_ms;
            let (text, age) = files.load(&wanted, HELD, now)?;
            let keys = wanted.parse(&text, &client.roots().ok()?.roots, now);
            Some((keys.ok()?, age))
        });
        let (keys, age) = recalled.await.ok()??;
        let since = clock::instant().checked_sub(age)?;
        let slot = self.slots.get_with_by_ref(source, KeySlot::new);
        if slot.held().is_none() {
            slot.store_keys(Arc::new(keys), since);
        }
        Some(slot)
    }

    /// Charges a new source, first to the client and then to the route, so that one client cannot use up the route's
    /// allowance.
    fn take_new_source(
        &self,
        route: &RouteName,
        may_ask: &mut impl FnMut() -> bool,
    ) -> Result<(), KeyFault> {
        if !may_ask() {
            return Err(KeyFault::Spent);
        }
        let new_limiter = || {
            Arc::new(DefaultDirectRateLimiter::direct(Quota::per_minute(
                NEW_SOURCES,
            )))
        };
        let limiter = self.new_sources.get_with_by_ref(route, new_limiter);
        limiter.check().map_err(|_| {
            let text = "requests name too many different keys: wait a minute, or check which clients send them";
            KeyFault::Unavailable(text.into())
        })
    }

    /// Starts a fetch in a task of its own, which ends within the deadline of a fetch. Otherwise an untrusted client
    /// could use up the attempts by hanging up before each response. Returns `None` if it is too early for a fetch.
    fn spawn_fetch(
        self: &Arc<Self>,
        turn: OwnedMutexGuard<()>,
        slot: &Arc<KeySlot>,
        source: &KeySource,
    ) -> Option<JoinHandle<()>> {
        if !slot.may_try() {
            return None;
        }
        let (cache, slot, source) = (Arc::clone(self), Arc::clone(slot), source.clone());
        Some(tokio::spawn(async move {
            cache.fetch(&slot, &source).await;
            drop(turn);
        }))
    }

    /// Fetches the source and records the result. The caller holds the slot's turn.
    async fn fetch(&self, slot: &KeySlot, source: &KeySource) {
        let limits = FetchLimits::default();
        let fetched = match source.question() {
            None => self.fetcher.get(source.url(), limits).await,
            Some(question) => self.fetcher.post_json(source.url(), question, limits).await,
        };
        let made = match fetched {
            Ok(text) => self.read(source.clone(), text).await,
            Err(err) => Err(chain(&err)),
        };
        match made {
            Ok(keys) => slot.store_keys(Arc::new(keys), clock::instant()),
            Err(fault) => {
                tracing::warn!(error = fault, "cannot fetch the keys of a sender");
                slot.fail(fault.into());
                // Otherwise an untrusted client could fill the cache with useless sources, and so evict good keys.
                if source.is_chosen_by_request() && slot.held().is_none() {
                    self.slots.invalidate(source);
                }
            }
        }
    }

    async fn read(&self, source: KeySource, text: bytes::Bytes) -> Result<RemoteKeys, String> {
        let client = self.fetcher.client().clone();
        let (url, files) = (source.url().to_string(), self.files.clone());
        // Reading the system's root certificates blocks on the disk.
        let read = tokio::task::spawn_blocking(move || {
            let roots = client.roots().map_err(|err| chain(&err))?;
            let now = ClockReading::read().unix_ms;
            let parsed = source.parse(&text, &roots.roots, now);
            let parsed =
                parsed.map_err(|fault| format!("the response of `{}` {fault}", source.url()))?;
            if let Some(Err(error)) = files.map(|files| files.save(&source, &text, now)) {
                tracing::warn!(
                    error = chain(&error),
                    "cannot store fetched keys: they have to be fetched again after a restart"
                );
            }
            Ok(parsed)
        });
        let read = read.await;
        read.unwrap_or_else(|_| Err(format!("the response of `{url}` could not be parsed")))
    }
}

impl Default for KeyCache {
    fn default() -> Self {
        // A client of its own, because metrics count the connections of the upstream client.
        Self::new(HttpsFetcher::new(OutgoingClient::new()))
    }
}

#[cfg(test)]
mod tests;
