//! Rate limits: unverified requests per source, and verified events per route.
//!
//! A request is charged to its source before its body is read, and refunded once its signature is right. So a source
//! pays for rejected requests and for requests in flight that are not verified yet, while a burst of genuine events
//! from one address costs it nothing.
//!
//! The table of sources is bounded. An evicted source returns with a full allowance, which costs an attacker as many
//! addresses as the table has entries. Limits use the monotonic clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::{DefaultDirectRateLimiter, Quota};
use hookgate_verify::model::rate::RateLimit;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::model::clock::instant;
use crate::model::source::SourceKey;

/// Capacity of the table of sources: about 20 MiB at most.
const MAX_SOURCES: u64 = 100_000;

/// The rate limit of one route's verified events.
pub(crate) struct RouteRateLimiter(DefaultDirectRateLimiter);

/// The rate limits of unverified requests, one for each source.
pub(crate) struct SourceLimiters {
    /// Nanoseconds that earn back one request.
    one: u64,
    /// Nanoseconds that earn back a whole burst.
    burst: u64,
    began: Instant,
    table: Cache<SourceKey, Arc<SourceBucket>>,
}

/// The allowance of one source: the time at which it is full again (the "theoretical arrival time" of GCRA), in
/// nanoseconds since the start. A time in the past counts as now.
#[derive(Default)]
struct SourceBucket(AtomicU64);

/// A request that was charged to its source. It stays charged when dropped; a verified request calls `refund`.
#[must_use]
pub(crate) struct SourceCharge {
    bucket: Arc<SourceBucket>,
    one: u64,
}

impl RouteRateLimiter {
    /// Creates a limit with a full burst.
    pub(crate) fn new(rate: RateLimit) -> Self {
        // A period of zero is not a valid quota.
        let one = (rate.period / rate.count.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(one).unwrap_or(Quota::per_second(rate.burst));
        Self(DefaultDirectRateLimiter::direct(
            quota.allow_burst(rate.burst),
        ))
    }

    /// Takes one event from the allowance.
    ///
    /// # Errors
    /// Returns the time until the next event is allowed.
    pub(crate) fn check(&self) -> Result<(), Duration> {
        let checked = self.0.check();
        // The limiter's own clock: a new one would query the processor, which costs more than all other checks
        // together.
        checked.map_err(|until| until.wait_time_from(self.0.clock().now()))
    }
}

impl SourceLimiters {
    /// Creates an empty table; each source starts with a full burst.
    pub(crate) fn new(rate: RateLimit) -> Self {
        let table = Cache::builder()
            .max_capacity(MAX_SOURCES)
            // A source that was idle for so long has its whole burst again, so that eviction loses nothing.
            .time_to_idle(refill_time(rate))
            .eviction_policy(EvictionPolicy::lru())
            .build();
        let one = nanos(rate.period / rate.count.get()).max(1);
        Self {
            one,
            burst: one.saturating_mul(u64::from(rate.burst.get())),
            began: instant(),
            table,
        }
    }

    /// Charges one unverified request to its source, at a time that has just passed.
    ///
    /// # Errors
    /// Returns the time until the next request is allowed.
    pub(crate) fn charge(&self, source: SourceKey, now: Instant) -> Result<SourceCharge, Duration> {
        let bucket = self
            .table
            .get(&source)
            .unwrap_or_else(|| self.table.get_with(source, Arc::default));
        let now = now.saturating_duration_since(self.began);
        self.charge_at(bucket, nanos(now))
    }

    fn charge_at(&self, bucket: Arc<SourceBucket>, now: u64) -> Result<SourceCharge, Duration> {
        // GCRA: a request passes if the allowance is full again at most one burst from now.
        let last = now.saturating_add(self.burst);
        let charged = bucket.0.fetch_update(Relaxed, Relaxed, |whole_at| {
            let whole_at = whole_at.max(now).saturating_add(self.one);
            (whole_at <= last).then_some(whole_at)
        });
        match charged {
            Ok(_) => Ok(SourceCharge {
                bucket,
                one: self.one,
            }),
            Err(whole_at) => {
                let wait = whole_at.saturating_add(self.one).saturating_sub(last);
                Err(Duration::from_nanos(wait))
            }
        }
    }

    /// Returns the approximate number of sources in the table.
    pub(crate) fn entries(&self) -> u64 {
        self.table.entry_count()
    }
}

impl SourceCharge {
    /// Refunds the charge of a genuine request. If time has already earned it back, the source gains one request, which
    /// only a holder of the secret can bring about.
    pub(crate) fn refund(self) {
        let one = self.one;
        let refunded = self.bucket.0.fetch_update(Relaxed, Relaxed, |whole_at| {
            Some(whole_at.saturating_sub(one))
        });
        debug_assert!(refunded.is_ok(), "the update has no condition");
    }
}

/// Converts a duration to nanoseconds, up to 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns the time from an empty burst to a full one, at least a minute.
fn refill_time(rate: RateLimit) -> Duration {
    let full = rate.period.saturating_mul(rate.burst.get()) / rate.count.get();
    full.max(Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::num::NonZeroU32;

    use super::*;

    fn rate(count: u32, burst: u32) -> RateLimit {
        RateLimit {
            count: NonZeroU32::new(count).unwrap(),
            period: Duration::from_secs(1),
            burst: NonZeroU32::new(burst).unwrap(),
        }
    }

    #[test]
    fn a_burst_passes_and_then_the_wait_is_returned() {
        let limiter = RouteRateLimiter::new(rate(1, 3));
        for _ in 0..3 {
            limiter.check().unwrap();
        }
        let wait = limiter.check().unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1));
    }

    /// Fails when all sources share one limit, or when the key covers more than one source.
    #[test]
    fn sources_do_not_share_and_a_v6_network_does() {
        let limiters = SourceLimiters::new(rate(1, 1));
        let check = |ip: &str| limiters.charge(SourceKey::of(ip.parse().unwrap()), instant());
        assert!(check("192.0.2.1").is_ok());
        assert!(check("192.0.2.1").is_err());
        assert!(check("192.0.2.2").is_ok());
        assert!(check("2001:db8::1").is_ok());
        assert!(check("2001:db8::2").is_err());
        assert!(check("2001:db8:0:1::1").is_ok());
    }

    /// Fails when a refund is missing, or refunds more than the charge.
    #[test]
    fn what_is_refunded_costs_nothing_and_what_is_not_stays_paid() {
        let limiters = SourceLimiters::new(rate(1, 3));
        let bucket = Arc::<SourceBucket>::default();
        let now = 5_000_000_000;
        let charge = || limiters.charge_at(Arc::clone(&bucket), now);
        for _ in 0..100 {
            charge().unwrap().refund();
        }
        // Requests in flight are charged.
        let (first, second, third) = (charge().unwrap(), charge().unwrap(), charge().unwrap());
        assert!(charge().is_err());
        second.refund();
        let fourth = charge().unwrap();
        drop((first, third, fourth));
        let wait = charge().err().unwrap();
        assert_eq!(wait, Duration::from_secs(1));
        // One second later exactly one request has been earned back.
        let later =
            |seconds: u64| limiters.charge_at(Arc::clone(&bucket), now + seconds * 1_000_000_000);
        assert!(later(1).is_ok());
        assert!(later(1).is_err());
    }

    /// Fails when a refund after time has earned the charge back enlarges a full burst.
    #[test]
    fn a_late_refund_never_makes_a_burst_larger() {
        let limiters = SourceLimiters::new(rate(1, 2));
        let bucket = Arc::<SourceBucket>::default();
        let at = |seconds: u64| limiters.charge_at(Arc::clone(&bucket), seconds * 1_000_000_000);
        let early = at(10).unwrap();
        at(10).unwrap().refund();
        early.refund();
        assert!(at(100).is_ok() && at(100).is_ok());
        assert!(at(100).is_err());
    }

    /// Fails without `max_capacity`.
    #[test]
    fn the_table_is_bounded() {
        let limiters = SourceLimiters::new(rate(1, 1));
        for number in 0..150_000_u32 {
            let ip = IpAddr::V4(Ipv4Addr::from_bits(number));
            let _ = limiters.charge(SourceKey::of(ip), instant()).unwrap();
        }
        limiters.table.run_pending_tasks();
        assert!(limiters.entries() <= MAX_SOURCES);
    }
}
