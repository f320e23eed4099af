//! Counters of requests to the admin listener, by resource and status class.
//!
//! Labels are a closed set: a path is text of an untrusted client and must never become a label.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use parking_lot::Mutex;
use prometheus_client::encoding::DescriptorEncoder;

use crate::record::counters::STATUS_CLASSES;
use crate::record::family_encoder::{FamilyEncoder, single};
use crate::record::metric_table::operation;

/// Responses of the admin listener by resource and status class, and rejected tokens.
#[derive(Debug, Default)]
pub(super) struct AdminCounters {
    answers: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    tokens_refused: AtomicU64,
}

impl AdminCounters {
    /// Counts a response.
    pub(super) fn count(&self, resource: &'static str, status: StatusCode) {
        if status == StatusCode::UNAUTHORIZED {
            self.tokens_refused.fetch_add(1, Ordering::Relaxed);
        }
        // "1xx" is at index 0.
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(class) = STATUS_CLASSES.get(class) {
            let mut answers = self.answers.lock();
            let count = answers.entry((resource, class)).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Encodes the counts as metrics.
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = FamilyEncoder::begin(encoder, &operation::ADMIN_REQUESTS)?;
        // Only requests to the admin listener wait for this lock, and the scrape is one of them.
        for ((resource, class), count) in &*self.answers.lock() {
            family.count(&[*resource, *class], *count)?;
        }
        let refused = self.tokens_refused.load(Ordering::Relaxed);
        single(encoder, &operation::ADMIN_TOKENS_REFUSED, refused)
    }
}
