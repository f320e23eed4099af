//! Rates per source and per route.

use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::model::rate::Rate;
use crate::model::source::SourceKey;

/// One limiter.
pub struct Limiter {
    rate: Rate,
    inner: DefaultDirectRateLimiter,
}

impl Limiter {
    /// Full at first.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let period = rate.period / rate.count.get();
        let quota = Quota::with_period(period.max(Duration::from_nanos(1)));
        let quota = quota.map_or(Quota::per_second(rate.burst), |quota| {
            quota.allow_burst(rate.burst)
        });
        Self {
            rate,
            inner: DefaultDirectRateLimiter::direct(quota),
        }
    }

    /// The rate that it keeps.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one.
    ///
    /// # Errors
    /// How long to wait.
    pub fn check(&self) -> Result<(), Duration> {
        self.inner
            .check()
            .map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

/// One limiter per source, bounded.
pub struct SourceLimiters {
    rate: Rate,
    table: Cache<SourceKey, Arc<Limiter>>,
}

impl SourceLimiters {
    /// Empty.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let table = Cache::builder()
            .max_capacity(100_000)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { rate, table }
    }

    /// The rate that it keeps.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one of this source.
    ///
    /// # Errors
    /// How long to wait.
    pub fn check(&self, source: SourceKey) -> Result<(), Duration> {
        self.table
            .get_with(source, || Arc::new(Limiter::new(self.rate)))
            .check()
    }
}
