//! Table of all metrics: one row with name, kind, labels and help for each family.
//!
//! Modules encode and register metrics by a reference to a row, so no name or help exists outside of this table. The
//! reference page and the checks of the alert rules and the dashboard come from it, too.

pub(crate) mod operation;
mod row;
pub(crate) mod storage;
pub(crate) mod traffic;

pub use crate::record::metric_table::row::{MetricKind, MetricRow};

/// Returns all rows, grouped by subject.
pub fn all_metrics() -> impl Iterator<Item = &'static MetricRow> {
    let groups = [traffic::ROWS, storage::ROWS, operation::ROWS];
    groups.into_iter().flatten().copied()
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
