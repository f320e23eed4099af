//! Hypotheses about time: units, time zones, clocks, and retries with an old signature.

use std::time::Duration;

use hookgate_verify::model::span;
use hookgate_verify::scheme::spec::{
    SchemeFamily, SchemeLocation, SchemeSpec, TimeUnit, TimestampSpec,
};
use http::header;

use crate::explain::case::RefusalCase;
use crate::explain::cause::{CauseFinding, RefusalCause};
use crate::explain::trial::TrialBudget;
use crate::gate::reject::Reject;
use crate::model::clock::ClockReading;

/// Maximum difference in seconds of two clocks that count as agreeing.
const CLOSE: i64 = 90;

/// Largest offset of a time zone from UTC, in hours.
const MAX_ZONE_HOURS: i64 = 14;

/// Headers in which senders and queues count their attempts.
const RETRY_HEADERS: [&str; 7] = [
    "x-slack-retry-num",
    "x-retry-count",
    "x-attempt",
    "webhook-attempt",
    "hookgate-attempt",
    "x-webhook-attempt",
    "x-shopify-retry-count",
];

const UNITS: [TimeUnit; 4] = [
    TimeUnit::Seconds,
    TimeUnit::Millis,
    TimeUnit::Rfc3339,
    TimeUnit::HttpDate,
];

/// Finds the time unit under which the request verifies, or proves that only its age is wrong.
pub(super) fn find(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    if !case.route.scheme.is_dated() {
        return None;
    }
    // A wrong unit makes any age look absurd, so it is checked before the age is explained.
    let found = other_unit(case, hunt);
    found.or_else(|| off(case, hunt))
}

/// Guesses the unit or the offset of the timestamp, if no hypothesis verifies.
pub(super) fn guess(case: &RefusalCase<'_>) -> Option<CauseFinding> {
    if !matches!(
        case.reject,
        Reject::MalformedMaterial { .. } | Reject::StaleTimestamp { .. }
    ) {
        return None;
    }
    let place = timestamp(&case.route.scheme)?.location.clone();
    let text = case.value(&place).unwrap_or_default();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Present times have ten digits in seconds, so the length shows the unit.
    let unit = match text.len() {
        13 => Some(TimeUnit::Millis.name()),
        16 => Some("Unix microseconds"),
        19 => Some("Unix nanoseconds"),
        _ => None,
    };
    let is_own = matches!(
        timestamp(&case.route.scheme)?.unit,
        TimeUnit::Millis | TimeUnit::SecondsOrMillis
    );
    let unit = unit.filter(|_| is_number && !(is_own && text.len() == 13));
    let wrong_unit = unit.map(|unit| RefusalCause::TimestampUnit.likely(unit));
    wrong_unit.or_else(|| off_unread(case))
}

/// Reports how far the time is off if the body is missing, because a stale timestamp is rejected before the body is
/// read.
fn off_unread(case: &RefusalCase<'_>) -> Option<CauseFinding> {
    let Reject::StaleTimestamp { age_seconds, .. } = *case.reject else {
        return None;
    };
    if !case.request.is_cut {
        return None;
    }
    let side = match age_seconds < 0 {
        true => "in the future",
        false => "in the past",
    };
    let others = match case.others_off_by(age_seconds, CLOSE) {
        // Without other senders the offset says nothing about whose clock is wrong.
        0 => "",
        _ => {
            ", and other senders were off by about as much at that time, which suggests a wrong clock here"
        }
    };
    let detail = format!("{} {side}{others}", format_distance(age_seconds));
    Some(RefusalCause::OffUnread.likely(&detail))
}

/// Returns the timestamp of a scheme whose location and unit can vary.
fn timestamp(spec: &SchemeSpec) -> Option<&TimestampSpec> {
    match &spec.family {
        SchemeFamily::Hmac(family) => family.timestamp.as_ref(),
        SchemeFamily::Text(family) => family.timestamp.as_ref(),
        SchemeFamily::Token(_)
        | SchemeFamily::Jwt(_)
        | SchemeFamily::Certificate(_)
        | SchemeFamily::Http(_) => None,
    }
}

fn set_unit(spec: &mut SchemeSpec, unit: TimeUnit) {
    let timestamp = match &mut spec.family {
        SchemeFamily::Hmac(family) => family.timestamp.as_mut(),
        SchemeFamily::Text(family) => family.timestamp.as_mut(),
        SchemeFamily::Token(_)
        | SchemeFamily::Jwt(_)
        | SchemeFamily::Certificate(_)
        | SchemeFamily::Http(_) => None,
    };
    if let Some(timestamp) = timestamp {
        timestamp.unit = unit;
    }
}

/// Reads the timestamp from the head in milliseconds, without verifying it.
pub(super) fn written_ms(case: &RefusalCase<'_>) -> Option<i64> {
    let spec = timestamp(&case.route.scheme)?;
    let value = case.value(&spec.location)?;
    // Lists such as `t=1700000000,v1=...` hold the time under a key.
    let text = match &spec.key {
        None => value.as_str(),
        Some(key) => value.split([',', ' ', ';']).find_map(|entry| {
            let (found, text) = entry.trim().split_once(['=', ':'])?;
            (found == key).then_some(text)
        })?,
    };
    match spec.unit {
        TimeUnit::Millis => text.parse().ok(),
        TimeUnit::SecondsOrMillis if text.len() > 11 => text.parse().ok(),
        TimeUnit::Seconds | TimeUnit::SecondsOrMillis => {
            text.parse::<i64>().ok()?.checked_mul(1000)
        }
        TimeUnit::Rfc3339 => Some(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()),
        TimeUnit::HttpDate => {
            let time = httpdate::parse_http_date(text).ok()?;
            let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
            i64::try_from(since.as_millis()).ok()
        }
    }
}

/// Tries other units, in which the time is close enough to the arrival of the request.
fn other_unit(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    let own = timestamp(&case.route.scheme)?.unit;
    for unit in UNITS {
        if unit == own {
            continue;
        }
        let trial = case.base.varied(|trial| {
            set_unit(trial.spec.to_mut(), unit);
            // `base` may accept any age; with another unit the age must be right too, or each unit would pass.
            trial.tolerance = case.route.tolerance;
        });
        if hunt.passes(&trial) {
            return Some(RefusalCause::TimestampUnit.proven(unit.name()));
        }
    }
    None
}

/// Proves that the signature is correct and only its age is not, and finds out why.
fn off(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    let Reject::StaleTimestamp { age_seconds, .. } = *case.reject else {
        return None;
    };
    // Only a correct signature proves that the time is the sender's and was not changed.
    if !hunt.passes(&case.base.at_any_time()) {
        return None;
    }
    let far = format_distance(age_seconds);
    // Evidence from other senders is the strongest, so it is checked before retries and time zones.
    let others = case.others_off_by(age_seconds, CLOSE);
    if others > 0 {
        return Some(RefusalCause::ClockHere.proven(&far));
    }
    if is_retry(case, age_seconds) {
        return Some(RefusalCause::Retried.proven(&far));
    }
    if let Some(hours) = zone_hours(age_seconds) {
        return Some(RefusalCause::TimeZone.proven(&format!("{hours} h")));
    }
    let cause = match age_seconds < 0 {
        true => RefusalCause::ClockOfSender,
        false => RefusalCause::SignatureOld,
    };
    Some(cause.proven(&far))
}

/// Returns true if a header counts attempts, or if `Date` is much later than the signature.
fn is_retry(case: &RefusalCase<'_>, age_seconds: i64) -> bool {
    let headers = &case.base.headers;
    let counts = |name: &&str| {
        let value = headers.get(*name).and_then(|value| value.to_str().ok());
        let count = value.and_then(|value| value.parse::<u32>().ok());
        count.is_some_and(|count| count > 0)
    };
    // A signature from the future is no retry, whatever a header counts.
    if age_seconds > 0 && RETRY_HEADERS.iter().any(counts) {
        return true;
    }
    let date = headers
        .get(header::DATE)
        .and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let date = date.and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok());
    let date = date.and_then(|date| i64::try_from(date.as_secs()).ok());
    let came = case.base.now.unix_seconds();
    age_seconds > CLOSE && date.is_some_and(|date| (came - date).abs() <= CLOSE)
}

/// Returns the age in hours if it is close to a whole or half hour, as time zones differ.
fn zone_hours(age_seconds: i64) -> Option<String> {
    // Rounded to the nearest half hour.
    let halves = (age_seconds + age_seconds.signum() * 900) / 1800;
    let is_near = (age_seconds - halves * 1800).abs() <= CLOSE;
    let is_zone = halves != 0 && halves.abs() <= 2 * MAX_ZONE_HOURS;
    // Half hours count only beyond three hours: no zone is that close to UTC, and a delay of 30 minutes is common.
    let is_zone = is_zone && (halves % 2 == 0 || halves.abs() > 6);
    (is_near && is_zone).then(|| match halves % 2 == 0 {
        true => (halves / 2).abs().to_string(),
        false => format!("{}.5", (halves / 2).abs()),
    })
}

/// Formats a distance in time without its sign.
pub(super) fn format_distance(seconds: i64) -> String {
    span::format_seconds(seconds.unsigned_abs())
}

/// Formats a moment as RFC 3339.
pub(super) fn moment(unix_seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(unix_seconds);
    time.map_or_else(
        |_| format!("second {unix_seconds}"),
        |time| time.to_string(),
    )
}

/// Returns the time at which to judge a request of unknown arrival: the signed time, else now.
pub(super) fn when_signed(seconds: Option<i64>) -> ClockReading {
    seconds.map_or_else(ClockReading::read, ClockReading::at_unix_seconds)
}

pub(super) fn timestamp_location(spec: &SchemeSpec) -> Option<&SchemeLocation> {
    timestamp(spec).map(|timestamp| &timestamp.location)
}

/// Formats a tolerance for people.
pub(super) fn tolerance(tolerance: Duration) -> String {
    span::format_seconds(tolerance.as_secs())
}
