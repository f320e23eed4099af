//! Times of the caller as milliseconds.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns a time in milliseconds since the Unix epoch; negative before it.
pub(crate) fn unix_ms(time: SystemTime) -> i64 {
    let clamp = |ms: u128| i64::try_from(ms).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        // A clock beyond the range of the type makes every signature old.
        Ok(since) => clamp(since.as_millis()),
        Err(before) => -clamp(before.duration().as_millis()),
    }
}
