//! Encoder of one metric family in the OpenMetrics text, whose head and labels come from the metric table.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::record::histogram::HistogramSnapshot;
use crate::record::metric_table::{MetricKind, MetricRow};

/// Encoder of the series of one family. Callers pass the values of the labels in the order of the row.
pub(super) struct FamilyEncoder<'e> {
    row: &'static MetricRow,
    metric: MetricEncoder<'e>,
}

impl<'e> FamilyEncoder<'e> {
    /// Writes the head of a family. A family without series has a head, too.
    pub(super) fn begin(
        encoder: &'e mut DescriptorEncoder<'_>,
        row: &'static MetricRow,
    ) -> Result<Self, fmt::Error> {
        let kind = match row.kind {
            MetricKind::Counter => MetricType::Counter,
            MetricKind::Gauge => MetricType::Gauge,
            MetricKind::Histogram => MetricType::Histogram,
            MetricKind::Info => MetricType::Info,
        };
        let metric = encoder.encode_descriptor(row.name, row.help, None, kind)?;
        Ok(Self { row, metric })
    }

    /// Encodes a series of a counter or a gauge.
    pub(super) fn count(&mut self, labels: &[&str], value: u64) -> fmt::Result {
        let kind = self.row.kind;
        self.series(labels, |metric| match kind {
            MetricKind::Counter => metric.encode_counter::<NoLabelSet, u64, f64>(&value, None),
            _ => metric.encode_gauge(&value),
        })
    }

    /// Encodes a series of a counter or a gauge of seconds.
    pub(super) fn seconds(&mut self, labels: &[&str], value: f64) -> fmt::Result {
        let kind = self.row.kind;
        self.series(labels, |metric| match kind {
            MetricKind::Counter => metric.encode_counter::<NoLabelSet, f64, f64>(&value, None),
            _ => metric.encode_gauge(&value),
        })
    }

    /// Encodes a series of a gauge that is a moment, in seconds since the Unix epoch.
    pub(super) fn moment(&mut self, labels: &[&str], unix_seconds: i64) -> fmt::Result {
        self.series(labels, |metric| metric.encode_gauge(&unix_seconds))
    }

    /// Encodes the series of a histogram. Without observations it has no series: most histograms stay empty, and each
    /// would add some 20 series.
    pub(super) fn histogram(
        &mut self,
        labels: &[&str],
        snapshot: &HistogramSnapshot,
    ) -> fmt::Result {
        if snapshot.count == 0 {
            return Ok(());
        }
        let (sum, count, buckets) = (snapshot.sum, snapshot.count, &snapshot.buckets);
        self.series(labels, |metric| {
            metric.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
        })
    }

    /// Encodes the series of an info.
    pub(super) fn info(&mut self, labels: &[&str]) -> fmt::Result {
        let labels = self.labels(labels);
        self.metric.encode_info(&labels)
    }

    fn series(
        &mut self,
        values: &[&str],
        encode: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let labels = self.labels(values);
        // An empty set of labels would be written as `{}`.
        if labels.is_empty() {
            return encode(&mut self.metric);
        }
        encode(&mut self.metric.encode_family(&labels)?)
    }

    /// Pairs the names of the row's labels with their values.
    fn labels<'v>(&self, values: &[&'v str]) -> Vec<(&'static str, &'v str)> {
        let names = self.row.labels.iter().copied();
        debug_assert_eq!(names.len(), values.len(), "labels of {}", self.row.name);
        names.zip(values.iter().copied()).collect()
    }
}

/// Encodes a family without labels: one counter or gauge.
pub(super) fn single(
    encoder: &mut DescriptorEncoder<'_>,
    row: &'static MetricRow,
    value: u64,
) -> fmt::Result {
    FamilyEncoder::begin(encoder, row)?.count(&[], value)
}
