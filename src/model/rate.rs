//! A rate as in `"100/s"`: what the limiters of the gate are built from.

use std::num::NonZeroU32;
use std::time::Duration;

/// At most `burst` at once, refilled at `count` per `period`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// How many per `period`.
    pub count: NonZeroU32,
    /// The period in which `count` are refilled.
    pub period: Duration,
    /// How many may come at once; equal to `count` unless the config says otherwise.
    pub burst: NonZeroU32,
}
