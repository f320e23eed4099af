//! The retry schedule: pauses, jitter, `Retry-After`, and when retrying ends.
//!
//! It is pure: callers pass in the time and the random number. Due times are of the store's clock, which setting the
//! wall clock does not move. Due times from the store are nevertheless compared with the longest pause of the schedule,
//! so that a damaged time, or one of another schedule, blocks nothing.

use std::time::Duration;

use http::HeaderValue;

use crate::config::model::{RetryPauses, RetryPolicy};
use crate::model::clock::millis;
use crate::net::retry_after::parse_retry_after;
use crate::store::rows::NextState;

/// The pauses of Standard Webhooks. The first attempt comes at once.
pub(crate) const STANDARD_PAUSES: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(5 * 3600),
    Duration::from_secs(10 * 3600),
    Duration::from_secs(14 * 3600),
    Duration::from_secs(20 * 3600),
    Duration::from_secs(24 * 3600),
];

/// The longest pause that a destination may ask for. One that asks for more is away rather than busy.
pub(crate) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The shortest pause that a destination may ask for, so that `Retry-After: 0` does not lead to a busy loop.
const SHORTEST_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Deliveries that were due this long ago are overdue. They were not taken in time, so a queue has probably formed
/// behind them.
pub(crate) const OVERDUE: Duration = Duration::from_secs(60);

/// A failed attempt, as the schedule needs it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct FailedAttempt {
    /// Attempts in this round, this one included. A round begins when the delivery is created or an operator retries
    /// it.
    pub round: u32,
    /// When the round began, in milliseconds since the epoch.
    pub round_began_ms: i64,
    /// The current time, in milliseconds since the epoch.
    pub now_ms: i64,
    /// The pause that the destination asked for.
    pub retry_after: Option<Duration>,
    /// A random number from 0.0 up to 1.0.
    pub chance: f64,
}

/// Returns the schedule that Standard Webhooks recommends.
pub(crate) fn standard() -> RetryPolicy {
    RetryPolicy {
        pauses: RetryPauses::List(STANDARD_PAUSES.to_vec()),
        max_attempts: 10,
        max_age: None,
        jitter: 0.1,
    }
}

/// Returns the next state of a delivery after an attempt that failed but may be repeated.
pub(crate) fn after_failure(retry: &RetryPolicy, failed: &FailedAttempt) -> NextState {
    if failed.round >= retry.max_attempts {
        return NextState::Dead;
    }
    // The destination knows best when it has capacity, so its value replaces the pause, even by a shorter one.
    let own = pause(&retry.pauses, failed.round);
    let wait = failed.retry_after.map_or(own, |asked| {
        asked.clamp(SHORTEST_RETRY_AFTER, LONGEST_RETRY_AFTER)
    });
    let due_ms = failed
        .now_ms
        .saturating_add(millis(lengthened(wait, retry.jitter * failed.chance)));
    // Give up before an attempt that would be too late, instead of after a useless wait.
    let age_ms = due_ms.saturating_sub(failed.round_began_ms);
    match retry.max_age {
        Some(max_age) if age_ms > millis(max_age) => NextState::Dead,
        _ => NextState::Waiting(due_ms),
    }
}

/// Returns the longest time from now at which a delivery of this schedule can be due. A later due time comes from a
/// wrong clock or another schedule.
pub(crate) fn horizon(retry: &RetryPolicy) -> Duration {
    let longest = match &retry.pauses {
        RetryPauses::List(pauses) => pauses.iter().copied().max().unwrap_or_default(),
        RetryPauses::Exponential { base, cap, .. } => *cap.max(base),
    };
    lengthened(longest.max(LONGEST_RETRY_AFTER), retry.jitter.max(0.0))
}

/// Returns whether a due time can come from this schedule.
pub(crate) fn is_plausible(retry: &RetryPolicy, due_ms: i64, now_ms: i64) -> bool {
    due_ms.saturating_sub(now_ms) <= millis(horizon(retry)).saturating_add(1)
}

/// Returns the pause after this many attempts of a round, without jitter.
fn pause(pauses: &RetryPauses, round: u32) -> Duration {
    let before = round.saturating_sub(1);
    match pauses {
        RetryPauses::List(pauses) => {
            let index = usize::try_from(before).unwrap_or(usize::MAX);
            let found = pauses.get(index).or_else(|| pauses.last());
            found.copied().unwrap_or(SHORTEST_RETRY_AFTER)
        }
        RetryPauses::Exponential { base, factor, cap } => {
            let grown = base.as_secs_f64() * factor.powi(i32::try_from(before).unwrap_or(i32::MAX));
            // A value that is no duration is larger than every cap.
            Duration::try_from_secs_f64(grown).map_or(*cap, |grown| grown.min(*cap))
        }
    }
}

/// Returns a duration extended by a part of itself.
fn lengthened(pause: Duration, part: f64) -> Duration {
    let part = if part.is_finite() { part.max(0.0) } else { 0.0 };
    let more = Duration::try_from_secs_f64(pause.as_secs_f64() * part);
    pause.saturating_add(more.unwrap_or_default())
}

/// Returns the pause that a destination asks for, or `None` if its `Retry-After` is invalid.
pub(crate) fn retry_after(value: &HeaderValue, now_ms: i64) -> Option<Duration> {
    let asked = parse_retry_after(value, now_ms)?;
    Some(asked.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests;
