//! Small charts, drawn here as SVG: no script, and no style but that of the page.

use crate::admin::wire::{History, Moment, Verdict};

/// A chart is so wide and high, in units of its own.
pub(super) const WIDTH: u32 = 240;
pub(super) const HEIGHT: u32 = 32;

/// Columns of a chart, and how far they are apart.
const COLUMNS: usize = 60;
const STEP: u32 = 4;

/// A rectangle.
pub(super) struct Bar {
    pub(super) class: &'static str,
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// Columns side by side, each of one or more parts on top of each other.
pub(super) struct Chart {
    pub(super) bars: Vec<Bar>,
    /// What it shows, for those who do not see it.
    pub(super) title: String,
}

impl Chart {
    pub(super) fn width(&self) -> u32 {
        WIDTH
    }

    pub(super) fn height(&self) -> u32 {
        HEIGHT
    }

    /// Columns from left to right; a part is a class with a number.
    fn draw(columns: &[Vec<(&'static str, u64)>], title: String) -> Self {
        let sums = columns.iter().map(|parts| sum(parts));
        let highest = sums.max().unwrap_or(0).max(1);
        let mut bars = Vec::new();
        // The newest stands at the right end.
        for (index, parts) in (1_u32..).zip(columns.iter().rev().take(COLUMNS)) {
            let mut y = HEIGHT;
            for (class, number) in parts.iter().filter(|(_, number)| *number > 0) {
                // What is there is seen, however little it is.
                let height = number.saturating_mul(u64::from(HEIGHT)) / highest;
                let height = u32::try_from(height)
                    .unwrap_or(HEIGHT)
                    .clamp(2, HEIGHT)
                    .min(y);
                y -= height;
                bars.push(Bar {
                    class,
                    x: WIDTH - index * STEP,
                    y,
                    width: STEP - 1,
                    height,
                });
            }
        }
        Self { bars, title }
    }

    /// Requests that passed and that were refused, minute by minute over the last hour.
    pub(super) fn of_hour(history: &History, now_ms: i64) -> Self {
        let mut columns = vec![vec![("pass", 0), ("refuse", 0)]; COLUMNS];
        for minute in &history.minutes {
            let ago = now_ms.saturating_sub(minute.start.0).max(0) / 60_000;
            let column = usize::try_from(ago).ok();
            let column = column.and_then(|ago| (COLUMNS - 1).checked_sub(ago));
            if let Some(parts) = column.and_then(|column| columns.get_mut(column)) {
                *parts = vec![("pass", minute.passed()), ("refuse", minute.failed())];
            }
        }
        let (passed, refused) = (history.passed(), history.failed());
        let title = format!("In the last hour {passed} passed and {refused} were refused");
        Self::draw(&columns, title)
    }

    /// How long attempts took, the oldest first.
    pub(super) fn of_durations(attempts: &[(Moment, u32, bool)]) -> Self {
        let columns: Vec<_> = attempts
            .iter()
            .map(|(_, ms, is_good)| {
                let class = if *is_good { "pass" } else { "refuse" };
                vec![(class, u64::from(*ms).max(1))]
            })
            .collect();
        let longest = attempts.iter().map(|(_, ms, _)| *ms).max().unwrap_or(0);
        let title = format!(
            "The last {} attempts; the longest took {}",
            attempts.len(),
            crate::console::show::duration(&longest)
        );
        Self::draw(&columns, title)
    }
}

/// Whether the gate kept a request from the app, or would have.
pub(super) fn is_refused(verdict: &Verdict) -> bool {
    matches!(verdict.verdict.as_str(), "refused" | "monitored")
}

fn sum(parts: &[(&'static str, u64)]) -> u64 {
    parts.iter().map(|(_, number)| number).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stay_in_the_picture() {
        let attempts = [
            (Moment(0), 0, true),
            (Moment(1), u32::MAX, false),
            (Moment(2), 1, true),
        ];
        let chart = Chart::of_durations(&attempts);
        assert_eq!(chart.bars.len(), 3);
        for bar in &chart.bars {
            assert!(bar.height >= 2 && bar.y + bar.height == HEIGHT);
            assert!(bar.x + bar.width <= WIDTH);
        }
        let classes: Vec<_> = chart.bars.iter().map(|bar| bar.class).collect();
        assert_eq!(classes, ["pass", "refuse", "pass"]);
        assert_eq!(chart.bars[0].x, WIDTH - STEP);
        assert!(Chart::of_durations(&[]).bars.is_empty());
    }
}
