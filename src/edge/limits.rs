//! Limits for open connections, in total and per source.
//!
//! Each open connection holds a slot. Dropping the slot returns it, so a connection cannot leak one, however it ends.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::edge::counters::EdgeCounters;
use crate::model::source::SourceKey;

/// Number of parts of the table, so that two cores rarely wait for the same lock.
const PARTS: usize = 16;

/// The counts of open connections. Their size is bounded, since an entry lives only as long as a connection.
#[derive(Debug)]
pub(super) struct ConnectionLimits {
    counters: Arc<EdgeCounters>,
    by_source: [Mutex<HashMap<SourceKey, usize>>; PARTS],
}

/// One slot of `max_connections`, returned when it is dropped.
pub(super) struct ConnectionSlot(Arc<ConnectionLimits>);

/// One slot of `max_connections_per_source`, returned when it is dropped.
pub(super) struct SourceSlot {
    limits: Arc<ConnectionLimits>,
    key: SourceKey,
}

impl ConnectionLimits {
    pub(super) fn new(counters: Arc<EdgeCounters>) -> Arc<Self> {
        Arc::new(Self {
            counters,
            by_source: Default::default(),
        })
    }

    /// Takes a slot among all connections. Returns `None` where `limit` are open.
    pub(super) fn enter(self: &Arc<Self>, limit: usize) -> Option<ConnectionSlot> {
        let is_free = self.counters.open.add_within(limit);
        is_free.then(|| ConnectionSlot(Arc::clone(self)))
    }

    /// Takes a slot among the connections of one source. Returns `None` where the source has `limit` open.
    pub(super) fn enter_source(
        self: &Arc<Self>,
        key: SourceKey,
        limit: usize,
    ) -> Option<SourceSlot> {
        // Check and count happen under one lock, so that two connections cannot both take the last slot.
        let part = self.part(key)?;
        let mut counts = part.lock();
        let count = counts.entry(key).or_insert(0);
        if *count >= limit {
            // With a limit of 0, the entry was just created, and no slot would ever remove it.
            if *count == 0 {
                counts.remove(&key);
            }
            return None;
        }
        *count = count.saturating_add(1);
        Some(SourceSlot {
            limits: Arc::clone(self),
            key,
        })
    }

    fn part(&self, key: SourceKey) -> Option<&Mutex<HashMap<SourceKey, usize>>> {
        let octets = match key.ip() {
            std::net::IpAddr::V4(v4) => u64::from(v4.to_bits()),
            std::net::IpAddr::V6(v6) => u64::try_from(v6.to_bits() >> 64).unwrap_or(0),
        };
        // Multiplication by the golden ratio spreads neighboring addresses over all parts; the top 4 bits select one of
        // 16.
        let mixed = octets.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
        self.by_source.get(usize::try_from(mixed).ok()?)
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.0.counters.open.subtract();
    }
}

impl Drop for SourceSlot {
    fn drop(&mut self) {
        let Some(part) = self.limits.part(self.key) else {
            return;
        };
        let mut counts = part.lock();
        if let Some(count) = counts.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(limits: &ConnectionLimits) -> usize {
        let sizes = limits.by_source.iter().map(|part| part.lock().len());
        sizes.sum()
    }

    #[test]
    fn slots_come_back_when_dropped_and_leave_no_entry() {
        let limits = ConnectionLimits::new(Arc::default());
        let key = SourceKey::of("2001:db8::1".parse().unwrap());
        let same = SourceKey::of("2001:db8::ffff".parse().unwrap());
        let first = limits.enter_source(key, 2).unwrap();
        let second = limits.enter_source(same, 2).unwrap();
        assert!(limits.enter_source(key, 2).is_none());
        drop(first);
        assert!(limits.enter_source(key, 2).is_some());
        drop(second);
        assert_eq!(entries(&limits), 0);
        assert!(limits.enter_source(key, 0).is_none());
        assert_eq!(entries(&limits), 0);
    }

    #[test]
    fn total_is_counted() {
        let limits = ConnectionLimits::new(Arc::default());
        let slot = limits.enter(1).unwrap();
        assert!(limits.enter(1).is_none());
        assert_eq!(limits.counters.open.read(), 1);
        drop(slot);
        assert!(limits.enter(1).is_some());
    }
}
