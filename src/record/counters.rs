//! Request counters of one route: plain atomics that `metrics` reads without a lock.
//!
//! `pipeline` holds them for each route of a configuration snapshot, so that no request looks them up by name. They
//! survive a reload.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use strum::{IntoStaticStr, VariantArray};

use crate::gate::filter::FilterKind;
use crate::gate::reject::RejectReason;
use crate::gate::verdict::{GateDecision, Verdict};
use crate::record::exchange_summary::ExchangeSummary;
use crate::record::histogram::LatencyHistogram;
use crate::record::history::RouteHistory;

/// The stages of a request whose time is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum RequestStage {
    Head,
    Body,
    Verify,
    Wait,
    Upstream,
    Commit,
    Total,
}

impl RequestStage {
    pub(super) const ALL: &'static [Self] = Self::VARIANTS;

    /// Returns the value of the label `stage`.
    pub(super) fn name(self) -> &'static str {
        self.into()
    }
}

/// Values of labels for the class of a status, by its first digit.
pub(super) const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counters and histograms of one route's requests.
#[derive(Debug, Default)]
pub(crate) struct RouteCounters {
    pub(super) accepted: AtomicU64,
    pub(super) stored: AtomicU64,
    pub(super) duplicate: AtomicU64,
    pub(super) copies: AtomicU64,
    pub(super) replays: AtomicU64,
    pub(super) challenge: AtomicU64,
    pub(super) filtered: [AtomicU64; FilterKind::ALL.len()],
    pub(super) refused: ByReason,
    pub(super) monitored: ByReason,
    pub(super) body_bytes: AtomicU64,
    pub(super) upstream_status: [AtomicU64; STATUS_CLASSES.len()],
    pub(super) forward_errors: ByKind,
    head: LatencyHistogram,
    body: LatencyHistogram,
    verify: LatencyHistogram,
    wait: LatencyHistogram,
    upstream: LatencyHistogram,
    commit: LatencyHistogram,
    total: LatencyHistogram,
    history: RouteHistory,
}

/// One counter for each reject reason.
#[derive(Debug)]
pub(super) struct ByReason([AtomicU64; RejectReason::ALL.len()]);

impl Default for ByReason {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; RejectReason::ALL.len()])
    }
}

impl ByReason {
    fn add(&self, reason: RejectReason) {
        if let Some(count) = self.0.get(reason.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (RejectReason, u64)> {
        // Relaxed loads: a scrape may see one counter a moment later than another, which no graph shows.
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        RejectReason::ALL.iter().copied().zip(counts)
    }
}

/// Upper bound of distinct kinds per route or destination; `forward` and `deliver` know fewer.
const KINDS: usize = 24;

/// One counter for each kind of error or outcome, in the order of first occurrence. Needs no lock: a slot is claimed
/// once.
#[derive(Debug, Default)]
pub(super) struct ByKind([(std::sync::OnceLock<&'static str>, AtomicU64); KINDS]);

impl ByKind {
    pub(super) fn add(&self, kind: &'static str) {
        // The first free slot takes the name. If two threads race for it, the loser sees another name and goes on to
        // the next.
        let slot = self
            .0
            .iter()
            .find(|(name, _)| *name.get_or_init(|| kind) == kind);
        if let Some((_, count)) = slot {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let slots = self.0.iter();
        slots.filter_map(|(name, count)| Some((*name.get()?, count.load(Ordering::Relaxed))))
    }
}

impl RouteCounters {
    /// Returns the counts by minute and hour of this route.
    pub(crate) fn history(&self) -> &RouteHistory {
        &self.history
    }

    /// Counts one request. It costs about 20 relaxed additions.
    pub(super) fn add(&self, verdict: &Verdict, exchange: &ExchangeSummary) {
        match &verdict.decision {
            GateDecision::Accepted => count(&self.accepted),
            GateDecision::Duplicate => count(&self.duplicate),
            GateDecision::Challenge => count(&self.challenge),
            GateDecision::Filtered(by) => {
                let index = FilterKind::ALL.iter().position(|each| each == by);
                if let Some(counted) = index.and_then(|index| self.filtered.get(index)) {
                    count(counted);
                }
            }
            GateDecision::Refused(reject) => self.refused.add(reject.reason()),
            GateDecision::Monitored(reject) => self.monitored.add(reject.reason()),
        }
        // Copies and replays are accepted requests too, so these counts overlap with the decisions above.
        if verdict.is_copy {
            count(&self.copies);
        }
        if verdict.is_replay {
            count(&self.replays);
        }
        if exchange.is_stored {
            count(&self.stored);
        }
        self.body_bytes
            .fetch_add(verdict.body_bytes, Ordering::Relaxed);
        if let Some(status) = exchange.upstream_status {
            self.add_upstream_status(status);
        }
        if let Some((kind, _)) = &exchange.forward_error {
            self.forward_errors.add(kind);
        }
        self.history.add(verdict);
        // Every request has a head and a total time, even if it is short of the clock's resolution.
        self.head.observe(verdict.head_time());
        self.total.observe(exchange.total);
        let stages = [
            (&self.body, verdict.body_time()),
            (&self.verify, verdict.verify_time()),
            (&self.wait, verdict.wait_time),
            (&self.upstream, exchange.upstream_time),
            (&self.commit, verdict.commit_time()),
        ];
        // A stage that the request did not reach has no time; observing zeros would lower the percentiles.
        for (histogram, time) in stages {
            if time > Duration::ZERO {
                histogram.observe(time);
            }
        }
    }

    pub(super) fn stage(&self, stage: RequestStage) -> &LatencyHistogram {
        match stage {
            RequestStage::Head => &self.head,
            RequestStage::Body => &self.body,
            RequestStage::Verify => &self.verify,
            RequestStage::Wait => &self.wait,
            RequestStage::Upstream => &self.upstream,
            RequestStage::Commit => &self.commit,
            RequestStage::Total => &self.total,
        }
    }

    fn add_upstream_status(&self, status: StatusCode) {
        // "1xx" is at index 0.
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counted) = self.upstream_status.get(class) {
            count(counted);
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
