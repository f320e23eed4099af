//! Recent verdicts in memory, for lists, search by request id and live tails.
//!
//! Two rings of the same length: requests with a valid signature, and all others. A flood of forged requests can only
//! push out entries of its own ring. One number that counts up over both rings orders them; it is the cursor of lists
//! and tails.
//!
//! A request pays one allocation, a copy of its verdict (most of which is shared) and a lock that is held for two moves
//! of a pointer: about 0.2 µs. A reader copies a part of the rings at a time and filters it outside the lock. Every
//! entry is bounded: about 700 bytes, and 3 KiB for the worst that an untrusted client can send. Tokens that the log
//! shows once are never kept.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use http::Method;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::gate::reject::{Reject, RejectReason};
use crate::gate::verdict::{GateDecision, Verdict};
use crate::model::ids::RequestId;
use crate::model::route_scope::RouteScope;
use crate::record::exchange_summary::ExchangeSummary;

/// Entries that a reader copies under one hold of the lock, which bounds how long requests wait for it.
const PART: usize = 256;

/// Maximum number of bytes kept of an error or a fault.
const MAX_TEXT: usize = 512;

/// Maximum number of bytes kept of a method; the longest registered one has 17.
const MAX_METHOD: usize = 32;

/// A verdict with its number and outcome.
#[derive(Clone, Debug)]
pub(crate) struct RecentVerdict {
    /// Sequence number over all routes, from 1. It starts again with the process.
    pub number: u64,
    /// Verdict of the gate. The index of its route may be that of an earlier config.
    pub verdict: Verdict,
    /// Response and timing of the request.
    pub exchange: ExchangeSummary,
}

impl RecentVerdict {
    /// Returns the time at which the request began, in milliseconds since the Unix epoch.
    pub(crate) fn unix_ms(&self) -> i64 {
        self.verdict.request_id.unix_ms()
    }
}

/// Filter of a list or a tail; a field that is `None` matches everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct VerdictQuery {
    /// Routes that the caller may see. A request that reached no route is only in a scope without a limit.
    pub scope: RouteScope,
    /// Name of the route that must match.
    pub route: Option<String>,
    /// Verdict that must match: one of [`GateDecision::WORDS`].
    pub verdict: Option<String>,
    /// Reason of the reject that must match, also in monitor mode.
    pub reason: Option<RejectReason>,
}

impl VerdictQuery {
    /// Returns true if the verdict matches all fields of the filter.
    pub(crate) fn fits(&self, verdict: &Verdict) -> bool {
        let route = verdict.route.as_ref().map(|route| route.as_str());
        let reason = verdict.decision.reject().map(Reject::reason);
        let word = verdict.decision.word();
        self.scope.contains_any(route)
            && self
                .route
                .as_deref()
                .is_none_or(|wanted| route == Some(wanted))
            && self.verdict.as_deref().is_none_or(|wanted| word == wanted)
            && self.reason.is_none_or(|wanted| reason == Some(wanted))
    }
}

/// Bounded buffer of the last verdicts.
#[derive(Debug)]
pub(crate) struct RecentVerdicts {
    /// Maximum number of entries in each ring; 0 keeps nothing.
    capacity: AtomicUsize,
    rows: Mutex<VerdictRows>,
    /// Number of the newest entry, readable without the lock.
    last: AtomicU64,
    arrived: Notify,
}

/// Both rings, each ordered by number.
#[derive(Debug, Default)]
struct VerdictRows {
    count: u64,
    verified: VecDeque<Arc<RecentVerdict>>,
    unverified: VecDeque<Arc<RecentVerdict>>,
}

impl RecentVerdicts {
    /// Creates a buffer for `capacity` verdicts in each ring.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: AtomicUsize::new(capacity),
            rows: Mutex::default(),
            last: AtomicU64::new(0),
            arrived: Notify::new(),
        }
    }

    /// Changes the capacity of each ring and drops the oldest excess entries.
    pub(crate) fn set_capacity(&self, capacity: usize) {
        self.capacity.store(capacity, Ordering::Relaxed);
        let mut dropped = Vec::new();
        let mut rows = self.rows.lock();
        let VerdictRows {
            verified: vouched,
            unverified,
            ..
        } = &mut *rows;
        for row in [vouched, unverified] {
            // Freed after the lock is released, like the oldest entry in `keep`.
            let excess = row.len().saturating_sub(capacity);
            dropped.extend(row.drain(..excess));
            row.shrink_to(capacity);
        }
        drop(rows);
    }

    /// Adds a verdict, and drops the oldest one of its ring if that is full.
    pub(crate) fn push(&self, verdict: &Verdict, exchange: &ExchangeSummary) {
        let capacity = self.capacity.load(Ordering::Relaxed);
        if capacity == 0 {
            return;
        }
        // Copied before the lock is taken; under the lock only the number is set.
        let mut kept = Arc::new(RecentVerdict {
            number: 0,
            verdict: bounded_verdict(verdict),
            exchange: bounded_exchange(exchange),
        });
        let is_vouched = verdict.is_verified();
        let mut rows = self.rows.lock();
        rows.count += 1;
        let number = rows.count;
        if let Some(kept) = Arc::get_mut(&mut kept) {
            kept.number = number;
        }
        let row = match is_vouched {
            true => &mut rows.verified,
            false => &mut rows.unverified,
        };
        // Dropped after the lock is released, because freeing an entry takes time.
        let oldest = (row.len() >= capacity).then(|| row.pop_front());
        row.push_back(kept);
        self.last.store(number, Ordering::Release);
        drop(rows);
        drop(oldest);
        self.arrived.notify_waiters();
    }

    /// Returns the number of the newest verdict; 0 before the first one.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// Lists matching verdicts with a number below `before`, newest first; without `before`, from the newest on.
    pub(crate) fn newest(
        &self,
        before: Option<u64>,
        wanted: &VerdictQuery,
        limit: usize,
    ) -> Vec<Arc<RecentVerdict>> {
        let mut found = Vec::new();
        let mut before = before.unwrap_or(u64::MAX);
        while found.len() < limit {
            let part = self.rows.lock().before(before);
            let Some(oldest) = part.last() else { break };
            // The next part continues below the oldest entry of this one; new entries do not disturb it.
            before = oldest.number;
            let fitting = part.into_iter().filter(|kept| wanted.fits(&kept.verdict));
            found.extend(fitting.take(limit - found.len()));
        }
        found
    }

    /// Lists matching verdicts with a number above `after`, oldest first, and the number from which to continue.
    pub(crate) fn after(
        &self,
        after: u64,
        wanted: &VerdictQuery,
        limit: usize,
    ) -> (Vec<Arc<RecentVerdict>>, u64) {
        let (mut found, mut after) = (Vec::new(), after);
        while found.len() < limit {
            let part = self.rows.lock().after(after);
            if part.is_empty() {
                break;
            }
            for kept in part {
                // Advanced for entries that do not match too, so that a tail does not read them again.
                after = kept.number;
                if wanted.fits(&kept.verdict) {
                    found.push(kept);
                    if found.len() >= limit {
                        break;
                    }
                }
            }
        }
        (found, after)
    }

    /// Waits until there is a verdict with a number above `after`.
    pub(crate) async fn wait(&self, after: u64) {
        loop {
            // Created before `last` is read: a verdict that is kept in between wakes it, so no verdict is missed.
            let came = self.arrived.notified();
            if self.last() > after {
                return;
            }
            came.await;
        }
    }

    pub(crate) fn find(&self, id: &RequestId) -> Option<Arc<RecentVerdict>> {
        let mut before = u64::MAX;
        loop {
            let part = self.rows.lock().before(before);
            before = part.last()?.number;
            let found = part.into_iter().find(|kept| kept.verdict.request_id == *id);
            if found.is_some() {
                return found;
            }
        }
    }

    /// Removes the verdicts that a filter wants. Returns how many there were.
    pub(crate) fn erase(&self, is_wanted: impl Fn(&RecentVerdict) -> bool) -> u64 {
        let mut removed = Vec::new();
        let mut rows = self.rows.lock();
        let VerdictRows {
            verified,
            unverified,
            ..
        } = &mut *rows;
        for row in [verified, unverified] {
            row.retain(|kept| {
                let is_kept = !is_wanted(kept);
                if !is_kept {
                    removed.push(Arc::clone(kept));
                }
                is_kept
            });
        }
        drop(rows);
        // Freed here, after the lock is released, like the oldest entry in `push`.
        removed.len() as u64
    }

    /// Finds the newest accepted request before this one that had the same key, or the same signed bytes where this one
    /// is a replay.
    pub(crate) fn earlier(&self, repeat: &RecentVerdict) -> Option<Arc<RecentVerdict>> {
        let key = |verdict: &Verdict| match repeat.verdict.is_replay {
            true => verdict.watched_key,
            false => verdict.dedup_key,
        };
        let wanted = key(&repeat.verdict)?;
        let mut before = repeat.number;
        loop {
            let part = self.rows.lock().before(before);
            before = part.last()?.number;
            let found = part.into_iter().find(|kept| {
                kept.verdict.decision == GateDecision::Accepted
                    && kept.verdict.route == repeat.verdict.route
                    && key(&kept.verdict) == Some(wanted)
            });
            if found.is_some() {
                return found;
            }
        }
    }
}

impl VerdictRows {
    /// Returns up to `PART` entries below a number, newest first, merged from both rings.
    fn before(&self, number: u64) -> Vec<Arc<RecentVerdict>> {
        let below =
            |row: &VecDeque<Arc<RecentVerdict>>| row.partition_point(|kept| kept.number < number);
        let mut vouched = self
            .verified
            .range(..below(&self.verified))
            .rev()
            .peekable();
        let mut unverified = self
            .unverified
            .range(..below(&self.unverified))
            .rev()
            .peekable();
        let mut part = Vec::with_capacity(PART);
        while part.len() < PART {
            let next = match (vouched.peek(), unverified.peek()) {
                // The larger number is the newer entry.
                (Some(known), Some(other)) if known.number > other.number => vouched.next(),
                (Some(_), None) => vouched.next(),
                _ => unverified.next(),
            };
            let Some(next) = next else { break };
            part.push(Arc::clone(next));
        }
        part
    }

    /// Returns up to `PART` entries above a number, oldest first, merged from both rings.
    fn after(&self, number: u64) -> Vec<Arc<RecentVerdict>> {
        let upto =
            |row: &VecDeque<Arc<RecentVerdict>>| row.partition_point(|kept| kept.number <= number);
        let mut vouched = self.verified.range(upto(&self.verified)..).peekable();
        let mut unverified = self.unverified.range(upto(&self.unverified)..).peekable();
        let mut part = Vec::new();
        while part.len() < PART {
            let next = match (vouched.peek(), unverified.peek()) {
                // The smaller number is the older entry.
                (Some(known), Some(other)) if known.number < other.number => vouched.next(),
                (Some(_), None) => vouched.next(),
                _ => unverified.next(),
            };
            let Some(next) = next else { break };
            part.push(Arc::clone(next));
        }
        part
    }
}

/// Copies a verdict, cut so that no untrusted client can make it larger than some KiB.
pub(super) fn bounded_verdict(verdict: &Verdict) -> Verdict {
    let mut kept = verdict.clone();
    // A token that the log shows once, for setup, must not be readable later through the admin API.
    kept.shown = None;
    if let GateDecision::Refused(reject) | GateDecision::Monitored(reject) = &mut kept.decision {
        match reject {
            Reject::Method { method } if method.as_str().len() > MAX_METHOD => {
                let start = method.as_str().get(..MAX_METHOD).unwrap_or_default();
                *method = Method::from_bytes(start.as_bytes()).unwrap_or_default();
            }
            Reject::KeyUnavailable { fault } | Reject::Unconfirmed { fault }
                if fault.len() > MAX_TEXT =>
            {
                *fault = cut(fault).into();
            }
            Reject::NotStored { fault }
            | Reject::MalformedEvent { fault }
            | Reject::Unjudged { fault }
                if fault.len() > MAX_TEXT =>
            {
                *fault = cut(fault).into();
            }
            // The other rejects are bounded where they are created.
            _ => {}
        }
    }
    kept
}

fn bounded_exchange(exchange: &ExchangeSummary) -> ExchangeSummary {
    ExchangeSummary {
        forward_error: exchange
            .forward_error
            .as_ref()
            .map(|(kind, error)| (*kind, cut(error).to_owned())),
        ..*exchange
    }
}

/// Cuts a text at `MAX_TEXT` bytes, at a character boundary.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
