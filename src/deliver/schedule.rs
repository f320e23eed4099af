//! When a failed attempt is repeated: pauses, jitter, `Retry-After`, and when there is nothing more to try.
//!
//! Pure: the time and the chance are handed in. Due times are of the store's clock, which no setting of the wall clock moves.
//! What is found in the store is held against the longest pause that the schedule has all the same: a damaged time, or
//! one of another schedule, wedges nothing.

use std::time::Duration;

use http::HeaderValue;

use crate::config::model::{Pauses, Retry};
use crate::store::rows::Next;

/// The pauses of Standard Webhooks after the first attempt, which comes at once.
pub const STANDARD_PAUSES: [Duration; 9] = [
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

/// A destination may ask for a pause of a day at most: whoever wants more is away, not busy.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// And for one of a second at least, so that `Retry-After: 0` is no way to be called without a pause.
const SHORTEST_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is due earlier than this is overdue: it was not taken in its time, so neither was what stands behind it.
pub const OVERDUE: Duration = Duration::from_secs(60);

/// A failed attempt.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Failed {
    /// Attempts since the delivery was made, or last wanted retried; this one included.
    pub round: u32,
    /// When that was. Milliseconds since the epoch.
    pub round_began_ms: i64,
    /// Milliseconds since the epoch.
    pub now_ms: i64,
    /// What the destination asked for.
    pub retry_after: Option<Duration>,
    /// From 0.0 up to 1.0.
    pub chance: f64,
}

/// The schedule that Standard Webhooks recommend.
#[must_use]
pub fn standard() -> Retry {
    Retry {
        pauses: Pauses::List(STANDARD_PAUSES.to_vec()),
        max_attempts: 10,
        max_age: None,
        jitter: 0.1,
    }
}

/// What a delivery does after an attempt that failed but may be repeated.
#[must_use]
pub fn after_failure(retry: &Retry, failed: &Failed) -> Next {
    if failed.round >= retry.max_attempts {
        return Next::Dead;
    }
    // The destination knows best when it has time; what it says counts in place of the pause, however short that is.
    let own = pause(&retry.pauses, failed.round);
    let wait = failed.retry_after.map_or(own, |asked| {
        asked.clamp(SHORTEST_RETRY_AFTER, LONGEST_RETRY_AFTER)
    });
    let due_ms = failed
        .now_ms
        .saturating_add(millis(lengthened(wait, retry.jitter * failed.chance)));
    let age_ms = due_ms.saturating_sub(failed.round_began_ms);
    match retry.max_age {
        Some(max_age) if age_ms > millis(max_age) => Next::Dead,
        _ => Next::Waiting(due_ms),
    }
}

/// The longest time from now at which something of this schedule can be due; what is due later was written under a wrong
/// clock, or by another schedule.
#[must_use]
pub fn horizon(retry: &Retry) -> Duration {
    let longest = match &retry.pauses {
        Pauses::List(pauses) => pauses.iter().copied().max().unwrap_or_default(),
        Pauses::Exponential { base, cap, .. } => *cap.max(base),
    };
    lengthened(longest.max(LONGEST_RETRY_AFTER), retry.jitter.max(0.0))
}

/// Whether something due at this time can have been meant so.
#[must_use]
pub fn is_plausible(retry: &Retry, due_ms: i64, now_ms: i64) -> bool {
    due_ms.saturating_sub(now_ms) <= millis(horizon(retry)).saturating_add(1)
}

/// The pause after this many attempts of a round, without jitter.
fn pause(pauses: &Pauses, round: u32) -> Duration {
    let before = round.saturating_sub(1);
    match pauses {
        Pauses::List(pauses) => {
            let index = usize::try_from(before).unwrap_or(usize::MAX);
            let found = pauses.get(index).or_else(|| pauses.last());
            found.copied().unwrap_or(SHORTEST_RETRY_AFTER)
        }
        Pauses::Exponential { base, factor, cap } => {
            let grown = base.as_secs_f64() * factor.powi(i32::try_from(before).unwrap_or(i32::MAX));
            // What is no duration is beyond every cap.
            Duration::try_from_secs_f64(grown).map_or(*cap, |grown| grown.min(*cap))
        }
    }
}

/// Longer by a part of itself.
fn lengthened(pause: Duration, part: f64) -> Duration {
    let part = if part.is_finite() { part.max(0.0) } else { 0.0 };
    let more = Duration::try_from_secs_f64(pause.as_secs_f64() * part);
    pause.saturating_add(more.unwrap_or_default())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Reads `Retry-After` in both of its forms (RFC 9110 10.2.3); none where it is neither. A date that is past is no pause.
#[must_use]
pub fn retry_after(value: &HeaderValue, now_ms: i64) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds ask for more than is granted.
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let date_ms = match date.duration_since(std::time::UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(_) => 0,
    };
    let wait = u64::try_from(date_ms.saturating_sub(now_ms)).unwrap_or(0);
    Some(Duration::from_millis(wait).min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests;
