//! Keys that senders publish: fetched when a request first needs them, held, and fetched again.
//!
//! Fails closed: without a key nothing is verified, and the sender is asked to come again. Keys that were fetched once
//! go on counting for a day while their source cannot be reached; senders keep their keys for months, and an outage of
//! theirs must not stop verification here.
//!
//! What a stranger can make the gate do is bounded. A source is asked by one request at a time, while others wait for
//! its answer; it is asked again only at the pace of `RETRY`, whatever key a request names. Sources that requests choose
//! (certificates, keys that are asked for by name) are few at a time, come on hosts of the sender's only, and only so
//! many new ones are looked at in a minute.

mod slot;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;

use crate::keys::slot::Slot;
use crate::model::clock::{self, Now};
use crate::model::error::chain;
use crate::net::client::Client;
use crate::net::fetch::{FetchLimits, Fetcher};
use crate::scheme::remote::{KeyNeed, KeySource, RemoteKeys};

/// Sources that are known at a time. Configs name a handful, requests some dozens.
const MAX_SOURCES: u64 = 512;

/// New sources that requests may name at once, and in a minute. Senders have one or two.
const NEW_SOURCES: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);

/// Keys that were fetched before are fetched anew after an hour, so that one that its sender has withdrawn stops counting.
const FRESH: Duration = Duration::from_secs(3600);

/// After a day without a good answer keys count no longer.
const HELD: Duration = Duration::from_secs(25 * 3600);

/// Keys by source. Lives as long as the process.
pub struct KeyCache {
    fetcher: Fetcher,
    slots: Cache<KeySource, Arc<Slot>>,
    new_sources: DefaultDirectRateLimiter,
}

/// Why a request has no key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyFault {
    /// The source was asked, and has no such key.
    Unknown,
    /// The source cannot be asked, or gave no usable answer; the text says why.
    Unavailable(Arc<str>),
}

impl KeyCache {
    /// Nothing is known.
    #[must_use]
    pub fn new(fetcher: Fetcher) -> Self {
        let quota = Quota::per_minute(NEW_SOURCES);
        Self {
            fetcher,
            slots: Cache::builder()
                .max_capacity(MAX_SOURCES)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            new_sources: DefaultDirectRateLimiter::direct(quota),
        }
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

    /// The keys of a source, with the one that is needed among them.
    ///
    /// # Errors
    /// See [`KeyFault`].
    pub async fn find(self: &Arc<Self>, need: &KeyNeed) -> Result<Arc<RemoteKeys>, KeyFault> {
        let slot = self.slot(&need.source)?;
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
        if slot.tries() == before
            && let Some(asking) = self.ask(turn, &slot, &need.source)
        {
            let _ = asking.await;
        }
        match slot.held() {
            Some(held) if held.answers(need, clock::instant()) => Ok(held.keys),
            _ => Err(slot.fault()),
        }
    }

    fn slot(&self, source: &KeySource) -> Result<Arc<Slot>, KeyFault> {
        if let Some(slot) = self.slots.get(source) {
            return Ok(slot);
        }
        if source.is_chosen_by_request() && self.new_sources.check().is_err() {
            let text = "requests name too many different keys; more are looked at in a minute";
            return Err(KeyFault::Unavailable(text.into()));
        }
        Ok(self.slots.get_with_by_ref(source, Slot::new))
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
        let url = source.url().to_string();
        // Chains of certificates are verified with the system's roots, which stand on the disk.
        let read = tokio::task::spawn_blocking(move || {
            let roots = client.roots().map_err(|err| chain(&err))?;
            let parsed = source.parse(&text, &roots, Now::read().unix_ms);
            parsed.map_err(|fault| format!("what `{}` answers {fault}", source.url()))
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
