//! Latency histogram of plain atomics: two additions per observation, no lock, no allocation.
//!
//! `counters` holds one for each route and stage, and `metrics` encodes them. The histogram of the metrics library
//! takes a lock, for which requests would have to wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds in nanoseconds: 50 µs (a head that is checked) to 30 s (a slow app).
static BOUNDS: [u64; 18] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];

/// Upper bounds in nanoseconds: 10 ms (a queue that is empty) to a week (retries to the end).
pub(crate) static LONG_BOUNDS: [u64; 15] = [
    10_000_000,
    50_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    15_000_000_000,
    60_000_000_000,
    300_000_000_000,
    1_800_000_000_000,
    7_200_000_000_000,
    21_600_000_000_000,
    86_400_000_000_000,
    259_200_000_000_000,
    604_800_000_000_000,
];

const NANOS_PER_SECOND: f64 = 1e9;

/// Counts of observed durations, by bucket.
#[derive(Debug)]
pub(crate) struct LatencyHistogram {
    bounds: &'static [u64],
    counts: Box<[AtomicU64]>,
    beyond: AtomicU64,
    sum_nanos: AtomicU64,
}

/// Values of a histogram at one moment.
#[derive(Debug, PartialEq)]
pub(crate) struct HistogramSnapshot {
    /// Sum of all observations in seconds.
    pub sum: f64,
    /// Number of observations in all buckets.
    pub count: u64,
    /// Upper bound of each bucket in seconds, and its count. Counts are not cumulative.
    pub buckets: Vec<(f64, u64)>,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new(&BOUNDS)
    }
}

impl LatencyHistogram {
    /// Creates an empty histogram. `bounds` are upper bounds in nanoseconds, in ascending order.
    pub(crate) fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            counts: bounds.iter().map(|_| AtomicU64::new(0)).collect(),
            beyond: AtomicU64::new(0),
            sum_nanos: AtomicU64::new(0),
        }
    }

    /// Counts one duration. A duration beyond the last bound counts in the bucket `+Inf`.
    pub(crate) fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // Bounds are inclusive, as `le` of OpenMetrics demands.
        let index = self.bounds.partition_point(|bound| *bound < nanos);
        let bucket = self.counts.get(index).unwrap_or(&self.beyond);
        bucket.fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Reads the histogram. Count and sum may differ by an observation that another thread is just making.
    pub(crate) fn snapshot(&self) -> HistogramSnapshot {
        let bounds = self.bounds.iter().map(|bound| seconds(*bound));
        let counts = self.counts.iter();
        let mut buckets: Vec<_> = bounds
            .zip(counts.map(|count| count.load(Ordering::Relaxed)))
            .collect();
        buckets.push((f64::INFINITY, self.beyond.load(Ordering::Relaxed)));
        HistogramSnapshot {
            sum: seconds(self.sum_nanos.load(Ordering::Relaxed)),
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
        }
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a sum of nanoseconds shown in seconds loses nothing that anyone reads"
)]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / NANOS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let histogram = LatencyHistogram::default();
        for nanos in [0, 50_000, 50_001, 30_000_000_000, 30_000_000_001] {
            histogram.observe(Duration::from_nanos(nanos));
        }
        let snapshot = histogram.snapshot();
        let counts: Vec<_> = snapshot.buckets.iter().map(|(_, count)| *count).collect();
        let mut expected = vec![0; 19];
        (expected[0], expected[1], expected[17], expected[18]) = (2, 1, 1, 1);
        assert_eq!(counts, expected);
        assert_eq!(snapshot.count, 5);
        assert!((snapshot.sum - 60.000_100_002).abs() < 1e-9);
    }

    #[test]
    fn bounds_ascend() {
        for bounds in [&BOUNDS[..], &LONG_BOUNDS] {
            assert!(bounds.is_sorted_by(|one, next| one < next));
        }
    }
}
