//! Counters of requests to the admin listener, by resource and status class.
//!
//! Labels are a closed set: a path is text of an untrusted client and must never become a label.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use prometheus_client::encoding::DescriptorEncoder;

use crate::record::TelemetryRecorder;
use crate::record::family_encoder::{FamilyEncoder, single};
use crate::record::metric_table::operation;

/// Resources of the admin listener: the first segment of a path, after `/api/v1/` where the path begins with it. Any
/// other path counts as `other`, which must be last.
const RESOURCES: [&str; 23] = [
    "metrics",
    "healthz",
    "readyz",
    "console",
    "verdicts",
    "rejections",
    "requests",
    "attempts",
    "certificates",
    "providers",
    "reload",
    "events",
    "deliveries",
    "destinations",
    "routes",
    "replays",
    "store",
    "status",
    "secrets",
    "audit",
    "config",
    "openapi.json",
    "other",
];

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Responses of the admin listener by resource and status class, and rejected tokens.
#[derive(Debug, Default)]
pub(super) struct AdminCounters {
    answers: [[AtomicU64; CLASSES.len()]; RESOURCES.len()],
    tokens_refused: AtomicU64,
}

impl TelemetryRecorder {
    /// Counts a response of the admin listener.
    pub(crate) fn admin_answer(&self, path: &str, status: StatusCode) {
        if status == StatusCode::UNAUTHORIZED {
            self.admin.tokens_refused.fetch_add(1, Ordering::Relaxed);
        }
        // "1xx" is at index 0.
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        let answers = self.admin.answers.get(resource(path));
        if let Some(count) = answers.and_then(|classes| classes.get(class)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Returns the index of the path's resource in `RESOURCES`, or that of `other`.
fn resource(path: &str) -> usize {
    let below = path.strip_prefix("/api/v1/");
    // The console and the metrics are not below the API's prefix.
    let below = below.or_else(|| path.strip_prefix('/')).unwrap_or(path);
    let first = below.split('/').next().unwrap_or(below);
    let found = RESOURCES.iter().position(|known| *known == first);
    found.unwrap_or(RESOURCES.len() - 1)
}

/// Encodes the counts of the admin listener as metrics.
pub(super) fn encode(
    recorder: &TelemetryRecorder,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let mut family = FamilyEncoder::begin(encoder, &operation::ADMIN_REQUESTS)?;
    for (resource, classes) in RESOURCES.into_iter().zip(&recorder.admin.answers) {
        for (class, count) in CLASSES.into_iter().zip(classes) {
            let count = count.load(Ordering::Relaxed);
            // Most of the 115 combinations never occur.
            if count > 0 {
                family.count(&[resource, class], count)?;
            }
        }
    }
    let refused = recorder.admin.tokens_refused.load(Ordering::Relaxed);
    single(encoder, &operation::ADMIN_TOKENS_REFUSED, refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_resource_or_other() {
        let check = |path: &str, expected: &str| assert_eq!(RESOURCES[resource(path)], expected);
        check("/metrics", "metrics");
        check("/api/v1/events", "events");
        check("/api/v1/events/0198/body", "events");
        check("/console/events", "console");
        check("/api/v1/stolen", "other");
        check("/", "other");
        check("", "other");
        check("*", "other");
    }
}
