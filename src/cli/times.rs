//! Times as people read them: to the second, and how long ago.

use crate::admin::wire::Moment;
use crate::model::clock::Now;

/// To the second, in UTC.
pub(super) fn exact(moment: Moment) -> String {
    let time = jiff::Timestamp::from_millisecond(moment.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%F %TZ").to_string()
}

/// How long ago, or in how long, in one unit.
pub(super) fn relative(moment: Moment) -> String {
    between(moment.0, Now::read().unix_ms)
}

/// Both.
pub(super) fn both(moment: Moment) -> String {
    format!("{} ({})", exact(moment), relative(moment))
}

/// How long ago; a dash where it never was.
pub(super) fn relative_or_dash(moment: Option<Moment>) -> String {
    moment.map_or_else(|| "-".to_owned(), relative)
}

fn between(moment_ms: i64, now_ms: i64) -> String {
    let apart = now_ms.saturating_sub(moment_ms);
    let span = span(apart.unsigned_abs());
    match apart {
        0.. => format!("{span} ago"),
        _ => format!("in {span}"),
    }
}

/// In the largest unit that fits at least once; days from the second day on.
fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long something took.
pub(super) fn took(ms: u32) -> String {
    match ms {
        0..1000 => format!("{ms}ms"),
        _ => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_one_unit() {
        let now = 1_764_000_000_000;
        for (moment, expected) in [
            (now, "0s ago"),
            (now - 119_999, "119s ago"),
            (now - 120_000, "2m ago"),
            (now - 7_200_000, "2h ago"),
            (now - 172_800_000, "2d ago"),
            (now + 300_000, "in 5m"),
        ] {
            assert_eq!(between(moment, now), expected);
        }
        assert_eq!(exact(Moment(now)), "2025-11-24 16:00:00Z");
        assert_eq!(
            (took(12), took(1250)),
            ("12ms".to_owned(), "1.2s".to_owned())
        );
    }
}
