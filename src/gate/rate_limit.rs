//! Rate limits: per source before the body is read, per route after verification, so that a stranger cannot use up a
//! provider's allowance.
//!
//! The table of sources is bounded; a source that falls out of it comes back with a full allowance, which costs an
//! attacker as many addresses as the table has places. Limits use the monotonic clock.

use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock;
use governor::{DefaultDirectRateLimiter, Quota};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::model::rate::Rate;
use crate::model::source::SourceKey;

/// Sources that are known at a time: some 20 MiB at most.
const MAX_SOURCES: u64 = 100_000;

/// One limit.
pub struct Limiter(DefaultDirectRateLimiter);

/// One limit per source.
pub struct SourceLimiters {
    rate: Rate,
    table: Cache<SourceKey, Arc<Limiter>>,
}

impl Limiter {
    /// A limit whose burst is unused.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let one = (rate.period / rate.count.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(one).unwrap_or(Quota::per_second(rate.burst));
        Self(DefaultDirectRateLimiter::direct(
            quota.allow_burst(rate.burst),
        ))
    }

    /// Takes one.
    ///
    /// # Errors
    /// Nothing is left; the time until there is.
    pub fn check(&self) -> Result<(), Duration> {
        let checked = self.0.check();
        // The limiter's own clock: making one asks the processor what it is, which costs more than all other checks.
        checked.map_err(|until| until.wait_time_from(self.0.clock().now()))
    }
}

impl SourceLimiters {
    /// No source is known.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let table = Cache::builder()
            .max_capacity(MAX_SOURCES)
            // A source that was silent for so long has its whole burst again: nothing is lost with it.
            .time_to_idle(refill_time(rate))
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { rate, table }
    }

    /// Takes one of this source.
    ///
    /// # Errors
    /// Nothing is left; the time until there is.
    pub fn check(&self, source: SourceKey) -> Result<(), Duration> {
        let limiter = self.table.get(&source).unwrap_or_else(|| {
            self.table
                .get_with(source, || Arc::new(Limiter::new(self.rate)))
        });
        limiter.check()
    }

    /// Sources that are known now, roughly.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.table.entry_count()
    }
}

/// From an empty burst to a full one, and at least a minute.
fn refill_time(rate: Rate) -> Duration {
    let full = rate.period.saturating_mul(rate.burst.get()) / rate.count.get();
    full.max(Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::num::NonZeroU32;

    use super::*;

    fn rate(count: u32, burst: u32) -> Rate {
        Rate {
            count: NonZeroU32::new(count).unwrap(),
            period: Duration::from_secs(1),
            burst: NonZeroU32::new(burst).unwrap(),
        }
    }

    #[test]
    fn a_burst_passes_and_then_the_wait_is_told() {
        let limiter = Limiter::new(rate(1, 3));
        for _ in 0..3 {
            limiter.check().unwrap();
        }
        let wait = limiter.check().unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1));
    }

    /// Fails when the limit is one for all, or the key takes in more than the source.
    #[test]
    fn sources_do_not_share_and_a_v6_network_does() {
        let limiters = SourceLimiters::new(rate(1, 1));
        let check = |ip: &str| limiters.check(SourceKey::of(ip.parse().unwrap()));
        assert!(check("192.0.2.1").is_ok());
        assert!(check("192.0.2.1").is_err());
        assert!(check("192.0.2.2").is_ok());
        assert!(check("2001:db8::1").is_ok());
        assert!(check("2001:db8::2").is_err());
        assert!(check("2001:db8:0:1::1").is_ok());
    }

    /// Fails without `max_capacity`.
    #[test]
    fn the_table_is_bounded() {
        let limiters = SourceLimiters::new(rate(1, 1));
        for number in 0..150_000_u32 {
            let ip = IpAddr::V4(Ipv4Addr::from_bits(number));
            limiters.check(SourceKey::of(ip)).unwrap();
        }
        limiters.table.run_pending_tasks();
        assert!(limiters.entries() <= MAX_SOURCES);
    }
}
