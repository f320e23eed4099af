//! Durations and moments in words, for the console, the commands and the explanations.
//!
//! The console's script has a copy of [`relative`], which keeps the words current while a page is open. Change both
//! together.

use std::time::Duration;

/// Formats a moment relative to now, such as `5 min ago`. Both are in milliseconds since the Unix epoch.
pub fn relative(ms: i64, now_ms: i64) -> String {
    // Saturating, since a stored time can be any number.
    let seconds = now_ms.saturating_sub(ms).div_euclid(1000);
    let away = format_seconds(seconds.unsigned_abs());
    match seconds {
        -1..=1 => "now".to_owned(),
        2.. => format!("{away} ago"),
        _ => format!("in {away}"),
    }
}

/// Formats seconds in the largest unit of which there are at least two.
pub fn format_seconds(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Formats a duration as the config writes it, in its largest whole unit.
pub fn format_as_config(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        // Milliseconds first: the other units would drop them.
        _ if duration.subsec_millis() > 0 => format!("{}ms", duration.as_millis()),
        _ if seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        _ if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

/// Formats a measured time, given in milliseconds.
pub fn took(ms: u32) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unit_says_how_far_away() {
        let now = 1_764_000_000_000;
        for (seconds_ago, expected) in [
            (0, "now"),
            (1, "now"),
            (-1, "now"),
            (2, "2 s ago"),
            (-2, "in 2 s"),
            (119, "119 s ago"),
            (120, "2 min ago"),
            (-300, "in 5 min"),
            (7199, "119 min ago"),
            (7200, "2 h ago"),
            (172_799, "47 h ago"),
            (172_800, "2 days ago"),
        ] {
            assert_eq!(relative(now - seconds_ago * 1000, now), expected);
        }
        assert_eq!(relative(now + 1, now), "now");
        assert!(relative(i64::MIN, i64::MAX).ends_with(" days ago"));
        assert!(relative(i64::MAX, i64::MIN).starts_with("in "));
    }

    #[test]
    fn a_duration_of_the_config_is_whole() {
        for (ms, text) in [
            (1500, "1500ms"),
            (5_000, "5s"),
            (90_000, "90s"),
            (300_000, "5m"),
            (7_200_000, "2h"),
            (86_400_000 * 3, "3d"),
        ] {
            assert_eq!(format_as_config(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn long_times_are_less_exact() {
        for (ms, expected) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1250, "1.2 s"),
            (59_999, "59.9 s"),
            (61_000, "1 min 1 s"),
        ] {
            assert_eq!(took(ms), expected);
        }
    }
}
