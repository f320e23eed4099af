//! What goes wrong with time: units, zones, clocks, and signatures that are sent again long after they were made.

use std::time::Duration;

use http::header;

use crate::explain::case::Case;
use crate::explain::cause::{Cause, Finding};
use crate::explain::trial::Hunt;
use crate::gate::reject::Reject;
use crate::model::clock::Now;
use crate::model::span;
use crate::scheme::spec::{Family, Place, Spec, TimeUnit, TimestampSpec};

/// Two clocks that are looked at by people agree that well.
const CLOSE: i64 = 90;

/// The zones furthest from UTC.
const MAX_ZONE_HOURS: i64 = 14;

/// Headers in which senders and queues count tries.
const RETRY_HEADERS: [&str; 7] = [
    "x-slack-retry-num",
    "x-retry-count",
    "x-attempt",
    "webhook-attempt",
    "hookgate-attempt",
    "x-webhook-attempt",
    "x-shopify-retry-count",
];

const UNITS: [(TimeUnit, &str); 4] = [
    (TimeUnit::Seconds, "seconds"),
    (TimeUnit::Millis, "milliseconds"),
    (TimeUnit::Rfc3339, "RFC 3339 text"),
    (TimeUnit::HttpDate, "an HTTP date"),
];

/// The age of another sender's refused request, as a clock that is wrong here would make it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OtherAge {
    /// Its route.
    pub route: String,
    /// Now minus the signed time, in seconds.
    pub age_seconds: i64,
}

/// The first reading of the time under which the request verifies; also whether it verifies at any time.
pub(super) fn find(case: &Case<'_>, hunt: &mut Hunt) -> Option<Finding> {
    if !case.route.scheme.is_dated() {
        return None;
    }
    let found = other_unit(case, hunt);
    found.or_else(|| off(case, hunt))
}

/// What the timestamp looks like where nothing verifies.
pub(super) fn guess(case: &Case<'_>) -> Option<Finding> {
    if !matches!(
        case.reject,
        Reject::MalformedMaterial { .. } | Reject::StaleTimestamp { .. }
    ) {
        return None;
    }
    let place = timestamp(&case.route.scheme)?.place.clone();
    let text = case.value(&place).unwrap_or_default();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unit = match text.len() {
        13 => Some("milliseconds"),
        16 => Some("microseconds"),
        19 => Some("nanoseconds"),
        _ => None,
    };
    let is_own = matches!(
        timestamp(&case.route.scheme)?.unit,
        TimeUnit::Millis | TimeUnit::SecondsOrMillis
    );
    let unit = unit.filter(|_| is_number && !(is_own && text.len() == 13));
    let wrong_unit = unit.map(|unit| Cause::TimestampUnit.likely(unit));
    wrong_unit.or_else(|| off_unread(case))
}

/// Nobody can say more than how far the time is off where the body, which a refusal in the head leaves unread, is missing.
fn off_unread(case: &Case<'_>) -> Option<Finding> {
    let Reject::StaleTimestamp { age_seconds, .. } = *case.reject else {
        return None;
    };
    if !case.seen.is_cut {
        return None;
    }
    let side = match age_seconds < 0 {
        true => "in the future",
        false => "in the past",
    };
    let others = match case.others_off_by(age_seconds, CLOSE) {
        0 => "",
        _ => {
            ", and other senders were off by about as much at that time, which speaks for a wrong clock here"
        }
    };
    let detail = format!("{} {side}{others}", words(age_seconds));
    Some(Cause::OffUnread.likely(&detail))
}

fn timestamp(spec: &Spec) -> Option<&TimestampSpec> {
    match &spec.family {
        Family::Hmac(family) => family.timestamp.as_ref(),
        Family::Text(family) => family.timestamp.as_ref(),
        Family::Token(_) | Family::Jwt(_) | Family::Certificate(_) | Family::Http(_) => None,
    }
}

fn set_unit(spec: &mut Spec, unit: TimeUnit) {
    let timestamp = match &mut spec.family {
        Family::Hmac(family) => family.timestamp.as_mut(),
        Family::Text(family) => family.timestamp.as_mut(),
        Family::Token(_) | Family::Jwt(_) | Family::Certificate(_) | Family::Http(_) => None,
    };
    if let Some(timestamp) = timestamp {
        timestamp.unit = unit;
    }
}

/// The time as it is written in the head, whatever the signature is; in milliseconds.
pub(super) fn written_ms(case: &Case<'_>) -> Option<i64> {
    let spec = timestamp(&case.route.scheme)?;
    let value = case.value(&spec.place)?;
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

/// In another unit it is near enough to when the request came.
fn other_unit(case: &Case<'_>, hunt: &mut Hunt) -> Option<Finding> {
    let own = timestamp(&case.route.scheme)?.unit;
    for (unit, words) in UNITS {
        if unit == own {
            continue;
        }
        let trial = case.base.varied(|trial| {
            set_unit(trial.spec.to_mut(), unit);
            trial.tolerance = case.route.tolerance;
        });
        if hunt.passes(&trial) {
            return Some(Cause::TimestampUnit.proven(words));
        }
    }
    None
}

/// The signature is right, and the time is not.
fn off(case: &Case<'_>, hunt: &mut Hunt) -> Option<Finding> {
    let Reject::StaleTimestamp { age_seconds, .. } = *case.reject else {
        return None;
    };
    if !hunt.passes(&case.base.at_any_time()) {
        return None;
    }
    let far = words(age_seconds);
    let others = case.others_off_by(age_seconds, CLOSE);
    if others > 0 {
        return Some(Cause::ClockHere.proven(&far));
    }
    if is_retry(case, age_seconds) {
        return Some(Cause::Retried.proven(&far));
    }
    if let Some(hours) = zone_hours(age_seconds) {
        return Some(Cause::TimeZone.proven(&format!("{hours} h")));
    }
    let cause = match age_seconds < 0 {
        true => Cause::ClockOfSender,
        false => Cause::SignatureOld,
    };
    Some(cause.proven(&far))
}

/// The sender says so, or dates the request later than the signature.
fn is_retry(case: &Case<'_>, age_seconds: i64) -> bool {
    let headers = &case.base.headers;
    let counts = |name: &&str| {
        let value = headers.get(*name).and_then(|value| value.to_str().ok());
        let count = value.and_then(|value| value.parse::<u32>().ok());
        count.is_some_and(|count| count > 0)
    };
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

/// Whole or half hours, as zones are apart.
fn zone_hours(age_seconds: i64) -> Option<String> {
    let halves = (age_seconds + age_seconds.signum() * 900) / 1800;
    let is_near = (age_seconds - halves * 1800).abs() <= CLOSE;
    let is_zone = halves != 0 && halves.abs() <= 2 * MAX_ZONE_HOURS;
    // A signature that is half an hour old is no matter of zones.
    let is_zone = is_zone && (halves % 2 == 0 || halves.abs() > 6);
    (is_near && is_zone).then(|| match halves % 2 == 0 {
        true => (halves / 2).abs().to_string(),
        false => format!("{}.5", (halves / 2).abs()),
    })
}

/// How far a time is away, whichever way.
pub(super) fn words(seconds: i64) -> String {
    span::words(seconds.unsigned_abs())
}

/// A moment as people and programs read it.
pub(super) fn moment(unix_seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(unix_seconds);
    time.map_or_else(
        |_| format!("second {unix_seconds}"),
        |time| time.to_string(),
    )
}

/// The time at which a request is judged that nobody saw come: that of its signature.
pub(super) fn when_signed(seconds: Option<i64>) -> Now {
    seconds.map_or_else(Now::read, Now::at_unix_seconds)
}

/// Where the timestamp stands, for people.
pub(super) fn place(spec: &Spec) -> Option<&Place> {
    timestamp(spec).map(|timestamp| &timestamp.place)
}

/// A tolerance for people.
pub(super) fn tolerance(tolerance: Duration) -> String {
    span::words(tolerance.as_secs())
}
