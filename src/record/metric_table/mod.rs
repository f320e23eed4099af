//! Table of all metrics: one row with name, kind, labels and help for each family.
//!
//! Modules encode and register metrics by a reference to a row, so no name or help exists outside of this table. The
//! reference page and the checks of the alert rules and the dashboard come from it, too.

pub(crate) mod operation;
pub(crate) mod storage;
pub(crate) mod traffic;

/// Kind of a metric, as OpenMetrics names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetricKind {
    /// A count that only grows.
    Counter,
    /// A value that can go up and down.
    Gauge,
    /// Counts of durations by bucket.
    Histogram,
    /// A constant series whose labels are the information.
    Info,
}

/// Row of the table: one metric family.
#[derive(Debug)]
pub struct MetricRow {
    /// Name without the ending of its kind. It ends with the unit, if there is one: `_seconds` or `_bytes`.
    pub name: &'static str,
    /// Kind of all series of the family.
    pub kind: MetricKind,
    /// Names of the labels, in their order in the text.
    pub labels: &'static [&'static str],
    /// Sentence that says what is counted.
    pub help: &'static str,
}

/// Returns all rows, grouped by subject.
pub fn all_metrics() -> impl Iterator<Item = &'static MetricRow> {
    let groups = [traffic::ROWS, storage::ROWS, operation::ROWS];
    groups.into_iter().flatten().copied()
}

impl MetricKind {
    /// Returns the name of the kind in a `# TYPE` line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

impl MetricRow {
    /// Returns the names of the series that a scrape sees.
    #[must_use]
    pub fn series(&self) -> Vec<String> {
        let endings: &[&str] = match self.kind {
            MetricKind::Counter => &["_total"],
            MetricKind::Gauge => &[""],
            MetricKind::Histogram => &["_bucket", "_count", "_sum"],
            MetricKind::Info => &["_info"],
        };
        let name = |ending| format!("{}{ending}", self.name);
        endings.iter().map(name).collect()
    }
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricRow {
    row(MetricKind::Counter, name, labels, help)
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricRow {
    row(MetricKind::Gauge, name, labels, help)
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricRow {
    row(MetricKind::Histogram, name, labels, help)
}

const fn row(
    kind: MetricKind,
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricRow {
    MetricRow {
        name,
        kind,
        labels,
        help,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Fails if two rows have one name, or if a name already has the ending that the encoder adds.
    #[test]
    fn names_and_labels_are_unique_and_well_formed() {
        let mut names = BTreeSet::new();
        for row in all_metrics() {
            assert!(names.insert(row.name), "{} occurs twice", row.name);
            let is_prefixed = row.name.starts_with("hookgate_") || row.name.starts_with("process_");
            assert!(is_prefixed, "{}", row.name);
            let has_ending = ["_total", "_info", "_bucket", "_count", "_sum"]
                .iter()
                .any(|ending| row.name.ends_with(ending));
            assert!(!has_ending, "{}", row.name);
            let labels: BTreeSet<_> = row.labels.iter().collect();
            assert_eq!(labels.len(), row.labels.len(), "labels of {}", row.name);
            assert!(!row.help.is_empty(), "{}", row.name);
            if row.kind == MetricKind::Histogram {
                assert!(row.name.ends_with("_seconds"), "{}", row.name);
            }
        }
    }
}
