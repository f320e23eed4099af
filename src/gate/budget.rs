//! Budgets per source: limits what one source can cause before its requests are verified.
//!
//! One account per source counts its requests in flight, the processor time of parsing, new keys and certificates to
//! fetch, and unverified exchanges with the app (monitor mode). A request takes its share before the gate reads it and
//! gives it back at verification, so that a genuine sender never runs out. A request over budget gets 429.
//!
//! A trusted proxy has no budget of its own: its requests count for the clients that it names.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::model::clock::instant;
use crate::model::source::SourceKey;

/// Number of shards of the table, so that two cores seldom wait for each other.
const PARTS: usize = 16;

/// Accounts in one shard. A new source evicts an account without requests in flight. An evicted source returns with
/// unused budgets, which costs an attacker as many addresses as the table has entries.
const MAX_ACCOUNTS: usize = 2048;

/// Lower bound for the unverified requests in flight from all sources. A small `max_in_flight` protects the app, and
/// waiting for a body costs the app nothing.
const MIN_UNVERIFIED: usize = 256;

/// Processor time that a source may owe for rejected requests.
const WORK: Duration = Duration::from_secs(2);

/// Divisor of the recovery: a source earns back a quarter of the elapsed time, which is a quarter of one processor.
const WORK_RECOVERY: u32 = 4;

/// Cost of a body byte besides parsing: it was received, hashed and copied.
const BYTE_COST: Duration = Duration::from_nanos(2);

/// Upper bound of the parsing cost, per request and per byte of its body. The clock keeps running while the thread
/// waits for a processor, and no source should pay for a busy machine.
const MAX_PARSING: Duration = Duration::from_millis(1);
const MAX_PARSING_PER_BYTE: Duration = Duration::from_nanos(20);

/// Fruitless key fetches that a source may cause at once.
const KEYS: u32 = 3;

/// Time after which a source may cause one more key fetch.
const KEY_PACE: Duration = Duration::from_secs(15);

/// `Retry-After` for a source with too many requests in flight.
pub(super) const SHARE_DELAY: Duration = Duration::from_secs(1);

/// Bytes of unverified bodies that a source may have in memory. A source's only request is always admitted: the route's
/// `max_body` limits it.
const BODIES: usize = 256 << 20;

/// Bytes of each body that are not counted. Most bodies are smaller, and the number of requests bounds them.
const SMALL_BODY: usize = 128 << 10;

/// The budgets of all sources. Lives as long as the process.
#[derive(Debug)]
pub(crate) struct SourceBudgets {
    parts: [Mutex<HashMap<SourceKey, SourceAccount>>; PARTS],
    /// Unverified requests in flight from all sources.
    unverified: AtomicUsize,
}

/// The reason why a request gets no share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BudgetFault {
    /// The source has used up its own budget. It may retry after this time.
    Source(Duration),
    /// All sources together have reached the limit of unverified requests in flight.
    Total,
}

/// The share of one unverified request in its source's budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct BudgetShare {
    budgets: Arc<SourceBudgets>,
    source: SourceKey,
    has_exchange: bool,
    /// Bytes of the request's body so far.
    body: AtomicUsize,
    /// True once its request is verified and no longer costs its source anything.
    is_given_back: AtomicBool,
}

#[derive(Debug)]
struct SourceAccount {
    in_flight: usize,
    /// Unverified requests that are forwarded to the app (monitor mode).
    exchanges: usize,
    /// Bytes of unverified bodies, beyond [`SMALL_BODY`] of each.
    bodies: usize,
    work: BudgetDebt,
    keys: BudgetDebt,
}

/// An amount that is used up and recovers with time.
#[derive(Clone, Copy, Debug)]
struct BudgetDebt {
    owed: Duration,
    at: Instant,
}

impl BudgetDebt {
    /// Subtracts the recovery since the last call, and returns what is still owed.
    fn settle(&mut self, now: Instant, recovery: u32) -> Duration {
        // Most sources owe nothing, and need no division.
        if !self.owed.is_zero() {
            let paid = now.saturating_duration_since(self.at) / recovery;
            self.owed = self.owed.saturating_sub(paid);
        }
        self.at = self.at.max(now);
        self.owed
    }

    /// Returns an error with the time until at most `most` is owed.
    fn wait_for(&mut self, most: Duration, now: Instant, recovery: u32) -> Result<(), Duration> {
        match self.settle(now, recovery).checked_sub(most) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(over) => Err(over.saturating_mul(recovery)),
        }
    }
}

impl SourceAccount {
    fn new(now: Instant) -> Self {
        let debt = BudgetDebt {
            owed: Duration::ZERO,
            at: now,
        };
        Self {
            in_flight: 0,
            exchanges: 0,
            bodies: 0,
            work: debt,
            keys: debt,
        }
    }

    /// Returns whether forgetting the account changes nothing.
    fn is_unused(&self) -> bool {
        self.in_flight == 0 && self.exchanges == 0 && self.bodies == 0 && !self.has_debt()
    }

    fn has_debt(&self) -> bool {
        !self.work.owed.is_zero() || !self.keys.owed.is_zero()
    }
}

impl SourceBudgets {
    /// Creates an empty table of accounts.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            parts: Default::default(),
            unverified: AtomicUsize::new(0),
        })
    }

    /// Takes the share of one request that is not verified yet; `max_in_flight` is the configured value.
    ///
    /// A source gets at most a third of what all other sources leave free. So one source alone gets a quarter of the
    /// total, a dozen hostile sources leave room for the next one, and the gate need not know how many sources there
    /// are.
    pub(crate) fn enter(
        self: &Arc<Self>,
        source: SourceKey,
        max_in_flight: usize,
        now: Instant,
    ) -> Result<BudgetShare, BudgetFault> {
        let most = max_in_flight.max(MIN_UNVERIFIED);
        // Counted first and taken back on failure: two threads must not both take the last share.
        let before = self.unverified.fetch_add(1, Ordering::Relaxed);
        let entered = match most.checked_sub(before) {
            None | Some(0) => Err(BudgetFault::Total),
            Some(free) => self.enter_account(source, (free / 3).max(1), now),
        };
        match entered {
            Ok(()) => Ok(BudgetShare {
                budgets: Arc::clone(self),
                source,
                has_exchange: false,
                body: AtomicUsize::new(0),
                is_given_back: AtomicBool::new(false),
            }),
            Err(fault) => {
                self.unverified.fetch_sub(1, Ordering::Relaxed);
                Err(fault)
            }
        }
    }

    fn enter_account(
        &self,
        source: SourceKey,
        share: usize,
        now: Instant,
    ) -> Result<(), BudgetFault> {
        let mut accounts = self.part(source);
        if accounts.len() >= MAX_ACCOUNTS && !accounts.contains_key(&source) {
            let mut known = accounts.iter();
            let idle = known.find(|(_, account)| account.in_flight == 0);
            // Accounts with requests in flight are kept: their number is bounded by those requests.
            if let Some(idle) = idle.map(|(source, _)| *source) {
                accounts.remove(&idle);
            }
        }
        let account = accounts
            .entry(source)
            .or_insert_with(|| SourceAccount::new(now));
        // A source that owes too much work waits, even if no request of it is in flight.
        let work = account.work.wait_for(WORK, now, WORK_RECOVERY);
        work.map_err(BudgetFault::Source)?;
        if account.in_flight >= share {
            return Err(BudgetFault::Source(SHARE_DELAY));
        }
        account.in_flight += 1;
        Ok(())
    }

    /// Returns the number of sources that have an account.
    pub(crate) fn entries(&self) -> usize {
        let parts = self.parts.iter().map(|part| part.lock().len());
        parts.sum()
    }

    fn part(&self, source: SourceKey) -> MutexGuard<'_, HashMap<SourceKey, SourceAccount>> {
        // An IPv6 source is a /64, so its lower 64 bits are zero.
        let octets = match source.ip() {
            std::net::IpAddr::V4(v4) => u64::from(v4.to_bits()),
            std::net::IpAddr::V6(v6) => u64::try_from(v6.to_bits() >> 64).unwrap_or(0),
        };
        // Multiplicative hashing: adjacent addresses go to different shards. The shift leaves four bits, for `PARTS`.
        let mixed = octets.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
        let [first, ..] = &self.parts;
        let part = usize::try_from(mixed).ok();
        let part = part.and_then(|part| self.parts.get(part));
        part.unwrap_or(first).lock()
    }

    /// Changes an account, and forgets it if it is unused afterwards.
    fn change<T>(
        &self,
        source: SourceKey,
        change: impl FnOnce(&mut SourceAccount) -> T,
    ) -> Option<T> {
        match self.part(source).entry(source) {
            Entry::Vacant(_) => None,
            Entry::Occupied(mut account) => {
                let changed = change(account.get_mut());
                if account.get().is_unused() {
                    account.remove();
                }
                Some(changed)
            }
        }
    }
}

impl BudgetShare {
    /// Counts more bytes of the request's body. Returns false if the source has too many in memory.
    pub(crate) fn hold(&self, bytes: usize) -> bool {
        let before = self.body.fetch_add(bytes, Ordering::Relaxed);
        // Only the part beyond `SMALL_BODY` counts, so most requests never lock the table here.
        let counted = |total: usize| total.saturating_sub(SMALL_BODY);
        let own = counted(before.saturating_add(bytes));
        let more = own - counted(before);
        if more == 0 {
            return true;
        }
        let has_room = self.budgets.change(self.source, |account| {
            account.bodies = account.bodies.saturating_add(more);
            // The second condition admits the only body of a source, whatever its size.
            account.bodies <= BODIES || account.bodies == own
        });
        // Without an account there is no limit to apply.
        has_room.unwrap_or(true)
    }

    /// Gives back the share of a verified request, which may still wait for the first copy of its event.
    pub(crate) fn give_back(&self) {
        // Called at verification and again on drop; only the first call counts.
        if self.is_given_back.swap(true, Ordering::Relaxed) {
            return;
        }
        let held = self.body.load(Ordering::Relaxed).saturating_sub(SMALL_BODY);
        self.budgets.change(self.source, |account| {
            account.in_flight = account.in_flight.saturating_sub(1);
            account.bodies = account.bodies.saturating_sub(held);
            // Settled here, so that an account that owes nothing any more is forgotten. Most owe nothing, and need no
            // clock.
            if account.has_debt() {
                let now = instant();
                account.work.settle(now, WORK_RECOVERY);
                account.keys.settle(now, 1);
            }
        });
        self.budgets.unverified.fetch_sub(1, Ordering::Relaxed);
    }

    /// Refunds processor time that was charged before the request was verified.
    pub(crate) fn forgive(&self, work: Duration) {
        self.budgets.change(self.source, |account| {
            account.work.owed = account.work.owed.saturating_sub(work);
        });
    }

    /// Charges the source for parsing time and for a body of `body` bytes. Returns the amount charged.
    pub(crate) fn charge(&self, parsing: Duration, body: usize) -> Duration {
        let bytes = u32::try_from(body).unwrap_or(u32::MAX);
        let most = MAX_PARSING.saturating_add(MAX_PARSING_PER_BYTE.saturating_mul(bytes));
        let bytes = BYTE_COST.saturating_mul(bytes);
        let work = parsing.min(most).saturating_add(bytes);
        self.book(work);
        work
    }

    fn book(&self, work: Duration) {
        let now = instant();
        self.budgets.change(self.source, |account| {
            let owed = account.work.settle(now, WORK_RECOVERY);
            account.work.owed = owed.saturating_add(work);
        });
    }

    /// Takes one key fetch, which [`BudgetShare::forgive_key`] gives back.
    ///
    /// # Errors
    /// The time until the next fetch is allowed.
    pub(crate) fn take_key(&self) -> Result<(), Duration> {
        let now = instant();
        let taken = self.budgets.change(self.source, |account| {
            // One fetch less than `KEYS` may be owed before the next one, which makes `KEYS` at once.
            let most = KEY_PACE.saturating_mul(KEYS.saturating_sub(1));
            account.keys.wait_for(most, now, 1)?;
            account.keys.owed = account.keys.owed.saturating_add(KEY_PACE);
            Ok(())
        });
        taken.unwrap_or(Ok(()))
    }

    /// Gives back a key fetch that led to a verified request.
    pub(crate) fn forgive_key(&self) {
        self.budgets.change(self.source, |account| {
            account.keys.owed = account.keys.owed.saturating_sub(KEY_PACE);
        });
    }

    /// Takes one of the unverified exchanges with the app that a source may have: a quarter of `max_in_flight`.
    ///
    /// # Errors
    /// The time after which the source may come again.
    pub(crate) fn begin_exchange(&mut self, max_in_flight: usize) -> Result<(), Duration> {
        if self.is_given_back.load(Ordering::Relaxed) {
            // The signature is right and a later check of monitor mode failed: the source is genuine and pays nothing.
            return Ok(());
        }
        let most = (max_in_flight / 4).max(1);
        let begun = self.budgets.change(self.source, |account| {
            let is_free = account.exchanges < most;
            account.exchanges += usize::from(is_free);
            is_free
        });
        self.has_exchange = begun.unwrap_or(false);
        match self.has_exchange {
            true => Ok(()),
            false => Err(SHARE_DELAY),
        }
    }
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        if self.has_exchange {
            self.budgets.change(self.source, |account| {
                account.exchanges = account.exchanges.saturating_sub(1);
            });
        }
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(ip: &str) -> SourceKey {
        SourceKey::of(ip.parse().unwrap())
    }

    fn fill(budgets: &Arc<SourceBudgets>, ip: &str, max_in_flight: usize) -> Vec<BudgetShare> {
        let now = instant();
        let mut shares = Vec::new();
        while let Ok(share) = budgets.enter(key(ip), max_in_flight, now) {
            shares.push(share);
        }
        shares
    }

    /// Fails when a source may take all that is free: `free` in place of `free / 3`.
    #[test]
    fn no_source_takes_what_the_next_one_needs() {
        let budgets = SourceBudgets::new();
        let mut held = Vec::new();
        held.push(fill(&budgets, "192.0.2.1", 1024));
        assert_eq!(held[0].len(), 256);
        for number in 2..14 {
            let shares = fill(&budgets, &format!("192.0.2.{number}"), 1024);
            assert!(shares.len() >= 4, "{number}: {}", shares.len());
            held.push(shares);
        }
        // Another address of the same /64 is the same source.
        let first = fill(&budgets, "2001:db8::1", 1024);
        assert!(!first.is_empty());
        assert!(fill(&budgets, "2001:db8::2", 1024).is_empty());
        drop((held, first));
        assert_eq!(budgets.entries(), 0);
        assert_eq!(fill(&budgets, "192.0.2.1", 1).len(), MIN_UNVERIFIED / 4);
    }

    /// Fails when large bodies of one source are not counted, when its only one has no room, or when they stay counted.
    #[test]
    fn a_source_has_so_many_bytes_of_bodies_in_memory() {
        let budgets = SourceBudgets::new();
        let now = instant();
        let enter = |ip: &str| budgets.enter(key(ip), 1024, now).unwrap();
        let first = enter("192.0.2.1");
        assert!(first.hold(SMALL_BODY) && first.hold(BODIES + 1));
        let second = enter("192.0.2.1");
        assert!(second.hold(SMALL_BODY));
        assert!(!second.hold(1));
        assert!(enter("192.0.2.2").hold(SMALL_BODY + 1));
        drop(first);
        assert!(second.hold(1));
        second.give_back();
        drop(second);
        assert_eq!(budgets.entries(), 0);
    }

    /// Fails when a verified request that waits for the first copy of its event holds a place, or gives it back twice.
    #[test]
    fn a_verified_request_holds_nothing() {
        let budgets = SourceBudgets::new();
        let shares = fill(&budgets, "192.0.2.1", 1024);
        shares.iter().for_each(BudgetShare::give_back);
        assert_eq!(fill(&budgets, "192.0.2.1", 1024).len(), shares.len());
        drop(shares);
        assert_eq!(budgets.entries(), 0);
        assert_eq!(budgets.unverified.load(Ordering::Relaxed), 0);
    }

    /// Fails when the sum has no bound of its own.
    #[test]
    fn all_sources_together_are_bounded() {
        let budgets = SourceBudgets::new();
        let now = instant();
        let source = |number: u32| SourceKey::of(std::net::Ipv4Addr::from_bits(number).into());
        let held = (0..MIN_UNVERIFIED as u32).map(|one| budgets.enter(source(one), 1, now));
        let held: Vec<_> = held.map(Result::unwrap).collect();
        let refused = budgets.enter(key("192.0.2.1"), 1, now).unwrap_err();
        assert_eq!(refused, BudgetFault::Total);
        drop(held);
        assert!(budgets.enter(key("192.0.2.1"), 1, now).is_ok());
    }

    /// Fails when work is not booked, or never comes back.
    #[test]
    fn a_source_that_has_used_up_its_time_waits() {
        let budgets = SourceBudgets::new();
        let now = instant();
        let share = budgets.enter(key("192.0.2.1"), 1024, now).unwrap();
        share.book(WORK);
        share.book(Duration::from_secs(1));
        drop(share);
        let BudgetFault::Source(wait) = budgets.enter(key("192.0.2.1"), 1024, now).unwrap_err()
        else {
            panic!("not the source's");
        };
        assert!(wait <= Duration::from_secs(4) && wait > Duration::from_secs(2));
        assert!(budgets.enter(key("192.0.2.2"), 1024, now).is_ok());
        let later = now + Duration::from_secs(60);
        assert!(budgets.enter(key("192.0.2.1"), 1024, later).is_ok());
    }

    /// Fails when a source pays for the time in which its thread waited for a processor.
    #[test]
    fn a_request_costs_no_more_than_parsing_can() {
        let budgets = SourceBudgets::new();
        let now = instant();
        let share = budgets.enter(key("192.0.2.1"), 1024, now).unwrap();
        for _ in 0..50 {
            share.charge(Duration::from_secs(1), 1024);
        }
        assert!(budgets.enter(key("192.0.2.1"), 1024, now).is_ok());
        for _ in 0..150 {
            share.charge(Duration::from_secs(1), 1 << 20);
        }
        assert!(budgets.enter(key("192.0.2.1"), 1024, now).is_err());
    }

    /// Fails when fetches of one source are not counted, or those that were of use are.
    #[test]
    fn a_source_may_name_a_few_new_keys() {
        let budgets = SourceBudgets::new();
        let share = budgets.enter(key("192.0.2.1"), 1024, instant()).unwrap();
        for _ in 0..KEYS {
            share.take_key().unwrap();
        }
        assert!(share.take_key().is_err());
        share.forgive_key();
        assert!(share.take_key().is_ok());
        let other = budgets.enter(key("192.0.2.2"), 1024, instant()).unwrap();
        assert!(other.take_key().is_ok());
    }

    /// Fails without the bound of `enter_account`.
    #[test]
    fn the_table_is_bounded() {
        let budgets = SourceBudgets::new();
        let now = instant();
        for number in 0..100_000_u32 {
            let ip = std::net::Ipv4Addr::from_bits(number);
            let share = budgets.enter(SourceKey::of(ip.into()), 1024, now).unwrap();
            share.book(WORK * 100);
        }
        assert!(budgets.entries() <= PARTS * MAX_ACCOUNTS);
    }
}
