//! Small bar charts in SVG, without script and without inline styles.
//!
//! The content security policy allows neither, so classes of the style sheet give the colors.

use crate::admin::documents::{ApiTimestamp, HistoryDocument, VerdictDocument};

/// Width of a chart in its own units; the page scales it.
pub(super) const WIDTH: u32 = 240;
pub(super) const HEIGHT: u32 = 32;

/// Columns in a chart, and the distance between them.
const COLUMNS: usize = 60;
const STEP: u32 = 4;

/// One rectangle of a chart.
pub(super) struct ChartBar {
    pub(super) class: &'static str,
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// A bar chart whose columns are stacks of one or more parts.
pub(super) struct BarChart {
    pub(super) bars: Vec<ChartBar>,
    /// Text alternative for screen readers.
    pub(super) title: String,
}

impl BarChart {
    pub(super) fn width(&self) -> u32 {
        WIDTH
    }

    pub(super) fn height(&self) -> u32 {
        HEIGHT
    }

    /// Draws columns from left to right. A part of a column is a CSS class with a number.
    fn draw(columns: &[Vec<(&'static str, u64)>], title: String) -> Self {
        let sums = columns.iter().map(|parts| sum(parts));
        let highest = sums.max().unwrap_or(0).max(1);
        let mut bars = Vec::new();
        // The newest column is at the right end, so a short history leaves the left side empty.
        for (index, parts) in (1_u32..).zip(columns.iter().rev().take(COLUMNS)) {
            let mut y = HEIGHT;
            for (class, number) in parts.iter().filter(|(_, number)| *number > 0) {
                // A small number stays visible next to a large one: at least two units high.
                let height = number.saturating_mul(u64::from(HEIGHT)) / highest;
                let height = u32::try_from(height)
                    .unwrap_or(HEIGHT)
                    .clamp(2, HEIGHT)
                    .min(y);
                y -= height;
                bars.push(ChartBar {
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

    /// Draws passed and rejected requests for each minute of the last hour.
    pub(super) fn of_hour(history: &HistoryDocument, now_ms: i64) -> Self {
        let mut columns = vec![vec![("pass", 0), ("refuse", 0)]; COLUMNS];
        // The history leaves out minutes without requests, so each minute finds its column by its age.
        for minute in &history.minutes {
            let ago = now_ms.saturating_sub(minute.start.0).max(0) / 60_000;
            let column = usize::try_from(ago).ok();
            let column = column.and_then(|ago| (COLUMNS - 1).checked_sub(ago));
            if let Some(parts) = column.and_then(|column| columns.get_mut(column)) {
                *parts = vec![("pass", minute.passed()), ("refuse", minute.failed())];
            }
        }
        let (passed, refused) = (history.passed(), history.failed());
        let title = format!("Requests in the last hour: {passed} passed, {refused} rejected");
        Self::draw(&columns, title)
    }

    /// Draws the duration of each attempt, oldest first.
    pub(super) fn of_durations(attempts: &[(ApiTimestamp, u32, bool)]) -> Self {
        let columns: Vec<_> = attempts
            .iter()
            .map(|(_, ms, is_good)| {
                let class = if *is_good { "pass" } else { "refuse" };
                // `draw` leaves out zeros, and an attempt of 0 ms must still show.
                vec![(class, u64::from(*ms).max(1))]
            })
            .collect();
        let longest = attempts.iter().map(|(_, ms, _)| *ms).max().unwrap_or(0);
        let title = format!(
            "Duration of the last {} attempts; the longest took {}",
            attempts.len(),
            crate::console::display::duration(&longest)
        );
        Self::draw(&columns, title)
    }
}

/// Returns whether the gate rejected a request, or would have outside of monitor mode.
pub(super) fn is_refused(verdict: &VerdictDocument) -> bool {
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
            (ApiTimestamp(0), 0, true),
            (ApiTimestamp(1), u32::MAX, false),
            (ApiTimestamp(2), 1, true),
        ];
        let chart = BarChart::of_durations(&attempts);
        assert_eq!(chart.bars.len(), 3);
        for bar in &chart.bars {
            assert!(bar.height >= 2 && bar.y + bar.height == HEIGHT);
            assert!(bar.x + bar.width <= WIDTH);
        }
        let classes: Vec<_> = chart.bars.iter().map(|bar| bar.class).collect();
        assert_eq!(classes, ["pass", "refuse", "pass"]);
        assert_eq!(chart.bars[0].x, WIDTH - STEP);
        assert!(BarChart::of_durations(&[]).bars.is_empty());
    }
}
