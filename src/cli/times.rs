//! Times for people: to the second in UTC, and relative to now.

use hookgate_verify::model::span;

use crate::admin::documents::ApiTimestamp;
use crate::model::clock::ClockReading;

/// Formats a time to the second, in UTC.
pub(super) fn exact(moment: ApiTimestamp) -> String {
    // A value outside of the calendar appears as the epoch: a wrong time in one row must not fail the whole list.
    let time = jiff::Timestamp::from_millisecond(moment.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%F %TZ").to_string()
}

/// Formats the distance to now in one unit, such as `3 days ago` or `in 2 hours`.
pub(super) fn relative(moment: ApiTimestamp) -> String {
    span::relative(moment.0, ClockReading::read().unix_ms)
}

/// Formats a time to the second, with the distance to now in parentheses.
pub(super) fn both(moment: ApiTimestamp) -> String {
    format!("{} ({})", exact(moment), relative(moment))
}

/// Formats the distance to now; a dash for a time that never was.
pub(super) fn relative_or_dash(moment: Option<ApiTimestamp>) -> String {
    moment.map_or_else(|| "-".to_owned(), relative)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_exact_and_in_words() {
        let moment = ApiTimestamp(1_764_000_000_000);
        assert_eq!(exact(moment), "2025-11-24 16:00:00Z");
        assert!(both(moment).starts_with("2025-11-24 16:00:00Z ("));
        assert_eq!(relative(ApiTimestamp(ClockReading::read().unix_ms)), "now");
        assert_eq!(relative_or_dash(None), "-");
    }
}
