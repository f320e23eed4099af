//! The last verdicts, in memory: what a list, a search by request id and a live tail are made of.
//!
//! Two rows of the same length: requests that somebody vouched for by a signature, and all others. So a flood of strangers
//! pushes out strangers only. A number that counts up over both orders them; it is the cursor of lists and tails.
//!
//! A request pays one allocation, a copy of its verdict (most of which is shared) and a lock that is held for two moves
//! of a pointer: about 0.2 us. A reader takes a part of the rows at a time and looks at it outside the lock. Every entry
//! is bounded, at about 3 KiB where a stranger does his worst and 700 bytes else. Tokens that a log shows once are not kept.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Method;
use tokio::sync::Notify;

use crate::gate::reject::{Reason, Reject};
use crate::gate::verdict::{Decision, Verdict};
use crate::model::ids::RequestId;
use crate::record::Exchange;

/// Entries that a reader takes under one hold of the lock.
const PART: usize = 256;

/// Bytes of an error or a fault that are kept.
const MAX_TEXT: usize = 512;

/// Bytes of a method: the longest registered one has 17.
const MAX_METHOD: usize = 32;

/// One verdict and what became of it.
#[derive(Clone, Debug)]
pub struct KeptVerdict {
    /// Counts up from 1 over all routes; a process that starts anew begins anew.
    pub number: u64,
    /// What the gate decided. The index of its route is that of an earlier config, perhaps.
    pub verdict: Verdict,
    /// What came of it.
    pub exchange: Exchange,
}

impl KeptVerdict {
    /// When the request began, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn unix_ms(&self) -> i64 {
        self.verdict.request_id.unix_ms()
    }
}

/// What a list or a tail is about; what is none is not asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The name of a route.
    pub route: Option<String>,
    /// One of [`Decision::WORDS`].
    pub verdict: Option<String>,
    /// Why it was refused, or would have been.
    pub reason: Option<Reason>,
}

impl Wanted {
    /// Whether it is about this one.
    #[must_use]
    pub fn fits(&self, verdict: &Verdict) -> bool {
        let route = verdict.route.as_ref().map(|route| route.as_str());
        let reason = verdict.decision.reject().map(Reject::reason);
        let word = verdict.decision.word();
        self.route
            .as_deref()
            .is_none_or(|wanted| route == Some(wanted))
            && self.verdict.as_deref().is_none_or(|wanted| word == wanted)
            && self.reason.is_none_or(|wanted| reason == Some(wanted))
    }
}

/// Keeps the last verdicts.
#[derive(Debug)]
pub struct Recent {
    /// Of each row; 0 keeps nothing.
    capacity: AtomicUsize,
    rows: Mutex<Rows>,
    /// The number of the newest.
    last: AtomicU64,
    came: Notify,
}

/// Both rows, each ordered by number.
#[derive(Debug, Default)]
struct Rows {
    count: u64,
    vouched: VecDeque<Arc<KeptVerdict>>,
    strangers: VecDeque<Arc<KeptVerdict>>,
}

impl Recent {
    /// Keeps so many of each row.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: AtomicUsize::new(capacity),
            rows: Mutex::default(),
            last: AtomicU64::new(0),
            came: Notify::new(),
        }
    }

    /// Keeps so many from now on.
    pub fn set_capacity(&self, capacity: usize) {
        self.capacity.store(capacity, Ordering::Relaxed);
        let mut dropped = Vec::new();
        let mut rows = self.lock();
        let Rows {
            vouched, strangers, ..
        } = &mut *rows;
        for row in [vouched, strangers] {
            let excess = row.len().saturating_sub(capacity);
            dropped.extend(row.drain(..excess));
            row.shrink_to(capacity);
        }
        drop(rows);
    }

    /// Keeps one more.
    pub fn keep(&self, verdict: &Verdict, exchange: &Exchange) {
        let capacity = self.capacity.load(Ordering::Relaxed);
        if capacity == 0 {
            return;
        }
        let mut kept = Arc::new(KeptVerdict {
            number: 0,
            verdict: bounded_verdict(verdict),
            exchange: bounded_exchange(exchange),
        });
        let is_vouched = verdict.is_vouched();
        let mut rows = self.lock();
        rows.count += 1;
        let number = rows.count;
        if let Some(kept) = Arc::get_mut(&mut kept) {
            kept.number = number;
        }
        let row = match is_vouched {
            true => &mut rows.vouched,
            false => &mut rows.strangers,
        };
        // Freed when the lock is given back.
        let oldest = (row.len() >= capacity).then(|| row.pop_front());
        row.push_back(kept);
        self.last.store(number, Ordering::Release);
        drop(rows);
        drop(oldest);
        self.came.notify_waiters();
    }

    /// The number of the newest; 0 where there was none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// The newest first: those with a number below `before`, or the very newest.
    #[must_use]
    pub fn newest(
        &self,
        before: Option<u64>,
        wanted: &Wanted,
        limit: usize,
    ) -> Vec<Arc<KeptVerdict>> {
        let mut found = Vec::new();
        let mut before = before.unwrap_or(u64::MAX);
        while found.len() < limit {
            let part = self.lock().before(before);
            let Some(oldest) = part.last() else { break };
            before = oldest.number;
            let fitting = part.into_iter().filter(|kept| wanted.fits(&kept.verdict));
            found.extend(fitting.take(limit - found.len()));
        }
        found
    }

    /// The oldest first: those with a number above `after`; and the number from which to go on.
    #[must_use]
    pub fn after(&self, after: u64, wanted: &Wanted, limit: usize) -> (Vec<Arc<KeptVerdict>>, u64) {
        let (mut found, mut after) = (Vec::new(), after);
        while found.len() < limit {
            let part = self.lock().after(after);
            if part.is_empty() {
                break;
            }
            for kept in part {
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

    /// Waits until there is one with a number above `after`.
    pub async fn wait(&self, after: u64) {
        loop {
            let came = self.came.notified();
            if self.last() > after {
                return;
            }
            came.await;
        }
    }

    /// The one with this request id.
    #[must_use]
    pub fn find(&self, id: &RequestId) -> Option<Arc<KeptVerdict>> {
        let mut before = u64::MAX;
        loop {
            let part = self.lock().before(before);
            before = part.last()?.number;
            let found = part.into_iter().find(|kept| kept.verdict.request_id == *id);
            if found.is_some() {
                return found;
            }
        }
    }

    /// Finds the newest accepted request before this one that had the same key, or the same signed bytes where this one is
    /// a replay.
    #[must_use]
    pub fn earlier(&self, repeat: &KeptVerdict) -> Option<Arc<KeptVerdict>> {
        let key = |verdict: &Verdict| match repeat.verdict.is_replay {
            true => verdict.watched_key,
            false => verdict.dedup_key,
        };
        let wanted = key(&repeat.verdict)?;
        let mut before = repeat.number;
        loop {
            let part = self.lock().before(before);
            before = part.last()?.number;
            let found = part.into_iter().find(|kept| {
                kept.verdict.decision == Decision::Accepted
                    && kept.verdict.route == repeat.verdict.route
                    && key(&kept.verdict) == Some(wanted)
            });
            if found.is_some() {
                return found;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        // No step of a writer can panic between two states.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    /// Some of those below a number, the newest first.
    fn before(&self, number: u64) -> Vec<Arc<KeptVerdict>> {
        let below =
            |row: &VecDeque<Arc<KeptVerdict>>| row.partition_point(|kept| kept.number < number);
        let mut vouched = self.vouched.range(..below(&self.vouched)).rev().peekable();
        let mut strangers = self
            .strangers
            .range(..below(&self.strangers))
            .rev()
            .peekable();
        let mut part = Vec::with_capacity(PART);
        while part.len() < PART {
            let next = match (vouched.peek(), strangers.peek()) {
                (Some(known), Some(other)) if known.number > other.number => vouched.next(),
                (Some(_), None) => vouched.next(),
                _ => strangers.next(),
            };
            let Some(next) = next else { break };
            part.push(Arc::clone(next));
        }
        part
    }

    /// Some of those above a number, the oldest first.
    fn after(&self, number: u64) -> Vec<Arc<KeptVerdict>> {
        let upto =
            |row: &VecDeque<Arc<KeptVerdict>>| row.partition_point(|kept| kept.number <= number);
        let mut vouched = self.vouched.range(upto(&self.vouched)..).peekable();
        let mut strangers = self.strangers.range(upto(&self.strangers)..).peekable();
        let mut part = Vec::new();
        while part.len() < PART {
            let next = match (vouched.peek(), strangers.peek()) {
                (Some(known), Some(other)) if known.number < other.number => vouched.next(),
                (Some(_), None) => vouched.next(),
                _ => strangers.next(),
            };
            let Some(next) = next else { break };
            part.push(Arc::clone(next));
        }
        part
    }
}

/// A copy of which a stranger cannot make more than some KiB.
pub(super) fn bounded_verdict(verdict: &Verdict) -> Verdict {
    let mut kept = verdict.clone();
    kept.shown = None;
    if let Decision::Refused(reject) | Decision::Monitored(reject) = &mut kept.decision {
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
            // The others are bounded where they are made.
            _ => {}
        }
    }
    kept
}

fn bounded_exchange(exchange: &Exchange) -> Exchange {
    Exchange {
        forward_error: exchange
            .forward_error
            .as_ref()
            .map(|(kind, error)| (*kind, cut(error).to_owned())),
        ..*exchange
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use http::StatusCode;

    use super::*;
    use crate::model::clock::Now;
    use crate::model::ids::RouteName;
    use crate::model::source::Source;

    fn exchange() -> Exchange {
        Exchange {
            answer_status: StatusCode::OK,
            upstream_status: None,
            upstream_time: Duration::ZERO,
            forward_error: None,
            is_stored: false,
            total: Duration::from_micros(300),
        }
    }

    fn verdict(number: u8, route: &str, decision: Decision) -> Verdict {
        let peer: SocketAddr = "192.0.2.1:4711".parse().unwrap();
        let source = Source {
            ip: peer.ip(),
            peer,
            is_tls: true,
        };
        let id = RequestId::new(1_700_000_000_123, [number; 10]);
        let mut verdict = Verdict::new(id, source, Now::at_unix_seconds(0));
        verdict.route = Some(RouteName::new(route));
        verdict.decision = decision;
        verdict
    }

    fn keep(recent: &Recent, number: u8, route: &str, decision: Decision) {
        recent.keep(&verdict(number, route, decision), &exchange());
    }

    fn numbers(found: &[Arc<KeptVerdict>]) -> Vec<u64> {
        found.iter().map(|kept| kept.number).collect()
    }

    fn on(route: &str) -> Wanted {
        Wanted {
            route: Some(route.to_owned()),
            ..Wanted::default()
        }
    }

    #[test]
    fn lists_go_backwards_and_tails_forwards_over_both_rows() {
        let recent = Recent::new(100);
        for number in 1..=9 {
            let decision = match number % 3 {
                0 => Decision::Refused(Reject::BadSignature),
                _ => Decision::Accepted,
            };
            keep(
                &recent,
                number,
                ["a", "b"][usize::from(number % 2)],
                decision,
            );
        }
        let any = Wanted::default();
        assert_eq!(numbers(&recent.newest(None, &any, 4)), [9, 8, 7, 6]);
        assert_eq!(numbers(&recent.newest(Some(6), &any, 9)), [5, 4, 3, 2, 1]);
        assert_eq!(numbers(&recent.newest(None, &on("a"), 2)), [8, 6]);
        let (found, next) = recent.after(2, &any, 3);
        assert_eq!((numbers(&found), next), (vec![3, 4, 5], 5));
        let (found, next) = recent.after(2, &on("b"), 100);
        assert_eq!((numbers(&found), next), (vec![3, 5, 7, 9], 9));
        let refused = Wanted {
            reason: Some(Reason::BadSignature),
            ..Wanted::default()
        };
        assert_eq!(numbers(&recent.newest(None, &refused, 9)), [9, 6, 3]);
        let word = Wanted {
            verdict: Some("accepted".to_owned()),
            ..on("a")
        };
        assert_eq!(numbers(&recent.newest(None, &word, 9)), [8, 4, 2]);
    }

    #[test]
    fn one_is_found_by_its_request_id() {
        let recent = Recent::new(1000);
        for number in 0..250 {
            keep(&recent, number, "a", Decision::Accepted);
            keep(&recent, 255, "b", Decision::Accepted);
        }
        let id = RequestId::new(1_700_000_000_123, [3; 10]);
        let found = recent.find(&id).unwrap();
        assert_eq!(found.verdict.request_id, id);
        assert_eq!(found.unix_ms(), 1_700_000_000_123);
        let unknown = RequestId::new(1_700_000_000_123, [251; 10]);
        assert!(recent.find(&unknown).is_none());
    }

    /// Fails when strangers can push out what the gate says of genuine requests.
    #[test]
    fn a_flood_pushes_out_strangers_only() {
        let recent = Recent::new(10);
        for number in 0..5 {
            keep(&recent, number, "a", Decision::Accepted);
        }
        for _ in 0..1000 {
            keep(&recent, 0, "a", Decision::Refused(Reject::BadSignature));
        }
        let found = recent.newest(None, &Wanted::default(), 100);
        assert_eq!(found.len(), 15);
        assert_eq!(numbers(&found[10..]), [5, 4, 3, 2, 1]);
        recent.set_capacity(2);
        let any = Wanted::default();
        assert_eq!(numbers(&recent.newest(None, &any, 100)), [1005, 1004, 5, 4]);
        recent.set_capacity(0);
        keep(&recent, 0, "a", Decision::Accepted);
        assert!(recent.newest(None, &any, 100).is_empty());
    }

    /// Fails when what a stranger writes is kept at any length, or a token is kept that a log shows once.
    #[test]
    fn what_is_kept_of_one_request_is_bounded() {
        let recent = Recent::new(10);
        let method = Method::from_bytes(&[b'X'; 10_000]).unwrap();
        let mut wide = verdict(0, "a", Decision::Refused(Reject::Method { method }));
        wide.shown = Some("the token".into());
        let error = Some(("connect", "ä".repeat(10_000)));
        let exchange = Exchange {
            forward_error: error,
            ..exchange()
        };
        recent.keep(&wide, &exchange);
        let fault = "ä".repeat(10_000).into();
        keep(
            &recent,
            1,
            "a",
            Decision::Refused(Reject::NotStored { fault }),
        );
        let told = format!("{:?}", recent.newest(None, &Wanted::default(), 2));
        assert!(told.len() < 5000, "{}", told.len());
        assert!(!told.contains("the token"));
    }

    /// Fails when a tail sleeps through what came between its look and its waiting.
    #[tokio::test]
    async fn a_tail_is_woken_by_what_comes() {
        let recent = Arc::new(Recent::new(10));
        keep(&recent, 1, "a", Decision::Accepted);
        recent.wait(0).await;
        let waiting = {
            let recent = Arc::clone(&recent);
            tokio::spawn(async move { recent.wait(1).await })
        };
        tokio::task::yield_now().await;
        keep(&recent, 2, "a", Decision::Accepted);
        waiting.await.unwrap();
    }
}
