//! Forms of single values in the effective config.

use std::path::Path;
use std::time::Duration;

use hookgate_verify::model::rate::RateLimit;
use hookgate_verify::net::redact::MASK;
use serde_json::{Value as Json, json};

/// Formats a duration in the form of the config file.
pub(super) fn duration(time: Duration) -> String {
    match time.subsec_millis() {
        0 => format!("{}s", time.as_secs()),
        _ => format!("{}ms", time.as_millis()),
    }
}

/// Formats a rate in one unit for all rates, so that a program can compare them.
pub(super) fn rate(rate: RateLimit) -> Json {
    let per_second = f64::from(rate.count.get()) / rate.period.as_secs_f64();
    json!({ "per_second": per_second, "burst": rate.burst })
}

pub(super) fn path(path: &Path) -> String {
    path.display().to_string()
}

pub(super) fn texts<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// Formats a moment in the format of RFC 3339.
pub(super) fn moment(unix_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(unix_ms);
    time.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

/// Returns the mask in place of a credential that is set; null if it is not set.
pub(super) fn masked(is_set: bool) -> Option<&'static str> {
    is_set.then_some(MASK)
}

/// Returns how many keys there are, which shows a rotation without revealing a key; null without keys.
pub(super) fn key_count(count: usize) -> Option<usize> {
    (count > 0).then_some(count)
}

/// Returns names of headers. Values are left out, because operators put tokens into them.
pub(super) fn header_names(headers: &[(http::HeaderName, http::HeaderValue)]) -> Vec<&str> {
    headers.iter().map(|(name, _)| name.as_str()).collect()
}
