//! A row of the table of metrics.

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

pub(super) const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricRow {
    row(MetricKind::Counter, name, labels, help)
}

pub(super) const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricRow {
    row(MetricKind::Gauge, name, labels, help)
}

pub(super) const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricRow {
    row(MetricKind::Histogram, name, labels, help)
}

pub(super) const fn row(
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
