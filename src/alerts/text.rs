//! Times as people read them.

/// Formats a span of time in its largest fitting unit.
pub(super) fn span_text(span_ms: i64) -> String {
    let seconds = span_ms.max(0) / 1000;
    let minutes = seconds / 60;
    match minutes {
        0 | 1 => format!("{seconds} seconds"),
        2..=119 => format!("{minutes} minutes"),
        120..=2879 => format!("{} hours", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}

/// Formats a moment as `2026-12-01 12:30 UTC`.
pub(super) fn moment_text(unix_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(unix_ms);
    let time = time.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%F %H:%M UTC").to_string()
}

/// Formats a moment in the format of RFC 3339.
pub(super) fn moment_rfc3339(unix_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(unix_ms);
    time.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}
