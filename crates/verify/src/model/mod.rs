//! Types that the other modules share: secrets, spans of values, patterns and rates.

pub mod glob;
pub mod rate;
pub mod secret;
pub mod span;
pub(crate) mod unix_time;
