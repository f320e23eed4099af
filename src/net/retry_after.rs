//! The `Retry-After` header of responses.

use std::time::{Duration, UNIX_EPOCH};

use http::HeaderValue;

use crate::model::clock::millis;

/// Parses both forms of `Retry-After` (RFC 9110, section 10.2.3), at a time in milliseconds since the epoch. Returns
/// `None` for other text. A past date means no pause.
///
/// The pause has no upper bound: each caller limits it to what its purpose allows.
pub(crate) fn parse_retry_after(value: &HeaderValue, now_ms: i64) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that overflows exceeds the longest pause of every caller in any case.
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let date_ms = date.duration_since(UNIX_EPOCH).map_or(0, millis);
    let pause_ms = u64::try_from(date_ms.saturating_sub(now_ms)).unwrap_or(0);
    Some(Duration::from_millis(pause_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tue, 14 Nov 2023 22:13:20 GMT.
    const NOW_MS: i64 = 1_700_000_000_000;

    fn read(text: &str) -> Option<Duration> {
        parse_retry_after(&HeaderValue::from_str(text).unwrap(), NOW_MS)
    }

    /// Fails when one of the two forms is not read, or a number that overflows counts as no header.
    #[test]
    fn a_pause_is_a_number_of_seconds_or_a_date() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(read("120"), seconds(120));
        assert_eq!(read(" 120 "), seconds(120));
        assert_eq!(read("0"), seconds(0));
        assert_eq!(read("99999999999999999999999"), seconds(u64::MAX));
        assert_eq!(read("Tue, 14 Nov 2023 22:14:20 GMT"), seconds(60));
        assert_eq!(
            read("Fri, 31 Dec 9999 23:59:59 GMT"),
            seconds(253_402_300_799 - 1_700_000_000)
        );
        // The two obsolete date formats of RFC 9110, section 5.6.7.
        assert_eq!(read("Tuesday, 14-Nov-23 22:14:20 GMT"), seconds(60));
        assert_eq!(read("Tue Nov 14 22:14:20 2023"), seconds(60));
    }

    /// Fails when a date in the past becomes a long pause, or no header.
    #[test]
    fn a_past_date_is_no_pause() {
        assert_eq!(read("Tue, 14 Nov 2023 22:13:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
    }

    /// Fails when text that is neither a number nor a date is read as a pause.
    #[test]
    fn other_text_is_ignored() {
        for odd in ["", "soon", "-5", "+5", "1.5", "5s", "2023-11-14T22:14:20Z"] {
            assert_eq!(read(odd), None, "{odd}");
        }
        let binary = HeaderValue::from_bytes(b"12\xff").unwrap();
        assert_eq!(parse_retry_after(&binary, NOW_MS), None);
    }
}
