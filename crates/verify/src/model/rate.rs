//! A rate such as `"100/s"`, from which the limiters of the gate are built.

use std::num::NonZeroU32;
use std::time::Duration;

/// At most `burst` at once, refilled with `count` per `period`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimit {
    /// Number of refills per `period`.
    pub count: NonZeroU32,
    /// Time in which `count` are refilled.
    pub period: Duration,
    /// Number that may come at once. Equal to `count` unless the config sets it.
    pub burst: NonZeroU32,
}
