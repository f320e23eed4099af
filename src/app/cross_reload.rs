//! State that survives a reload: claims, rate limiters, fetched keys and address ranges.
//!
//! A route that keeps its name keeps its claims, whatever else changes. A limiter is kept if its rate is the same.
//! Fetched keys and ranges are always kept. State of a removed route is dropped with the reload that removes it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::identity::dedup_key::DedupKey;
use hookgate_verify::model::rate::RateLimit;
use parking_lot::Mutex;

use crate::app::error::StartError;
use crate::config::model::{DedupRule, GateConfig, Route};
use crate::gate::dedup::{ClaimLimits, ClaimTable};
use crate::gate::rate_limit::{RouteRateLimiter, SourceLimiters};
use crate::keys::KeyCache;
use crate::model::ids::RouteName;
use crate::net::client::OutgoingClient;
use crate::net::fetch::{EgressRoute, HttpsFetcher};
use crate::ranges::{LiveRanges, RangeBook};
use crate::store::{Store, StoreError};

/// Time that a claim's lease has beyond the deadlines of the exchange, for a busy machine.
const LEASE_MARGIN: Duration = Duration::from_secs(60);

/// Maximum number of claims per route that are read if the store is opened late.
const MAX_RECALLED: u64 = 100_000;

/// State that successive configuration snapshots share.
#[derive(Clone)]
pub(super) struct CrossReloadState {
    claims: HashMap<RouteName, Arc<ClaimTable>>,
    limiters: HashMap<RouteName, (RateLimit, Arc<RouteRateLimiter>)>,
    sources: Option<(RateLimit, Arc<SourceLimiters>)>,
    keys: Arc<KeyCache>,
    ranges: Arc<RangeBook>,
    /// Proxy of fetches from providers, which `put_in_use` replaces.
    egress: EgressRoute,
    /// Store from which claims are restored after a restart.
    store: Option<Store>,
}

/// State of the configuration snapshot in use, as the metrics read it.
pub(super) type CrossReloadHandle = Arc<Mutex<CrossReloadState>>;

impl CrossReloadState {
    /// Creates an empty state; keys and ranges of an earlier process are read from the state folder.
    pub(super) fn new(folder: PathBuf, store: Option<Store>) -> Self {
        let egress = EgressRoute::default();
        // A client of its own, because metrics count the connections of the upstream client.
        let fetcher = HttpsFetcher::new(OutgoingClient::new()).through(egress.clone());
        Self {
            claims: HashMap::new(),
            limiters: HashMap::new(),
            sources: None,
            keys: Arc::new(KeyCache::new(fetcher).with_state_folder(&folder)),
            ranges: Arc::new(RangeBook::new(Some(folder))),
            egress,
            store,
        }
    }

    /// Builds the state for a new config and carries over what both share. Blocks while claims are read from the store.
    pub(super) fn succeed(&self, config: &GateConfig) -> Result<Self, StartError> {
        let mut next = Self {
            claims: HashMap::new(),
            limiters: HashMap::new(),
            sources: None,
            keys: Arc::clone(&self.keys),
            ranges: Arc::clone(&self.ranges),
            egress: self.egress.clone(),
            store: self.store.clone(),
        };
        for route in &config.routes {
            let name = &route.name;
            if let Some(dedup) = &route.dedup {
                let claims = self.claims_for(route, dedup)?;
                next.claims.insert(name.clone(), claims);
            }
            if let Some(rate) = route.rate_limit {
                // A limiter whose rate has changed starts from scratch.
                let kept = self.limiters.get(name).filter(|(kept, _)| *kept == rate);
                let limiter = kept.map(|(_, limiter)| Arc::clone(limiter));
                let limiter = limiter.unwrap_or_else(|| Arc::new(RouteRateLimiter::new(rate)));
                next.limiters.insert(name.clone(), (rate, limiter));
            }
        }
        next.sources = config.server.per_source_rate_limit.map(|rate| {
            let kept = self.sources.as_ref().filter(|(kept, _)| *kept == rate);
            let sources = kept.map(|(_, sources)| Arc::clone(sources));
            let sources = sources.unwrap_or_else(|| Arc::new(SourceLimiters::new(rate)));
            (rate, sources)
        });
        Ok(next)
    }

    /// Returns the claims of all routes.
    pub(super) fn all_claims(&self) -> impl Iterator<Item = (&RouteName, &Arc<ClaimTable>)> {
        self.claims.iter()
    }

    /// Returns whether spent claims are in a store, so that the next process finds them there.
    pub(super) fn has_store(&self) -> bool {
        self.store.is_some()
    }

    pub(super) fn claims(&self, route: &RouteName) -> Option<Arc<ClaimTable>> {
        self.claims.get(route).cloned()
    }

    /// Restores the claims of events that apps accepted before the restart, if the store could not be read at the
    /// start. Blocks.
    pub(super) fn recall(&self) -> Result<(), StoreError> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        for (route, claims) in &self.claims {
            let spent = store.claims(route, store.now().unix_ms, MAX_RECALLED)?;
            let spent = spent.into_iter();
            claims.recall(spent.map(|spent| (DedupKey::from_bytes(spent.claim.key), spent.status)));
        }
        Ok(())
    }

    pub(super) fn limiter(&self, route: &RouteName) -> Option<Arc<RouteRateLimiter>> {
        let (_, limiter) = self.limiters.get(route)?;
        Some(Arc::clone(limiter))
    }

    pub(super) fn sources(&self) -> Option<Arc<SourceLimiters>> {
        let (_, sources) = self.sources.as_ref()?;
        Some(Arc::clone(sources))
    }

    pub(super) fn keys(&self) -> Arc<KeyCache> {
        Arc::clone(&self.keys)
    }

    pub(super) fn egress(&self) -> &EgressRoute {
        &self.egress
    }

    pub(super) fn ranges(&self) -> &Arc<RangeBook> {
        &self.ranges
    }

    /// Loads ranges that another process, such as `hookgate providers refresh-ranges`, wrote to the state folder.
    pub(super) fn reread_ranges(&self, config: &GateConfig) {
        for route in &config.routes {
            if let (Some(_), Some(provider)) = (self.provider_ips(route), &route.provider) {
                self.ranges.reread(provider);
            }
        }
    }

    /// Returns the ranges of a route's provider, if `allow_ips` of the route has `"provider"`.
    pub(super) fn provider_ips(&self, route: &Route) -> Option<Arc<LiveRanges>> {
        route.allow_ips.as_ref().filter(|ips| ips.is_provider)?;
        self.ranges.live(route.provider.as_ref()?)
    }

    /// Returns the claims of a route: those of the previous config, else those in the store, else new ones.
    fn claims_for(&self, route: &Route, dedup: &DedupRule) -> Result<Arc<ClaimTable>, StartError> {
        let exchange = route.upstream.as_ref().map(|upstream| {
            // A lease must outlast the exchange, or a second copy could reach the app. `forward/retry.rs` sends a
            // request on two connections at most, each with both deadlines.
            upstream.grace + upstream.connect_timeout * 2 + upstream.timeout * 2
        });
        let lease = exchange.unwrap_or_default() + LEASE_MARGIN;
        let limits = ClaimLimits {
            window: dedup.window,
            entries: dedup.max_entries,
            lease,
        };
        // Claims in memory are newer than those in the store.
        if let Some(claims) = self.claims.get(&route.name) {
            return Ok(claims.succeed(limits));
        }
        let claims = ClaimTable::new(limits);
        if let Some(store) = &self.store {
            let spent = store.claims(&route.name, store.now().unix_ms, dedup.max_entries);
            let spent = spent.map_err(StartError::Store)?.into_iter();
            claims.recall(spent.map(|spent| (DedupKey::from_bytes(spent.claim.key), spent.status)));
        }
        Ok(claims)
    }
}

/// Sums a number over the claims of all routes.
pub(super) fn sum_claims(state: &CrossReloadHandle, read: impl Fn(&ClaimTable) -> u64) -> u64 {
    let state = state.lock();
    state.claims.values().map(|claims| read(claims)).sum()
}

/// Returns the number of sources that the per-source rate limit tracks.
pub(super) fn count_sources(state: &CrossReloadHandle) -> u64 {
    let state = state.lock();
    let sources = state.sources.as_ref();
    sources.map_or(0, |(_, sources)| sources.entries())
}
