//! Dedup: hands an event to the app once within the window.
//!
//! The last check of the gate, after the signature: an id that nobody signed never gets here. A claim becomes `spent` when
//! the app took the event, and is released when it did not: a released id may come again (the provider's retry).
//!
//! Claims in flight stand in a small sharded table, bounded by the requests in flight; spent ids stand in
//! [`spent`](super::spent), bounded by entries and time, where the oldest are dropped first. An event may go by two keys,
//! its identity and the digest of its signed bytes; it is a duplicate where either is taken. Bytes that are only watched show
//! a replay. Both clocks here are monotonic.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::sync::oneshot;

pub use crate::gate::key::Key;
use crate::gate::key::KeyHashes;
use crate::gate::spent::Spent;
use crate::model::clock::instant;

/// Shards of the table of claims in flight: enough that the workers of one machine seldom meet.
const SHARDS: usize = 16;

/// How long a duplicate waits for the first one at most, whatever the upstream's deadline: a sender's patience is short.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(25);

/// The keys of one event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keys {
    /// Its identity: an event is a duplicate where this one is taken.
    pub id: Option<Key>,
    /// Its signed bytes, where the operator wants equal bytes to be duplicates.
    pub body: Option<Key>,
    /// Its signed bytes, where they only show a replay: taken by another event, they make no duplicate.
    pub watched: Option<Key>,
}

/// What became of the first copy of an event: the status that its sender got.
pub type Outcome = StatusCode;

/// The claims of one route. Outlives reloads.
pub struct Claims {
    spent: Spent,
    shards: [Mutex<Shard>; SHARDS],
    limits: Limits,
    next_owner: AtomicU64,
    hits: AtomicU64,
    /// The claims that took over when a reload changed the limits: what is spent here is spent there too.
    successor: OnceLock<Arc<Self>>,
    /// The claims before them, for as long as one of theirs is in flight.
    predecessor: Weak<Self>,
}

/// How much is remembered, and how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How long a spent id is remembered.
    pub window: Duration,
    /// How many spent ids are remembered at least.
    pub entries: u64,
    /// How long a claim stands whose owner does not end it; longer than any exchange with the app.
    pub lease: Duration,
}

/// A claim that somebody owns.
struct InFlight {
    owner: u64,
    /// After this moment the owner is taken for dead.
    until: Instant,
    waiters: Vec<oneshot::Sender<Outcome>>,
}

/// A claim on one event. Not `Clone`: only its owner ends it, by `spend` or `release`.
///
/// Dropped without either (a panic, the end of the process) it is released, unless the app may have seen the request:
/// then the claim stands until its lease expires, since the app may yet have taken the event.
pub struct Claim {
    claims: Arc<Claims>,
    keys: Keys,
    owner: u64,
    is_replay: bool,
    is_beside: bool,
    is_forwarding: bool,
    is_ended: bool,
}

/// A part of the claims in flight.
type Shard = HashMap<Key, InFlight, KeyHashes>;

/// The answer to asking for a claim.
pub enum Asked {
    /// The event is new: the asker owns it now.
    Claimed(Claim),
    /// The app took it already, with this status.
    Spent(StatusCode),
    /// Another copy is in flight; its outcome will be told, or the sender dropped.
    InFlight(oneshot::Receiver<Outcome>),
}

impl Keys {
    /// Returns all of them.
    pub fn iter(self) -> impl Iterator<Item = Key> {
        self.deciding().chain(self.watched)
    }

    /// Returns those that make a duplicate.
    pub fn deciding(self) -> impl Iterator<Item = Key> {
        self.body.into_iter().chain(self.id)
    }

    /// Returns whether the event has no key at all.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }
}

impl Claims {
    /// No claims.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Self::after(limits, Weak::new())
    }

    /// Claims under other limits that know all that these know, and learn what these still come to know.
    #[must_use]
    pub fn succeed(self: &Arc<Self>, limits: Limits) -> Arc<Self> {
        if self.limits == limits {
            return Arc::clone(self);
        }
        let heir = Self::after(limits, Arc::downgrade(self));
        // First the link, then the copy: what is spent in between is in both.
        let heir = Arc::clone(self.successor.get_or_init(|| heir));
        heir.recall(self.spent.all());
        heir
    }

    fn after(limits: Limits, predecessor: Weak<Self>) -> Arc<Self> {
        let hashes = KeyHashes::new();
        Arc::new(Self {
            spent: Spent::new(limits.entries, limits.window, hashes.clone()),
            shards: std::array::from_fn(|_| Mutex::new(Shard::with_hasher(hashes.clone()))),
            limits,
            next_owner: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            successor: OnceLock::new(),
            predecessor,
        })
    }

    /// Knows events again that an earlier process spent. Their windows begin anew, which keeps them longer and never
    /// shorter than promised.
    pub fn recall(&self, spent: impl IntoIterator<Item = (Key, u16)>) {
        let now = instant();
        for (key, status) in spent {
            self.spent.insert(key, status, now);
        }
    }

    /// Asks for the claim on an event.
    #[must_use]
    pub fn ask(self: &Arc<Self>, keys: Keys) -> Asked {
        let mut claim = Claim {
            claims: Arc::clone(self),
            keys: Keys::default(),
            owner: self.next_owner.fetch_add(1, Ordering::Relaxed),
            is_replay: false,
            is_beside: false,
            is_forwarding: false,
            is_ended: false,
        };
        let now = instant();
        // A claim that gets only one of its two keys is dropped here, which gives that one back.
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
            // Last, and without a look at the outcome: bytes that another event has taken decide nothing about this one.
            match self.take(key, claim.owner, now) {
                None => claim.keys.watched = Some(key),
                Some(Asked::Spent(_)) => claim.is_replay = true,
                Some(_) => (claim.is_replay, claim.is_beside) = (true, true),
            }
        }
        Asked::Claimed(claim)
    }

    /// Ids that are spent now, roughly.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.spent.held()
    }

    /// Spent ids that were dropped before their window was over because the table was full.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.spent.evicted()
    }

    /// Copies that were not handed to the app, or had to wait.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// None: the key now belongs to `owner`.
    fn take(&self, key: Key, owner: u64, now: Instant) -> Option<Asked> {
        if let Some(before) = self.predecessor.upgrade()
            && let Some(told) = before.wait_for(key, now)
        {
            return Some(Asked::InFlight(told));
        }
        let mut shard = self.shard(key);
        // Looked up under the lock under which a claim is ended, so that nothing falls between the two tables.
        if let Some(status) = self.spent.get(key, now) {
            return Some(Asked::Spent(status_of(status)));
        }
        if let Some(told) = wait_in(&mut shard, key, now) {
            return Some(Asked::InFlight(told));
        }
        let claim = InFlight {
            owner,
            until: now + self.limits.lease,
            waiters: Vec::new(),
        };
        shard.insert(key, claim);
        None
    }

    fn wait_for(&self, key: Key, now: Instant) -> Option<oneshot::Receiver<Outcome>> {
        wait_in(&mut self.shard(key), key, now)
    }

    fn spend(&self, key: Key, status: StatusCode, now: Instant) {
        self.spent.insert(key, status.as_u16(), now);
        if let Some(heir) = self.successor.get() {
            heir.spend(key, status, now);
        }
    }

    fn end(&self, key: Key, owner: u64, status: StatusCode, spent_at: Option<Instant>) {
        let mut shard = self.shard(key);
        if let Some(now) = spent_at {
            self.spend(key, status, now);
        }
        let is_own = shard.get(&key).is_some_and(|claim| claim.owner == owner);
        let ended = if is_own { shard.remove(&key) } else { None };
        drop(shard);
        for waiter in ended.into_iter().flat_map(|claim| claim.waiters) {
            // A waiter whose sender has gone is no concern of ours.
            let _ = waiter.send(status);
        }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the remainder by SHARDS is below SHARDS"
    )]
    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        // Each change under the lock is a single insert or remove, so a panic leaves nothing half done.
        self.shards[key.shard(SHARDS)]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// What is claimed.
    #[must_use]
    pub fn keys(&self) -> Keys {
        self.keys
    }

    /// Returns whether the app has taken, or is about to take, the same signed bytes as another event.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.is_replay
    }

    /// Returns whether the event with the same signed bytes is in flight: the app has not taken it yet.
    #[must_use]
    pub fn is_beside(&self) -> bool {
        self.is_beside
    }

    /// From here on the app may see the request.
    pub fn begin_forwarding(&mut self) {
        self.is_forwarding = true;
    }

    /// The app took the event: its id is not handed out again within the window.
    pub fn spend(mut self, status: StatusCode) {
        self.end(status, true);
    }

    /// The app did not take it: the id may come again.
    pub fn release(mut self, status: StatusCode) {
        self.end(status, false);
    }

    fn end(&mut self, status: StatusCode, is_spent: bool) {
        self.is_ended = true;
        let spent_at = is_spent.then(instant);
        for key in self.keys.iter() {
            self.claims.end(key, self.owner, status, spent_at);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_ended && !self.is_forwarding {
            self.end(StatusCode::SERVICE_UNAVAILABLE, false);
        }
    }
}

/// None: nobody holds a live claim on the key.
fn wait_in(shard: &mut Shard, key: Key, now: Instant) -> Option<oneshot::Receiver<Outcome>> {
    let claim = shard.get_mut(&key).filter(|claim| now < claim.until)?;
    let (tell, told) = oneshot::channel();
    claim.waiters.push(tell);
    Some(told)
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn limits(entries: u64, lease: Duration) -> Limits {
        Limits {
            window: MINUTE,
            entries,
            lease,
        }
    }

    fn claims(entries: u64) -> Arc<Claims> {
        Claims::new(limits(entries, MINUTE))
    }

    fn id(text: &str) -> Keys {
        Keys {
            id: Some(Key::of_id(text)),
            ..Keys::default()
        }
    }

    fn watched(text: &str, digest: u8) -> Keys {
        Keys {
            id: Some(Key::of_id(text)),
            watched: Some(Key::of_digest(&[digest; 32])),
            ..Keys::default()
        }
    }

    fn both(text: &str, digest: u8) -> Keys {
        Keys {
            id: Some(Key::of_id(text)),
            body: Some(Key::of_digest(&[digest; 32])),
            ..Keys::default()
        }
    }

    fn claimed(asked: Asked) -> Claim {
        match asked {
            Asked::Claimed(claim) => claim,
            Asked::Spent(_) | Asked::InFlight(_) => panic!("the id should be free"),
        }
    }

    fn is_spent(asked: &Asked) -> bool {
        matches!(asked, Asked::Spent(StatusCode::OK))
    }

    #[test]
    fn a_spent_id_stays_spent_and_a_released_one_comes_again() {
        let claims = claims(100);
        claimed(claims.ask(id("a"))).release(StatusCode::BAD_GATEWAY);
        claimed(claims.ask(id("a"))).spend(StatusCode::ACCEPTED);
        // Each copy is answered as the first one was.
        let Asked::Spent(status) = claims.ask(id("a")) else {
            panic!("it is spent");
        };
        assert_eq!((status, claims.hits()), (StatusCode::ACCEPTED, 1));
    }

    #[test]
    fn a_copy_under_a_fresh_id_is_known_by_its_bytes_and_spends_nothing() {
        let claims = claims(100);
        claimed(claims.ask(both("a", 1))).spend(StatusCode::OK);
        assert!(is_spent(&claims.ask(both("b", 1))));
        // The fresh id was not taken by the copy: the genuine event of that name goes through.
        claimed(claims.ask(both("b", 2))).spend(StatusCode::OK);
        assert!(is_spent(&claims.ask(both("a", 3))));
    }

    /// Fails when equal bytes make a duplicate, or when a replay takes the bytes from the event that has them.
    #[test]
    fn watched_bytes_show_a_replay_and_make_no_duplicate() {
        let claims = claims(100);
        let first = claimed(claims.ask(watched("a", 1)));
        assert!(!first.is_replay());
        let beside = claimed(claims.ask(watched("b", 1)));
        assert!(beside.is_replay() && beside.is_beside());
        beside.release(StatusCode::BAD_GATEWAY);
        first.spend(StatusCode::OK);
        let after = claimed(claims.ask(watched("b", 1)));
        assert!(after.is_replay() && !after.is_beside());
        after.spend(StatusCode::OK);
        assert!(is_spent(&claims.ask(watched("a", 1))));
        assert!(is_spent(&claims.ask(watched("b", 2))));
    }

    /// Fails when bytes are remembered of an event that the app did not take: its retry would look like a replay.
    #[test]
    fn a_retry_of_a_failed_event_is_no_replay() {
        let claims = claims(100);
        claimed(claims.ask(watched("a", 1))).release(StatusCode::BAD_GATEWAY);
        assert!(!claimed(claims.ask(watched("a", 1))).is_replay());
    }

    // Fails when an event can be claimed between the end of its claim and the note that it is spent.
    // Mutation: look `spent` up before the lock in `take`, or spend after it in `end`.
    #[test]
    fn of_many_copies_at_once_one_is_handed_out() {
        const EVENTS: u64 = 20_000;
        let claims = claims(2 * EVENTS);
        let handed_out = AtomicU64::new(0);
        let deliver = || {
            for number in 0..EVENTS {
                let keys = id(&number.to_string());
                loop {
                    match claims.ask(keys) {
                        Asked::Claimed(claim) => {
                            handed_out.fetch_add(1, Ordering::Relaxed);
                            claim.spend(StatusCode::OK);
                            break;
                        }
                        Asked::InFlight(_) => std::thread::yield_now(),
                        Asked::Spent(_) => break,
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
        let first = claimed(claims.ask(id("a")));
        let Asked::InFlight(told) = claims.ask(id("a")) else {
            panic!("the first one is in flight");
        };
        first.spend(StatusCode::ACCEPTED);
        assert_eq!(told.await.unwrap(), StatusCode::ACCEPTED);
    }

    #[test]
    fn an_abandoned_claim_is_released_only_before_forwarding() {
        let claims = claims(100);
        drop(claimed(claims.ask(id("a"))));
        let mut claim = claimed(claims.ask(id("a")));
        claim.begin_forwarding();
        drop(claim);
        assert!(matches!(claims.ask(id("a")), Asked::InFlight(_)));
    }

    #[test]
    fn a_claim_whose_owner_died_expires_and_its_late_end_changes_nothing() {
        let claims = Claims::new(limits(100, Duration::ZERO));
        let dead = claimed(claims.ask(id("a")));
        let heir = claimed(claims.ask(id("a")));
        dead.release(StatusCode::BAD_GATEWAY);
        heir.spend(StatusCode::OK);
        assert!(is_spent(&claims.ask(id("a"))));
    }

    /// Fails when whoever ends a key ends the claim of its present owner.
    #[test]
    fn a_late_end_leaves_the_claim_of_the_next_owner() {
        let claims = claims(100);
        let heir = claimed(claims.ask(id("a")));
        let dead = heir.owner + 1;
        claims.end(Key::of_id("a"), dead, StatusCode::BAD_GATEWAY, None);
        assert!(matches!(claims.ask(id("a")), Asked::InFlight(_)));
    }

    #[tokio::test]
    async fn other_limits_after_a_reload_forget_nothing() {
        let before = claims(100);
        claimed(before.ask(id("spent"))).spend(StatusCode::OK);
        let flying = claimed(before.ask(id("flying")));
        let after = before.succeed(limits(50, MINUTE));
        assert!(is_spent(&after.ask(id("spent"))));
        let Asked::InFlight(told) = after.ask(id("flying")) else {
            panic!("it is in flight under the old limits");
        };
        flying.spend(StatusCode::OK);
        assert_eq!(told.await.unwrap(), StatusCode::OK);
        drop(before);
        assert!(is_spent(&after.ask(id("flying"))));
    }
}
