//! Keys that senders publish: fetched when a request first needs them, held, and fetched again.
//!
//! Fails closed: without a key nothing is verified, and the sender is asked to come again. Keys that were fetched once
//! go on counting for a day while their source cannot be reached; senders keep their keys for months, and an outage of
//! theirs must not stop verification here.
//!
//! What was fetched is stored in the state folder (`store`), so that a restart begins with it.
//!
//! What a stranger can make the gate do is bounded. A source is asked by one request at a time, while others wait for
//! its answer; it is asked again only at the pace of `RETRY`, whatever key a request names. Sources that requests choose
//! (certificates, keys that are asked for by name) are few at a time and come on hosts of the sender's only. Only so many
//! new ones are looked at in a minute, for each route and within the budget of whoever names them.

mod slot;
mod store;

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;

use crate::keys::slot::{Held, Slot};
use crate::keys::store::KeyFiles;
use crate::model::clock::{self, Now};
use crate::model::error::chain;
use crate::model::ids::RouteName;
use crate::net::client::Client;
use crate::net::fetch::{FetchLimits, Fetcher};
use crate::scheme::remote::{KeyNeed, KeySource, RemoteKeys};

/// Sources that are known at a time. Configs name a handful, requests some dozens.
const MAX_SOURCES: u64 = 512;

/// New sources that the requests of one route may name at once, and in a minute. Senders have one or two. The budget of
/// whoever sends them ends before: a route has some left for others.
const NEW_SOURCES: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);

/// Routes whose allowance is known at a time.
const MAX_ROUTES: u64 = 4096;

/// Keys that were fetched before are fetched anew after an hour, so that one that its sender has withdrawn stops counting.
const FRESH: Duration = Duration::from_secs(3600);

/// After a day without a good answer keys count no longer.
const HELD: Duration = Duration::from_secs(25 * 3600);

/// Keys by source. Lives as long as the process.
pub struct KeyCache {
    fetcher: Fetcher,
    /// None: nothing outlives the process.
    files: Option<Arc<KeyFiles>>,
    slots: Cache<KeySource, Arc<Slot>>,
    /// By route.
    new_sources: Cache<RouteName, Arc<DefaultDirectRateLimiter>>,
}

/// Why a request has no key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyFault {
    /// The source was asked, and has no such key.
    Unknown,
    /// The source cannot be asked, or gave no usable answer; the text says why.
    Unavailable(Arc<str>),
    /// The sender of the request has no fetch left for it.
    Spent,
}

impl KeyCache {
    /// Nothing is known.
    #[must_use]
    pub fn new(fetcher: Fetcher) -> Self {
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

    /// Stores what is fetched in the state folder, and starts with what an earlier process stored there.
    #[must_use]
    pub fn kept_in(mut self, state_folder: &Path) -> Self {
        self.files = Some(Arc::new(KeyFiles::open(state_folder)));
        self
    }

    /// What it fetches with.
    #[must_use]
    pub fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// Puts keys in as if they had been fetched just now.
    pub fn insert(&self, source: KeySource, keys: RemoteKeys) {
        let slot = self.slots.get_with(source, Slot::new);
        slot.keep(Arc::new(keys), clock::instant());
    }

    /// Returns the keys of a source, with the one that is needed among them. Where they have to be fetched because of this
    /// request, `may_ask` takes that from the budget of its sender, and `route` is the one that it was sent to.
    ///
    /// # Errors
    /// See [`KeyFault`].
    pub async fn find(
        self: &Arc<Self>,
        need: &KeyNeed,
        route: &RouteName,
        mut may_ask: impl FnMut() -> bool,
    ) -> Result<Arc<RemoteKeys>, KeyFault> {
        let mut is_paid = false;
        let known = match self.slots.get(&need.source) {
            None => self.recall(&need.source).await,
            known => known,
        };
        let slot = match known {
            Some(slot) => slot,
            None => {
                if need.source.is_chosen_by_request() {
                    is_paid = true;
                    self.take_new_source(route, &mut may_ask)?;
                }
                self.slots.get_with_by_ref(&need.source, Slot::new)
            }
        };
        let now = clock::instant();
        if let Some(held) = slot.held().filter(|held| held.answers(need, now)) {
            // What is held goes on counting while it is asked for anew.
            if held.is_older(FRESH, now)
                && let Ok(turn) = Arc::clone(&slot.turn).try_lock_owned()
            {
                self.ask(turn, &slot, &need.source);
            }
            return Ok(held.keys);
        }
        let before = slot.tries();
        let turn = Arc::clone(&slot.turn).lock_owned().await;
        // Where another request has asked meanwhile, its answer counts for this one.
        if slot.tries() == before {
            // A name that no key has would make the gate ask again and again, at the cost of names that are new.
            let is_named = |held: Held| !held.is_older(HELD, now);
            if !is_paid && slot.held().is_some_and(is_named) && !may_ask() {
                return Err(KeyFault::Spent);
            }
            if let Some(asking) = self.ask(turn, &slot, &need.source) {
                let _ = asking.await;
            }
        }
        match slot.held() {
            Some(held) if held.answers(need, clock::instant()) => Ok(held.keys),
            _ => Err(slot.fault()),
        }
    }

    /// Returns the slot of a source that an earlier process fetched, with what is stored of it. Nothing is taken from any
    /// budget, since nothing is fetched.
    async fn recall(&self, source: &KeySource) -> Option<Arc<Slot>> {
        let files = self.files.clone().filter(|files| files.has(source))?;
        let (client, wanted) = (self.fetcher.client().clone(), source.clone());
        let recalled = tokio::task::spawn_blocking(move || {
            let now = Now::read().unix_ms;
            let (text, age) = files.load(&wanted, HELD, now)?;
            let keys = wanted.parse(&text, &client.roots().ok()?, now);
            Some((keys.ok()?, age))
        });
        let (keys, age) = recalled.await.ok()??;
        let since = clock::instant().checked_sub(age)?;
        let slot = self.slots.get_with_by_ref(source, Slot::new);
        if slot.held().is_none() {
            slot.keep(Arc::new(keys), since);
        }
        Some(slot)
    }

    /// The sender pays first: what one sender has used up must not be missing to the others of the route.
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
            let text = "requests name too many different keys; more are looked at in a minute";
            KeyFault::Unavailable(text.into())
        })
    }

    /// Asks in a task of its own, which ends within the deadline of a fetch: else a stranger could use up the tries by
    /// hanging up before each answer. None where it is too early to ask again.
    fn ask(
        self: &Arc<Self>,
        turn: OwnedMutexGuard<()>,
        slot: &Arc<Slot>,
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

    /// Asks, and keeps what came of it. Whoever calls has the slot's turn.
    async fn fetch(&self, slot: &Slot, source: &KeySource) {
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
            Ok(keys) => slot.keep(Arc::new(keys), clock::instant()),
            Err(fault) => {
                tracing::warn!(error = fault, "cannot fetch keys");
                slot.fail(fault.into());
                // Else a stranger could fill the table with places where nothing is, and so drive out good keys.
                if source.is_chosen_by_request() && slot.held().is_none() {
                    self.slots.invalidate(source);
                }
            }
        }
    }

    async fn read(&self, source: KeySource, text: bytes::Bytes) -> Result<RemoteKeys, String> {
        let client = self.fetcher.client().clone();
        let (url, files) = (source.url().to_string(), self.files.clone());
        // Chains of certificates are verified with the system's roots, which stand on the disk.
        let read = tokio::task::spawn_blocking(move || {
            let roots = client.roots().map_err(|err| chain(&err))?;
            let now = Now::read().unix_ms;
            let parsed = source.parse(&text, &roots, now);
            let parsed =
                parsed.map_err(|fault| format!("what `{}` answers {fault}", source.url()))?;
            if let Some(Err(error)) = files.map(|files| files.save(&source, &text, now)) {
                tracing::warn!(
                    error = chain(&error),
                    "fetched keys are lost with the process"
                );
            }
            Ok(parsed)
        });
        let read = read.await;
        read.unwrap_or_else(|_| Err(format!("what `{url}` answers cannot be read")))
    }
}

impl Default for KeyCache {
    fn default() -> Self {
        // Not the client of the upstreams, whose connections are counted.
        Self::new(Fetcher::new(Client::new()))
    }
}

#[cfg(test)]
mod tests;
