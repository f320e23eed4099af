//! Timestamps as they were sent, in the units that senders use.

use crate::scheme::spec::TimeUnit;

/// Limit of digits in a timestamp in seconds: beyond the year 30000.
pub(crate) const MAX_SECONDS_DIGITS: usize = 12;

/// Limit of digits in seconds, if milliseconds are possible as well.
pub(crate) const MAX_MIXED_SECONDS_DIGITS: usize = 11;

/// Limit of digits in a timestamp in milliseconds.
pub(crate) const MAX_MILLIS_DIGITS: usize = 15;

/// Length of an RFC 3339 time with nanoseconds and an offset, rounded up.
pub(crate) const MAX_TIMESTAMP_LEN: usize = 40;

/// Current format of HTTP dates (RFC 9110 section 5.6.7).
pub(super) const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

/// Time that the sender has signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignedTime {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: i64,
    /// Given in whole seconds, so that ages must be computed in whole seconds too.
    pub is_in_seconds: bool,
}

impl SignedTime {
    /// Returns the meaning of a timestamp.
    pub(super) fn of(timestamp: &SentTimestamp) -> Self {
        Self {
            unix_ms: timestamp.unix_ms,
            is_in_seconds: matches!(timestamp.unit, TimeUnit::Seconds | TimeUnit::HttpDate),
        }
    }
}

/// A timestamp as it was sent, with its meaning.
#[derive(Clone)]
pub(super) struct SentTimestamp {
    text: [u8; MAX_TIMESTAMP_LEN],
    len: usize,
    unix_ms: i64,
    unit: TimeUnit,
}

impl SentTimestamp {
    /// Returns the text as it was sent.
    pub(super) fn text(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or_default()
    }

    /// Returns the milliseconds since the Unix epoch.
    pub(super) fn unix_ms(&self) -> i64 {
        self.unix_ms
    }

    /// Parses the text; the error says what is wrong with it.
    pub(super) fn parse(text: &[u8], unit: TimeUnit) -> Result<Self, &'static str> {
        // The mixed unit is settled here, since `SignedTime` computes ages in whole seconds for senders of seconds
        // only.
        let unit = match unit {
            TimeUnit::SecondsOrMillis if text.len() > MAX_MIXED_SECONDS_DIGITS => TimeUnit::Millis,
            TimeUnit::SecondsOrMillis => TimeUnit::Seconds,
            unit => unit,
        };
        let unix_ms = match unit {
            TimeUnit::Seconds | TimeUnit::SecondsOrMillis => {
                parse_digits(text, MAX_SECONDS_DIGITS)?.saturating_mul(1000)
            }
            TimeUnit::Millis => parse_digits(text, MAX_MILLIS_DIGITS)?,
            TimeUnit::Rfc3339 => parse_rfc3339(text)?,
            TimeUnit::HttpDate => parse_http_date(text)?,
        };
        let mut timestamp = Self {
            text: [0; MAX_TIMESTAMP_LEN],
            len: text.len(),
            unix_ms,
            unit,
        };
        let room = timestamp.text.get_mut(..text.len());
        room.ok_or("is too long")?.copy_from_slice(text);
        Ok(timestamp)
    }
}

/// Parses digits only: `i64::from_str` would accept a sign, and the app's parser perhaps spaces. A leading zero is
/// rejected: next to a body in the signed text, it could belong to the body with the same time.
pub(crate) fn parse_digits(text: &[u8], max: usize) -> Result<i64, &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.len() > 1 && text.starts_with(b"0") {
        return Err("begins with a zero");
    }
    if text.len() > max {
        return Err("is too long");
    }
    // It cannot overflow: `max` keeps the number below the 19 digits of an `i64`.
    text.iter().try_fold(0i64, |value, byte| {
        if !byte.is_ascii_digit() {
            return Err("is not made of digits");
        }
        Ok(value * 10 + i64::from(byte - b'0'))
    })
}

pub(crate) fn parse_rfc3339(text: &[u8]) -> Result<i64, &'static str> {
    const FAULT: &str = "is not an RFC 3339 time";
    let is_fit = |byte: &u8| byte.is_ascii_digit() || b"TZtz:.+-".contains(byte);
    if text.len() > MAX_TIMESTAMP_LEN {
        return Err("is too long");
    }
    // A year with a sign would have another length, so the text must begin with a digit.
    if !text.iter().all(is_fit) || !text.first().is_some_and(u8::is_ascii_digit) {
        return Err(FAULT);
    }
    let text = std::str::from_utf8(text).map_err(|_| FAULT)?;
    let time: jiff::Timestamp = text.parse().map_err(|_| FAULT)?;
    Ok(time.as_millisecond())
}

/// Parses `Sun, 06 Nov 1994 08:49:37 GMT`. The obsolete formats are rejected, because senders have no reason to use
/// them.
pub(crate) fn parse_http_date(text: &[u8]) -> Result<i64, &'static str> {
    const FAULT: &str = "is not an HTTP date";
    let text = std::str::from_utf8(text).map_err(|_| FAULT)?;
    let time = jiff::fmt::strtime::parse(HTTP_DATE, text).map_err(|_| FAULT)?;
    let time = time
        .to_datetime()
        .and_then(|time| jiff::tz::Offset::UTC.to_timestamp(time));
    let time = time.map_err(|_| FAULT)?;
    // A time has only one spelling; jiff also accepts other spaces and other case.
    if time.strftime(HTTP_DATE).to_string() != text {
        return Err(FAULT);
    }
    Ok(time.as_millisecond())
}
