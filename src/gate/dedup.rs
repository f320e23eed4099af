//! Dedup: forwards each event to the app once within the window.
//!
//! The last check of the gate, after the signature, so that an unsigned id never gets here. A claim becomes spent when
//! the app accepted the event, and is released when it did not: a released id may come again, as the provider's retry.
//!
//! Claims in flight are in a small sharded table, bounded by the requests in flight. Spent ids are in
//! [`spent_ids`](super::spent_ids), bounded by entries and time; the oldest are evicted first. An event may have two keys, its
//! identity and the digest of its signed bytes, and is a duplicate if either is taken. A watched digest only reveals a
//! replay. All times are monotonic.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use hookgate_verify::identity::dedup_key::DedupKey;
use http::StatusCode;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use crate::gate::key_hash::KeyHashes;
use crate::gate::spent_ids::SpentIds;
use crate::model::clock::instant;

/// Number of shards of the table of claims in flight: enough that worker threads seldom contend.
const SHARDS: usize = 16;

/// Longest time that a duplicate waits for the first copy, whatever the upstream's timeout: senders give up soon.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(25);

/// The dedup keys of one event.
#[derive(Clone, Copy, Debug, Default)]
pub struct DedupKeys {
    /// The event identity: the event is a duplicate if this key is taken.
    pub id: Option<DedupKey>,
    /// The digest of the signed bytes, where the operator wants equal bytes to be duplicates.
    pub body: Option<DedupKey>,
    /// The digest of the signed bytes, where equal bytes of another event are only reported as a replay.
    pub watched: Option<DedupKey>,
}

/// The outcome of the first copy of an event: the status of the response to it.
pub(crate) type FirstCopyStatus = StatusCode;

/// The claims of one route. They survive reloads.
pub struct ClaimTable {
    spent: SpentIds,
    shards: [Mutex<ClaimShard>; SHARDS],
    limits: ClaimLimits,
    next_owner: AtomicU64,
    hits: AtomicU64,
    /// The claims that took over when a reload changed the limits. Keys spent here are spent there too.
    successor: OnceLock<Arc<Self>>,
    /// The claims before the reload, as long as one of them is in flight.
    predecessor: Weak<Self>,
    /// Gets each change while another process takes over.
    observer: ArcSwapOption<ClaimObserver>,
    /// True once there is an observer. Each change reads it, which costs less than to load the observer.
    is_observed: AtomicBool,
}

/// A function that gets each change of a table of claims, in their order. It must not block.
pub(crate) type ClaimObserver = Box<dyn Fn(DedupKey, ClaimChange) + Send + Sync>;

/// A change of the claim on one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClaimChange {
    /// The key is in flight.
    Claimed,
    /// The app did not accept the event; copies that wait get this status.
    Released(StatusCode),
    /// The app accepted the event with this status.
    Spent(StatusCode),
}

/// A claim of the process that this one follows. That process reports its end.
#[derive(Clone, Copy, Debug)]
pub struct AdoptedClaim(u64);

/// The bounds of the dedup memory of one route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClaimLimits {
    /// Time for which a spent id is remembered.
    pub window: Duration,
    /// Number of spent ids that are remembered at least.
    pub entries: u64,
    /// Time after which a claim expires whose owner does not end it; longer than any exchange with the app.
    pub lease: Duration,
}

/// A claim in flight, and the duplicates that wait for its outcome.
struct ClaimInFlight {
    owner: u64,
    /// Expiry: after this time the owner counts as dead.
    until: Instant,
    waiters: Vec<oneshot::Sender<FirstCopyStatus>>,
}

/// A claim on one event. Not `Clone`: only its owner ends it, with `spend` or `release`.
///
/// A claim that is dropped without either (a panic, the end of the process) is released, unless the app may have seen
/// the request. Then it remains until its lease expires, since the app may have accepted the event.
pub struct Claim {
    claims: Arc<ClaimTable>,
    keys: DedupKeys,
    owner: u64,
    is_replay: bool,
    is_beside: bool,
    is_forwarding: bool,
    is_ended: bool,
}

/// One shard of the claims in flight.
type ClaimShard = HashMap<DedupKey, ClaimInFlight, KeyHashes>;

/// The result of a request for a claim.
pub enum ClaimResult {
    /// The event is new, and the caller owns the claim.
    Claimed(Claim),
    /// The app has already accepted the event, with this status.
    Spent(StatusCode),
    /// Another copy is in flight. The receiver yields its outcome, or an error if the claim is lost.
    InFlight(oneshot::Receiver<FirstCopyStatus>),
}

impl DedupKeys {
    /// Returns the deciding keys and the watched one.
    pub fn iter(self) -> impl Iterator<Item = DedupKey> {
        self.deciding().chain(self.watched)
    }

    /// Returns the keys that make an event a duplicate.
    pub fn deciding(self) -> impl Iterator<Item = DedupKey> {
        self.body.into_iter().chain(self.id)
    }

    /// Returns whether the event has no key at all.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }
}

impl ClaimTable {
    /// Creates an empty table of claims.
    #[must_use]
    pub fn new(limits: ClaimLimits) -> Arc<Self> {
        Self::after(limits, Weak::new())
    }

    /// Returns claims under other limits. They know every key that is spent here, now or later.
    #[must_use]
    pub fn succeed(self: &Arc<Self>, limits: ClaimLimits) -> Arc<Self> {
        if self.limits == limits {
            return Arc::clone(self);
        }
        let heir = Self::after(limits, Arc::downgrade(self));
        // The link first, then the copy: a key that is spent in between reaches both. The other order could lose it.
        let heir = Arc::clone(self.successor.get_or_init(|| heir));
        heir.recall(self.spent.all());
        heir
    }

    fn after(limits: ClaimLimits, predecessor: Weak<Self>) -> Arc<Self> {
        let hashes = KeyHashes::new();
        Arc::new(Self {
            spent: SpentIds::new(limits.entries, limits.window, hashes.clone()),
            shards: std::array::from_fn(|_| Mutex::new(ClaimShard::with_hasher(hashes.clone()))),
            limits,
            next_owner: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            successor: OnceLock::new(),
            predecessor,
            observer: ArcSwapOption::empty(),
            is_observed: AtomicBool::new(false),
        })
    }

    /// Loads keys that an earlier process spent. Their windows start again, so that they are remembered longer than
    /// promised and never shorter.
    pub fn recall(&self, spent: impl IntoIterator<Item = (DedupKey, u16)>) {
        let now = instant();
        for (key, status) in spent {
            self.spent.insert(key, status, now);
        }
    }

    /// Claims the keys of an event, or reports who has them.
    #[must_use]
    pub fn try_claim(self: &Arc<Self>, keys: DedupKeys) -> ClaimResult {
        let mut claim = Claim {
            claims: Arc::clone(self),
            keys: DedupKeys::default(),
            owner: self.next_owner.fetch_add(1, Ordering::Relaxed),
            is_replay: false,
            is_beside: false,
            is_forwarding: false,
            is_ended: false,
        };
        let now = instant();
        // A claim that gets only one of its two keys is dropped at the `return`, which releases that key.
        for (key, place) in [
            (keys.body, &mut claim.keys.body),
            (keys.id, &mut claim.keys.id),
        ] {
            let Some(key) = key else { continue };
            if let Some(taken) = self.take(key, claim.owner, now) {
                self.hits.fetch_add(1, Ordering::Relaxed);
                return taken;
            }
            *place = Some(key);
        }
        if let Some(key) = keys.watched {
            // Last, and without regard to the outcome: bytes that another event has claimed decide nothing about this
            // one.
            match self.take(key, claim.owner, now) {
                None => claim.keys.watched = Some(key),
                Some(ClaimResult::Spent(_)) => claim.is_replay = true,
                Some(_) => (claim.is_replay, claim.is_beside) = (true, true),
            }
        }
        ClaimResult::Claimed(claim)
    }

    /// Returns the approximate number of spent ids.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.spent.held()
    }

    /// Returns the number of spent ids that were evicted within their window because the table was full.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.spent.evicted()
    }

    /// Returns the number of duplicates, including those that had to wait.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Claims one key. Returns `None` if the key now belongs to `owner`.
    fn take(&self, key: DedupKey, owner: u64, now: Instant) -> Option<ClaimResult> {
        // After a reload, a claim under the old limits may still be in flight.
        if let Some(before) = self.predecessor.upgrade()
            && let Some(outcome) = before.wait_for(key, now)
        {
            return Some(ClaimResult::InFlight(outcome));
        }
        let mut shard = self.shard(key);
        // Under the lock under which a claim ends, so that no key falls between the two tables.
        if let Some(status) = self.spent.get(key, now) {
            return Some(ClaimResult::Spent(status_of(status)));
        }
        if let Some(outcome) = wait_in(&mut shard, key, now) {
            return Some(ClaimResult::InFlight(outcome));
        }
        // Here the key is free, or its claim has expired and is replaced.
        let claim = ClaimInFlight {
            owner,
            until: now + self.limits.lease,
            waiters: Vec::new(),
        };
        // Drops an expired claim with its waiters, whose channels close, so that they do not wait in vain.
        shard.insert(key, claim);
        // Under the lock, so that the observer gets the changes of a key in their order.
        self.report(key, ClaimChange::Claimed);
        None
    }

    /// Reports all changes from now on to this observer only, and returns the keys in flight.
    #[must_use]
    pub(crate) fn observe(&self, observer: ClaimObserver) -> Vec<DedupKey> {
        self.observer.store(Some(Arc::new(observer)));
        self.is_observed.store(true, Ordering::Release);
        // After the observer is set: a change in between is reported twice, which is harmless, and never missed. One that
        // still found no observer has left the lock of its shard before it is taken here.
        let shards = self.shards.iter();
        let keys = shards.flat_map(|shard| shard.lock().keys().copied().collect::<Vec<_>>());
        keys.collect()
    }

    /// Returns all spent keys.
    #[must_use]
    pub fn spent(&self) -> Vec<(DedupKey, u16)> {
        self.spent.all()
    }

    /// Enters a claim of another process. Returns `None` if the key is already taken.
    #[must_use]
    pub fn adopt(&self, key: DedupKey) -> Option<AdoptedClaim> {
        let owner = self.next_owner.fetch_add(1, Ordering::Relaxed);
        let taken = self.take(key, owner, instant());
        taken.is_none().then_some(AdoptedClaim(owner))
    }

    /// Ends a claim of another process. `None` is for a claim that was never entered.
    pub fn end_adopted(&self, key: DedupKey, claim: Option<AdoptedClaim>, change: ClaimChange) {
        let (status, spent_at) = match change {
            ClaimChange::Claimed => return,
            ClaimChange::Released(status) => (status, None),
            ClaimChange::Spent(status) => (status, Some(instant())),
        };
        // No claim has this owner, so that only the spent key is entered.
        let owner = claim.map_or(u64::MAX, |claim| claim.0);
        self.end(key, owner, status, spent_at);
    }

    fn report(&self, key: DedupKey, change: ClaimChange) {
        if self.is_observed.load(Ordering::Acquire)
            && let Some(observer) = &*self.observer.load()
        {
            observer(key, change);
        }
    }

    fn wait_for(&self, key: DedupKey, now: Instant) -> Option<oneshot::Receiver<FirstCopyStatus>> {
        wait_in(&mut self.shard(key), key, now)
    }

    fn spend(&self, key: DedupKey, status: StatusCode, now: Instant) {
        self.spent.insert(key, status.as_u16(), now);
        // An event that was forwarded before a reload must be a duplicate after it.
        if let Some(heir) = self.successor.get() {
            heir.spend(key, status, now);
        }
    }

    fn end(&self, key: DedupKey, owner: u64, status: StatusCode, spent_at: Option<Instant>) {
        let mut shard = self.shard(key);
        // Before the claim is removed, under the same lock: a copy must find the key in one of the two tables.
        if let Some(now) = spent_at {
            self.spend(key, status, now);
        }
        // An owner that ends late must not end the claim of the next owner.
        let is_own = shard.get(&key).is_some_and(|claim| claim.owner == owner);
        let ended = if is_own { shard.remove(&key) } else { None };
        match spent_at {
            // Reported even if the claim has expired meanwhile: the successor must know the spent key, too.
            Some(_) => self.report(key, ClaimChange::Spent(status)),
            None if is_own => self.report(key, ClaimChange::Released(status)),
            None => {}
        }
        // The waiters are notified outside the lock, which other requests need.
        drop(shard);
        for waiter in ended.into_iter().flat_map(|claim| claim.waiters) {
            // A waiter that is gone has given up or closed its connection.
            let _ = waiter.send(status);
        }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the remainder by SHARDS is below SHARDS"
    )]
    fn shard(&self, key: DedupKey) -> MutexGuard<'_, ClaimShard> {
        self.shards[key.shard(SHARDS)].lock()
    }
}

impl Claim {
    /// Returns the keys that are claimed.
    #[must_use]
    pub fn keys(&self) -> DedupKeys {
        self.keys
    }

    /// Returns how long the claim holds at most.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.claims.limits.lease
    }

    /// Returns whether the app has accepted, or may be about to accept, the same signed bytes as another event.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.is_replay
    }

    /// Returns whether the event with the same signed bytes is in flight, so that the app has not accepted it yet.
    #[must_use]
    pub fn is_beside(&self) -> bool {
        self.is_beside
    }

    /// Marks that the app may see the request from now on.
    pub fn begin_forwarding(&mut self) {
        self.is_forwarding = true;
    }

    /// Spends the claim: the app accepted the event, so its keys count as duplicates within the window.
    pub fn spend(mut self, status: StatusCode) {
        self.end(status, true);
    }

    /// Releases the claim: the app did not accept the event, so it may come again.
    pub fn release(mut self, status: StatusCode) {
        self.end(status, false);
    }

    fn end(&mut self, status: StatusCode, is_spent: bool) {
        // First, so that `drop` does not end the claim a second time.
        self.is_ended = true;
        let spent_at = is_spent.then(instant);
        for key in self.keys.iter() {
            self.claims.end(key, self.owner, status, spent_at);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Once forwarding has begun, only the lease ends the claim: see the type.
        if !self.is_ended && !self.is_forwarding {
            self.end(StatusCode::SERVICE_UNAVAILABLE, false);
        }
    }
}

/// Joins the waiters of a live claim on the key. Returns `None` if there is no live claim.
fn wait_in(
    shard: &mut ClaimShard,
    key: DedupKey,
    now: Instant,
) -> Option<oneshot::Receiver<FirstCopyStatus>> {
    // An expired claim counts as absent: its owner is dead.
    let claim = shard.get_mut(&key).filter(|claim| now < claim.until)?;
    let (notify, outcome) = oneshot::channel();
    claim.waiters.push(notify);
    Some(outcome)
}

fn status_of(status: u16) -> StatusCode {
    // Only a damaged store has another value. The app has accepted the event, so its sender must not retry.
    StatusCode::from_u16(status).unwrap_or(StatusCode::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn limits(entries: u64, lease: Duration) -> ClaimLimits {
        ClaimLimits {
            window: MINUTE,
            entries,
            lease,
        }
    }

    fn claims(entries: u64) -> Arc<ClaimTable> {
        ClaimTable::new(limits(entries, MINUTE))
    }

    fn id(text: &str) -> DedupKeys {
        DedupKeys {
            id: Some(DedupKey::of_id(text)),
            ..DedupKeys::default()
        }
    }

    fn watched(text: &str, digest: u8) -> DedupKeys {
        DedupKeys {
            id: Some(DedupKey::of_id(text)),
            watched: Some(DedupKey::of_digest(&[digest; 32])),
            ..DedupKeys::default()
        }
    }

    fn both(text: &str, digest: u8) -> DedupKeys {
        DedupKeys {
            id: Some(DedupKey::of_id(text)),
            body: Some(DedupKey::of_digest(&[digest; 32])),
            ..DedupKeys::default()
        }
    }

    fn claimed(asked: ClaimResult) -> Claim {
        match asked {
            ClaimResult::Claimed(claim) => claim,
            ClaimResult::Spent(_) | ClaimResult::InFlight(_) => panic!("the id should be free"),
        }
    }

    fn is_spent(asked: &ClaimResult) -> bool {
        matches!(asked, ClaimResult::Spent(StatusCode::OK))
    }

    #[test]
    fn a_spent_id_stays_spent_and_a_released_one_comes_again() {
        let claims = claims(100);
        claimed(claims.try_claim(id("a"))).release(StatusCode::BAD_GATEWAY);
        claimed(claims.try_claim(id("a"))).spend(StatusCode::ACCEPTED);
        // Each copy is answered as the first one was.
        let ClaimResult::Spent(status) = claims.try_claim(id("a")) else {
            panic!("it is spent");
        };
        assert_eq!((status, claims.hits()), (StatusCode::ACCEPTED, 1));
    }

    #[test]
    fn a_copy_under_a_fresh_id_is_known_by_its_bytes_and_spends_nothing() {
        let claims = claims(100);
        claimed(claims.try_claim(both("a", 1))).spend(StatusCode::OK);
        assert!(is_spent(&claims.try_claim(both("b", 1))));
        // The copy did not take the fresh id: the genuine event with that id passes.
        claimed(claims.try_claim(both("b", 2))).spend(StatusCode::OK);
        assert!(is_spent(&claims.try_claim(both("a", 3))));
    }

    /// Fails when equal bytes make a duplicate, or when a replay takes the bytes from the event that has them.
    #[test]
    fn watched_bytes_show_a_replay_and_make_no_duplicate() {
        let claims = claims(100);
        let first = claimed(claims.try_claim(watched("a", 1)));
        assert!(!first.is_replay());
        let beside = claimed(claims.try_claim(watched("b", 1)));
        assert!(beside.is_replay() && beside.is_beside());
        beside.release(StatusCode::BAD_GATEWAY);
        first.spend(StatusCode::OK);
        let after = claimed(claims.try_claim(watched("b", 1)));
        assert!(after.is_replay() && !after.is_beside());
        after.spend(StatusCode::OK);
        assert!(is_spent(&claims.try_claim(watched("a", 1))));
        assert!(is_spent(&claims.try_claim(watched("b", 2))));
    }

    /// Fails when bytes are remembered of an event that the app did not take: its retry would look like a replay.
    #[test]
    fn a_retry_of_a_failed_event_is_no_replay() {
        let claims = claims(100);
        claimed(claims.try_claim(watched("a", 1))).release(StatusCode::BAD_GATEWAY);
        assert!(!claimed(claims.try_claim(watched("a", 1))).is_replay());
    }

    // Fails when an event can be claimed between the end of its claim and the insertion into `spent`. Mutation: look
    // `spent` up before the lock in `take`, or spend after it in `end`.
    #[test]
    fn of_many_copies_at_once_one_is_handed_out() {
        const EVENTS: u64 = 20_000;
        let claims = claims(2 * EVENTS);
        let handed_out = AtomicU64::new(0);
        let deliver = || {
            for number in 0..EVENTS {
                let keys = id(&number.to_string());
                loop {
                    match claims.try_claim(keys) {
                        ClaimResult::Claimed(claim) => {
                            handed_out.fetch_add(1, Ordering::Relaxed);
                            claim.spend(StatusCode::OK);
                            break;
                        }
                        ClaimResult::InFlight(_) => std::thread::yield_now(),
                        ClaimResult::Spent(_) => break,
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(deliver);
            }
        });
        assert_eq!(handed_out.into_inner(), EVENTS);
    }

    #[tokio::test]
    async fn a_copy_in_flight_hears_the_outcome_of_the_first() {
        let claims = claims(100);
        let first = claimed(claims.try_claim(id("a")));
        let ClaimResult::InFlight(outcome) = claims.try_claim(id("a")) else {
            panic!("the first one is in flight");
        };
        first.spend(StatusCode::ACCEPTED);
        assert_eq!(outcome.await.unwrap(), StatusCode::ACCEPTED);
    }

    #[test]
    fn an_abandoned_claim_is_released_only_before_forwarding() {
        let claims = claims(100);
        drop(claimed(claims.try_claim(id("a"))));
        let mut claim = claimed(claims.try_claim(id("a")));
        claim.begin_forwarding();
        drop(claim);
        assert!(matches!(
            claims.try_claim(id("a")),
            ClaimResult::InFlight(_)
        ));
    }

    #[test]
    fn a_claim_whose_owner_died_expires_and_its_late_end_changes_nothing() {
        let claims = ClaimTable::new(limits(100, Duration::ZERO));
        let dead = claimed(claims.try_claim(id("a")));
        let heir = claimed(claims.try_claim(id("a")));
        dead.release(StatusCode::BAD_GATEWAY);
        heir.spend(StatusCode::OK);
        assert!(is_spent(&claims.try_claim(id("a"))));
    }

    /// Fails when ending a key ends the claim of another owner.
    #[test]
    fn a_late_end_leaves_the_claim_of_the_next_owner() {
        let claims = claims(100);
        let heir = claimed(claims.try_claim(id("a")));
        let dead = heir.owner + 1;
        claims.end(DedupKey::of_id("a"), dead, StatusCode::BAD_GATEWAY, None);
        assert!(matches!(
            claims.try_claim(id("a")),
            ClaimResult::InFlight(_)
        ));
    }

    #[tokio::test]
    async fn other_limits_after_a_reload_forget_nothing() {
        let before = claims(100);
        claimed(before.try_claim(id("spent"))).spend(StatusCode::OK);
        let flying = claimed(before.try_claim(id("flying")));
        let after = before.succeed(limits(50, MINUTE));
        assert!(is_spent(&after.try_claim(id("spent"))));
        let ClaimResult::InFlight(outcome) = after.try_claim(id("flying")) else {
            panic!("it is in flight under the old limits");
        };
        flying.spend(StatusCode::OK);
        assert_eq!(outcome.await.unwrap(), StatusCode::OK);
        drop(before);
        assert!(is_spent(&after.try_claim(id("flying"))));
    }

    // Fails when a change is not reported, or when a copy does not wait for the claim of another process.
    #[tokio::test]
    async fn another_process_adopts_claims_with_their_ends() {
        let (old, new) = (claims(100), claims(100));
        let first = claimed(old.try_claim(id("first")));
        let changes = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&changes);
        let in_flight = old.observe(Box::new(move |key, change| seen.lock().push((key, change))));
        assert_eq!(in_flight, [DedupKey::of_id("first")]);
        let second = claimed(old.try_claim(id("second")));
        let adopted = in_flight.into_iter().chain([DedupKey::of_id("second")]);
        let adopted: Vec<_> = adopted.map(|key| (key, new.adopt(key))).collect();
        assert!(new.adopt(DedupKey::of_id("first")).is_none());
        let ClaimResult::InFlight(outcome) = new.try_claim(id("first")) else {
            panic!("the other process has the claim");
        };
        first.spend(StatusCode::ACCEPTED);
        second.release(StatusCode::BAD_GATEWAY);
        let changes = std::mem::take(&mut *changes.lock());
        let expected = [
            (DedupKey::of_id("second"), ClaimChange::Claimed),
            (
                DedupKey::of_id("first"),
                ClaimChange::Spent(StatusCode::ACCEPTED),
            ),
            (
                DedupKey::of_id("second"),
                ClaimChange::Released(StatusCode::BAD_GATEWAY),
            ),
        ];
        assert_eq!(changes, expected);
        for (key, change) in changes {
            let claim = adopted.iter().find(|(adopted, _)| *adopted == key);
            new.end_adopted(key, claim.and_then(|(_, claim)| *claim), change);
        }
        assert_eq!(outcome.await, Ok(StatusCode::ACCEPTED));
        assert!(matches!(
            new.try_claim(id("first")),
            ClaimResult::Spent(StatusCode::ACCEPTED)
        ));
        claimed(new.try_claim(id("second"))).release(StatusCode::OK);
        // An event that was forwarded before the observer came.
        let third = DedupKey::of_id("third");
        new.end_adopted(third, None, ClaimChange::Spent(StatusCode::OK));
        assert!(is_spent(&new.try_claim(id("third"))));
    }
}
