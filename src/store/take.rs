//! Taking due deliveries: the request of a worker, and the result.

use std::time::Duration;

use crate::store::rows::{DestinationId, DueDelivery};

/// A request for due deliveries of one destination.
#[derive(Clone, Debug)]
pub struct TakeRequest {
    /// The destination.
    pub destination: DestinationId,
    /// Largest number of deliveries to take.
    pub limit: usize,
    /// Only deliveries that are due at this time of the store's clock.
    pub as_of_ms: i64,
    /// Attempts of this destination that may run at once, on all nodes together.
    pub concurrency: usize,
    /// Attempts that may begin in each period, on all nodes together.
    pub rate: Option<TakeRate>,
    /// Longest duration of an attempt. If this node dies, another one takes over its deliveries after that.
    pub attempt_limit: Duration,
}

/// A rate of attempts. Unused attempts add up to `burst`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TakeRate {
    /// Attempts in one period.
    pub count: u32,
    /// The period.
    pub period: Duration,
    /// The most attempts that may begin at once.
    pub burst: u32,
}

/// Deliveries that were taken, and why there are not more.
#[derive(Clone, Default, Debug)]
pub struct TakeResult {
    /// The deliveries, which are in flight now.
    pub due: Vec<DueDelivery>,
    /// Why a due delivery may have been left; `None` if only due times decide.
    pub hold: Option<TakeHold>,
}

/// Reason why due deliveries of a destination are left, beside their due times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TakeHold {
    /// All nodes together use all permits of the destination.
    Full,
    /// The rate of all nodes together is used up until this time of the store's clock, in milliseconds.
    RateUntil(i64),
    /// The circuit breaker that the nodes share is open until this time of the store's clock, in milliseconds.
    BreakerUntil(i64),
}

impl TakeRequest {
    /// Returns a request without limits across nodes.
    #[must_use]
    pub fn new(destination: DestinationId, limit: usize, as_of_ms: i64) -> Self {
        Self {
            destination,
            limit,
            as_of_ms,
            concurrency: usize::MAX,
            rate: None,
            attempt_limit: Duration::from_secs(30),
        }
    }
}
